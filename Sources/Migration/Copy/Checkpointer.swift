internal import DiskImages
internal import ImageFormats
internal import Linux
internal import Manifests
internal import Stages

/// Records what is finished, segment by segment, once the target has it durably. The pipeline's
/// last stage, alone on its thread: it syncs while the workers go on.
final class Checkpointer {
    private let target: TargetFile
    private let manifest: ManifestFile
    private var collector = SegmentCollector()
    /// Finished segments that wait for the next sync.
    private var unsynced: [ManifestSegment] = []
    /// What was finished since the kernel was last asked to write.
    private var writeback: Range<UInt64>?

    private let checkSources: () throws -> Void
    private let recordsChunks: Bool
    private let keepsCache: Bool
    private var lastSync = ContinuousClock.now

    /// `checkSources` throws where a source changed; it is asked before anything is recorded.
    /// `recordsChunks`: with a segment's digest its chunks'. `keepsCache`: what is synced may stay
    /// in the host's page cache.
    init(
        _ target: TargetFile, _ manifest: ManifestFile, recordsChunks: Bool, keepsCache: Bool,
        checkSources: @escaping () throws -> Void
    ) {
        (self.recordsChunks, self.keepsCache) = (recordsChunks, keepsCache)
        self.target = target
        self.manifest = manifest
        self.checkSources = checkSources
    }

    /// Takes everything from `finished` to its end; returns the segments that were recorded.
    func run(_ finished: BoundedChannel<Finished>) async throws -> [ManifestSegment] {
        var recorded: [ManifestSegment] = []
        while let next = try await finished.receive() {
            if let range = next.fileRange { startWriteback(range) }
            if let whole = collector.add(next) {
                var segment = ManifestSegment(
                    whole.range, whole.outcome, chunks: recordsChunks ? whole.chunks : nil, read: whole.read)
                segment.lost = whole.lost.isEmpty ? nil : whole.lost.map(LostSectors.init)
                unsynced.append(segment)
            }
            // A sync stops the writers for a moment, so that one serves all that was finished since
            // the last.
            if !unsynced.isEmpty, lastSync.duration(to: .now) >= Limits.syncInterval {
                recorded += try record()
            }
        }
        if !unsynced.isEmpty { recorded += try record() }
        return recorded
    }

    private func record() throws -> [ManifestSegment] {
        try checkSources()
        try target.synchronize()
        try FailPoint.synced.pass()
        for segment in unsynced {
            try manifest.append(segment)
            try FailPoint.recorded.pass()
        }
        if !keepsCache { target.leaveCache() }
        lastSync = .now
        defer { unsynced = [] }
        return unsynced
    }

    private func startWriteback(_ range: Range<UInt64>) {
        let all =
            writeback.map { min($0.lowerBound, range.lowerBound)..<max($0.upperBound, range.upperBound) }
            ?? range
        if all.upperBound - all.lowerBound >= Limits.writeback {
            target.startWriteback(all)
            writeback = nil
        } else {
            writeback = all
        }
    }
}
