internal import DiskImages
internal import Manifests

/// Puts finished chunks together, in any order, until what a segment holds can be told.
struct SegmentCollector {
    private var open: [Segment: SegmentDigest] = [:]

    /// The segments that are whole with `finished`, and what they hold; nil where none is.
    mutating func add(_ finished: Finished) -> (range: Range<UInt64>, outcome: Outcome)? {
        switch finished {
        case .chunk(let segment, let index, let outcome, _):
            guard let whole = open[segment, default: SegmentDigest(segment)].add(outcome, at: index) else {
                return nil
            }
            open[segment] = nil
            return (segment.range, whole)
        case .span(let span): return (span.range, span.isHeld ? .zero : .backing)
        }
    }
}
