package import DiskImages

/// A stretch of guest disk that is checkpointed as one: it begins at a multiple of the segment
/// size. Bytes.
package struct Segment: Hashable, Sendable {
    package let start: UInt64
    package let length: UInt64

    package init(start: UInt64, length: UInt64) {
        self.start = start
        self.length = length
    }

    package var end: UInt64 { start + length }
    package var range: Range<UInt64> { start..<end }

    /// Guest bytes of the pieces that a segment's digest is made of; they begin at multiples of it.
    package static let chunk = 1 << 20
    /// Guest bytes of a segment where nobody says otherwise.
    package static let usual: UInt64 = 64 << 20
    /// The longest one: what is held of one grows with it.
    package static let longest: UInt64 = 16 << 30

    /// How many chunks it has.
    package var chunkCount: Int { Int((length + UInt64(Segment.chunk) - 1) / UInt64(Segment.chunk)) }
}

/// What a chunk or a segment turned out to hold.
package enum Outcome: Hashable, Sendable {
    /// Zeros, all of them held by the target.
    case zero
    /// Nothing that the target holds: its backing file answers.
    case backing
    case data(ContentDigest)
}

extension Outcome {
    /// What stands for it in a digest of several: all zeros for zeros, all ones for what the
    /// backing file answers.
    package var digest: ContentDigest {
        switch self {
        case .zero: ContentDigest(high: 0, low: 0)
        case .backing: ContentDigest(high: .max, low: .max)
        case .data(let digest): digest
        }
    }

    /// Its name in a manifest.
    package var kind: String {
        switch self {
        case .zero: "zero"
        case .backing: "backing"
        case .data: "data"
        }
    }
}
