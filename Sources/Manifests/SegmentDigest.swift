package import DiskImages

/// Collects the chunks of one segment, in any order, until its digest can be told.
package struct SegmentDigest {
    private var outcomes: [Outcome?]
    private var missing: Int

    package init(_ segment: Segment) {
        outcomes = Array(repeating: nil, count: segment.chunkCount)
        missing = outcomes.count
    }

    /// What its chunks have, where all are there.
    package var chunks: [ContentDigest]? {
        missing == 0 ? outcomes.compactMap { $0?.digest } : nil
    }

    /// Takes a chunk's outcome in; the segment's, when it was the last.
    package mutating func add(_ outcome: Outcome, at index: Int) -> Outcome? {
        if outcomes[index] == nil { missing -= 1 }
        outcomes[index] = outcome
        guard missing == 0 else { return nil }
        let all = outcomes.compactMap(\.self)
        if let first = all.first, first == .zero || first == .backing, all.allSatisfy({ $0 == first }) {
            return first
        }
        return .data(ContentDigest(of: all.flatMap { $0.digest.bytes }))
    }
}
