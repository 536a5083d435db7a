import Linux
import TestSupport
import Testing

@testable import Manifests

/// Manifests are bytes from outside.
struct ManifestDamageTests {
    private static let end = " (--restart forgets the checkpoint)"

    @Test(arguments: ["x", "{", "{}", "[]", "null", "7", #""segment""#, "\u{0}", "{\"record\":7}"])
    func aDamagedLineOfACompleteMoveIsRefusedWithItsNumber(line: String) {
        let lines = [
            ManifestText.job(), ManifestText.segment(0, 2048), line, ManifestText.segment(2048, 2048),
            ManifestText.completion,
        ]
        #expect(
            ManifestText.refusal(lines)
                == "/images/out.manifest: line 3 is damaged: it is no record\(ManifestDamageTests.end)")
    }

    @Test(arguments: ["x", "{", "{}", "null", "", String(repeating: "\u{0}", count: 300), "{\"record\":7}"])
    func whatIsSoundUpToTheFirstDamageCountsWhereTheMoveIsNotComplete(line: String) throws {
        let sound = [ManifestText.job(), ManifestText.segment(0, 2048)]
        let found = try ManifestText.parse(sound + [line, ManifestText.segment(2048, 2048)])
        #expect(found.segments.map(\.start) == [0])
        #expect(found.wholeLength == ManifestText.bytes(sound).count)
    }

    @Test func aBlockThatNeverReachedTheDiskIsNoMoreThanMissing() throws {
        var bytes = ManifestText.bytes(Array(ManifestText.whole.dropLast()))
        for index in bytes.indices.prefix(512) { bytes[index] = 0 }
        let found = try ManifestContents(parsing: bytes, path: ManifestText.path)
        #expect(found.job == nil && found.segments.isEmpty && found.wholeLength == 0)
    }

    @Test(arguments: ["image bytes", "{\"a\":1}", "\n", "\u{0}"])
    func aFileThatBeginsOtherwiseIsLeftAlone(text: String) {
        #expect(
            refusal { _ = try ManifestContents(parsing: Array(text.utf8), path: ManifestText.path) }
                == "/images/out.manifest: is no manifest of Drover's (move it away)")
    }

