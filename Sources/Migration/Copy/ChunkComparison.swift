internal import DiskImages
internal import Glibc

/// A chunk's bytes held against the backing file's: what is the same is left to that. For one
/// worker.
struct ChunkComparison {
    /// What is read for nothing where that is quicker than asking twice, in bytes.
    private static let longestGap = 32 << 10

    private let backing: GuestReader
    private let unit: Int
    private let buffer: AlignedBuffer

    /// With what `backing` shows, in pieces of `unit` bytes, of which a chunk is a multiple.
    init(with backing: GuestReader, unit: Int) throws {
        (self.backing, self.unit) = (backing, unit)
        buffer = try AlignedBuffer(capacity: Limits.chunk)
    }

    /// Leaves of what `chunk` is to hold only what differs; of its bytes in `window` the others
    /// become zeros, as in an overlay that does not hold them.
    func narrow(_ chunk: inout Chunk, _ window: AlignedBuffer) throws {
        try readBacking(chunk)
        var differing: [Range<Int>] = []
        for range in chunk.marked {
            for start in stride(from: range.lowerBound, to: range.upperBound, by: unit) {
                let piece = start..<min(start + unit, range.upperBound)
                let bytes = UnsafeMutableRawBufferPointer(rebasing: window.bytes[piece])
                if memcmp(bytes.baseAddress!, buffer.bytes.baseAddress! + start, piece.count) != 0 {
                    differing.extend(by: piece)
                } else {
                    bytes.initializeMemory(as: UInt8.self, repeating: 0)
                }
            }
        }
        chunk.marked = differing
        chunk.written = chunk.written.intersection(differing)
    }
}

extension ChunkComparison {
    /// Reads, into the buffer, what the backing file shows where `chunk` may hold something.
    private func readBacking(_ chunk: Chunk) throws {
        var rest = chunk.marked[...]
        while var stretch = rest.popFirst() {
            while let next = rest.first, next.lowerBound - stretch.upperBound < ChunkComparison.longestGap {
                stretch = stretch.lowerBound..<next.upperBound
                rest.removeFirst()
            }
            try backing.read(
                at: chunk.start + UInt64(stretch.lowerBound),
                into: UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[stretch]))
        }
    }
}

extension [Range<Int>] {
    /// What is in both; both are in order and do not overlap.
    fileprivate func intersection(_ others: [Range<Int>]) -> [Range<Int>] {
        var result: [Range<Int>] = []
        var (mine, theirs) = (self[...], others[...])
        while let a = mine.first, let b = theirs.first {
            let part = a.clamped(to: b)
            if !part.isEmpty { result.append(part) }
            if a.upperBound < b.upperBound { mine.removeFirst() } else { theirs.removeFirst() }
        }
        return result
    }
}
