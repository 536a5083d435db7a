internal import DiskImages
internal import Manifests

/// Puts finished chunks together, in any order, until what a segment holds can be told.
struct SegmentCollector {
    private var open: [Segment: SegmentDigest] = [:]

    /// What is whole: some segments that hold nothing, or one.
    struct Whole {
        let range: Range<UInt64>
        let outcome: Outcome
        /// The digests of its chunks, where it was put together from them.
        var chunks: [ContentDigest]? = nil
    }

    /// The segments that are whole with `finished`; nil where none is.
    mutating func add(_ finished: Finished) -> Whole? {
        switch finished {
        case .chunk(let segment, let index, let outcome, _):
            guard let whole = open[segment, default: SegmentDigest(segment)].add(outcome, at: index) else {
                return nil
            }
            return Whole(
                range: segment.range, outcome: whole, chunks: open.removeValue(forKey: segment)?.chunks)
        case .whole(let range, let outcome): return Whole(range: range, outcome: outcome)
        }
    }
}
