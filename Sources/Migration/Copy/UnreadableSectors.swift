internal import DiskImages
internal import Glibc
internal import ImageFormats
internal import Linux

/// Reads chunks in spite of sectors that cannot be read: they become zeros, and are noted. For one
/// worker.
final class UnreadableSectors {
    private let reader: ChunkReader
    private var lost: [Range<UInt64>] = []

    init(_ reader: ChunkReader) { self.reader = reader }

    /// What could not be read since it was last asked for: ranges of the guest's disk, in order.
    func take() -> [Range<UInt64>] {
        defer { lost = [] }
        return lost
    }

    /// Fills `bytes` with what `chunk` has: at once where that goes, else run by run and down to
    /// single sectors.
    func read(_ chunk: Chunk, into bytes: UnsafeMutableRawBufferPointer) throws {
        do {
            return try reader.read(chunk.runs, into: bytes)
        } catch let error as DiskImageError where [.io, .badData].contains(error.kind) {
            memset(bytes.baseAddress!, 0, bytes.count)
        }
        for run in chunk.runs { try read(run, of: chunk, bytes) }
    }

    private func read(_ run: ReadRun, of chunk: Chunk, _ bytes: UnsafeMutableRawBufferPointer) throws {
        let place = run.position..<run.position + run.length
        do {
            try reader.read(
                [run.moved(by: -run.position)], into: UnsafeMutableRawBufferPointer(rebasing: bytes[place]))
        } catch let error as DiskImageError
            where error.kind == .io || error.kind == .badData && run.isEncoded
        {
            guard run.length > Int(sectorSize) else {
                memset(bytes.baseAddress! + run.position, 0, run.length)
                let start = (chunk.start + UInt64(run.position)) / sectorSize * sectorSize
                return note(start..<start + sectorSize)
            }
            let half = (run.length / 2 + Int(sectorSize) - 1) / Int(sectorSize) * Int(sectorSize)
            try read(run.part(0..<half), of: chunk, bytes)
            try read(run.part(half..<run.length), of: chunk, bytes)
        }
    }

    private func note(_ range: Range<UInt64>) {
        if let last = lost.last, last.upperBound >= range.lowerBound {
            lost[lost.count - 1] = last.lowerBound..<max(last.upperBound, range.upperBound)
        } else {
            lost.append(range)
        }
    }
}
