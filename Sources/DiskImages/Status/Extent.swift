/// A run of a guest disk that one layer of the chain answers for. `start`, `length` and offsets are
/// bytes, whole sectors.
package struct Extent: Equatable, Sendable {
    /// What a guest reads there, and where it comes from.
    package enum Content: Equatable, Sendable {
        /// Data in the layer's file, from `offset` on.
        case data(offset: UInt64)
        /// Data that the layer alone can decode: this is its offset in the layer's own disk.
        case encoded(offset: UInt64)
        /// Allocated in the layer and known to be zero: a hole in its file at `offset`, as a COW
        /// layer's set bit over a hole is, or nowhere in it.
        case zero(offset: UInt64?)
        /// Allocated in no layer: zeros, because the chain ends here or the next layer is too
        /// short.
        case absent
    }

    package var start: UInt64
    package var length: UInt64
    /// Index of the answering layer, 0 is the top. Of an absent run: the last layer that was asked.
    package var depth: Int
    package var content: Content

    package var end: UInt64 { start + length }

    /// Whether some layer holds the run.
    package var isPresent: Bool { content != .absent }

    /// Whether the run is known to read as zeros, from bitmaps and holes alone.
    package var isZero: Bool {
        switch content {
        case .data, .encoded: false
        case .zero, .absent: true
        }
    }

    /// Where the run lies in its layer's file.
    package var offset: UInt64? {
        switch content {
        case .data(let offset): offset
        case .zero(let offset): offset
        case .encoded, .absent: nil
        }
    }

    /// The part of the run in `range`, which it must overlap.
    package func clipped(to range: Range<UInt64>) -> Extent {
        let first = max(start, range.lowerBound)
        let skipped = first - start
        var part = self
        part.start = first
        part.length = min(end, range.upperBound) - first
        switch content {
        case .data(let offset): part.content = .data(offset: offset + skipped)
        case .encoded(let offset): part.content = .encoded(offset: offset + skipped)
        case .zero(let offset): part.content = .zero(offset: offset.map { $0 + skipped })
        case .absent: break
        }
        return part
    }

    /// How it is read to `position` of a buffer; nil where there is nothing to read. Of at most
    /// `Int.max` bytes.
    package func read(to position: Int) -> ReadRun? {
        switch content {
        case .data(let offset):
            ReadRun(layer: depth, offset: offset, isEncoded: false, position: position, length: Int(length))
        case .encoded(let offset):
            ReadRun(layer: depth, offset: offset, isEncoded: true, position: position, length: Int(length))
        case .zero, .absent: nil
        }
    }

    /// Takes `next` in where it goes on seamlessly in file and guest; false where it does not.
    mutating func merge(_ next: Extent) -> Bool {
        guard next.start == end, next.depth == depth else { return false }
        switch (content, next.content) {
        case (.data(let a), .data(let b)) where a + length == b: break
        case (.encoded(let a), .encoded(let b)) where a + length == b: break
        case (.zero(let a), .zero(let b)) where a.map { $0 + length } == b: break
        case (.absent, .absent): break
        default: return false
        }
        length += next.length
        return true
    }
}
