internal import DiskImages

@testable internal import TransportArchive

/// An archive cut into its records, none of them believed, and put together again with lengths,
/// sequence numbers, digests and trailer made right: what a mutation changed is then looked at for
/// what it says.
package struct ArchiveSurgery {
    /// A record's kind and body as they stand there, and what follows it up to the next record.
    package struct Part {
        package var kind: UInt8
        package var body: [UInt8]
        package var frame: [UInt8]
    }

    package var parts: [Part]
    private let format: FrameFormat

    private static let start = 13

    /// Nil where `bytes` begin as no archive does. What lies between two records belongs to the
    /// first of them.
    package init?(_ bytes: [UInt8]) {
        guard let format = FrameFormat.allCases.first(where: { bytes.starts(with: $0.empty) }) else {
            return nil
        }
        self.format = format
        let empty = format.empty.count
        let places = (empty..<max(empty, bytes.count - ArchiveRecord.overhead + 1)).filter {
            bytes[$0] == 0x5d && bytes.littleEndian(UInt32.self, at: $0) == ArchiveRecord.magic
                && bytes[$0 + 8..<$0 + 12].elementsEqual(ArchiveRecord.tag)
        }
        guard !places.isEmpty else { return nil }
        parts = zip(places, places.dropFirst() + [bytes.count]).map { place, next in
            let length = ArchiveRecord.length(of: Array(bytes[place..<next])) ?? next - place
            let end = max(place + ArchiveRecord.overhead, min(place + length, next))
            let body = bytes[place + ArchiveRecord.prefixLength..<end - ArchiveRecord.digestLength]
            return Part(
                kind: bytes[place + ArchiveSurgery.start], body: Array(body),
                frame: Array(bytes[min(end, next)..<next]))
        }
    }

    /// Whole records, each in its place. A run record says of its frame what is true; what its
    /// frame holds is `content`, where it is an LZ4 frame.
    package func mended() -> [UInt8] { written().bytes }

    /// As `mended`, and where the records lie.
    private func written() -> (bytes: [UInt8], records: [Range<Int>]) {
        var bytes = format.empty
        var records: [Range<Int>] = []
        var (id, previous) = (ContentDigest(high: 0, low: 0), ContentDigest(high: 0, low: 0))
        var indexOffset: UInt64 = 0
        for (sequence, part) in parts.enumerated() {
            var body = part.body
            switch part.kind {
            case ArchiveRecord.Kind.run.rawValue: ArchiveSurgery.mend(&body, part.frame, format)
            case ArchiveRecord.Kind.index.rawValue: indexOffset = UInt64(bytes.count)
            case ArchiveRecord.Kind.trailer.rawValue:
                let length = UInt64(bytes.count + ArchiveTrailer.recordLength)
                body = ArchiveTrailer(indexOffset: indexOffset, length: length).serialized()
            default: break
            }
            // The kind is set afterwards: it may be none that there is.
            var record = ArchiveRecord.serialize(
                .run, sequence: UInt64(sequence), id: id, previous: previous, body: body
            ).bytes
            record[ArchiveSurgery.start] = part.kind
            let digest = ContentDigest(of: Array(record.dropLast(ArchiveRecord.digestLength)))
            record.replaceSubrange(
                record.count - ArchiveRecord.digestLength..<record.count, with: digest.bytes)
            records.append(bytes.count..<bytes.count + record.count)
            bytes += record + part.frame
            previous = digest
            if sequence == 0 { id = digest }
        }
        return (bytes, records)
    }

    /// As `mended`, with tables and an index that are true as well, where all before them can be
    /// read.
    package func mendedWithIndex() -> [UInt8] {
        var whole = self
        whole.parts.removeAll { $0.kind == ArchiveRecord.Kind.table.rawValue }
        let (bytes, records) = whole.written()
        guard let first = whole.parts.first, let header = try? ArchiveHeader(parsing: first.body),
            let place = whole.parts.firstIndex(where: { $0.kind == ArchiveRecord.Kind.index.rawValue })
        else { return bytes }
        var composer = ArchiveIndexComposer(layerCount: header.layers.count)
        let before = records[..<place].map { (offset: $0.lowerBound, bytes: Array(bytes[$0])) }
        whole.parts[place].body = composer.body(
            of: before, end: records[place].lowerBound, headerBytes: first.body)
        whole.parts.insert(
            contentsOf: composer.tables.map {
                Part(kind: ArchiveRecord.Kind.table.rawValue, body: $0.serialized(), frame: [])
            }, at: place)
        return whole.mended()
    }

    /// Makes lengths and digests in a run record's body those of its frame and of what that holds.
    private static func mend(_ body: inout [UInt8], _ frame: [UInt8], _ format: FrameFormat) {
        guard body.count >= 64 else { return }
        var content: [UInt8] = []
        if !frame.isEmpty, let declared: UInt32 = body.littleEndian(at: 20), declared > 0,
            declared <= RunRecord.longestContent
        {
            var buffer = [UInt8](repeating: 0, count: Int(declared))
            let isWhole = frame.withUnsafeBytes { frame in
                buffer.withUnsafeMutableBytes { buffer in
                    (try? FrameDecompressor(format).decompress(frame, into: buffer)) != nil
                }
            }
            if isWhole { content = buffer }
        }
        if frame.isEmpty { body.replaceSubrange(20..<24, with: [0, 0, 0, 0]) }
        var length: [UInt8] = []
        length.append(number: UInt32(frame.count))
        body.replaceSubrange(24..<28, with: length)
        body.replaceSubrange(28..<44, with: ContentDigest(of: frame).bytes)
        // What references lead to is not known here.
        if (try? RunRecord(parsing: body))?.hasReferences == true { return }
        body.replaceSubrange(44..<60, with: ContentDigest(of: content).bytes)
    }
}

