package import DiskImages

/// Sizes that bound the pipeline.
package enum Bounds {
    /// The most guest disk that one chunk covers, in bytes; chunks begin at multiples of it. Its bitmap is whole bytes.
    package static let chunk = 1 << 20
    /// A chunk's bytes and its bitmap behind them.
    static let buffer = chunk + chunk / 512 / 8
    /// Guest bytes of chunks that wait for a reader.
    static let planned = 8 * chunk
    /// Chunks and spans that wait to be checkpointed: a few words each.
    static let finished = 4096
    /// Guest bytes of a segment where nobody says otherwise.
    package static let segment: UInt64 = 64 << 20
    /// The longest segment: what is held of one grows with it.
    package static let longestSegment: UInt64 = 16 << 30
    /// Finished bytes after which the kernel is asked to begin writing them to disk.
    static let writeback: UInt64 = 16 << 20
    /// The shortest time between two syncs: what a crash can cost beside the segments that are being written.
    static let syncInterval = Duration.milliseconds(100)
}

/// A stretch of guest disk that is checkpointed as one: it begins at a multiple of the segment size. Bytes.
package struct Segment: Hashable, Sendable {
    package let start: UInt64
    package let length: UInt64

    package init(start: UInt64, length: UInt64) {
        self.start = start
        self.length = length
    }

    package var end: UInt64 { start + length }
    package var range: Range<UInt64> { start..<end }

    /// How many chunks it has.
    var chunkCount: Int { Int((length + UInt64(Bounds.chunk) - 1) / UInt64(Bounds.chunk)) }
}

/// A stretch of at most `Bounds.chunk` bytes of guest disk with all that must be known to move it: map first, then read.
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

    /// Bytes that are read.
    package var readLength: Int { runs.reduce(0) { $0 + $1.length } }

    /// Its place among the chunks of its segment.
    var index: Int { Int((start - segment.start) / UInt64(Bounds.chunk)) }
}

/// A stretch of whole segments that bitmaps and holes know to hold nothing to read. Of any length.
package struct Span: Equatable, Sendable {
    package let start: UInt64
    package let length: UInt64
    /// Whether the target holds it, as zeros; otherwise its backing file answers.
    package let isHeld: Bool

    package var range: Range<UInt64> { start..<start + length }
}

/// What the planner hands to the workers.
package enum Planned: Sendable {
    case chunk(Chunk)
    case span(Span)
}

/// What a chunk or a segment turned out to hold.
package enum Outcome: Hashable, Sendable {
    /// Zeros, all of them held by the target.
    case zero
    /// Nothing that the target holds: its backing file answers.
    case backing
    case data(ContentDigest)
}

/// What the workers hand to the checkpointer when the target's file has it.
package enum Finished: Sendable {
    case chunk(Segment, index: Int, Outcome, fileRange: Range<UInt64>?)
    case span(Span)
}