    @Test func aLaterVersionIsRefused() {
        #expect(
            ManifestText.refusal([ManifestText.job(version: "2")])
                == "/images/out.manifest: line 1 is damaged: its version is 2; expected 1\(ManifestDamageTests.end)"
        )
    }

    @Test(
        arguments: [
            (8 << 20, 0), (8 << 20, 512), (8 << 20, (1 << 20) + 512), (UInt64(1) << 63, 1 << 20),
            (.max, 1 << 20),
        ] as [(UInt64, UInt64)])
    func aJobOfImpossibleSizesIsRefused(length: UInt64, segment: UInt64) {
        #expect(
            ManifestText.refusal([ManifestText.job(length: length, segment: segment)])
                == "/images/out.manifest: line 1 is damaged: its sizes are impossible\(ManifestDamageTests.end)"
        )
    }

    @Test(arguments: [
        ("0", "0"), ("0", "16385"), ("16384", "1"), ("2048", "14337"), ("1", "2048"), ("2047", "2048"),
        ("0", "18446744073709551615"),
        ("18446744073709551615", "18446744073709551615"), ("18446744073709551615", "1"),
        ("9223372036854775807", "2048"),
        ("36028797018963968", "2048"), ("18014398509481984", "18014398509481983"), ("0", "36028797018963968"),
    ])
    func aRangeThatIsNotOnTheDiskIsRefused(start: String, count: String) {
        for kind in ["data", "zero", "backing"] {
            #expect(
                ManifestText.refusal([ManifestText.job(), ManifestText.segment(start, count, kind)])
                    == "/images/out.manifest: line 2 is damaged: its range or digest is impossible\(ManifestDamageTests.end)"
            )
        }
    }

    @Test(arguments: [
        "-1", "0.5", "1e400", "18446744073709551616", "\"0\"", "null", "[]",
        "1\(String(repeating: "0", count: 500))",
    ])
    func aNumberThatIsNoneIsRefused(number: String) {
        for line in [ManifestText.segment(number, "2048"), ManifestText.segment("0", number)] {
            #expect(
                ManifestText.refusal([ManifestText.job(), line]).hasPrefix(
                    "/images/out.manifest: line 2 is damaged: "))
        }
    }

    @Test func aDataRecordIsOneSegmentNoMoreAndNoLess() {
        // Its digest is that of one segment: what is more was never written, what is less would be
        // written behind it.
        for count in [1, 2047, 2049, 4096, 16384] {
            #expect(
                ManifestText.refusal([ManifestText.job(), ManifestText.segment(0, count)])
                    == "/images/out.manifest: line 2 is damaged: its range or digest is impossible\(ManifestDamageTests.end)",
                "\(count) sectors")
        }
    }

    @Test(arguments: ["zero", "backing"])
    func aRecordEndsWhereASegmentOrTheDiskDoes(kind: String) throws {
        #expect(throws: ManifestError.self) {
            try ManifestText.parse([ManifestText.job(), ManifestText.segment(0, 2049, kind)])
        }
        let odd = ManifestText.job(length: (8 << 20) + 512)
        #expect(try ManifestText.parse([odd, ManifestText.segment(16384, 1, kind)]).segments.count == 1)
    }

    @Test(arguments: ["", "hole", "DATA"])
    func anUnknownKindIsRefused(kind: String) {
        #expect(
            ManifestText.refusal([ManifestText.job(), ManifestText.segment(0, 2048, kind)]).contains(
                "its range or digest is impossible"))
    }

    @Test(arguments: ["", "abc", String(repeating: "g", count: 32), String(repeating: "a", count: 33)])
    func aDigestThatIsNoneIsRefused(digest: String) {
        let line = ManifestText.segment(0, 2048).replacing(String(repeating: "a", count: 32), with: digest)
        #expect(
            ManifestText.refusal([ManifestText.job(), line]).contains("its range or digest is impossible"))
    }

    @Test(arguments: [(0, 4096, 2048, 2048), (2048, 2048, 2048, 2048), (0, 16384, 14336, 2048)])
    func aSectorThatIsRecordedTwiceIsRefused(
        firstStart: Int, firstCount: Int, secondStart: Int, secondCount: Int
    ) {
        let lines = [
            ManifestText.segment(firstStart, firstCount, "zero"),
            ManifestText.segment(secondStart, secondCount, "zero"),
        ]
        for order in [lines, lines.reversed()] {
            #expect(
                ManifestText.refusal([ManifestText.job()] + order)
                    == "/images/out.manifest: sector \(secondStart) is recorded twice\(ManifestDamageTests.end)"
            )
        }
    }

    @Test func aSectorThatIsRecordedTwiceIsRefusedWhereTheEndsAloneAreWanted() {
        let lines = [
            ManifestText.job(), ManifestText.segment(0, 4096, "zero"),
            ManifestText.segment(2048, 2048, "zero"),
        ]
        let bytes = Array(lines.map { "\($0)\n" }.joined().utf8)
        #expect(
            refusal { _ = try ManifestContents(parsingEndsOf: bytes, path: ManifestText.path) }
                == "/images/out.manifest: sector 2048 is recorded twice\(ManifestDamageTests.end)")
    }

    @Test(arguments: [("9", "3", "8", "4"), ("9", "3", "10", "2"), ("18446744073709551615", "3", "0", "4")])
    func aCheckpointBeforeTheOneBeforeIsRefused(
        length: String, sequence: String, nextLength: String, nextSequence: String
    ) {
        let job =
            #"{"archive":"\#(String(repeating: "a", count: 32))","consistent":true,"manifest":1,"record":"archive","#
            + #""segment":1048576,"sources":[],"target":"/out"}"#
        let lines = [(length, sequence), (nextLength, nextSequence)].map {
            #"{"length":\#($0),"record":"checkpoint","sequence":\#($1)}"#
        }
        let bytes = Array(([job] + lines).map { "\($0)\n" }.joined().utf8)
        #expect(
            refusal { _ = try ArchiveManifest(parsing: bytes, path: ManifestText.path) }
                == "/images/out.manifest: line 3 is damaged: its checkpoint lies before the one before it\(ManifestDamageTests.end)"
        )
    }

    @Test func aRecordOutOfPlaceIsRefused() {
        let (job, segment, completion) = (
            ManifestText.job(), ManifestText.segment(0, 2048), ManifestText.completion
        )
        for (lines, line, record) in [
            ([job, completion, segment], 3, "segment"), ([job, completion, completion], 3, "complete"),
            ([job, #"{"record":"sheep"}"#], 2, "sheep"),
        ] {
            #expect(
                ManifestText.refusal(lines)
                    == "/images/out.manifest: line \(line) is damaged: a record \"\(record)\" does not belong there\(ManifestDamageTests.end)"
            )
        }
    }

    @Test func deeplyNestedTextIsRefused() {
        let line = String(repeating: "[", count: 100_000)
        #expect(
            ManifestText.refusal([ManifestText.job(), line, ManifestText.completion]).contains(
                "line 2 is damaged: it is no record"))
    }

    @Test func anyFlippedBitIsReadOrRefusedAndNeverMore() throws {
        let seed = TestSeed()
        var generator = seed.generator()
        let whole = ManifestText.bytes(ManifestText.whole)
        for index in whole.indices {
            var bytes = whole
            bytes[index] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
            do {
                let found = try ManifestContents(parsing: bytes, path: ManifestText.path)
                #expect(
                    found.segments.allSatisfy {
                        ($0.range?.upperBound ?? .max) <= found.job?.target.length ?? 0
                    })
            } catch let error as ManifestError {
                #expect(error.description.hasPrefix("/images/out.manifest: "), "byte \(index), \(seed)")
            }
        }
    }
}
