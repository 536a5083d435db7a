internal import DiskImages
internal import Glibc
internal import TransportArchive

/// A record and its frame, ready to be written in its turn.
struct PackedFrame: Sendable {
    /// Its chunk's place in the order of all chunks.
    let number: UInt64
    let run: RunRecord
    /// What its layer holds there.
    let windows: [LayerDigest.Entry]
    /// Holds `run.frameLength` bytes of frame.
    let frame: AlignedBuffer
}

/// Content that was read, zeros taken out, before it is looked for among what is stored.
struct ReadContent {
    let chunk: PackChunk
    let runs: [RunRecord.Run]
    /// The bytes of the data runs, until the next chunk is read.
    let bytes: UnsafeMutableRawBufferPointer
    let windows: [LayerDigest.Entry]
}

/// Reads one stretch, takes zeros out, digests and compresses. One worker, one stretch at a time.
struct ChunkPacker {
    private let sources: [PackSource]
    private let compressor: FrameCompressor
    private let shortestZeroRun: Int
    private let content: AlignedBuffer
    private let digester: WindowDigester
    private var reader: (layer: Int, ChunkReader)?

    init(_ sources: [PackSource], _ compression: Compression, shortestZeroRun: Int) throws {
        self.sources = sources
        compressor = try FrameCompressor(compression)
        self.shortestZeroRun = shortestZeroRun
        content = try AlignedBuffer(capacity: RunRecord.longestContent)
        digester = try WindowDigester()
    }

    /// Reads `chunk` and finds its zeros.
    mutating func read(_ chunk: PackChunk) throws -> ReadContent {
        let source = sources[chunk.layer]
        let keepsZeros = !source.isRaw
        var runs: [RunRecord.Run]
        var bytes = UnsafeMutableRawBufferPointer(rebasing: content.bytes[..<0])
        // Of what is known to be zeros nothing need be looked at, and it may be longer than any
        // buffer.
        if chunk.reads.isEmpty, shortestZeroRun > 0 || chunk.heldLength == 0 {
            runs =
                keepsZeros
                ? chunk.held.map { RunRecord.Run(start: $0.lowerBound, end: $0.upperBound, kind: .zero) } : []
        } else {
            bytes = UnsafeMutableRawBufferPointer(rebasing: content.bytes[..<Int(chunk.heldLength)])
            try reader(of: chunk.layer).read(chunk.reads, into: bytes)
            let length: Int
            (runs, length) = takeOutZeros(chunk, bytes, keepsZeros: keepsZeros)
            bytes = UnsafeMutableRawBufferPointer(rebasing: bytes[..<length])
        }
        let run = RunRecord(emptyFor: chunk.layer, range: chunk.range, runs: runs)
        let windows = digester.entries(
            of: run, UnsafeRawBufferPointer(bytes), isRaw: source.isRaw, length: source.chain.guestLength)
        return ReadContent(chunk: chunk, runs: runs, bytes: bytes, windows: windows)
    }

    /// Packs `content` into `frame`, which holds `FrameFormat.longest`; of its bytes those that
    /// `runs` still call data.
    func pack(_ content: ReadContent, as runs: [RunRecord.Run], into frame: AlignedBuffer) throws
        -> PackedFrame
    {
        let digest = ContentDigest(of: UnsafeRawBufferPointer(content.bytes))
        let length = ChunkPacker.moveTogether(runs, content.bytes)
        let data = UnsafeRawBufferPointer(rebasing: content.bytes[..<length])
        let frameLength = length > 0 ? try compressor.compress(data, into: frame.bytes) : 0
        let run = RunRecord(
            layer: content.chunk.layer, range: content.chunk.range, runs: runs, contentLength: length,
            frameLength: frameLength,
            frameDigest: ContentDigest(of: UnsafeRawBufferPointer(rebasing: frame.bytes[..<frameLength])),
            contentDigest: digest)
        return PackedFrame(number: content.chunk.number, run: run, windows: content.windows, frame: frame)
    }

    /// Moves the data together over what became references; returns its length.
    private static func moveTogether(_ runs: [RunRecord.Run], _ bytes: UnsafeMutableRawBufferPointer) -> Int {
        var (position, length) = (0, 0)
        for run in runs where !run.isZero {
            let count = Int(run.length)
            if run.isData {
                if length < position {
                    memmove(bytes.baseAddress! + length, bytes.baseAddress! + position, count)
                }
                length += count
            }
            position += count
        }
        return length
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
                runs.append(seamless: RunRecord.Run(start: guest(covered), end: guest(end), kind: .zero))
            }
            for piece in ZeroScan.dataRanges(
                in: UnsafeRawBufferPointer(bytes), range, leavingOut: shortestZeroRun)
            {
                addZeros(upTo: piece.lowerBound)
                runs.append(
                    seamless: RunRecord.Run(
                        start: guest(piece.lowerBound), end: guest(piece.upperBound), kind: .data))
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
