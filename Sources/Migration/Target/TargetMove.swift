internal import DiskImages
internal import ImageFormats
internal import Linux
internal import Manifests
internal import Stages
internal import SystemPackage

/// One target written, whatever from: what an earlier run left is looked at, what is missing is
/// written, and the name comes last.
struct TargetMove {
    /// What became of it.
    enum Result: Equatable {
        case upToDate
        case named
        case moved(resumed: UInt64)
        /// Whole, and without its name until its family is.
        case held(resumed: UInt64)
    }

    /// The target's name as it was given.
    let name: FilePath
    let place: TargetPlace
    let job: ManifestJob
    let header: CowHeader?
    /// Who may read it.
    let access: TargetAccess
    /// The modification time that the target gets; nil leaves that of its completion.
    var mtime: Timestamp? = nil
    var restart: Bool
    var replacing: ReplacementPolicy
    /// False where the file system has no locks.
    var usesLock = true
    var naming = TargetNaming.atOnce

    /// What a run begins with.
    enum Start {
        case upToDate, held, begin
        /// The staging file is whole, and this very one.
        case name(FileIdentity)
        case resume([ManifestSegment])
    }

    /// Does what is left to do. `prepare` runs before anything is written, where nothing is
    /// recorded yet. `write` writes everything but the finished ranges and returns what it
    /// recorded; `finish` has the last word before the target is called complete.
    func run(
        prepare: () throws -> Void,
        write: (any ImageSink, ManifestFile, _ finished: [Range<UInt64>]) async throws -> [ManifestSegment],
        stop: StopFlag, finish: () throws -> Void
    ) async throws -> Result {
        // A manifest that grows past what is read back would be of no use.
        guard job.target.length / job.options.segment < 1 << 20 else {
            throw MigrationError(
                .usage,
                "\(name): --segment \(job.options.segment) makes over a million checkpoints (give a larger one)"
            )
        }
        if try isUpToDate(), try !isHeld() {
            // An earlier run may have died before the name was durable.
            try place.file.folder.synchronize()
            return .upToDate
        }
        let isFirst = try ManifestFile.place(of: place.file).identity() == nil
        if isFirst {
            // What is refused leaves no manifest behind.
            try replacing.check(place.existing)
            try prepare()
        }
        let manifest = try ManifestFile(of: place.file, usesLock: usesLock)
        // Only now, under the lock, does what stands there stay what it is.
        let existing = try place.file.identity()
        let recorded: [ManifestSegment]
        var replacing = replacing
        let found = try load(manifest)
        switch try start(found, existing, &replacing) {
        case .upToDate:
            try place.file.folder.synchronize()
            return .upToDate
        case .name(let partial):
            try TargetFile.publish(place.file, partial, replacing: replacing.check)
            manifest.forgetEarlierJobsIfPossible()
            return .named
        case .held: return .held(resumed: job.target.length)
        case .begin:
            if !isFirst { try prepare() }
            recorded = []
        case .resume(let segments):
            try manifest.cut(to: found.wholeLength)
            recorded = segments
        }
        let file = try TargetFile(staging: place.file)
        let sink = sink(in: file)
        let finished = ManifestSegment.ranges(of: recorded)
        if recorded.isEmpty {
            var job = job
            job.replaces = existing.map(ManifestJob.Replaced.init)
            job.time = WallClock.now
            try manifest.begin(job)
            try sink.prepare()
        } else {
            for gap in gaps(between: finished) { try sink.clear(gap) }
        }
        let segments = recorded + (try await write(sink, manifest, finished))
        guard ManifestSegment.ranges(of: segments) == (job.target.length == 0 ? [] : [0..<job.target.length])
        else {
            guard stop.isRequested else {
                throw MigrationError(.bug, "\(name): the pipeline ended before the disk did")
            }
            throw MigrationError(
                .stopped, "\(name): stopped by a signal (run the same command again to go on)")
        }
        try finish()
        let isHeld = try complete(file, manifest, segments, replacing, before: try lastNamed(found, existing))
        let resumed = finished.reduce(0) { $0 + ($1.upperBound - $1.lowerBound) }
        return isHeld ? .held(resumed: resumed) : .moved(resumed: resumed)
    }

    /// Whether the target is there, whole and of this very job; nothing is locked or changed, and
    /// nothing need be writable.
    func isUpToDate() throws -> Bool {
        guard !restart, job.consistent, let existing = place.existing else { return false }
        do {
            guard let manifest = try ManifestFile.readEnds(of: place.file) else { return false }
            return try manifest.job?.isSameMove(as: job) == true
                && manifest.completion?.matches(existing) == true
                && !manifest.isWaiting(TargetFile.partial(of: place.file).identity())
        } catch is ManifestError {
            // What is wrong with it is said when it is locked.
            return false
        }
    }

    /// What is recorded of the file that has the name, or of the last one that had it; nil where
    /// that is damaged.
    private func lastNamed(_ found: ManifestContents, _ existing: FileIdentity?) throws -> ManifestCompletion?
    {
        guard naming == .withFamilyUnlessSame else { return nil }
        do {
            return try existing.map { try found.proof(of: $0)?.completion } ?? found.lastNamed
        } catch is ManifestError {
            return nil
        }
    }

    private func isHeld() throws -> Bool { try usesLock && ManifestFile.isHeld(of: place.file) }

    func sink(in file: TargetFile) -> any ImageSink {
        header.map { CowSink(file: file, header: $0) } ?? RawSink(file: file, length: job.target.size)
    }

