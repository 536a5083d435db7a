package import DiskImages
internal import FoundationEssentials
internal import Linux
internal import SystemPackage

/// An archive in a file, of which any part is read at any time, by any number of threads. What is
/// read is known by the index's digests; nothing else of the archive is looked at.
package final class ArchiveFile: Sendable {
    /// Contents of records that are kept decoded; each has at most 1 MiB.
    private static let keptContents = 16
    /// Run records, and tables of them, that are kept.
    private static let keptRecords = 64
    private static let keptTables = 16

    package let file: ImageFile
    package let header: ArchiveHeader
    package let id: ContentDigest
    package let index: ArchiveIndex
    package let anchors: ArchiveAnchors
    private let format: FrameFormat
    private let tables = Locked(RecentlyUsed<Place, RecordTable>(keptTables))
    private let records = Locked(RecentlyUsed<Place, StoredRun>(keptRecords))
    private let contents = Locked(RecentlyUsed<Place, DecodedContent>(keptContents))
    /// Decoders that nobody uses now.
    private let idle = Locked([Decoder]())

    /// A table, or a record, of a layer by its number.
    fileprivate struct Place: Hashable {
        let layer: Int
        let number: Int
    }

    /// A run record that was found.
    struct StoredRun {
        fileprivate let place: Place
        /// Where its frame lies.
        fileprivate let frame: UInt64
        let run: RunRecord
        /// Where each data run begins in the content, in the runs' order.
        let positions: [Int]
    }

    private final class Decoder {
        let opener: FrameOpener
        let frame: AlignedBuffer

        init(_ format: FrameFormat) throws {
            opener = try FrameOpener(format)
            frame = try AlignedBuffer(capacity: FrameFormat.longest)
        }
    }

    /// Opens the archive; throws `badData` where its beginning or its end is not sound.
    package convenience init(_ file: ImageFile) throws {
        let (reader, index) = try ArchiveFile.naming(file) {
            let reader = try ArchiveReader(ByteStream(file))
            return (reader, try reader.readIndex(of: file))
        }
        self.init(file, reader, index)
    }

    /// The archive whose beginning `reader` has read, and whose `index` it found in `file`.
    package init(_ file: ImageFile, _ reader: ArchiveReader, _ index: ArchiveIndex) {
        (self.file, self.index) = (file, index)
        (header, id, format) = (reader.header, reader.id, reader.format)
        anchors = ArchiveAnchors(index)
    }

    /// What is wrong with an archive's bytes is said with its name.
    private static func naming<Result>(_ file: ImageFile, _ body: () throws -> Result) throws -> Result {
        do {
            return try body()
        } catch let error as ArchiveError {
            throw DiskImageError(.badData, file.path, "\(error)")
        }
    }

    /// The record of `layer` that has the byte at `position`, which is before the layer's end.
    func run(of layer: Int, at position: UInt64) throws -> StoredRun {
        try ArchiveFile.naming(file) {
            let (place, entry) = try entry(of: layer, at: position)
            // What a table says of a place need not be true of its record, whoever asked for that first.
            if let found = records.withLock({ $0[place] }), found.run.range.contains(position) {
                return found
            }
            let stream = ByteStream(file)
            stream.seek(to: entry.offset)
            let record = try ArchiveReader.readRecord(stream, longest: ArchiveReader.longestRun)
            guard record.kind == .run, record.id == id, record.digest == entry.digest else {
                throw ArchiveError.damaged("there is another record than its table says", at: entry.offset)
            }
            let run = try RunRecord(parsing: record.body)
            guard run.layer == layer, run.range.lowerBound == entry.start, run.range.contains(position),
                run.range.upperBound <= header.layers[layer].guestLength
            else {
                throw ArchiveError.damaged("there is a record of another place", at: entry.offset)
            }
            var length = 0
            let positions = run.runs.map { run in
                defer { length += run.isZero ? 0 : Int(run.end - run.start) }
                return length
            }
            let found = StoredRun(place: place, frame: stream.offset, run: run, positions: positions)
            records.withLock { $0[place] = found }
            return found
        }
    }

    /// The entry of the record of `layer` that has the byte at `position`.
    private func entry(of layer: Int, at position: UInt64) throws -> (Place, RecordTable.Entry) {
        let count = Int(
            (index.layers[layer].records + UInt64(RecordTable.longest) - 1) / UInt64(RecordTable.longest))
        // The last table that begins at or before the place.
        var (low, high) = (0, count)
        while high - low > 1 {
            let middle = (low + high) / 2
            if try table(middle, of: layer).entries[0].start <= position {
                low = middle
            } else {
                high = middle
            }
        }
        guard count > 0, case let table = try table(low, of: layer), let entry = table.index(of: position)
        else {
            throw ArchiveError(.damaged, "its tables of records say nothing of \(header.layers[layer].name)")
        }
        return (Place(layer: layer, number: low * RecordTable.longest + entry), table.entries[entry])
    }

    private func table(_ number: Int, of layer: Int) throws -> RecordTable {
        let place = Place(layer: layer, number: number)
        if let found = tables.withLock({ $0[place] }) { return found }
        let entry = index.layers[layer]
        let (offset, overflow) = entry.tables.addingReportingOverflow(
            UInt64(number) * UInt64(RecordTable.recordLength(RecordTable.longest)))
        let first = number * RecordTable.longest
        let count = min(RecordTable.longest, Int(entry.records) - first)
        guard !overflow, offset < file.length else {
            throw ArchiveError(.damaged, "its index says what cannot be")
        }
        let stream = ByteStream(file)
        stream.seek(to: offset)
        let record = try ArchiveReader.readRecord(stream, longest: RecordTable.recordLength(count))
        guard record.kind == .table, record.id == id else {
            throw ArchiveError.damaged("there is no table of records", at: offset)
        }
        let table = try RecordTable(parsing: record.body)
        guard table.layer == layer, table.number == UInt64(first), table.entries.count == count else {
            throw ArchiveError.damaged("there is another table of records", at: offset)
        }
        tables.withLock { $0[place] = table }
        return table
    }

    /// Fills `buffer` with what the disk of `layer` holds from `offset` on, where all of it is data.
    func read(_ layer: Int, at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws {
        var done = 0
        while done < buffer.count {
            let position = offset + UInt64(done)
            let stored = try run(of: layer, at: position)
            let content = try content(of: stored)
            for (run, start) in zip(stored.run.runs, stored.positions)
            where done < buffer.count && run.start <= offset + UInt64(done) && offset + UInt64(done) < run.end
            {
                guard !run.isZero else { break }
                let skipped = Int(offset + UInt64(done) - run.start)
                let count = min(buffer.count - done, Int(run.end - run.start) - skipped)
                content.buffer.bytes[start + skipped..<start + skipped + count].withUnsafeBytes {
                    UnsafeMutableRawBufferPointer(rebasing: buffer[done..<done + count]).copyMemory(from: $0)
                }
                done += count
            }
            guard offset + UInt64(done) > position else {
                throw DiskImageError(
                    .badData, file.path,
                    "sector \(position / 512) of \(header.layers[layer].name) is no data")
            }
        }
    }

    /// The content of `stored`; both digests were right.
    private func content(of stored: StoredRun) throws -> DecodedContent {
        if let found = contents.withLock({ $0[stored.place] }) { return found }
        let run = stored.run
        let decoder = try idle.withLock { $0.popLast() } ?? Decoder(format)
        defer { idle.withLock { $0.append(decoder) } }
        let frame = UnsafeMutableRawBufferPointer(rebasing: decoder.frame.bytes[..<run.frameLength])
        let content = DecodedContent(try AlignedBuffer(capacity: RunRecord.longestContent))
        try ArchiveFile.naming(file) {
            let count = try file.readAvailable(into: frame, at: stored.frame)
            do {
                try decoder.opener.open(
                    run, UnsafeRawBufferPointer(rebasing: frame[..<count]),
                    into: UnsafeMutableRawBufferPointer(rebasing: content.buffer.bytes[..<run.contentLength]))
            } catch let error as ArchiveError {
                let loss = ArchiveReader.Loss(layer: run.layer, range: run.range)
                throw ArchiveError(error.kind, "\(header.describe(loss)): \(error)")
            }
        }
        contents.withLock { $0[stored.place] = content }
        return content
    }

}

/// A record's content, decoded and not written to any more.
private final class DecodedContent: @unchecked Sendable {
    let buffer: AlignedBuffer

    init(_ buffer: AlignedBuffer) { self.buffer = buffer }
}

/// Some values by their keys; of more, those that were not asked for the longest are dropped.
private struct RecentlyUsed<Key: Hashable, Value> {
    private let most: Int
    private var values: [Key: (value: Value, used: UInt64)] = [:]
    private var clock: UInt64 = 0

    init(_ most: Int) { self.most = most }

    subscript(key: Key) -> Value? {
        mutating get {
            clock += 1
            values[key]?.used = clock
            return values[key]?.value
        }
        set {
            clock += 1
            values[key] = newValue.map { ($0, clock) }
            while values.count > most, let oldest = values.min(by: { $0.value.used < $1.value.used }) {
                values[oldest.key] = nil
            }
        }
    }
}
