internal import DiskImages
internal import Glibc
internal import Linux

/// What was read of the archives of a line, kept for whoever asks next: decoded frames above all.
/// One for all of them, so that memory does not grow with the line.
package final class ArchiveCache: Sendable {
    /// Bytes of decoded frames that a command keeps.
    package static let usual: UInt64 = 32 << 20
    /// Run records, and tables of them, that are kept, and what they may take in memory.
    private static let records = (most: 256, bytes: 8 << 20)
    private static let tables = (most: 64, bytes: 4 << 20)
    /// Buffers of contents that were dropped, that are kept while nobody uses them.
    private static let mostSpare = 4

    /// A table, or a record, of a layer by its number, of one of the archives.
    struct Place: Hashable {
        let archive: Int
        let layer: Int
        let number: Int
    }

    private let archives = Locked(0)
    private let keptTables: Locked<RecentlyUsed<Place, RecordTable>>
    private let keptRecords: Locked<RecentlyUsed<Place, ArchiveFile.StoredRun>>
    private let contents: Locked<RecentlyUsed<Place, Locked<DecodedContent?>>>
    /// Buffers of contents that were dropped.
    private let spare: SpareBuffers
    /// As many decoders as there are processors: they take more memory than what they decode.
    /// Whoever comes takes the next one, and waits where it is in use.
    private let decoders = (0..<max(2, min(16, sysconf(CInt(_SC_NPROCESSORS_ONLN))))).map { _ in
        Locked<(format: FrameFormat, decoder: RecordDecoder)?>(nil)
    }
    private let turns = Locked(0)

    /// Keeps so many bytes of decoded frames, the last one at least. Frames that are in use at the
    /// moment come to that.
    package init(frames bytes: UInt64 = ArchiveCache.usual) {
        let most = max(1, Int(clamping: bytes / UInt64(RunRecord.longestContent)))
        contents = Locked(RecentlyUsed(most: most))
        spare = SpareBuffers(most: min(most, ArchiveCache.mostSpare))
        keptTables = Locked(RecentlyUsed(most: ArchiveCache.tables.most, bytes: ArchiveCache.tables.bytes))
        keptRecords = Locked(RecentlyUsed(most: ArchiveCache.records.most, bytes: ArchiveCache.records.bytes))
    }

    /// A number for one more archive.
    func newArchive() -> Int {
        archives.withLock { archives in
            archives += 1
            return archives
        }
    }

    func table(at place: Place) -> RecordTable? { keptTables.withLock { $0[place] } }

    func keep(_ table: RecordTable, at place: Place) {
        keptTables.withLock {
            $0.insert(table, at: place, bytes: table.entries.count * MemoryLayout<RecordTable.Entry>.stride)
        }
    }

    func record(at place: Place) -> ArchiveFile.StoredRun? { keptRecords.withLock { $0[place] } }

    func keep(_ record: ArchiveFile.StoredRun, at place: Place) {
        let run = MemoryLayout<RunRecord.Run>.stride + MemoryLayout<Int>.stride
        keptRecords.withLock { $0.insert(record, at: place, bytes: record.run.runs.count * run) }
    }

    /// The content at `place`; `decode` fills a buffer with it where it is not kept. Who comes
    /// while it is decoded waits for that.
    func content(
        at place: Place, decode: (UnsafeMutableRawBufferPointer) throws -> Void
    ) throws -> DecodedContent {
        let kept = contents.withLock { contents in
            if let found = contents[place] { return found }
            let new = Locked(DecodedContent?.none)
            contents.insert(new, at: place, bytes: 0)
            return new
        }
        return try kept.withLock { content in
            if let content { return content }
            let decoded = DecodedContent(try spare.take(), returnedTo: spare)
            try decode(decoded.buffer.bytes)
            content = decoded
            return decoded
        }
    }

    /// Lends a decoder of `format`.
    func withDecoder<Result>(_ format: FrameFormat, _ body: (RecordDecoder) throws -> Result) throws -> Result
    {
        let turn = turns.withLock { turn in
            turn = (turn + 1) % decoders.count
            return turn
        }
        return try decoders[turn].withLock { kept in
            if let kept, kept.format == format { return try body(kept.decoder) }
            let decoder = try RecordDecoder(format)
            kept = (format, decoder)
            return try body(decoder)
        }
    }
}

/// Opens frames, and has the room for one.
final class RecordDecoder {
    let opener: FrameOpener
    let frame: AlignedBuffer

    init(_ format: FrameFormat) throws {
        opener = try FrameOpener(format)
        frame = try AlignedBuffer(capacity: FrameFormat.longest)
    }
}

/// Buffers for contents: memory that is used again need not be given by the kernel page by page.
private final class SpareBuffers: Sendable {
    private let most: Int
    private let buffers = Locked([AlignedBuffer]())

    init(most: Int) { self.most = most }

    func take() throws -> AlignedBuffer {
        try buffers.withLock { $0.popLast() } ?? AlignedBuffer(capacity: RunRecord.longestContent)
    }

    func give(_ buffer: AlignedBuffer) {
        buffers.withLock { if $0.count < most { $0.append(buffer) } }
    }
}

/// A record's content, decoded and not written to any more.
final class DecodedContent: @unchecked Sendable {
    fileprivate let buffer: AlignedBuffer
    private let spare: SpareBuffers

    fileprivate init(_ buffer: AlignedBuffer, returnedTo spare: SpareBuffers) {
        (self.buffer, self.spare) = (buffer, spare)
    }

    deinit { spare.give(buffer) }

    /// Fills `part` with the bytes from `start` on. Whoever drops the content meanwhile does not
    /// end it.
    func copy(from start: Int, into part: UnsafeMutableRawBufferPointer) {
        withExtendedLifetime(self) {
            part.copyMemory(
                from: UnsafeRawBufferPointer(rebasing: buffer.bytes[start..<start + part.count]))
        }
    }
}

/// Some values by their keys; of more, those that were not asked for the longest are dropped.
private struct RecentlyUsed<Key: Hashable, Value> {
    private let most: Int
    private let mostBytes: Int
    private var values: [Key: (value: Value, bytes: Int, used: UInt64)] = [:]
    private var bytes = 0
    private var clock: UInt64 = 0

    /// `most` values, which take no more than `bytes` together; the last one stays in any case.
    init(most: Int, bytes: Int = .max) { (self.most, mostBytes) = (most, bytes) }

    subscript(key: Key) -> Value? {
        mutating get {
            clock += 1
            values[key]?.used = clock
            return values[key]?.value
        }
    }

    mutating func insert(_ value: Value, at key: Key, bytes cost: Int) {
        clock += 1
        bytes += cost - (values.updateValue((value, cost, clock), forKey: key)?.bytes ?? 0)
        while values.count > 1, values.count > most || bytes > mostBytes,
            let oldest = values.min(by: { $0.value.used < $1.value.used })
        {
            bytes -= oldest.value.bytes
            values[oldest.key] = nil
        }
    }
}
