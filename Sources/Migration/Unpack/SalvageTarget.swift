internal import DiskImages
internal import Linux
internal import Manifests
internal import Stages
internal import SystemPackage
internal import TransportArchive

/// One file that is being salvaged: recorded as what it is, so that no ordinary run takes what was
/// restored in spite of damage for the whole.
struct SalvageTarget {
    private enum State {
        /// The file is there. `lost`: what an earlier salvage left out of it; empty where it is
        /// whole.
        case there(lost: [LostSectors])
        case open(OpenTarget<ImageContent>, sink: any ImageSink)
    }

    /// The job of an ordinary run.
    private let whole: ManifestJob
    private let name: FilePath
    private let state: State

    /// Begins with the file that `transaction` is to make, or goes on with it.
    init(_ transaction: TargetTransaction<ImageContent>) throws {
        whole = transaction.content.job
        name = transaction.place.name
        var transaction = transaction
        if let lost = try transaction.lostBefore() {
            state = .there(lost: lost)
            return
        }
        transaction.content.salvage()
        switch try transaction.begin() {
        case .open(let target): state = .open(target, sink: try target.prepare())
        case .upToDate, .named, .held:
            state = .there(lost: try transaction.findings.record?.completion?.lost ?? [])
        }
    }

    /// The target that is being written; nil where the file is there.
    var target: OpenTarget<ImageContent>? {
        if case .open(let target, _) = state { target } else { nil }
    }

    /// Moves what `pipeline` reads into the file, or only checks it where that is there. Returns
    /// the segments of the disk.
    func fill(by pipeline: CopyPipeline<some ContentSource>) async throws -> [ManifestSegment] {
        guard case .open(let target, let sink) = state else {
            try await pipeline.digest { _ in }
            return []
        }
        return try await target.segments + pipeline.copy(to: sink, recordingIn: target.manifest)
    }

    /// Drops all that was written: nothing of it is of this archive. Returns the segments of a disk
    /// that holds nothing in `scope`.
    func reset(_ scope: CopyScope) throws -> [ManifestSegment] {
        guard case .open(let target, let sink) = state else { return [] }
        try target.beginAnew()
        try sink.prepare()
        guard whole.target.length > 0 else { return [] }
        let nothing = ManifestSegment(0..<whole.target.length, scope.isOverlay ? .backing : .zero)
        try target.file.synchronize()
        try target.manifest.append(nothing)
        return [nothing]
    }

    /// Gives the file its name, `losses` recorded; what they cover was not written. `isVouchedFor`:
    /// what was written is known to be of this archive. False where the file was there before.
    func finish(
        _ segments: [ManifestSegment], _ losses: [ArchiveReader.Loss], isVouchedFor: Bool, _ stop: StopFlag
    ) throws -> Bool {
        let lost = losses.map { LostSectors($0.range) }
        switch state {
        case .there(let recorded):
            // Whole, it is better than the archive.
            guard recorded.isEmpty || recorded == lost else {
                throw MigrationError(
                    .target,
                    "\(name): was salvaged from a copy with other damage (\(.restart) \(.force) salvages it again)"
                )
            }
            return false
        case .open(let target, _):
            try target.checkCovered(by: segments, stop)
            _ = try target.commitSalvage(segments, lost: lost.isEmpty && isVouchedFor ? nil : lost)
            return true
        }
    }
}
