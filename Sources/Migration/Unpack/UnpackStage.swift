internal import DiskImages
internal import Glibc
internal import Manifests
internal import TransportArchive

/// The runs of an archive's record as a plan needs them: gaps filled with what they mean.
struct RecordRuns: TargetRunSource {
    private var runs: [TargetRun] = []
    private var index = 0

    /// `isRaw`: what no run covers is zeros; in a COW layer it is not allocated.
    init(_ record: RunRecord, isRaw: Bool) {
        var position = record.range.lowerBound
        var content: UInt64 = 0
        let gap: TargetRun.Kind = isRaw ? .zero : .backing
        for run in record.runs {
            if run.start > position { add(TargetRun(start: position, end: run.start, kind: gap)) }
            add(
                TargetRun(
                    start: run.start, end: run.end,
                    kind: run.isZero ? .zero : .data(layer: 0, offset: content)))
            if !run.isZero { content += run.end - run.start }
            position = run.end
        }
        if position < record.range.upperBound {
            add(TargetRun(start: position, end: record.range.upperBound, kind: gap))
        }
    }

    /// Neighbours without data become one run.
    private mutating func add(_ run: TargetRun) {
        if let last = runs.last, last.kind == run.kind, !run.isData {
            runs[runs.count - 1].end = run.end
        } else {
            runs.append(run)
        }
    }

    mutating func next() -> TargetRun? {
        guard index < runs.count else { return nil }
        defer { index += 1 }
        return runs[index]
    }
}

/// A record as it was read, and what is to be done with it: stage one of verified content.
struct StoredRecord: Sendable {
    let run: RunRecord
    /// The frame as stored, not looked at yet; nil where the record has none.
    let frame: AlignedBuffer?
    /// Chunks and spans of the target that it fills.
    let planned: [Planned]
}

/// Turns a stored record into its content, or finds that it is damaged. One for each worker.
struct FrameOpener {
    private let decompressor: FrameDecompressor
    private let content: AlignedBuffer

    init() throws {
        decompressor = try FrameDecompressor()
        content = try AlignedBuffer(capacity: RunRecord.longestContent)
    }

    /// The content, valid until the next call; both digests were right.
    func open(_ run: RunRecord, _ frame: AlignedBuffer?) throws -> UnsafeRawBufferPointer {
        guard let frame else { return UnsafeRawBufferPointer(rebasing: content.bytes[..<0]) }
        let stored = UnsafeRawBufferPointer(rebasing: frame.bytes[..<run.frameLength])
        guard ContentDigest(of: stored) == run.frameDigest else {
            throw ArchiveError(.damaged, "its frame is damaged")
        }
        let bytes = UnsafeMutableRawBufferPointer(rebasing: content.bytes[..<run.contentLength])
        try decompressor.decompress(stored, into: bytes)
        let data = UnsafeRawBufferPointer(bytes)
        guard ContentDigest(of: data) == run.contentDigest else {
            throw ArchiveError(.damaged, "its frame does not hold its content")
        }
        return data
    }
}

/// Writes the chunks of a record whose content is there.
struct RecordWriter {
    private let writer: ChunkWriter
    private let window: AlignedBuffer

    init(_ holding: CopyScope, sink: any ImageSink) throws {
        // Zeros were taken out when it was packed: what is there is to be written.
        writer = ChunkWriter(holding, shortestZeroRun: 0, sink: sink)
        window = try AlignedBuffer(capacity: Limits.buffer)
    }

    func write(_ chunk: Chunk, _ content: UnsafeRawBufferPointer) throws -> (outcome: Outcome, written: Int) {
        if let outcome = writer.outcome(ofEmpty: chunk) { return (outcome, 0) }
        if !writer.needsBuffer, chunk.runs.count == 1, chunk.runs[0].length == chunk.length {
            let start = Int(chunk.runs[0].offset)
            return try writer.write(
                chunk, UnsafeRawBufferPointer(rebasing: content[start..<start + chunk.length]), window)
        }
        let bytes = UnsafeMutableRawBufferPointer(rebasing: window.bytes[..<chunk.length])
        var covered = 0
        for run in chunk.runs {
            if run.position > covered { memset(bytes.baseAddress! + covered, 0, run.position - covered) }
            memcpy(bytes.baseAddress! + run.position, content.baseAddress! + Int(run.offset), run.length)
            covered = run.position + run.length
        }
        if covered < chunk.length { memset(bytes.baseAddress! + covered, 0, chunk.length - covered) }
        return try writer.write(chunk, UnsafeRawBufferPointer(bytes), window)
    }

    func write(_ span: EmptyRun) throws { try writer.write(span) }
}
