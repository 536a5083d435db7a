internal import DiskImages
internal import Glibc
internal import TransportArchive

/// A record and its frame, ready to be written in its turn.
struct PackedFrame: Sendable {
    /// Its chunk's place in the order of all chunks.
    let number: UInt64
    let run: RunRecord
    /// Holds `run.frameLength` bytes of frame.
    let frame: AlignedBuffer
}

/// Reads one stretch, takes zeros out, digests and compresses. One worker, one stretch at a time.
struct ChunkPacker {
    private let sources: [PackSource]
    private let compressor: FrameCompressor
    private let shortestZeroRun: Int
    private let content: AlignedBuffer
    private var reader: (layer: Int, ChunkReader)?

    init(_ sources: [PackSource], _ compression: Compression, shortestZeroRun: Int) throws {
        self.sources = sources
        compressor = try FrameCompressor(compression)
        self.shortestZeroRun = shortestZeroRun
        content = try AlignedBuffer(capacity: RunRecord.longestContent)
    }

    /// Packs `chunk` into `frame`, which holds `FrameFormat.longest`.
    mutating func pack(_ chunk: PackChunk, into frame: AlignedBuffer) throws -> PackedFrame {
        let keepsZeros = !sources[chunk.layer].isRaw
        // Of what is known to be zeros nothing need be looked at, and it may be longer than any
        // buffer.
        if chunk.reads.isEmpty, shortestZeroRun > 0 || chunk.heldLength == 0 {
            let runs =
                keepsZeros
                ? chunk.held.map { RunRecord.Run(start: $0.lowerBound, end: $0.upperBound, isZero: true) }
                : []
            return PackedFrame(
                number: chunk.number, run: RunRecord(emptyFor: chunk.layer, range: chunk.range, runs: runs),
                frame: frame)
        }
        let bytes = UnsafeMutableRawBufferPointer(rebasing: content.bytes[..<Int(chunk.heldLength)])
        try reader(of: chunk.layer).read(chunk.reads, into: bytes)
        let (runs, length) = takeOutZeros(chunk, bytes, keepsZeros: keepsZeros)
        let data = UnsafeRawBufferPointer(rebasing: bytes[..<length])
        let frameLength = length > 0 ? try compressor.compress(data, into: frame.bytes) : 0
        let run = RunRecord(
            layer: chunk.layer, range: chunk.range, runs: runs, contentLength: length,
            frameLength: frameLength,
            frameDigest: ContentDigest(of: UnsafeRawBufferPointer(rebasing: frame.bytes[..<frameLength])),
            contentDigest: ContentDigest(of: data))
        return PackedFrame(number: chunk.number, run: run, frame: frame)
    }

    private mutating func reader(of layer: Int) throws -> ChunkReader {
        if let reader, reader.layer == layer { return reader.1 }
        let new = try ChunkReader(sources[layer].chain.layers)
        reader = (layer, new)
        return new
    }

    /// Moves the data together over the zeros found in it; returns the runs, and how long the
    /// content is then. Zeros in a raw layer are holes.
    private func takeOutZeros(
        _ chunk: PackChunk, _ bytes: UnsafeMutableRawBufferPointer, keepsZeros: Bool
    ) -> (runs: [RunRecord.Run], length: Int) {
        var runs: [RunRecord.Run] = []
        var position = 0
        var length = 0
        for held in chunk.held {
            let range = position..<position + Int(held.upperBound - held.lowerBound)
            position = range.upperBound
            func guest(_ place: Int) -> UInt64 { held.lowerBound + UInt64(place - range.lowerBound) }
            var covered = range.lowerBound
            func addZeros(upTo end: Int) {
                guard keepsZeros, end > covered else { return }
                runs.append(seamless: RunRecord.Run(start: guest(covered), end: guest(end), isZero: true))
            }
            for piece in ZeroScan.dataRanges(
                in: UnsafeRawBufferPointer(bytes), range, leavingOut: shortestZeroRun)
            {
                addZeros(upTo: piece.lowerBound)
                runs.append(
                    seamless: RunRecord.Run(
                        start: guest(piece.lowerBound), end: guest(piece.upperBound), isZero: false))
                if length < piece.lowerBound {
                    memmove(bytes.baseAddress! + length, bytes.baseAddress! + piece.lowerBound, piece.count)
                }
                length += piece.count
                covered = piece.upperBound
            }
            addZeros(upTo: range.upperBound)
        }
        return (runs, length)
    }
}
