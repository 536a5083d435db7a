internal import DiskImages
internal import Manifests

/// Puts finished chunks together, in any order, until what a segment holds can be told.
struct SegmentCollector {
    private var open: [Segment: (digest: SegmentDigest, read: UInt64, lost: [Range<UInt64>])] = [:]

    /// What is whole: some segments that hold nothing, or one.
    struct Whole {
        let range: Range<UInt64>
        let outcome: Outcome
        /// The digests of its chunks, where it was put together from them.
        var chunks: [ContentDigest]? = nil
        /// Bytes of data that were read for it.
        let read: UInt64
        /// What of it could not be read: ranges of the guest's disk, in order.
        let lost: [Range<UInt64>]
    }

    /// The segments that are whole with `finished`; nil where none is.
    mutating func add(_ finished: Finished) -> Whole? {
        switch finished.content {
        case .chunk(let segment, let index, let outcome):
            open[segment, default: (SegmentDigest(segment), 0, [])].read += finished.read
            open[segment]?.lost += finished.lost
            guard let whole = open[segment]?.digest.add(outcome, at: index) else { return nil }
            let parts = open.removeValue(forKey: segment)
            return Whole(
                range: segment.range, outcome: whole, chunks: parts?.digest.chunks, read: parts?.read ?? 0,
                lost: (parts?.lost ?? []).sorted { $0.lowerBound < $1.lowerBound })
        case .whole(let range, let outcome):
            return Whole(range: range, outcome: outcome, read: finished.read, lost: finished.lost)
        }
    }
}
