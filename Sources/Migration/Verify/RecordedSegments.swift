internal import DiskImages
internal import ImageFormats
internal import Linux
internal import Manifests

/// What a manifest says that a disk holds, to be held against what it turns out to hold.
struct RecordedSegments: Sendable {
    private let segments: [ManifestSegment]

    /// Of segments in the disk's order, not overlapping.
    init(_ segments: [ManifestSegment]) { self.segments = segments }

    /// Where in `range` the record first says something else than `outcome`, or nil. A long record
    /// of zeros may be met in pieces, and pieces in one long run.
    func firstMismatch(_ range: Range<UInt64>, _ outcome: Outcome) -> UInt64? {
        var position = range.lowerBound
        var index = firstIndex(after: position)
        while position < range.upperBound {
            guard index < segments.count, let recorded = segments[index].range, recorded.contains(position),
                segments[index].outcome == outcome
            else { return position }
            if case .data = outcome, recorded != range { return position }
            position = recorded.upperBound
            index += 1
        }
        return nil
    }

    /// The segment that has the byte at `position`.
    func segment(at position: UInt64) -> ManifestSegment? {
        let index = firstIndex(after: position)
        guard index < segments.count, segments[index].range?.contains(position) == true else { return nil }
        return segments[index]
    }

    /// The index of the first segment that ends behind `position`.
    private func firstIndex(after position: UInt64) -> Int {
        var (low, high) = (0, segments.count)
        while low < high {
            let middle = (low + high) / 2
            if (segments[middle].start + segments[middle].count) * sectorSize > position {
                high = middle
            } else {
                low = middle + 1
            }
        }
        return low
    }
}

extension CopyPipeline {
    /// Reads everything and returns the segments that a manifest would have, in the disk's order.
    /// `recordsChunks`: with their chunks.
    func digest(recordsChunks: Bool = false) async throws -> [ManifestSegment] {
        let segments = Locked([ManifestSegment]())
        try await digest { whole in
            segments.withLock {
                $0.append(
                    ManifestSegment(whole.range, whole.outcome, chunks: recordsChunks ? whole.chunks : nil))
            }
        }
        return segments.withLock { $0.sorted { $0.start < $1.start } }
    }

    /// Reads everything and holds it against `segments`; returns where it first differs, nil where
    /// it does not or `stop` was requested.
    func firstMismatch(with segments: RecordedSegments) async throws -> UInt64? {
        let first = Locked(UInt64?.none)
        try await digest { whole in
            guard let mismatch = segments.firstMismatch(whole.range, whole.outcome) else { return }
            first.withLock { $0 = min($0 ?? .max, mismatch) }
        }
        return first.withLock { $0 }
    }
}
