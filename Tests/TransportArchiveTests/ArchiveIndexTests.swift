import DiskImages
import SystemPackage
import TestSupport
import Testing

@testable import TransportArchive

/// What an archive's end says of its layers, and what is listed by it.
struct ArchiveIndexTests {
    private let files = try! ArchiveFiles()
    private let usual = ArchiveFiles.usual

    private func index(_ bytes: [UInt8]) throws -> [ArchiveIndex.Layer] {
        let file = try files.file(bytes)
        return try ArchiveReader(ByteStream(file)).readIndex(of: file).layers
    }

    @Test func itSaysWhereEachLayerLiesAndWhatItHolds() throws {
        let parts = try usual.parts().map { UInt64($0.count) }
        let layers = try index(usual.bytes)
        let head = parts[0] + parts[1]
        let base = parts[2...5].reduce(0, +)
        #expect(layers.map(\.offset) == [head, head + base, head + base])
        let top = parts[6...8].reduce(0, +)
        #expect(layers.map(\.length) == [base, 0, top])
        #expect(layers.map(\.sequence) == [1, 3, 3])
        #expect(layers.map(\.records) == [2, 0, 2])
        #expect(layers.map(\.data) == [1536, 0, 512])
        #expect(layers.map(\.zeros) == [0, 0, 512])
        let stored = parts[3] + parts[5]
        #expect(layers.map(\.stored) == [stored, 0, parts[7]])
        let tables = head + base + top
        #expect(layers.map(\.tables) == [tables, tables + parts[9], tables + parts[9]])
    }

    @Test func itHasACopyOfTheHeader() throws {
        let body = try ArchiveRecord(parsing: try #require(usual.parts().dropLast().last), at: 0).body
        #expect(try ArchiveIndex.parse(body).header == usual.header.serialized())
    }

    @Test func damageToTheEndIsFound() throws {
        let bytes = try usual.bytes
        let end = bytes.count - (try usual.parts().suffix(2).reduce(0) { $0 + $1.count })
        for place in stride(from: end, to: bytes.count, by: 3) {
            var changed = bytes
            changed[place] ^= 1 << UInt8(place % 8)
            #expect(throws: ArchiveError.self, "at \(place)") { try index(changed) }
        }
        for length in stride(from: end, to: bytes.count, by: 3) {
            #expect(throws: ArchiveError.self, "\(length)") { try index(Array(bytes[..<length])) }
        }
    }

    @Test func theEndOfAnotherArchiveIsNotBelieved() throws {
        var other = usual
        other.layers[0].mtime = "1700000000.000000001"
        let mixed = try usual.parts().dropLast(2) + other.parts().suffix(2)
        #expect(throws: ArchiveError(.damaged, "its index is of another archive")) {
            try index(Array(mixed.joined()))
        }
    }

    /// An index that is sound in itself, and says what cannot be.
    @Test(
        arguments: [
            { $0.offset = 1 << 40 }, { $0.length = 1 << 40 }, { $0.stored = $0.length + 1 },
            { $0.sequence = 1 << 62 }, { $0.data = 3 << 20 }, { $0.zeros = .max },
            { $0.offset = .max }, { $0.length = .max }, { $0.tables = .max }, { $0.records = 1 << 40 },
        ] as [@Sendable (inout ArchiveIndex.Layer) -> Void])
    func whatCannotBeIsNotBelieved(change: @Sendable (inout ArchiveIndex.Layer) -> Void) throws {
        #expect(throws: ArchiveError(.damaged, "its index says what cannot be")) {
            try index(bytes(saying: change))
        }
    }

    @Test func anUntrueIndexIsFoundWhenAllIsRead() throws {
        for change in [{ $0.records += 1 }, { $0.data -= 512 }] as [(inout ArchiveIndex.Layer) -> Void] {
            let error = #expect(throws: ArchiveError.self) { try files.read(bytes(saying: change)) }
            #expect(error?.description.contains("its index is not true") == true)
        }
    }

    /// The usual archive with another index, and a trailer that fits it.
    private func bytes(saying change: (inout ArchiveIndex.Layer) -> Void) throws -> [UInt8] {
        var parts = try usual.parts()
        let record = try ArchiveRecord(parsing: parts[parts.count - 2], at: 0)
        var found = try ArchiveIndex.parse(record.body)
        change(&found.index.layers[0])
        let (bytes, digest) = ArchiveRecord.serialize(
            .index, sequence: record.sequence, id: record.id, previous: record.previous,
            body: found.index.serialized(with: found.header))
        parts.removeLast(2)
        let offset = UInt64(parts.reduce(0) { $0 + $1.count })
        let length = offset + UInt64(bytes.count + ArchiveTrailer.recordLength)
        let (trailer, _) = ArchiveRecord.serialize(
            .trailer, sequence: record.sequence + 1, id: record.id, previous: digest,
            body: ArchiveTrailer(indexOffset: offset, length: length).serialized())
        return Array((parts + [bytes, trailer]).joined())
    }

    @Test(arguments: [[], [0, 0], [5, 0, 0, 0, 1], [0, 0, 0, 0], [0xff, 0xff, 0xff, 0xff, 0x7b, 0x7d]])
    func aBodyThatIsNoneIsRefused(body: [UInt8]) {
        #expect(throws: ArchiveError(.damaged, "its index is no index")) { try ArchiveIndex.parse(body) }
    }

    @Test func aFurtherNameIsListedAndItsDataCountedOnce() throws {
        let path = try files.file(usual.bytes).path
        let listing = try ArchiveListing(path)
        #expect(listing.layers.map(\.name) == ["base", "e", "f", "vm/top"])
        #expect(listing.layers.map(\.image) == [false, true, true, true])
        #expect(listing.layers.map(\.layout) == ["raw", "raw", "raw", "qemu-v2"])
        #expect(listing.layers.map(\.sameAs) == [nil, nil, "e", nil])
        #expect(listing.layers.map(\.backing) == [nil, nil, nil, "base"])
        #expect(listing.layers.map(\.virtualSize) == [2 << 20, 0, 0, 2 << 20])
        #expect(listing.layers.map(\.data) == [1536, 0, 0, 512])
        #expect(listing.layers.map(\.zeros) == [0, 0, 0, 512])
        #expect(try listing.size == UInt64(usual.bytes.count))
        #expect(listing.compression == "lz4")
        #expect(listing.archive == path.string && !listing.flattened && listing.formatVersion == 2)
    }

    @Test(arguments: [Compression.none, .lz4(level: 1), .lz4(level: 9)])
    func theIdFollowsFromTheHeader(compression: Compression) throws {
        var archive = usual
        archive.compression = compression
        let listing = try ArchiveListing(files.file(archive.bytes).path)
        archive.layers[0].pictures = ["zz", ""]
        #expect(try ArchiveListing(files.file(archive.bytes).path).id == listing.id)
        archive.layers[0].names = ["other"]
        #expect(try ArchiveListing(files.file(archive.bytes).path).id != listing.id)
        #expect(listing.compression == compression.description)
    }
}
