package import DiskImages
package import Manifests

/// A stretch of at most `Limits.chunk` bytes of guest disk with all that must be known to move it:
/// map first, then read.
package struct Chunk: Sendable {
    package let segment: Segment
    package let start: UInt64
    package let length: Int
    /// What is read, in the guest's order.
    package var runs: [ReadRun] = []
    /// Ranges of the chunk whose bytes are written, but for zeros that are found in them.
    package var written: [Range<Int>] = []
    /// Ranges of the chunk that the target's bitmap marks.
    package var marked: [Range<Int>] = []

    /// Bytes of a backing file that they are compared with.
    var comparedLength = 0

    /// Bytes that are read of the source.
    package var readLength: Int { runs.reduce(0) { $0 + $1.length } }

    /// Its place among the chunks of its segment.
    var index: Int { Int((start - segment.start) / UInt64(Limits.chunk)) }
}

/// A stretch of whole segments that bitmaps and holes know to hold nothing to read. Of any length.
package struct EmptyRun: Equatable, Sendable {
    package let start: UInt64
    package let length: UInt64
    /// Whether the target holds it, as zeros; otherwise its backing file answers.
    package let isHeld: Bool

    package var range: Range<UInt64> { start..<start + length }
    var outcome: Outcome { isHeld ? .zero : .backing }
}

/// A stretch of guest disk that is a raw file's own, of which it is known what it holds: the target
/// may share it, unread. It is whole segments, or chunks of one.
package struct KnownStretch: Sendable {
    let range: Range<UInt64>
    /// What is known, piece by piece.
    let finished: [Finished]
    /// The layer that has it, at the same place.
    let layer: ImageLayer
    /// What else could be done with it: where it cannot be shared, it is read.
    let runs: [TargetRun]
    /// The whole disk's length, and a segment's.
    let length: UInt64
    let segmentLength: UInt64

    /// Plans it as if nothing was known of it.
    func planner(_ holding: CopyScope) -> ChunkPlanner<TargetRunList> {
        ChunkPlanner(
            TargetRunList(runs: runs[...]), range, length: length, holding, segmentLength: segmentLength,
            finished: [])
    }

    /// Bytes of data in it.
    var dataLength: Int {
        runs.reduce(0) { if case .data = $1.kind { $0 + Int($1.end - $1.start) } else { $0 } }
    }
}

/// What the planner hands to the workers.
package enum Planned: Sendable {
    case chunk(Chunk)
    case span(EmptyRun)
    case known(KnownStretch)
}

/// What the workers hand to the checkpointer when the target's file has it.
package enum Finished: Sendable {
    case chunk(Segment, index: Int, Outcome, fileRange: Range<UInt64>?)
    /// Whole segments of one kind without data, or one whose content was known.
    case whole(Range<UInt64>, Outcome)
}
