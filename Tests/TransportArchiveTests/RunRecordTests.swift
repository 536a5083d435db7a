import DiskImages
import TestSupport
import Testing

@testable import TransportArchive

@Suite struct RunRecordTests {
    private let digest = ContentDigest(of: [1, 2, 3])

    private func record(_ range: Range<UInt64>, _ runs: [RunRecord.Run]) -> RunRecord {
        let content = runs.reduce(0) { $0 + ($1.isData ? Int($1.end - $1.start) : 0) }
        if content == 0, !runs.contains(where: { !$0.isZero }) {
            return RunRecord(emptyFor: 3, range: range, runs: runs)
        }
        return RunRecord(
            layer: 3, range: range, runs: runs, contentLength: content,
            frameLength: content == 0 ? 0 : content / 2 + 19,
            frameDigest: content == 0 ? .ofNothing : digest,
            contentDigest: digest)
    }

    @Test func randomRunsAreReadBack() throws {
        var random = TestSeed().generator()
        for _ in 0..<200 {
            let start = UInt64.random(in: 0..<1000, using: &random) << UInt64(20)
            var position = start
            var runs: [RunRecord.Run] = []
            var content: UInt64 = 0
            while runs.count < 60 {
                position += 512 * UInt64.random(in: 0..<3000, using: &random)
                let place = RunRecord.Place(
                    layer: Int.random(in: 0..<300, using: &random),
                    start: 512 * UInt64.random(in: 0..<1 << 40, using: &random))
                let kind = [RunRecord.Kind.data, .zero, .reference(place), .inherited(place)].randomElement(
                    using: &random)!
                let isZero = kind == .zero
                let longest: UInt64 = isZero ? 1 << 30 : 30
                let length = 512 * UInt64.random(in: 1..<longest, using: &random)
                if !isZero, content + length > UInt64(RunRecord.longestContent) { break }
                content += isZero ? 0 : length
                runs.append(RunRecord.Run(start: position, end: position + length, kind: kind))
                position += length
            }
            let original = record(start..<position + 512 * UInt64.random(in: 0..<9, using: &random), runs)
            #expect(try RunRecord(parsing: original.serialized()) == original)
        }
    }

    @Test func whateverIsCutOffIsMissed() throws {
        let bytes = record(0..<1 << 20, [RunRecord.Run(start: 512, end: 4096, isZero: false)]).serialized()
        for length in 0..<bytes.count {
            #expect(throws: ArchiveError.self) { try RunRecord(parsing: Array(bytes[..<length])) }
        }
    }

    @Test func noBytesMakeItTrap() {
        var random = TestSeed().generator()
        let bytes = record(0..<1 << 20, [RunRecord.Run(start: 512, end: 4096, isZero: false)]).serialized()
        for _ in 0..<20_000 {
            var changed = bytes
            for _ in 0..<Int.random(in: 1..<6, using: &random) {
                changed[Int.random(in: 0..<changed.count, using: &random)] =
                    [0, 1, 0x7f, 0x80, 0xff].randomElement(using: &random) ?? 0
            }
            _ = try? RunRecord(parsing: changed)
        }
    }

    @Test(arguments: [(true, false), (false, true)])
    func withoutAFrameBothDigestsAreThatOfNothing(_ isOfFrame: Bool, _ isOfContent: Bool) {
        let untrue = RunRecord(
            layer: 3, range: 0..<4096, runs: [], contentLength: 0, frameLength: 0,
            frameDigest: isOfFrame ? digest : .ofNothing,
            contentDigest: isOfContent ? digest : .ofNothing)
        #expect(throws: ArchiveError(.damaged, "there is a record whose parts do not add up")) {
            try RunRecord(parsing: untrue.serialized())
        }
    }

    @Test func runsMustNotLeaveTheStretch() {
        let outside = record(0..<4096, [RunRecord.Run(start: 512, end: 8192, isZero: true)])
        #expect(throws: ArchiveError(.damaged, "there is a record whose parts do not add up")) {
            try RunRecord(parsing: outside.serialized())
        }
    }
}
