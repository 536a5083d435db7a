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
}

/// What the planner hands to the workers.
package enum Planned: Sendable {
    case chunk(Chunk)
    case span(EmptyRun)
}

/// What the workers hand to the checkpointer when the target's file has it.
package enum Finished: Sendable {
    case chunk(Segment, index: Int, Outcome, fileRange: Range<UInt64>?)
    case span(EmptyRun)
}
