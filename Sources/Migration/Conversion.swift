internal import DiskImages
internal import ImageFormats
internal import SystemPackage

/// One image moved to one target, resumable at every segment.
package struct Conversion {
    private let request: ConversionRequest
    private let chain: ImageChain
    private let place: TargetPlace
    private let plan: TargetPlan

    /// Opens the chain and decides everything that can be decided without writing.
    package init(_ request: ConversionRequest) throws {
        self.request = request
        chain = try ImageChain.open(request.source, request.options)
        var files = chain.layers.map(\.file.identity)
        if let backing = request.backing, let identity = try ImageFile.identity(at: backing) { files.append(identity) }
        place = try TargetPlace(request.target, sources: files)
        plan = try TargetPlan(request, chain, at: place)
    }

    /// What a user should know although the conversion can begin.
    package var warnings: [String] {
        chain.layers.compactMap { $0.header?.isPastUMLLimit == true ? "\($0.path): \(CowHeader.pastUMLLimit)" : nil }
    }

    /// Does what is left to do; safe to repeat after any interruption.
    /// Throws `stopped` when `stop` was requested before the end; everything up to the last checkpoint is kept.
    package func run(progress: Progress, stop: StopFlag) async throws -> ConversionResult {
        let isFirst = try ImageFile.identity(at: ManifestFile.path(of: place.path)) == nil
        if isFirst {
            // What is refused leaves no manifest behind.
            if place.existing != nil, !request.force { throw targetExists }
            try plan.overlay?.prove(chain, options: request.options)
        }
        let manifest = try ManifestFile(of: place.path)
        switch try start(manifest) {
        case .upToDate: return .upToDate
        case .name:
            try TargetFile.publish(place.path)
            return .named
        case .begin:
            if !isFirst { try plan.overlay?.prove(chain, options: request.options) }
            return try await move(recordingIn: manifest, [], progress, stop)
        case .resume(let recorded):
            return try await move(recordingIn: manifest, recorded, progress, stop)
        }
    }

    private enum Start {
        case upToDate, name, begin
        case resume([ManifestSegment])
    }

    private var targetExists: MigrationError {
        MigrationError(.target, "\(request.target): exists (--force replaces it)")
    }

    /// What the files that are there mean for this run.
    private func start(_ manifest: ManifestFile) throws -> Start {
        let found: ManifestContents
        do {
            found = try manifest.load()
        } catch let error as MigrationError {
            // Only what begins as a manifest of ours is ever forgotten.
            guard request.restart, try manifest.isOurs() else { throw error }
            found = try ManifestContents(parsing: [], path: manifest.path)
        }
        let isSameJob = found.job == plan.job && plan.job.consistent
        let partial = try ImageFile.identity(at: TargetFile.partialPath(of: place.path))
        if let completion = found.completion, isSameJob, !request.restart {
            if let target = place.existing, completion.matches(target) { return .upToDate }
            if let partial, completion.matches(partial) { return .name }
        }
        let isUnfinished = found.job != nil && found.completion == nil
        if isUnfinished, isSameJob, !request.restart, let partial, partial.isRegular, partial.size == plan.job.target.size {
            return .resume(found.segments)
        }
        if isUnfinished, !isSameJob, !request.restart, !found.segments.isEmpty, found.job?.consistent == true, plan.job.consistent {
            throw MigrationError(
                .badData,
                "\(manifest.path): holds a checkpoint of \(difference(from: found.job)) (--restart forgets it)")
        }
        if place.existing != nil, !request.force { throw targetExists }
        return .begin
    }

    /// What a person would call the difference between the recorded job and this one.
    private func difference(from job: ManifestJob?) -> String {
        guard let job else { return "another job" }
        if job.sources.map(\.path) == plan.job.sources.map(\.path), job.sources != plan.job.sources {
            let changed = zip(job.sources, plan.job.sources).first { $0 != $1 }?.0.path ?? "a file"
            return "this job before \(changed) changed"
        }
        return job.sources == plan.job.sources ? "the same source with other options" : "another source, \(job.sources.first?.path ?? "")"
    }

    /// Writes what `recorded` lacks, and then names the target.
    private func move(
        recordingIn manifest: ManifestFile, _ recorded: [ManifestSegment], _ progress: Progress, _ stop: StopFlag
    ) async throws -> ConversionResult {
        let file = try TargetFile(staging: place.path)
        let sink: any ImageSink = plan.header.map { CowSink(file: file, header: $0) } ?? RawSink(file: file, length: chain.guestLength)
        let finished = ManifestSegment.ranges(of: recorded)
        if recorded.isEmpty {
            try manifest.begin(plan.job)
            try sink.prepare()
        } else {
            for gap in gaps(between: finished) { try sink.clear(gap) }
        }
        try beginProgress(progress, finished)
        let job = PipelineJob(
            chain: chain, holding: plan.holding, segmentLength: request.segmentLength, shortestZeroRun: request.shortestZeroRun,
            workers: request.workers, rate: request.rate, progress: progress, stop: stop)
        let added = try await job.convert(to: sink, recordingIn: manifest, leavingOut: finished) { [chain, plan] in
            if plan.job.consistent { try chain.checkUnchanged() }
        }
        let segments = recorded + added
        guard ManifestSegment.ranges(of: segments) == (chain.guestLength == 0 ? [] : [0..<chain.guestLength]) else {
            guard stop.isRequested else { throw MigrationError(.bug, "\(request.target): the pipeline ended before the disk did") }
            throw MigrationError(.stopped, "\(request.target): stopped by a signal (run the same command again to go on)")
        }
        let hasChanged = try !chain.isUnchanged()
        if plan.job.consistent { try chain.checkUnchanged() }
        try complete(file, manifest, segments)
        return .converted(resumed: finished.reduce(0) { $0 + ($1.upperBound - $1.lowerBound) }, hasChanged: hasChanged)
    }

    /// The end, in the order that leaves nothing half-written under the final name.
    private func complete(_ file: TargetFile, _ manifest: ManifestFile, _ segments: [ManifestSegment]) throws {
        try file.synchronizeWithTimes()
        let identity = try file.identity()
        try manifest.append(
            ManifestCompletion(
                digest: ManifestSegment.digest(of: segments).description,
                header: try plan.header.map { try $0.digest(in: file.partialPath).description },
                size: identity.size, mtime: identity.mtime.description))
        try manifest.checkStillLocked()
        try file.publish()
    }

    private func beginProgress(_ progress: Progress, _ finished: [Range<UInt64>]) throws {
        let data = progress.isShown ? try chain.countData(plan.holding, in: finished) : nil
        let covered = finished.reduce(0) { $0 + ($1.upperBound - $1.lowerBound) }
        progress.begin(
            Progress.Snapshot(
                name: request.source.description, total: data?.all, done: data?.within ?? 0, resumed: data?.within ?? 0,
                length: chain.guestLength,
                covered: covered))
    }

    private func gaps(between finished: [Range<UInt64>]) -> [Range<UInt64>] {
        var gaps: [Range<UInt64>] = []
        var position: UInt64 = 0
        for range in finished + [chain.guestLength..<chain.guestLength] {
            if range.lowerBound > position { gaps.append(position..<range.lowerBound) }
            position = max(position, range.upperBound)
        }
        return gaps
    }
}

extension ManifestCompletion {
    /// Whether `file` is the target as it was when it was completed.
    func matches(_ file: FileIdentity) -> Bool { file.isRegular && file.size == size && file.mtime.description == mtime }
}

extension CowHeader {
    /// The digest of what a file with this header has before its bitmap.
    func digest(in path: FilePath) throws -> ContentDigest {
        var bytes = [UInt8](repeating: 0, count: Int(geometry.bitmapOffset))
        let file = try ImageFile(opening: path)
        try bytes.withUnsafeMutableBytes { try file.read(into: $0, at: 0) }
        return ContentDigest(of: bytes)
    }
}