    /// Throws what `run` would throw before it begins to write, as far as that can be seen without
    /// a lock; nothing is changed.
    func checkStart() throws {
        let nothing = try ManifestContents(parsing: [], path: ManifestFile.path(of: place.path))
        var replacing = replacing
        _ = try start(
            restart ? nothing : try ManifestFile.read(of: place.file) ?? nothing, place.existing, &replacing)
    }

    /// What `manifest`, which is locked, says; nothing where that may be forgotten.
    func load(_ manifest: ManifestFile) throws -> ManifestContents {
        do {
            return try manifest.load()
        } catch let error as ManifestError {
            guard try manifest.isForgettable(asArchive: false, restart: restart) else { throw error }
            return try ManifestContents(parsing: [], path: manifest.path)
        }
    }

    /// What the files that are there mean for this run. Throws `target` where a file has the name
    /// that this move may not replace.
    func start(_ found: ManifestContents, _ existing: FileIdentity?, _ replacing: inout ReplacementPolicy)
        throws -> Start
    {
        let isSameJob = found.job?.isSameMove(as: job) == true && job.consistent
        let partial = try TargetFile.partial(of: place.file).identity()
        let isWaiting = isSameJob && !restart && found.isWaiting(partial)
        if let completion = found.completion, isSameJob, !restart, !isWaiting, let existing,
            completion.matches(existing)
        {
            return .upToDate
        }
        // Of a device it begins anew.
        let isAgain = job.readsDevice && found.job?.isSameRequest(as: job) == true
        let isUnfinished = found.job != nil && found.completion == nil
        if isUnfinished, !isSameJob, !isAgain, !restart, !found.segments.isEmpty,
            found.job?.consistent == true, job.consistent
        {
            throw MigrationError(
                .badData,
                "\(ManifestFile.path(of: place.path)): holds a checkpoint of \(difference(from: found.job)) (--restart forgets it)"
            )
        }
        try replacing.accept(existing) { existing in
            guard isSameJob || isAgain else { return false }
            // What this move was to replace when it began; or its own target, of which only the
            // last record was lost.
            return found.job?.replaces?.matches(existing) == true
                || isSameJob && isUnfinished && partial == nil && existing.size == job.target.size
                    && found.covers(job.target.length)
        }
        if isWaiting, found.completion?.held == true {
            if naming != .atOnce { return .held }
            // Its overlays show other bytes until they are replaced with it.
            guard job.options.base != true else {
                throw MigrationError(
                    .target,
                    "\(name): is made anew, and takes its name with the overlays of its family (drover run of its pipeline goes on)"
                )
            }
        }
        if isWaiting, let partial { return .name(partial) }
        if isUnfinished, isSameJob, !restart, !found.segments.isEmpty, let partial, partial.isRegular,
            partial.size == job.target.size
        {
            return .resume(found.segments)
        }
        return .begin
    }

    /// What a person would call the difference between the recorded job and this one.
    private func difference(from other: ManifestJob?) -> String {
        guard let other else { return "another job" }
        if other.sources == job.sources { return "the same source with other options" }
        guard other.sources.map(\.path) == job.sources.map(\.path) else {
            return "another source, \(other.sources.first?.path ?? "")"
        }
        let changed = zip(other.sources, job.sources).first { $0 != $1 }?.0.path ?? "a file"
        return "this job before \(changed) changed"
    }

    /// The end, in the order that leaves nothing half-written under the final name, and nothing
    /// replaced that came to it meanwhile. Returns whether the name waits for a family; `before` is
    /// what was recorded of the file that had it.
    @discardableResult func complete(
        _ file: TargetFile, _ manifest: ManifestFile, _ segments: [ManifestSegment],
        _ replacing: ReplacementPolicy,
        lost: [ManifestCompletion.Lost]? = nil, before: ManifestCompletion? = nil
    ) throws -> Bool {
        if let mtime { try file.setMtime(mtime) }
        try access.give(to: file, manifest)
        try file.synchronizeWithTimes()
        let identity = try file.identity()
        // Before it is recorded: a complete target takes its name also where only a later run can
        // give it.
        try replacing.check(place.file.identity())
        var completion = ManifestCompletion(
            digest: ManifestSegment.digest(of: segments).description,
            header: try header.map { try $0.digest(in: file.reading()).description },
            size: identity.size, mtime: identity.mtime.description, lost: lost)
        if naming == .withFamily
            || naming == .withFamilyUnlessSame && before.map(completion.isSameTarget) != true
        {
            completion.held = true
        }
        try manifest.append(completion)
        try manifest.checkStillLocked()
        if completion.held == true { return true }
        try file.publish(replacing: replacing.check)
        manifest.forgetEarlierJobsIfPossible()
        return false
    }

    private func gaps(between finished: [Range<UInt64>]) -> [Range<UInt64>] {
        var gaps: [Range<UInt64>] = []
        var position: UInt64 = 0
        for range in finished + [job.target.length..<job.target.length] {
            if range.lowerBound > position { gaps.append(position..<range.lowerBound) }
            position = max(position, range.upperBound)
        }
        return gaps
    }
}

extension CowHeader {
    /// No header that Drover writes reaches further: its alignment is 1 MiB at most.
    private static let longestDigested: UInt64 = 2 << 20

    /// The digest of what a file with this header has before its bitmap.
    func digest(in file: ImageFile) throws -> ContentDigest {
        guard geometry.bitmapOffset <= CowHeader.longestDigested else {
            throw MigrationError(
                .badData,
                "\(file.path): its bitmap begins at offset \(geometry.bitmapOffset); expected \(CowHeader.longestDigested) at most"
            )
        }
        var bytes = [UInt8](repeating: 0, count: Int(geometry.bitmapOffset))
        try bytes.withUnsafeMutableBytes { try file.read(into: $0, at: 0) }
        return ContentDigest(of: bytes)
    }
}
