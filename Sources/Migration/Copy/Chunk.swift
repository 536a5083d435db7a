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
    /// What of it the layer's file has, and what is done where it cannot be shared.
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
    var dataLength: Int { Int(dataLength(in: range)) }

    /// Bytes of data in `part` of it.
    private func dataLength(in part: Range<UInt64>) -> UInt64 {
        runs.reduce(0) { total, run in
            guard case .data = run.kind, run.start < part.upperBound, run.end > part.lowerBound else {
                return total
            }
            return total + min(run.end, part.upperBound) - max(run.start, part.lowerBound)
        }
    }

    /// What is known, where all of it is shared: as much counts as read as there is data.
    var shared: [Finished] { finished.map { Finished($0.content, read: dataLength(in: $0.content.range)) } }
}

/// What the planner hands to the workers.
package enum Planned: Sendable {
    case chunk(Chunk)
    case span(EmptyRun)
    case known(KnownStretch)
}

/// What the workers hand to the checkpointer when the target's file has it.
package struct Finished: Sendable {
    package enum Content: Sendable {
        case chunk(Segment, index: Int, Outcome)
        /// Whole segments of one kind without data, or one whose content was known.
        case whole(Range<UInt64>, Outcome)

        /// Bytes of guest disk.
        var range: Range<UInt64> {
            switch self {
            case .whole(let range, _): range
            case .chunk(let segment, let index, _):
                segment.start
                    + UInt64(index * Limits.chunk)..<min(
                        segment.start + UInt64((index + 1) * Limits.chunk), segment.end)
            }
        }
    }

    package let content: Content
    /// Bytes of data that were read for it.
    var read: UInt64 = 0
    /// Where in the target's file it was written, more or less; nil where nothing was.
    var fileRange: Range<UInt64>? = nil
    /// Ranges of the guest's disk that could not be read, and are zeros.
    var lost: [Range<UInt64>] = []

    init(_ content: Content, read: UInt64 = 0) { (self.content, self.read) = (content, read) }
}
