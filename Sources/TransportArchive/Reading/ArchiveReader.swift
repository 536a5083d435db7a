package import DiskImages

/// Reads an archive's records from front to back and believes none of them: each must follow the
/// one before it, in its place, of this archive.
///
/// After a run record with content, the caller reads its frame with `readFrame` or leaves it out
/// with `skipFrame`. One task at a time uses it.
package final class ArchiveReader: @unchecked Sendable {
    /// The longest index that is read.
    static let longestIndex = 2 * ArchiveHeader.longest + (64 << 20)
    /// The longest run record.
    static let longestRun = ArchiveRecord.overhead + 64 + RunRecord.mostRuns * 36

    package let stream: ByteStream
    /// What its frames are.
    package let format: FrameFormat
    package let header: ArchiveHeader
    /// The digest of the header's record.
    package let id: ContentDigest
    /// The layer and the place in it that the next record must begin with.
    package internal(set) var layer = 0
    package internal(set) var position: UInt64 = 0
    var sequence: UInt64 = 1
    /// Salvaging has come to the end.
    var isOver = false
    /// The digest of the record that was read last.
    package internal(set) var previous: ContentDigest
    /// The run record that was read last, and where it ends; nil where none was since the beginning
    /// or a seek.
    var last: (run: RunRecord, end: UInt64)?
    /// That record, and where it lies.
    package private(set) var lastEntry: (run: RunRecord, entry: RecordTable.Entry)?
    /// What has been read, to be held against the archive's own index; nil after a seek.
    private var seen: (index: ArchiveIndex, entries: [[RecordTable.Entry]])? = (ArchiveIndex(layers: []), [])
    let headerBytes: [UInt8]
    private var limits: [ArchiveIndex.Layer]?
    /// Bytes of data and zeros that were found of the layer that is being read.
    private var found = (data: UInt64(0), zeros: UInt64(0))

    /// Reads the beginning. Throws `notAnArchive` where there is none.
    package init(_ stream: ByteStream) throws {
        self.stream = stream
        guard let format = try FrameFormat.reading(stream) else {
            throw ArchiveError(
                .notAnArchive, "is no archive: it does not begin with an empty LZ4 or Zstandard frame")
        }
        self.format = format
        let record = try ArchiveReader.readRecord(
            stream, longest: ArchiveHeader.longest + ArchiveRecord.overhead)
        guard record.kind == .header, record.sequence == 0 else {
            throw ArchiveError(.damaged, "does not begin with a header")
        }
        header = try ArchiveHeader(parsing: record.body)
        headerBytes = record.body
        id = record.digest
        previous = record.digest
        passEmptyLayers()
    }

    /// An archive whose header was lost and found again in its index.
    init(_ stream: ByteStream, header: ArchiveHeader, headerBytes: [UInt8], id: ContentDigest) {
        self.stream = stream
        self.header = header
        self.headerBytes = headerBytes
        self.id = id
        format = FrameFormat(compression: header.options.compression)
        previous = id
        seen = nil
        passEmptyLayers()
    }

    /// The bytes of the archive up to its first run record.
    package var beginning: [UInt8] {
        format.empty
            + ArchiveRecord.serialize(
                .header, sequence: 0, id: ContentDigest(high: 0, low: 0),
                previous: ContentDigest(high: 0, low: 0), body: headerBytes
            ).0
    }

    /// Throws from now on where a layer holds more than its entry in the index says: what was
    /// decided by the index stays true.
    package func hold(to index: [ArchiveIndex.Layer]) { limits = index }

    /// Whether all layers have been read.
    package var isAtEnd: Bool { layer == header.layers.count }

    /// The next run record; nil when every layer was read and index and trailer are what they
    /// should be.
    package func next() throws -> RunRecord? {
        let offset = stream.offset
        if isAtEnd {
            try readEnd()
            return nil
        }
        let record = try ArchiveReader.readRecord(stream, longest: ArchiveReader.longestRun)
        try checkPlace(of: record, .run, at: offset)
        let run = try RunRecord(parsing: record.body)
        try checkPlace(of: run, at: offset)
        try count(run, at: offset)
        take(record, run)
        return run
    }

    /// Reads the frame of the run record just read into `buffer`, which holds
    /// `FrameFormat.longest`. Its digest is the caller's to check.
    package func readFrame(of run: RunRecord, into buffer: UnsafeMutableRawBufferPointer) throws {
        let offset = stream.offset
        let count = try stream.read(into: UnsafeMutableRawBufferPointer(rebasing: buffer[..<run.frameLength]))
        guard count == run.frameLength else {
            throw ArchiveError.cut(at: offset + UInt64(count))
        }
    }

    /// Leaves a frame out.
    package func skipFrame(of run: RunRecord) throws {
        let offset = stream.offset
        guard try stream.skip(UInt64(run.frameLength)) else {
            throw ArchiveError.cut(at: stream.file?.length ?? offset)
        }
    }

    /// Goes on with the first record of `layer`, whose entry in the index is `entry`.
    package func seek(to layer: Int, _ entry: ArchiveIndex.Layer) throws {
        guard let digest = ContentDigest(hex: entry.previous) else {
            throw ArchiveError(.damaged, "its index is no index")
        }
        stream.seek(to: entry.offset)
        stream.expect(upTo: entry.offset &+ entry.length)
        self.layer = layer
        position = 0
        sequence = entry.sequence
        previous = digest
        last = nil
        seen = nil
        passEmptyLayers()
    }

    private func count(_ run: RunRecord, at offset: UInt64) throws {
        if run.range.lowerBound == 0 { found = (0, 0) }
        found.data += UInt64(run.contentLength)
        found.zeros += run.zeroLength
        guard let limit = limits?[run.layer], found.data > limit.data || found.zeros > limit.zeros else {
            return
        }
        throw ArchiveError.damaged(
            "there is more of \(header.layers[run.layer].name) than its index says,", at: offset)
    }

    /// What follows is not all that there was.
    func forgetSeen() { seen = nil }

    /// Accepts a record that is in its place.
    func take(_ record: ArchiveRecord, _ run: RunRecord) {
        let length = ArchiveRecord.overhead + record.body.count
        let start = stream.offset - UInt64(length)
        seeLayers(
            run.layer + 1,
            ArchiveIndex.Layer(
                offset: start, sequence: record.sequence, previous: record.previous.description))
        seen?.index.layers[run.layer].add(run, recordLength: length)
        let entry = RecordTable.Entry(offset: start, start: run.range.lowerBound, digest: record.digest)
        seen?.entries[run.layer].append(entry)
        lastEntry = (run, entry)
        sequence = record.sequence + 1
        previous = record.digest
        last = (run, stream.offset)
        layer = run.layer
        position = run.range.upperBound
        passEmptyLayers()
    }

    /// The first `count` layers have been seen: those that were not begin, or would, with `entry`.
    private func seeLayers(_ count: Int, _ entry: ArchiveIndex.Layer) {
        while seen != nil, seen!.index.layers.count < count {
            seen?.index.layers.append(entry)
            seen?.entries.append([])
        }
    }

    private func passEmptyLayers() {
        while layer < header.layers.count, position >= header.layers[layer].recordedLength {
            layer += 1
            position = 0
        }
    }

    private func checkPlace(of record: ArchiveRecord, _ kind: ArchiveRecord.Kind, at offset: UInt64) throws {
        guard record.id == id else {
            throw ArchiveError.damaged("there is a record of another archive", at: offset)
        }
        guard record.sequence == sequence, record.previous == previous else {
            throw ArchiveError.damaged(
                "record \(record.sequence) stands where record \(sequence) is expected,", at: offset)
        }
        guard record.kind == kind else {
            throw ArchiveError.damaged("there is a record of another kind than expected", at: offset)
        }
    }

    /// A run must begin where the one before it ended, and end at a chunk's boundary or the disk's
    /// end: nothing is lost, repeated or swapped.
    func checkPlace(of run: RunRecord, at offset: UInt64) throws {
        guard run.layer == layer, run.range.lowerBound == position else {
            throw ArchiveError.damaged("there is a record of another place", at: offset)
        }
        try checkShape(of: run, at: offset)
    }

    /// What must hold of a run wherever it stands.
    func checkShape(of run: RunRecord, at offset: UInt64) throws {
        let chunk = UInt64(RunRecord.longestContent)
        guard run.layer < header.layers.count, run.range.lowerBound < run.range.upperBound,
            run.range.lowerBound % chunk == 0
        else {
            throw ArchiveError.damaged("there is a record of an impossible place", at: offset)
        }
        let length = header.layers[run.layer].recordedLength
        guard run.range.upperBound <= length,
            run.range.upperBound == length || run.range.upperBound % chunk == 0
        else {
            throw ArchiveError.damaged("there is a record of an impossible place", at: offset)
        }
        guard run.runs.last.map({ $0.end <= header.layers[run.layer].heldLength }) ?? true else {
            throw ArchiveError.damaged(
                "there is a record of sectors that its layer has no bits for", at: offset)
        }
        for part in run.runs {
            switch part.kind {
            case .data, .zero: break
            case .reference(let place):
                guard header.options.dedup == true, place.layer < run.layer,
                    place.start + part.length <= header.layers[place.layer].guestLength
                else { throw ArchiveError.damaged("there is a reference to an impossible place", at: offset) }
            case .inherited:
                // How long the parent's layers are is asked where they are read.
                guard header.parent != nil else {
                    throw ArchiveError.damaged(
                        "there is a reference to a parent, of which the header has none,", at: offset)
                }
            }
        }
    }

    /// Tables, index, trailer, and nothing after them.
    private func readEnd() throws {
        seeLayers(
            header.layers.count,
            ArchiveIndex.Layer(offset: stream.offset, sequence: sequence, previous: previous.description))
        seen?.index.last = previous.description
        let (index, offset) = try readTables()
        try checkPlace(of: index, .index, at: offset)
        let (found, copy) = try ArchiveIndex.parse(index.body)
        if let seen {
            guard found == seen.index.asFound(in: found, of: header), copy == headerBytes else {
                throw ArchiveError.damaged("its index is not true,", at: offset)
            }
        }
        (sequence, previous) = (sequence + 1, index.digest)
        let end = stream.offset
        let trailer = try ArchiveReader.readRecord(stream, longest: ArchiveTrailer.recordLength)
        try checkPlace(of: trailer, .trailer, at: end)
        guard
            try ArchiveTrailer(parsing: trailer.body)
                == ArchiveTrailer(indexOffset: offset, length: stream.offset)
        else {
            throw ArchiveError.damaged("its trailer is not true,", at: end)
        }
        guard try stream.read(1).isEmpty else {
            throw ArchiveError.damaged("there is something after its end", at: stream.offset - 1)
        }
    }

    /// The tables of records, which must say what was seen; returns what stands behind them.
    private func readTables() throws -> (ArchiveRecord, offset: UInt64) {
        var expected: ArraySlice<RecordTable> = []
        for layer in seen?.entries.indices ?? 0..<0 {
            seen?.index.layers[layer].tables =
                stream.offset + expected.reduce(0) { $0 + UInt64(RecordTable.recordLength($1.entries.count)) }
            expected += RecordTable.tables(of: layer, seen!.entries[layer])
        }
        while true {
            let offset = stream.offset
            let record = try ArchiveReader.readRecord(stream, longest: ArchiveReader.longestIndex)
            guard record.kind == .table else {
                guard seen == nil || expected.isEmpty else {
                    throw ArchiveError.damaged("there is a table of records missing", at: offset)
                }
                return (record, offset)
            }
            try checkPlace(of: record, .table, at: offset)
            let table = try RecordTable(parsing: record.body)
            guard seen == nil || table == expected.popFirst() else {
                throw ArchiveError.damaged("a table of records is not true,", at: offset)
            }
            (sequence, previous) = (sequence + 1, record.digest)
        }
    }

    /// Reads one record, at most `longest` bytes of it.
    static func readRecord(_ stream: ByteStream, longest: Int) throws -> ArchiveRecord {
        let offset = stream.offset
        let prefix = try stream.read(ArchiveRecord.prefixLength)
        guard !prefix.isEmpty else { throw ArchiveError.cut(at: offset) }
        guard let length = ArchiveRecord.length(of: prefix), length <= longest else {
            throw ArchiveError.damaged("there is no record", at: offset)
        }
        let rest = try stream.read(length - prefix.count)
        guard prefix.count + rest.count == length else {
            throw ArchiveError.cut(at: offset + UInt64(prefix.count + rest.count))
        }
        return try ArchiveRecord(parsing: prefix + rest, at: offset)
    }
}
