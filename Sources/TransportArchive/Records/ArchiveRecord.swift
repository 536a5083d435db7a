package import DiskImages

/// A record of an archive: a skippable LZ4 frame. All numbers are little-endian.
///
/// | offset | size | meaning |
/// |--------|------|---------|
/// | 0      | 4    | 0x184D2A5D, the magic number of a skippable frame |
/// | 4      | 4    | number of bytes that follow |
/// | 8      | 4    | `DRVR` |
/// | 12     | 1    | version of the format: 2 |
/// | 13     | 1    | kind: `H`, `R`, `X`, `I` or `T` |
/// | 14     | 2    | 0 |
/// | 16     | 8    | sequence number, from 0 |
/// | 24     | 16   | the archive's id: the header record's digest; zeros in the header |
/// | 40     | 16   | the digest of the record before; zeros in the header |
/// | 56     | n    | body |
/// | 56 + n | 16   | XXH3-128 of all bytes before it |
package struct ArchiveRecord: Equatable, Sendable {
    package enum Kind: UInt8, Sendable {
        case header = 0x48
        case run = 0x52
        case table = 0x58
        case index = 0x49
        case trailer = 0x54
    }

    static let magic: UInt32 = 0x184d_2a5d
    static let tag: [UInt8] = Array("DRVR".utf8)
    static let version: UInt8 = 2
    /// Bytes before the body, and after it.
    package static let prefixLength = 56
    static let digestLength = 16
    static let overhead = prefixLength + digestLength

    package let kind: Kind
    package let sequence: UInt64
    package let id: ContentDigest
    package let previous: ContentDigest
    package let body: [UInt8]
    /// The record's own digest, which the next one carries.
    package let digest: ContentDigest

    /// A record as it stands in the archive, and its digest, with which it ends.
    static func serialize(
        _ kind: Kind, sequence: UInt64, id: ContentDigest, previous: ContentDigest, body: [UInt8]
    ) -> (bytes: [UInt8], digest: ContentDigest) {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(overhead + body.count)
        bytes.append(number: magic)
        bytes.append(number: UInt32(overhead - 8 + body.count))
        bytes += tag
        bytes += [version, kind.rawValue, 0, 0]
        bytes.append(number: sequence)
        bytes += id.bytes
        bytes += previous.bytes
        bytes += body
        let digest = ContentDigest(of: bytes)
        bytes += digest.bytes
        return (bytes, digest)
    }

    /// The length of the whole record that begins with `prefix` (8 bytes or more), or nil where
    /// that is no skippable frame of ours.
    package static func length(of prefix: [UInt8]) -> Int? {
        guard prefix.littleEndian(UInt32.self, at: 0) == magic,
            let count = prefix.littleEndian(UInt32.self, at: 4),
            count >= UInt32(overhead - 8)
        else { return nil }
        return Int(count) + 8
    }

    /// Parses a whole record. Throws where its bytes are not the ones that were written; `offset`
    /// is its place, for the text.
    package init(parsing bytes: [UInt8], at offset: UInt64) throws {
        guard ArchiveRecord.length(of: bytes) == bytes.count else {
            throw ArchiveError.damaged("there is no record", at: offset)
        }
        guard Array(bytes[8..<12]) == ArchiveRecord.tag else {
            throw ArchiveError.damaged("there is a skippable frame that is no record", at: offset)
        }
        guard bytes[12] == ArchiveRecord.version else {
            throw ArchiveError(
                .notAnArchive,
                "has format version \(bytes[12]); this program reads version \(ArchiveRecord.version)")
        }
        let bodyEnd = bytes.count - ArchiveRecord.digestLength
        let digest = ContentDigest(of: Array(bytes[..<bodyEnd]))
        guard digest.bytes == Array(bytes[bodyEnd...]) else {
            throw ArchiveError.damaged("there is a damaged record", at: offset)
        }
        guard let kind = Kind(rawValue: bytes[13]), bytes[14] == 0, bytes[15] == 0,
            let sequence = bytes.littleEndian(UInt64.self, at: 16),
            sequence < 1 << 62,
            let id = ContentDigest(bytes: bytes[24..<40]), let previous = ContentDigest(bytes: bytes[40..<56])
        else { throw ArchiveError.damaged("there is a record of an unknown kind", at: offset) }
        self.kind = kind
        self.sequence = sequence
        self.id = id
        self.previous = previous
        body = Array(bytes[56..<bodyEnd])
        self.digest = digest
    }
}

extension ContentDigest {
    /// The digest of 16 bytes, most significant first.
    init?(bytes: ArraySlice<UInt8>) {
        guard bytes.count == 16 else { return nil }
        let words = [bytes.prefix(8), bytes.suffix(8)].map { $0.reduce(UInt64(0)) { $0 << 8 | UInt64($1) } }
        self.init(high: words[0], low: words[1])
    }
}

extension [UInt8] {
    mutating func append<T: FixedWidthInteger & UnsignedInteger>(number: T) {
        for index in 0..<T.bitWidth / 8 { append(UInt8(truncatingIfNeeded: number >> T(8 * index))) }
    }

    func littleEndian<T: FixedWidthInteger & UnsignedInteger>(_ type: T.Type = T.self, at offset: Int) -> T? {
        let width = T.bitWidth / 8
        guard offset >= 0, offset <= count - width else { return nil }
        return (0..<width).reduce(0) { $0 | T(self[offset + $1]) << T(8 * $1) }
    }
}
