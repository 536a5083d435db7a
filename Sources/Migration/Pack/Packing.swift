internal import DiskImages
package import Linux
internal import Manifests
internal import Stages
internal import SystemPackage
internal import TransportArchive

/// A fleet packed into one archive, resumable at every checkpoint.
package struct Packing: TargetMove {
    private let request: PackRequest
    private let plan: PackPlan
    /// nil of standard output.
    private let target: TargetTransaction<ArchiveContent>?

    /// Opens and checks every source before anything is written; backing files that may be copies
    /// of one another are read, as `options` say.
    package init(_ request: PackRequest, _ options: MoveOptions) async throws {
        self.request = request
        plan = try await PackPlan(request, options)
        target = try request.archive.map { [plan] in
            try Packing.target($0, request, plan)
        }
    }

    private static func target(_ archive: FilePath, _ request: PackRequest, _ plan: PackPlan) throws
        -> TargetTransaction<ArchiveContent>
    {
        let place = try TargetPlace(
            request.place ?? FilePlace(following: archive), called: archive,
            sources: plan.files.map(\.file.identity) + (plan.parent?.line ?? []).map(\.file.identity))
        if place.existing?.size ?? 0 > 0, try !ArchiveAddress.isArchive(place.path) {
            throw MigrationError(
                .target,
                "\(place.path): exists and is no archive (it is never replaced; the archive's name comes first)"
            )
        }
        var composer = plan.composer
        // The archive has its id from then on.
        _ = composer.begin()
        let job = ArchiveManifest.Job(
            archive: composer.id.description, consistent: plan.isConsistent, segment: request.segmentLength,
            sources: plan.facts.map(\.recorded), target: place.path.absolute.description)
        return TargetTransaction(
            place: place, content: ArchiveContent(job: job, images: Set(plan.asked.map(\.description))),
            access: TargetAccess(holding: plan.facts.map(\.access)), policy: request.policy)
    }

    package var warnings: [Message] { plan.unrestorable }

    private func hasChanged() throws -> Bool { try plan.sources.contains { try !$0.chain.isUnchanged() } }

    /// What an interrupted run left is not looked at.
    package func checkStart() throws {
        guard let target, try target.findings.record == nil else { return }
        try target.checkReplaceable()
    }

    /// An archive on standard output is never there.
    package func state() throws -> TargetState { try target?.state() ?? .absent }

    package func difference() throws -> JobDifference? { try target?.difference() }

    package func run(_ options: MoveOptions, tell: (String) -> Void) async throws -> MoveResult {
        guard var target else {
            try await stream(options)
            return .moved(resumed: 0, hasChanged: try hasChanged())
        }
        if request.policy.reread, !request.policy.restart { target = try await again(target, options, tell) }
        switch try target.begin() {
        case .upToDate: return .upToDate
        case .held: return .held(resumed: 0)
        case .named: return .named
        case .open(let open): return try await write(open, options)
        }
    }

    /// `target` as it is to be moved where nothing that times say is believed: what is there and
    /// does not hold what packing would write now is replaced; what was only begun is forgotten.
    private func again(
        _ target: TargetTransaction<ArchiveContent>, _ options: MoveOptions, _ tell: (String) -> Void
    ) async throws -> TargetTransaction<ArchiveContent> {
        var again = target
        again.policy.restart = true
        guard try target.isUpToDate(), let recorded = try target.findings.record?.completion else {
            return again
        }
        try beginProgress(options.progress)
        var composer = plan.composer
        _ = composer.begin()
        let end = try await finish(composer, .nowhere, nil, sharing: sharedContent(), options)
        if end.previous.description == recorded.digest { return target }
        tell(
            "\(target.place.path): its sources are not what was packed, whatever their times say: it is made again"
        )
        again.policy.only = target.place.existing
        return again
    }

    private func stream(_ options: MoveOptions) async throws {
        var composer = plan.composer
        let beginning = composer.begin()
        try beginProgress(options.progress)
        let pipe = PipeWriter { [stop = options.stop] in stop.isRequested }
        try beginning.withUnsafeBytes { try pipe.write($0) }
        try await finish(composer, .pipe(pipe), nil, sharing: sharedContent(), options)
    }

    private func write(_ target: OpenTarget<ArchiveContent>, _ options: MoveOptions) async throws
        -> MoveResult
    {
        let shared = try sharedContent()
        var composer: ArchiveComposer
        var resumed: UInt64 = 0
        if let checkpoint = target.recorded?.checkpoint,
            let again = try recomposed(from: target.file, to: checkpoint, sharing: shared)
        {
            (composer, resumed) = (again, checkpoint.length)
            try target.resume()
            try target.file.setLength(checkpoint.length)
        } else {
            composer = plan.composer
            let beginning = composer.begin()
            try target.beginAnew()
            try target.file.reset(length: 0)
            try beginning.withUnsafeBytes { try target.file.write($0, at: 0) }
        }
        try FailPoint.stagingReady.pass()
        try beginProgress(options.progress)
        let end = try await finish(
            composer, .file(target.file), target.manifest, sharing: shared, options)
        _ = try target.commit(end.previous)
        return .moved(resumed: resumed, hasChanged: try hasChanged())
    }

    /// Packs all records that `composer` has not had and writes the end.
    @discardableResult
    private func finish(
        _ composer: ArchiveComposer, _ output: PackOutput, _ manifest: ManifestFile?,
        sharing shared: SharedContent?, _ options: MoveOptions
    ) async throws -> ArchiveComposer {
        let pipeline = PackPipeline(
            sources: plan.sources, compression: request.compression, shortestZeroRun: request.shortestZeroRun,
            shared: shared.map { Locked($0) }, segmentLength: request.segmentLength,
            isConsistent: plan.isConsistent, options: options)
        var end = try await pipeline.pack(composer, to: output, recordingIn: manifest)
        if options.stop.isRequested {
            throw MigrationError(
                .stopped, "\(request.archiveName): stopped by a signal (run the same command again)")
        }
        if plan.isConsistent {
            for file in plan.files { try file.file.checkUnused() }
            for source in plan.sources { try source.chain.checkUnchanged() }
        }
        let offset = end.offset
        try (try end.finish()).withUnsafeBytes { try output.write($0, at: offset) }
        return end
    }

    /// What finds content that is stored already; nil where nothing is to refer to anything.
    private func sharedContent() throws -> SharedContent? {
        plan.header.options.sharesContent ? try SharedContent(plan.sources) : nil
    }

    /// The composer as it was at `checkpoint`, from the records that are there; nil where they are
    /// not what was written. `shared` takes in what they store.
    private func recomposed(
        from file: TargetFile, to checkpoint: ArchiveManifest.Checkpoint, sharing shared: SharedContent?
    ) throws -> ArchiveComposer? {
        var composer = plan.composer
        _ = composer.begin()
        do {
            let image = try file.reading()
            let reader = try ArchiveReader(ByteStream(image))
            guard reader.id == composer.id else { return nil }
            let places = RecordPlaces(layers: plan.header.layers.count)
            let opener = try RecordOpener(
                reader.format, ArchiveFile(image, reader, scanned: places, nil, parent: plan.parent?.archive))
            let digester = try WindowDigester()
            let frame = try AlignedBuffer(capacity: FrameFormat.longest)
            while composer.sequence < checkpoint.sequence {
                guard let run = try reader.next() else { return nil }
                places.add(reader)
                try reader.readFrame(of: run, into: frame.bytes)
                let opened = try opener.open(
                    run, UnsafeRawBufferPointer(rebasing: frame.bytes[..<run.frameLength]))
                guard opened.lost.isEmpty else { return nil }
                let layer = plan.header.layers[run.layer]
                composer.add(
                    digester.entries(of: run, opened.bytes, isRaw: layer.isRaw, length: layer.guestLength),
                    of: run.layer)
                shared?.take(run.layer, run.runs, opened.bytes)
                _ = composer.run(run)
            }
        } catch is ArchiveError {
            return nil
        }
        return composer.offset == checkpoint.length ? composer : nil
    }

    /// Bytes of data that are read in all.
    package func dataLength() throws -> UInt64 {
        try plan.sources.filter { !$0.isInherited }.reduce(0) {
            $0 + (try $1.chain.countData($1.holding, in: []).all)
        }
    }

    private func beginProgress(_ progress: Progress) throws {
        let total = progress.isShown ? try dataLength() : nil
        progress.begin(
            Progress.Snapshot(
                name: request.archiveName, total: total,
                length: plan.sources.reduce(0) { $0 &+ $1.recordedLength }))
    }
}