/// The index of records that may be of any kind.
private struct ArchiveIndexComposer {
    private var index = ArchiveIndex(layers: [])
    private let layerCount: Int
    private var entries: [[RecordTable.Entry]] = []

    init(layerCount: Int) { self.layerCount = layerCount }

    /// The tables of what `body` was given.
    var tables: [RecordTable] {
        entries.indices.flatMap { RecordTable.tables(of: $0, entries[$0]) }
    }

    /// The body of the index record behind `records`, which are given with their offsets.
    mutating func body(of records: [(offset: Int, bytes: [UInt8])], end: Int, headerBytes: [UInt8]) -> [UInt8]
    {
        var previous = ContentDigest(high: 0, low: 0)
        for (sequence, record) in records.enumerated() {
            if let parsed = try? ArchiveRecord(parsing: record.bytes, at: 0), parsed.kind == .run,
                let run = try? RunRecord(parsing: parsed.body), run.layer < layerCount
            {
                fill(run.layer + 1, record.offset, sequence, previous)
                entries[run.layer].append(
                    RecordTable.Entry(
                        offset: UInt64(record.offset), start: run.range.lowerBound, digest: parsed.digest))
                if run.zeroLength < UInt64(Int64.max) {
                    index.layers[run.layer].add(run, recordLength: record.bytes.count)
                }
            }
            previous = ContentDigest(bytes: record.bytes.suffix(ArchiveRecord.digestLength)) ?? previous
        }
        fill(layerCount, end, records.count, previous)
        index.last = previous.description
        var place = UInt64(end)
        for layer in entries.indices {
            index.layers[layer].tables = place
            for table in RecordTable.tables(of: layer, entries[layer]) {
                place += UInt64(RecordTable.recordLength(table.entries.count))
            }
        }
        return index.serialized(with: headerBytes)
    }

    /// Layers up to `count` begin here, where none has before.
    private mutating func fill(_ count: Int, _ offset: Int, _ sequence: Int, _ previous: ContentDigest) {
        while index.layers.count < count {
            entries.append([])
            index.layers.append(
                ArchiveIndex.Layer(
                    offset: UInt64(offset), sequence: UInt64(sequence), previous: previous.description))
        }
    }
}
