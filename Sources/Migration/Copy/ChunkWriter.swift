internal import DiskImages
internal import Glibc
internal import ImageFormats
internal import Manifests

/// Writes one chunk whose bytes are there: look for zeros, digest, write, while the data is still
/// in the processor's cache. One worker, one chunk at a time.
///
/// Without a sink it digests only: that is `verify`.
struct ChunkWriter {
    private let holding: CopyScope
    private let shortestZeroRun: Int
    let sink: (any ImageSink)?
    private let comparison: ChunkComparison?

    init(_ holding: CopyScope, shortestZeroRun: Int, sink: (any ImageSink)?) throws {
        self.holding = holding
        self.shortestZeroRun = shortestZeroRun
        self.sink = sink
        comparison = try holding.comparedWith.map { try ChunkComparison(with: $0, unit: Int(holding.unit)) }
    }

    /// Whether the target's bitmap marks what is data. Which of it is zeros say the bytes, not the
    /// source's holes: those are where the file system has them, and the bitmap is the same for the
    /// same bytes.
    private var marksData: Bool { holding == .everything(marks: true) }

    /// What became of a chunk.
    struct Result: Equatable {
        let outcome: Outcome
        /// Bytes of it that were stored.
        var written = 0
        /// Where in the target's file, more or less; nil where nothing was.
        var fileRange: Range<UInt64>? = nil
    }

    /// Writes `chunk` through `window`, which holds `Limits.buffer`.
    func write(_ chunk: Chunk, from reader: some ContentReader, through window: AlignedBuffer) throws
        -> Result
    {
        if let outcome = outcome(ofEmpty: chunk) {
            if outcome == .zero { try sink?.clearZeros(chunk.start..<chunk.start + UInt64(chunk.length)) }
            return Result(outcome: outcome)
        }
        // An overlay's bitmap is digested behind the bytes.
        let bytes = try reader.bytes(of: chunk, in: window, mustMove: holding.isOverlay)
        var chunk = chunk
        try comparison?.narrow(&chunk, window)
        let origins =
            sink?.file.sharesExtents != true
            ? []
            : chunk.runs.compactMap { run in
                run.length < GuestStretch.shortestShared
                    ? nil
                    : reader.file(of: run).map {
                        GuestStretch.Origin(run.position..<run.position + run.length, in: $0, at: run.offset)
                    }
            }
        return try write(chunk, bytes, window, origins)
    }

    /// What a chunk is that has nothing to read, write or mark; nil where it has.
    private func outcome(ofEmpty chunk: Chunk) -> Outcome? {
        guard chunk.runs.isEmpty, chunk.written.isEmpty, chunk.marked.isEmpty else { return nil }
        return holding.isOverlay ? .backing : .zero
    }

    /// Writes `chunk`, whose guest bytes are `bytes`; `buffer` has room for its bitmap behind them.
    private func write(
        _ chunk: Chunk, _ bytes: UnsafeRawBufferPointer, _ buffer: AlignedBuffer,
        _ origins: [GuestStretch.Origin]
    ) throws -> Result {
        let bitmap = UnsafeMutableRawBufferPointer(
            rebasing: buffer.bytes[chunk.length..<chunk.length + (chunk.length / 512 + 7) / 8])
        bitmap.initializeMemory(as: UInt8.self, repeating: 0)
        func mark(_ range: Range<Int>) {
            CowBitmap.set(range.lowerBound / 512..<range.upperBound / 512, in: bitmap)
        }
        if holding.isOverlay { chunk.marked.forEach(mark) }
        var pieces: [Range<Int>] = []
        var fileRange: Range<UInt64>?
        if let sink {
            for range in marksData && !chunk.written.isEmpty ? [0..<chunk.length] : chunk.written {
                pieces += ZeroScan.dataRanges(in: bytes, range, leavingOut: shortestZeroRun)
            }
            if marksData { pieces.forEach(mark) }
            let marks = marksData ? !pieces.isEmpty : !chunk.marked.isEmpty
            fileRange = try sink.store(
                GuestStretch(
                    start: chunk.start, bytes: bytes, data: pieces, origins: origins,
                    held: marks ? UnsafeRawBufferPointer(bitmap) : nil))
        }
        return Result(
            outcome: outcome(
                of: chunk, bytes,
                UnsafeRawBufferPointer(rebasing: buffer.bytes[..<(chunk.length + bitmap.count)])),
            written: pieces.reduce(0) { $0 + $1.count }, fileRange: fileRange)
    }

    /// Marks a span that the target holds, or sees to it that it is zeros.
    func write(_ span: EmptyRun) throws {
        guard span.isHeld else { return }
        if holding.isOverlay { try sink?.markAll(span.range) } else { try sink?.clearZeros(span.range) }
    }

    private func outcome(
        of chunk: Chunk, _ bytes: UnsafeRawBufferPointer, _ bytesAndBitmap: UnsafeRawBufferPointer
    ) -> Outcome {
        let isZero = chunk.runs.isEmpty || ZeroScan.isZero(bytes)
        guard holding.isOverlay else { return isZero ? .zero : .data(ContentDigest(of: bytes)) }
        if chunk.marked.isEmpty { return .backing }
        if isZero, chunk.marked == [0..<chunk.length] { return .zero }
        // Which sectors an overlay holds matters as much as what they hold.
        return .data(ContentDigest(of: bytesAndBitmap))
    }
}
