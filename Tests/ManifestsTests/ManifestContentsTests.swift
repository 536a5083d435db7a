import DiskImages
import TestSupport
import Testing

@testable import Manifests

struct ManifestContentsTests {
    @Test func itSaysWhatWasRecorded() throws {
        let found = try ManifestText.parse(ManifestText.whole)
        #expect(found.job?.sources.map(\.path) == ["/images/base"])
        #expect(found.job?.options.segment == 1 << 20)
        #expect(found.job?.options.depth == nil)
        #expect(found.segments.map(\.start) == [0, 2048, 4096, 6144])
        #expect(found.segments.map(\.kind) == ["data", "zero", "data", "zero"])
        let range: Range<UInt64> = 3_145_728..<8_388_608
        #expect(found.segments[3].range == range)
        #expect(found.completion?.mtime == "1700000000.000000001")
        #expect(found.wholeLength == ManifestText.bytes(ManifestText.whole).count)
        #expect(found.covers(8 << 20))
    }

    @Test func whatIsWrittenIsReadAgainAndIsTheSameText() throws {
        let directory = try TemporaryDirectory()
        let manifest = try ManifestFile(of: directory("out"))
        let found = try ManifestText.parse(ManifestText.whole)
        try manifest.begin(try #require(found.job))
        for segment in found.segments { try manifest.append(segment) }
        try manifest.append(try #require(found.completion))
        let sorted =
            ManifestText.whole[..<2] + [ManifestText.whole[3], ManifestText.whole[2]]
            + ManifestText.whole[4...]
        #expect(try ManifestText.withoutTimes(of: manifest.path) == ManifestText.bytes(Array(sorted)))
        let again = try manifest.load()
        #expect(
            again.job == found.job && again.segments == found.segments
                && again.completion?.digest == found.completion?.digest)
        #expect(again.segments.allSatisfy { $0.time ?? 0 > 1.7e9 })
    }

    @Test func aFamilyStandsBehindTheCompletion() throws {
        let family = #"{"members":[{"digest":"ab","target":"/out/a.cow"}],"record":"family"}"#
        let bytes = ManifestText.bytes(ManifestText.whole + [family])
        for found in [
            try ManifestContents(parsing: bytes, path: ManifestText.path),
            try ManifestContents(parsingEndsOf: bytes, path: ManifestText.path),
        ] {
            #expect(found.family?.members.map(\.target) == ["/out/a.cow"])
            #expect(found.completion != nil)
        }
        #expect(try ManifestContents(parsingEndsOf: bytes, path: ManifestText.path).segments.isEmpty)
        // Torn, or before the completion, it says nothing.
        let torn = try ManifestContents(parsing: bytes.dropLast(2), path: ManifestText.path)
        #expect(torn.family == nil && torn.completion != nil)
        #expect(torn.wholeLength == ManifestText.bytes(ManifestText.whole).count)
        #expect(throws: ManifestError.self) {
            try ManifestText.parse(ManifestText.whole.dropLast() + [family])
        }
    }

    @Test func anEmptyManifestRecordsNothing() throws {
        let found = try ManifestContents(parsing: [], path: ManifestText.path)
        #expect(
            found.job == nil && found.segments.isEmpty && found.completion == nil && found.wholeLength == 0)
    }

    @Test func aTornLastLineIsDroppedWhereverItIsTorn() throws {
        let whole = ManifestText.bytes(ManifestText.whole)
        var lineEnds: [Int] = [0]
        for (index, byte) in whole.enumerated() {
            let found = try ManifestContents(parsing: Array(whole[..<index]), path: ManifestText.path)
            #expect(found.wholeLength == lineEnds.last)
            #expect((found.job == nil) == (lineEnds.count < 2))
            #expect(found.segments.count == min(max(lineEnds.count - 2, 0), 4))
            #expect(found.completion == nil)
            if byte == 0x0a { lineEnds.append(index + 1) }
        }
    }

    @Test func aTornLineIsCutOffBeforeMoreIsRecorded() throws {
        let directory = try TemporaryDirectory()
        let torn = ManifestText.bytes(Array(ManifestText.whole[..<2])) + Array(#"{"count":20"#.utf8)
        try SparseFile.write(torn, to: directory("out.manifest"))
        let manifest = try ManifestFile(of: directory("out"))
        let found = try manifest.load()
        #expect(found.segments.count == 1)
        try manifest.cut(to: found.wholeLength)
        try manifest.append(ManifestSegment(1 << 20..<2 << 20, .zero))
        #expect(
            try ManifestText.withoutTimes(of: manifest.path)
                == ManifestText.bytes(ManifestText.whole[..<2] + [ManifestText.whole[3]]))
    }

    @Test func itCoversADiskWhoseSegmentsLeaveNothingOut() throws {
        #expect(!(try ManifestText.parse(Array(ManifestText.whole[..<4])).covers(8 << 20)))
        #expect(!(try ManifestText.parse(ManifestText.whole).covers(9 << 20)))
        #expect(try ManifestText.parse([ManifestText.job(length: 0)]).covers(0))
    }

    @Test func aLineWithAKeyOfALaterVersionIsRead() throws {
        let line = ManifestText.segment(0, 2048).dropLast() + #","colour":"red"}"#
        #expect(try ManifestText.parse([ManifestText.job(), String(line)]).segments.count == 1)
    }
}
