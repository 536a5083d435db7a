internal import DiskImages
internal import ImageFormats
package import Linux
internal import Manifests
internal import Stages
package import SystemPackage

/// One image moved onto a block device, in place. Its manifest lies wherever somebody says.
///
/// Nothing proves that a device is what it was: what an earlier run finished is read back before
/// another goes on with it, and one that is complete is written again.
package struct DeviceConversion: TargetMove {
    private let request: ConversionRequest
    private let chain: ImageChain
    private let plan: ConversionPlan
    private let place: TargetPlace
    private let manifest: FilePlace

    /// Opens the chain and looks at the device; nothing is written. `request` asks for a raw
    /// target.
    package init(_ request: ConversionRequest, recordedIn manifest: FilePath) throws {
        self.request = request
        chain = try ImageChain.open(request.source, request.options)
        place = try TargetPlace(device: request.target, sources: chain.layers.map(\.file.identity))
        // Its name says which file is a manifest, to everybody who looks for some.
        guard manifest.extension == "manifest" else {
            throw MigrationError(
                .usage, "\(manifest): expected a name that ends in .manifest (\(.manifest))")
        }
        self.manifest = try TargetPlace(
            FilePlace(following: FilePath(String(manifest.string.dropLast(".manifest".count)))),
            called: manifest, sources: chain.layers.map(\.file.identity)
        ).file.withSuffix(".manifest")
        plan = try ConversionPlan(request, chain, at: place)
    }

    private var job: ManifestJob { plan.job }

    package var warnings: [Message] {
        chain.warnings
    }

    package func state() throws -> TargetState {
        try ManifestFile.read(at: manifest).map(isResumable) == true ? .unfinished : .stale
    }

    package func difference() -> JobDifference? { nil }

    package func checkStart() throws {
        if let record = try ManifestFile.read(at: manifest), !request.policy.restart { try check(record) }
    }

    /// Throws where `record` is of something else that would be lost.
    private func check(_ record: ManifestContents) throws {
        guard let recorded = record.job else { return }
        guard recorded.target.path == job.target.path else {
            throw MigrationError(
                .target,
                "\(manifest.path): is the manifest of \(recorded.target.path) (\(.manifest) names another one)"
            )
        }
        guard record.completion == nil, recorded.consistent, job.consistent, !record.segments.isEmpty,
            !recorded.isSameRequest(as: job)
        else { return }
        throw MigrationError(
            .badData,
            "\(manifest.path): holds a checkpoint of \(ImageContent(job: job, format: plan.format).difference(from: recorded).recorded) (\(.restart) forgets it)"
        )
    }

    private func isResumable(_ record: ManifestContents) -> Bool {
        record.completion == nil && job.consistent && record.job?.isSameMove(as: job) == true
    }

    package func run(_ options: MoveOptions, tell: (String) -> Void) async throws -> MoveResult {
        let file = try TargetFile(device: place.path)
        guard try file.identity().size >= chain.guestLength else {
            throw MigrationError(
                .target,
                "\(request.target): is \(try file.identity().size) bytes long; expected at least \(chain.guestLength)"
            )
        }
        let manifest = try ManifestFile(at: manifest)
        try manifest.checkIsOurs()
        let record = request.policy.restart ? nil : try manifest.load()
        if let record { try check(record) }
        var finished: [ManifestSegment] = []
        if let record, isResumable(record), try await isHeld(record.segments, by: file, options, tell) {
            finished = record.segments
            try manifest.cut(to: record.wholeLength)
        } else {
            var job = job
            job.time = WallClock.now
            try manifest.begin(job)
        }
        return try await write(file, manifest, finished, options)
    }

    /// Whether the device still has what is recorded of it: all of that is read.
    private func isHeld(
        _ segments: [ManifestSegment], by file: TargetFile, _ options: MoveOptions, _ tell: (String) -> Void
    ) async throws -> Bool {
        let ranges = ManifestSegment.ranges(of: segments)
        let disk = ImageLayer(file: try file.reading(), content: RawContent(size: chain.guestLength))
        let content = ChainContent(
            ImageChain(layers: [disk]), .everything(marks: false), segmentLength: request.segmentLength,
            finished: ManifestSegment.gaps(between: ranges, in: chain.guestLength),
            progress: Progress(isShown: false))
        let mismatch = try await CopyPipeline(content, options).firstMismatch(
            with: RecordedSegments(segments))
        try checkStopped(options.stop)
        if let mismatch {
            tell(
                "\(request.target): is not what was recorded of it at sector \(mismatch / sectorSize): it is written from the start"
            )
        }
        return mismatch == nil
    }

    private func write(
        _ file: TargetFile, _ manifest: ManifestFile, _ finished: [ManifestSegment], _ options: MoveOptions
    ) async throws -> MoveResult {
        let ranges = ManifestSegment.ranges(of: finished)
        try chain.begin(options.progress, named: request.source.description, plan.holding, finished: ranges)
        let (chain, isConsistent) = (chain, job.consistent)
        let checkSources = { @Sendable in if isConsistent { try chain.checkUnchanged() } }
        let content = ChainContent(
            chain, plan.holding, segmentLength: request.segmentLength,
            shortestZeroRun: request.shortestZeroRun, finished: ranges, progress: options.progress)
        let segments =
            try await finished
            + CopyPipeline(content, options).copy(
                to: DeviceSink(file: file), recordingIn: manifest, checkSources: checkSources)
        guard ManifestSegment.cover(segments, chain.guestLength) else {
            try checkStopped(options.stop)
            throw MigrationError(.bug, "\(request.target): the pipeline ended before the disk did")
        }
        try checkSources()
        if isConsistent { try chain.checkUnused() }
        try file.synchronizeWithTimes()
        let identity = try file.identity()
        try manifest.append(
            ManifestCompletion(
                digest: ManifestSegment.digest(of: segments).description, header: nil, size: identity.size,
                mtime: identity.mtime.description))
        manifest.forgetEarlierJobsIfPossible()
        return .moved(
            resumed: ManifestSegment.length(of: ranges), hasChanged: try !chain.isUnchanged())
    }

    private func checkStopped(_ stop: StopFlag) throws {
        guard stop.isRequested else { return }
        throw MigrationError(
            .stopped, "\(request.target): stopped by a signal (run the same command again to go on)")
    }
}
