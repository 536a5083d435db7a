import DiskImages
import TestSupport
import Testing

@testable import TransportArchive

/// A small archive, composed in memory, read from its front: what is not exactly what was written
/// is found.
struct ArchiveReaderTests {
    private let files = try! ArchiveFiles()
    private let usual = ArchiveFiles.usual
    private static let chunk = UInt64(RunRecord.longestContent)

    @Test(arguments: [
        ArchiveFiles.usual, ComposedArchive([]), ComposedArchive([ComposedArchive.Layer("a", [])]),
        ComposedArchive([ComposedArchive.Layer("a", []), ComposedArchive.Layer("b")]),
        ComposedArchive([ComposedArchive.Layer("a"), ComposedArchive.Layer("b", [])]),
        ComposedArchive([ComposedArchive.Layer("a", ["z"]) { $0.size = 1 }]),
        ComposedArchive([ComposedArchive.Layer("a", ["", "b", "", "", "c"])]),
        ComposedArchive([ComposedArchive.Layer("a", [""]) { $0.size = 1 << 60 }]),
    ])
    func recordsAreReadAsTheyWereComposed(archive: ComposedArchive) throws {
        let reader = try ArchiveReader(ByteStream(files.file(archive.bytes)))
        #expect(reader.header == archive.header)
        #expect(try files.rest(of: reader) == archive.runs().map(\.run))
        #expect(reader.isAtEnd)
        #expect(try reader.stream.offset == UInt64(archive.bytes.count))
    }

    @Test func everyTruncationIsFound() throws {
        let bytes = try usual.bytes
        for length in bytes.indices {
            #expect(throws: ArchiveError.self, "\(length)") { try files.read(Array(bytes[..<length])) }
        }
    }

    /// One bit in each byte, another one in each.
    @Test func everyByteThatIsAnotherOneIsFound() throws {
        let bytes = try usual.bytes
        for place in bytes.indices {
            var changed = bytes
            changed[place] ^= 1 << UInt8(place % 8)
            #expect(throws: ArchiveError.self, "at \(place)") { try files.read(changed) }
        }
    }

    @Test(arguments: [
        [0], [UInt8](repeating: 0, count: 512), FrameFormat.lz4.empty, FrameFormat.zstd.empty,
        [0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0],
    ])
    func somethingPutInIsFoundWhereverItStands(piece: [UInt8]) throws {
        let parts = try usual.parts()
        for place in 0...parts.count {
            let changed = Array((parts[..<place] + [piece] + parts[place...]).joined())
            #expect(throws: ArchiveError.self, "before part \(place)") { try files.read(changed) }
        }
    }

