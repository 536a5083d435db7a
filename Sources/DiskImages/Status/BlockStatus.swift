/// The block status of a whole chain, from the start of the guest disk to its end: bitmaps and
/// holes are asked, no data is read.
///
/// Holds one window of bitmap for each layer, whatever the disk's size.
package struct BlockStatus: Sendable {
    private let chain: ImageChain
    private var cursors: [any LayerCursor]
    private var pending: Extent?
    /// Where the next extent begins: bytes.
    private var position: UInt64

    /// Where the walk ends: the disk's end, or before it.
    private var limit: UInt64

    /// Begins at guest offset `start` and ends at `end`, whole sectors, at the latest at the disk's
    /// end.
    package init(of chain: ImageChain, from start: UInt64 = 0, upTo end: UInt64 = .max) {
        self.chain = chain
        cursors = chain.layers.map { $0.content.cursor(over: $0.file) }
        position = start
        limit = min(end, chain.guestLength)
    }

    /// Goes on with `range`, whole sectors, wherever it lies.
    mutating func seek(to range: Range<UInt64>) {
        (position, pending) = (range.lowerBound, nil)
        limit = min(range.upperBound, chain.guestLength)
    }

    /// The next extent, seamless neighbours merged; nil at the end. Extents follow one
    /// another without gaps.
    package mutating func next() throws -> Extent? {
        var current: Extent? = pending
        pending = nil
        while position < limit {
            let found = try resolve(at: position, upTo: limit)
            position = found.end
            guard var extent = current else {
                current = found
                continue
            }
            guard extent.merge(found) else {
                pending = found
                return extent
            }
            current = extent
        }
        return current
    }

    /// Asks one layer after the other, each about no more than the one above left open.
    private mutating func resolve(at position: UInt64, upTo limit: UInt64) throws -> Extent {
        var end = limit
        for depth in chain.layers.indices {
            let (answer, stop) = try cursors[depth].answer(at: position, upTo: end)
            end = stop
            if answer != .absent {
                return Extent(start: position, length: end - position, depth: depth, content: answer)
            }
            // Past the end of the next layer its overlay answers: zeros.
            guard depth + 1 < chain.layers.count, chain.layers[depth + 1].guestLength > position else {
                return Extent(start: position, length: end - position, depth: depth, content: .absent)
            }
            end = min(end, chain.layers[depth + 1].guestLength)
        }
        return Extent(
            start: position, length: end - position, depth: chain.layers.count - 1, content: .absent)
    }
}
