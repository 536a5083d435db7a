internal import DiskImages
internal import Linux
internal import Manifests
package import Stages
internal import SystemPackage
internal import TransportArchive

/// A fleet packed into one archive, resumable at every checkpoint.
package struct Packing {
    private var request: PackRequest
    private let plan: PackPlan
    private let place: TargetPlace?

    /// Opens and checks every source before anything is written.
    package init(_ request: PackRequest, stop: StopFlag) throws {
        self.request = request
        plan = try PackPlan(
            request.images, request.options, flatten: request.flatten, compression: request.compression,
            zeroRun: request.shortestZeroRun,
            stop: stop)
        place = try request.archive.map { [plan] in
            try TargetPlace(
                request.place ?? FilePlace(following: $0), called: $0,
                sources: plan.files.map(\.file.identity))
        }
        if let place, place.existing?.size ?? 0 > 0, try !ArchiveVerification.isArchive(place.path) {
            throw MigrationError(
                .target,
                "\(place.path): exists and is no archive (it is never replaced; the archive's name comes first)"
            )
        }
    }

    /// What a user should know although the archive can be made.
    package var warnings: [String] { plan.unrestorable }

    /// Whether a file that was read by force has changed since: the archive is of no one moment
    /// then.
    package func hasChanged() throws -> Bool { try plan.sources.contains { try !$0.chain.isUnchanged() } }

    /// Throws where the archive's name is taken; nothing is changed. What an interrupted run left
    /// is not looked at.
    package func checkStart() throws {
        guard let place, try ManifestFile.readArchive(of: place.file) == nil else { return }
        try ReplacementPolicy(request.archive ?? place.path, force: request.force, only: request.replacing)
            .check(place.existing)
    }

    /// Does what is left to do; safe to repeat after any interruption.
    /// `tell` hears what a user wants to know at once.
    package func run(progress: Progress, stop: StopFlag, tell: (String) -> Void = { _ in }) async throws
        -> PackResult
    {
        guard request.reread, !request.restart, let place else { return try await run(progress, stop) }
        var again = self
        if try await again.isAsRecorded(at: place, progress, stop, tell) {
            return try await run(progress, stop)
        }
        return try await again.run(progress, stop)
    }

    /// Whether the archive that is there holds what packing would write now. Where it does not, it
    /// is to be replaced; what was only begun is forgotten.
    private mutating func isAsRecorded(
        at place: TargetPlace, _ progress: Progress, _ stop: StopFlag, _ tell: (String) -> Void
    )
        async throws -> Bool
    {
        var composer = try ArchiveComposer(plan.header)
        _ = composer.begin()
        let isComplete = try isUpToDate(job(of: composer, at: place), at: place)
        request.restart = true
        guard isComplete, let recorded = try ManifestFile.readArchive(of: place.path)?.completion else {
            return false
        }
        try beginProgress(progress)
        let end = try await finish(composer, .nowhere, nil, progress, stop)
        if end.previous.description == recorded.digest { return true }
        tell("\(place.path): its sources are not what was packed, whatever their times say: it is made again")
        request.replacing = place.existing
        return false
    }

    private func run(_ progress: Progress, _ stop: StopFlag) async throws -> PackResult {
        var composer = try ArchiveComposer(plan.header)
        let beginning = composer.begin()
        guard let place else {
            try beginProgress(progress)
            let pipe = PipeWriter { stop.isRequested }
            try beginning.withUnsafeBytes { try pipe.write($0) }
            try await finish(composer, .pipe(pipe), nil, progress, stop)
            return .packed(length: 0, resumed: 0)
        }
        var job = try job(of: composer, at: place)
        if try isUpToDate(job, at: place) {
            // An earlier run may have died before the name was durable.
            try place.file.folder.synchronize()
            return .upToDate
        }
        var replacing = ReplacementPolicy(
            request.archive ?? place.path, force: request.force, only: request.replacing)
        // What is refused leaves no manifest behind.
        if try ManifestFile.place(of: place.file).identity() == nil { try replacing.check(place.existing) }
        let manifest = try ManifestFile(of: place.file, usesLock: request.usesLock)
        let existing = try place.file.identity()
        let start = try start(manifest, job, existing, &replacing)
        switch start {
        case .upToDate:
            try place.file.folder.synchronize()
            return .upToDate
        case .name(let partial):
            try TargetFile.publish(place.file, partial, replacing: replacing.check)
            manifest.forgetEarlierJobsIfPossible()
            return .named
        case .begin, .resume: break
        }
        let file = try TargetFile(staging: place.file)
        var resumed: UInt64 = 0
        if case .resume(let checkpoint, let recorded) = start,
            let again = try recomposed(from: file, to: checkpoint)
        {
            composer = again
            resumed = checkpoint.length
            try manifest.cut(to: recorded)
            try file.setLength(checkpoint.length)
        } else {
            job.replaces = existing.map(ManifestJob.Replaced.init)
            job.time = WallClock.now
            try manifest.begin(job)
            try file.reset(length: 0)
            try beginning.withUnsafeBytes { try file.write($0, at: 0) }
        }
        try beginProgress(progress)
        let output = PackOutput.file(file)
        let end = try await finish(composer, output, manifest, progress, stop)
        try TargetAccess(holding: plan.files.map { try $0.file.access() }).give(to: file, manifest)
        try file.synchronizeWithTimes()
        let identity = try file.identity()
        // As for every target.
        try replacing.check(place.file.identity())
        try manifest.append(
            ManifestCompletion(
                digest: end.previous.description, header: nil, size: identity.size,
                mtime: identity.mtime.description))
        try manifest.checkStillLocked()
        try file.publish(replacing: replacing.check)
        manifest.forgetEarlierJobsIfPossible()
        return .packed(length: identity.size, resumed: resumed)
    }

    /// Packs all records that `composer` has not had and writes the end.
    @discardableResult
    private func finish(
        _ composer: ArchiveComposer, _ output: PackOutput, _ manifest: ManifestFile?, _ progress: Progress,
        _ stop: StopFlag
    ) async throws -> ArchiveComposer {
        let pipeline = PackPipeline(
            sources: plan.sources, compression: request.compression, shortestZeroRun: request.shortestZeroRun,
            workers: request.workers,
            rate: request.rate, segmentLength: request.segmentLength, isConsistent: plan.isConsistent,
            progress: progress, stop: stop)
        var end = try await pipeline.pack(composer, to: output, recordingIn: manifest)
        if stop.isRequested {
            throw MigrationError(
                .stopped,
                "\(request.archive?.description ?? "standard output"): stopped by a signal (run the same command again)"
            )
        }
        if plan.isConsistent {
            for file in plan.files { try file.file.checkUnused() }
            for source in plan.sources { try source.chain.checkUnchanged() }
        }
        let offset = end.offset
        try (try end.finish()).withUnsafeBytes { try output.write($0, at: offset) }
        return end
    }

    private enum Start {
        case upToDate, begin
        /// The staging file is whole, and this very one.
        case name(FileIdentity)
        /// `recorded`: the length of what the manifest soundly says.
        case resume(ArchiveManifest.Checkpoint, recorded: Int)
    }

    private func job(of composer: ArchiveComposer, at place: TargetPlace) throws -> ArchiveManifest.Job {
        ArchiveManifest.Job(
            archive: composer.id.description, consistent: plan.isConsistent, segment: request.segmentLength,
            sources: try plan.files.map(ManifestJob.Source.init), target: place.path.absolute.description)
    }

    /// What is there already, and what it means for this very archive; an archive on standard
    /// output is never there.
    package func state() throws -> TargetState {
        guard let place else { return .absent }
        var composer = try ArchiveComposer(plan.header)
        // The archive has its id from then on.
        _ = composer.begin()
        let job = try job(of: composer, at: place)
        let manifest = try ManifestFile.readArchive(of: place.file)
        let history = TargetHistory(
            isSameJob: manifest?.job?.isSameMove(as: job) == true,
            isSameSource: try manifest?.job.map { try holdsOneOfOurs($0) } ?? false,
            hasCheckpoint: manifest?.checkpoint != nil,
            completion: manifest?.completion, replaces: manifest?.job?.replaces)
        return try history.state(
            existing: place.existing, partial: try TargetFile.partial(of: place.file).identity()
        )
        .considering(users: place.path, place.existing)
    }

    /// Whether the archive that `job` made has one of the images that this one is to have: it is
    /// the same one, as it was. A shared base does not count.
    private func holdsOneOfOurs(_ job: ArchiveManifest.Job) throws -> Bool {
        let paths = Set(job.sources.map(\.path))
        return try request.images.contains { paths.contains(try resolved($0).description) }
    }

    /// Whether the archive is there, whole and of this very job; nothing is locked or changed, and
    /// nothing need be writable.
    private func isUpToDate(_ job: ArchiveManifest.Job, at place: TargetPlace) throws -> Bool {
        guard !request.restart, let existing = place.existing else { return false }
        do {
            guard let manifest = try ManifestFile.readArchive(of: place.file),
                manifest.job?.isSameMove(as: job) == true,
                manifest.completion?.matches(existing) == true
            else { return false }
        } catch is ManifestError {
            // What is wrong with it is said when it is locked.
            return false
        }
        return try !request.usesLock || !ManifestFile.isHeld(of: place.file)
    }

    private func start(
        _ manifest: ManifestFile, _ job: ArchiveManifest.Job, _ existing: FileIdentity?,
        _ replacing: inout ReplacementPolicy
    ) throws -> Start {
        guard let place else { return .begin }
        let found: ArchiveManifest
        do {
            found = try manifest.loadArchive()
        } catch let error as ManifestError {
            guard try manifest.isForgettable(asArchive: true, restart: request.restart) else { throw error }
            found = try ArchiveManifest(parsing: [], path: manifest.path)
        }
        let partial = try TargetFile.partial(of: place.file).identity()
        let isSameJob = found.job?.isSameMove(as: job) == true
        // Of a device it begins anew.
        let isAgain = job.readsDevice && found.job?.isSameRequest(as: job) == true
        if let completion = found.completion, isSameJob, !request.restart, let existing,
            completion.matches(existing)
        {
            return .upToDate
        }
        let checkpoint = found.completion == nil && !request.restart ? found.checkpoint : nil
        if checkpoint != nil, !isSameJob, !isAgain, found.job?.consistent != false, job.consistent {
            throw MigrationError(
                .badData,
                "\(manifest.path): holds a checkpoint of another archive or of changed sources (--restart forgets it)"
            )
        }
        try replacing.accept(existing) { existing in
            guard isSameJob || isAgain else { return false }
            // What this move was to replace when it began; or the archive itself, of which only the
            // last record was lost.
            return try found.job?.replaces?.matches(existing) == true
                || isSameJob && found.completion == nil && partial == nil && isWhole(place, job)
        }
        if let completion = found.completion, isSameJob, !request.restart, let partial,
            completion.matches(partial)
        {
            return .name(partial)
        }
        if let checkpoint, isSameJob, let partial, partial.isRegular, partial.size >= checkpoint.length {
            return .resume(checkpoint, recorded: found.wholeLength)
        }
        return .begin
    }

    /// Whether the file at `place` is the archive that `job` makes, to its end.
    private func isWhole(_ place: TargetPlace, _ job: ArchiveManifest.Job) throws -> Bool {
        do {
            let file = try ImageFile(opening: place.file)
            let reader = try ArchiveReader(ByteStream(file))
            _ = try reader.readIndex(of: file)
            return reader.id.description == job.archive
        } catch is ArchiveError {
            return false
        }
    }

    /// The composer as it was at `checkpoint`, from the records that are there; nil where they are
    /// not what was written.
    private func recomposed(from file: TargetFile, to checkpoint: ArchiveManifest.Checkpoint) throws
        -> ArchiveComposer?
    {
        var composer = try ArchiveComposer(plan.header)
        _ = composer.begin()
        do {
            let reader = try ArchiveReader(ByteStream(try file.reading()))
            guard reader.id == composer.id else { return nil }
            while composer.sequence < checkpoint.sequence {
                guard let run = try reader.next() else { return nil }
                if run.frameLength > 0 { try reader.skipFrame(of: run) }
                _ = composer.run(run)
            }
        } catch is ArchiveError {
            return nil
        }
        return composer.offset == checkpoint.length ? composer : nil
    }

    /// Bytes of data that are read in all.
    package func dataLength() throws -> UInt64 {
        try plan.sources.reduce(0) { $0 + (try $1.chain.countData($1.holding, in: []).all) }
    }

    private func beginProgress(_ progress: Progress) throws {
        let total = progress.isShown ? try dataLength() : nil
        progress.begin(
            Progress.Snapshot(
                name: request.archive?.description ?? "standard output", total: total,
                length: plan.sources.reduce(0) { $0 &+ $1.chain.guestLength }))
    }
}
