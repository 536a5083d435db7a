internal import Linux

/// A guest's disk, read anywhere: what is where, and the bytes. Any number of threads may ask at
/// once.
///
/// It holds a walk for each thread that asks, which is a window of each layer's metadata and a
/// small buffer; of those that nobody uses, `mostIdle`.
package final class GuestReader: Sendable, Equatable {
    /// Walks that are kept while nobody uses them.
    private static let mostIdle = 16

    package let chain: ImageChain
    private let idle = Locked([Walk]())

    /// Where one thread is, and what it reads with.
    private struct Walk {
        var status: BlockStatus
        let reader: ChunkReader
    }

    package init(_ chain: ImageChain) { self.chain = chain }

    /// One reader is itself alone.
    package static func == (a: GuestReader, b: GuestReader) -> Bool { a === b }

    /// The disk's length in bytes, whole sectors.
    package var length: UInt64 { chain.guestLength }

    /// What lies in `range`, whole sectors; extents follow one another without gaps and end with
    /// it. What lies past the disk's end is absent.
    package func extents(in range: Range<UInt64>) -> GuestExtents {
        GuestExtents(
            BlockStatus(of: chain, from: range.lowerBound, upTo: range.upperBound), range, chain)
    }

    /// Fills `buffer` with the guest's bytes from `offset` on, a whole sector; past the disk's end
    /// are zeros. `buffer` is whole sectors, too. Zeros and holes are not read.
    package func read(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws {
        var walk = try take()
        let range = offset..<offset + UInt64(buffer.count)
        walk.status.seek(to: range)
        var extents = GuestExtents(walk.status, range, chain)
        var runs: [ReadRun] = []
        while let extent = try extents.next() {
            if let run = extent.read(to: Int(extent.start - offset)) { runs.append(run) }
        }
        try walk.reader.read(runs, into: buffer)
        walk.status = extents.status
        give(walk)
    }

    /// Whether `mine`, an extent of this disk, is known to have the same bytes as `others`, a piece
    /// just as long of `other`: both are zeros, or come from one place of one file. nil is past a
    /// disk's end.
    package func isSame(_ mine: Extent?, as others: Extent?, of other: GuestReader) -> Bool {
        if mine?.isZero ?? true, others?.isZero ?? true { return true }
        guard let mine, let others, mine.content == others.content, mine.read(to: 0) != nil else {
            return false
        }
        return chain.layers[mine.depth].isSame(as: other.chain.layers[others.depth])
    }

    private func take() throws -> Walk {
        if let walk = idle.withLock({ $0.popLast() }) { return walk }
        return Walk(status: BlockStatus(of: chain), reader: try ChunkReader(chain.layers))
    }

    private func give(_ walk: Walk) {
        idle.withLock { if $0.count < GuestReader.mostIdle { $0.append(walk) } }
    }
}

/// The extents of a part of a guest's disk.
package struct GuestExtents: Sendable {
    fileprivate var status: BlockStatus
    private let range: Range<UInt64>
    private let chain: ImageChain
    private var position: UInt64
    private var current: Extent?

    fileprivate init(_ status: BlockStatus, _ range: Range<UInt64>, _ chain: ImageChain) {
        (self.status, self.range, self.chain) = (status, range, chain)
        position = range.lowerBound
    }

    /// The next extent; nil at the range's end.
    package mutating func next() throws -> Extent? {
        guard let extent = try extent(at: position, upTo: range.upperBound) else { return nil }
        position = extent.end
        return extent
    }

    /// What lies at `position` of the range, up to `end` at most; nil past its end. Positions never
    /// go back.
    package mutating func extent(at position: UInt64, upTo end: UInt64) throws -> Extent? {
        let end = min(end, range.upperBound)
        guard position < end else { return nil }
        while position < chain.guestLength, position >= current?.end ?? 0 { current = try status.next() }
        guard position < chain.guestLength, let current else {
            return Extent(
                start: position, length: end - position, depth: chain.layers.count - 1, content: .absent)
        }
        return current.clipped(to: position..<end)
    }
}