    @Test func partsThatAreMissingRepeatedOrSwappedAreFound() throws {
        let parts = try usual.parts()
        for first in parts.indices {
            for end in first + 1...parts.count {
                let (before, these, after) = (parts[..<first], parts[first..<end], parts[end...])
                #expect(throws: ArchiveError.self, "\(first)..<\(end) missing") {
                    try files.read(Array((before + after).joined()))
                }
                #expect(throws: ArchiveError.self, "\(first)..<\(end) twice") {
                    try files.read(Array((before + these + these + after).joined()))
                }
            }
            for other in parts.indices.dropFirst(first + 1) {
                var swapped = parts
                swapped.swapAt(first, other)
                #expect(throws: ArchiveError.self, "\(first) and \(other)") {
                    try files.read(Array(swapped.joined()))
                }
            }
        }
    }

    /// Of the same names, sizes and times, and other bytes: their ids are equal.
    @Test func partsOfAnotherArchiveOfTheSameFleetAreFound() throws {
        var other = usual
        other.layers[0].pictures = ["xy", ".z"]
        other.layers[2].pictures = ["-w0", ""]
        let (ours, theirs) = (try usual.parts(), try other.parts())
        #expect(ours[1] == theirs[1] && ours.count == theirs.count)
        for first in 2..<ours.count {
            for end in first + 1...ours.count where (first, end) != (2, ours.count) {
                let mixed = Array((ours[..<first] + theirs[first..<end] + ours[end...]).joined())
                guard try mixed != usual.bytes else { continue }
                #expect(throws: ArchiveError.self, "\(first)..<\(end)") { try files.read(mixed) }
            }
        }
    }

    /// A record that is sound in itself, and of a place that cannot be.
    @Test(
        arguments: [
            (1, 0..<chunk, [], "another place"), (0, chunk..<2 * chunk, [], "another place"),
            (0, 0..<512, [], "an impossible place"), (0, 0..<chunk + 512, [], "an impossible place"),
            (0, 0..<3 * chunk, [], "an impossible place"), (0, 0..<0, [], "an impossible place"),
            (7, 0..<chunk, [], "another place"),
            (
                0, 0..<chunk, [RunRecord.Run(start: 512, end: chunk + 512, isZero: true)],
                "parts do not add up"
            ),
        ] as [(Int, Range<UInt64>, [RunRecord.Run], String)])
    func aRecordOfAPlaceThatCannotBeIsFound(
        layer: Int, range: Range<UInt64>, runs: [RunRecord.Run], fault: String
    ) throws {
        var archive = ComposedArchive([ComposedArchive.Layer("a", ["", ""])])
        let first = try archive.runs()[0].run
        archive.alter = { $0 == first ? RunRecord(emptyFor: layer, range: range, runs: runs) : $0 }
        let said = "\(#expect(throws: ArchiveError.self) { try files.read(archive.bytes) }, default: "")"
        #expect(said.contains(fault))
    }

    /// `uml-v2` has bits for whole groups of eight sectors: the last five of thirteen have none.
    @Test(arguments: [
        ("........", true), (".......z", true), ("00000000", true), (".......0", true),
        ("........z", false), ("........0", false), ("............z", false), ("000000000", false),
    ])
    func aRunPastTheLastBitOfItsLayerIsDamage(picture: String, isSound: Bool) throws {
        let archive = ComposedArchive([
            ComposedArchive.Layer("base") { $0.size = 13 * 512 },
            ComposedArchive.Layer("v2", [picture], "uml-v2", over: 0) { $0.size = 13 * 512 },
        ])
        if isSound {
            #expect(try files.read(archive.bytes).count == 2)
        } else {
            #expect(throws: ArchiveError.self) { try files.read(archive.bytes) }
        }
    }

    @Test func aVersionThatIsNotReadIsSaid() throws {
        var bytes = try usual.bytes
        bytes[FrameFormat.lz4.empty.count + 12] = 3
        #expect(throws: ArchiveError(.notAnArchive, "has format version 3; this program reads version 2")) {
            try files.read(bytes)
        }
    }

    @Test(arguments: [[], Array("text\n".utf8), [UInt8](repeating: 0, count: 4096), [0x04, 0x22, 0x4d]])
    func whatIsNoArchiveIsSaid(bytes: [UInt8]) {
        #expect(
            throws: ArchiveError(
                .notAnArchive,
                "is no archive: it does not begin with an empty LZ4 or Zstandard frame")
        ) { try files.read(bytes) }
    }

    @Test func aLayerThatHoldsMoreThanItsIndexSaysIsFound() throws {
        for (data, zeros, isEnough) in [(512, 512, true), (511, 512, false), (512, 511, false)] {
            let reader = try ArchiveReader(ByteStream(files.file(usual.bytes)))
            var index = try reader.readIndex(of: #require(reader.stream.file)).layers
            (index[2].data, index[2].zeros) = (UInt64(data), UInt64(zeros))
            reader.hold(to: index)
            if isEnough {
                #expect(try files.rest(of: reader).count == 4)
            } else {
                let error = #expect(throws: ArchiveError.self) { try files.rest(of: reader) }
                #expect(error?.description.contains("more of vm/top than its index says") == true)
            }
        }
    }

    @Test func everyLayerIsFoundByTheIndex() throws {
        let runs = try usual.runs().map(\.run)
        let reader = try ArchiveReader(ByteStream(files.file(usual.bytes)))
        let index = try reader.readIndex(of: #require(reader.stream.file)).layers
        for layer in [2, 0, 1] {
            try reader.seek(to: layer, index[layer])
            #expect(try files.rest(of: reader) == runs.filter { $0.layer >= layer })
        }
    }
}
