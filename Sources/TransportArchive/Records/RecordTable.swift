package import DiskImages

/// Where the records of a layer lie, a part of them: the body of an `X` record. The tables of all
/// layers, in their order, stand behind the last run record; every table of a layer but its last
/// has `longest` entries, so that any of them can be found at once.
///
/// | offset | size | meaning |
/// |--------|------|---------|
/// | 0      | 4    | index of the layer |
/// | 4      | 8    | records of the layer before the first one of this table |
/// | 12     | 4    | number of entries |
/// | 16     | 32 each | the entries: where the record begins in the archive (8), the first sector of its stretch (8), its digest (16) |
package struct RecordTable: Equatable, Sendable {
    /// Entries that one table has at most.
    package static let longest = 8192
    /// The whole record of a table with so many entries, in bytes.
    static func recordLength(_ count: Int) -> Int { ArchiveRecord.overhead + 16 + 32 * count }

    /// One run record.
    package struct Entry: Equatable, Sendable {
        /// Where it begins in the archive.
        package let offset: UInt64
        /// The first byte of its stretch of the layer's disk; whole sectors.
        package let start: UInt64
        package let digest: ContentDigest

        package init(offset: UInt64, start: UInt64, digest: ContentDigest) {
            (self.offset, self.start, self.digest) = (offset, start, digest)
        }
    }

    package let layer: Int
    /// Records of the layer before these.
    package let number: UInt64
    package let entries: [Entry]

    init(layer: Int, number: UInt64, entries: [Entry]) {
        (self.layer, self.number, self.entries) = (layer, number, entries)
    }

    /// The tables of a layer with these records.
    static func tables(of layer: Int, _ entries: [Entry]) -> [RecordTable] {
        stride(from: 0, to: entries.count, by: longest).map {
            RecordTable(
                layer: layer, number: UInt64($0),
                entries: Array(entries[$0..<min($0 + longest, entries.count)]))
        }
    }

    package func serialized() -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(16 + 32 * entries.count)
        bytes.append(number: UInt32(layer))
        bytes.append(number: number)
        bytes.append(number: UInt32(entries.count))
        for entry in entries {
            bytes.append(number: entry.offset)
            bytes.append(number: entry.start / 512)
            bytes += entry.digest.bytes
        }
        return bytes
    }

    /// Parses a body whose digest was right: entries in order, at least one.
    package init(parsing bytes: [UInt8]) throws {
        let fault = ArchiveError(.damaged, "there is a table of records whose parts do not add up")
        guard let layer: UInt32 = bytes.littleEndian(at: 0), let number: UInt64 = bytes.littleEndian(at: 4),
            let count: UInt32 = bytes.littleEndian(at: 12), count > 0, count <= RecordTable.longest,
            bytes.count == 16 + 32 * Int(count)
        else { throw fault }
        var entries: [Entry] = []
        entries.reserveCapacity(Int(count))
        for at in stride(from: 16, to: bytes.count, by: 32) {
            guard let offset: UInt64 = bytes.littleEndian(at: at),
                let first: UInt64 = bytes.littleEndian(at: at + 8), first <= UInt64(Int64.max) / 512,
                let digest = ContentDigest(bytes: bytes[at + 16..<at + 32]),
                entries.last.map({ $0.offset < offset && $0.start < first * 512 }) ?? true
            else { throw fault }
            entries.append(Entry(offset: offset, start: first * 512, digest: digest))
        }
        (self.layer, self.number, self.entries) = (Int(layer), number, entries)
    }

    /// The entry whose stretch has the byte at `position`, where one has: the last that begins at
    /// or before it.
    func index(of position: UInt64) -> Int? { RecordTable.index(of: position, in: entries) }

    static func index(of position: UInt64, in entries: [Entry]) -> Int? {
        var (low, high) = (0, entries.count)
        while low < high {
            let middle = (low + high) / 2
            if entries[middle].start <= position { low = middle + 1 } else { high = middle }
        }
        return low > 0 ? low - 1 : nil
    }
}
