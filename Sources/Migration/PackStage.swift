internal import DiskImages
internal import Glibc
internal import TransportArchive

/// A record and its frame, ready to be written in its turn.
struct PackedFrame: Sendable {
    let sequence: UInt64
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

    /// Packs `chunk` into `frame`, which holds `LZ4Frame.longest`.
    mutating func pack(_ chunk: PackChunk, into frame: AlignedBuffer) throws -> PackedFrame {
        let source = sources[chunk.layer]
        let bytes = UnsafeMutableRawBufferPointer(rebasing: content.bytes[..<chunk.contentLength])
        if !chunk.reads.isEmpty { try reader(of: chunk.layer).read(chunk.reads, into: bytes) }
        let (runs, length) = takeOutZeros(chunk, bytes, keepsZeros: !source.isRaw)
        let data = UnsafeRawBufferPointer(rebasing: bytes[..<length])
        let frameLength = length > 0 ? try compressor.compress(data, into: frame.bytes) : 0
        let run = RunRecord(
            layer: chunk.layer, range: chunk.range, runs: runs, contentLength: length, frameLength: frameLength,
            frameDigest: ContentDigest(of: UnsafeRawBufferPointer(rebasing: frame.bytes[..<frameLength])),
            contentDigest: ContentDigest(of: data))
        return PackedFrame(sequence: chunk.sequence, run: run, frame: frame)
    }

    private mutating func reader(of layer: Int) throws -> ChunkReader {
        if let reader, reader.layer == layer { return reader.1 }
        let new = try ChunkReader(sources[layer].chain.layers)
        reader = (layer, new)
        return new
    }

    /// Moves the data together over the zeros found in it; returns the runs, and how long the content is then. Zeros in a raw layer are holes.
    private func takeOutZeros(
        _ chunk: PackChunk, _ bytes: UnsafeMutableRawBufferPointer, keepsZeros: Bool
    ) -> (runs: [RunRecord.Run], length: Int) {
        var runs: [RunRecord.Run] = []
        var position = 0
        var length = 0
        for run in chunk.runs {
            guard !run.isZero else {
                runs.append(seamless: run)
                continue
            }
            let range = position..<position + Int(run.end - run.start)
            position = range.upperBound
            func guest(_ place: Int) -> UInt64 { run.start + UInt64(place - range.lowerBound) }
            var covered = range.lowerBound
            func addZeros(upTo end: Int) {
                guard keepsZeros, end > covered else { return }
                runs.append(seamless: RunRecord.Run(start: guest(covered), end: guest(end), isZero: true))
            }
            for piece in ZeroScan.dataRanges(in: UnsafeRawBufferPointer(bytes), range, leavingOut: shortestZeroRun) {
                addZeros(upTo: piece.lowerBound)
                runs.append(seamless: RunRecord.Run(start: guest(piece.lowerBound), end: guest(piece.upperBound), isZero: false))
                if length < piece.lowerBound { memmove(bytes.baseAddress! + length, bytes.baseAddress! + piece.lowerBound, piece.count) }
                length += piece.count
                covered = piece.upperBound
            }
            addZeros(upTo: range.upperBound)
        }
        return (runs, length)
    }
}
