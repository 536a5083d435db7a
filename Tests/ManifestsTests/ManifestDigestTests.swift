import DiskImages
import TestSupport
import Testing

@testable import Manifests

/// The digest over a whole move, which is to say nothing about how it came about.
struct ManifestDigestTests {
    private let directory = try! TemporaryDirectory()

    /// Segments of 2048 sectors with random contents, many of them alike.
    private func outcomes(_ generator: inout SplitMix64) -> [Outcome] {
        (0..<Int.random(in: 1...30, using: &generator)).map { _ in
            switch Int.random(in: 0..<5, using: &generator) {
            case 0, 1: .zero
            case 2, 3: .backing
            default: .data(ContentDigest(high: .random(in: 0...3, using: &generator), low: 0))
            }
        }
    }

    /// Records of `outcomes`; neighbours of one kind without data are taken together as chance has
    /// it.
    private func records(_ outcomes: [Outcome], _ generator: inout SplitMix64) -> [ManifestSegment] {
        var records: [(range: Range<UInt64>, outcome: Outcome)] = []
        for (index, outcome) in outcomes.enumerated() {
            let range = UInt64(index) << 20..<UInt64(index + 1) << 20
            if let last = records.last, last.outcome == outcome, outcome == .zero || outcome == .backing,
                generator.chance(1, in: 2)
            {
                records[records.count - 1].range = last.range.lowerBound..<range.upperBound
            } else {
                records.append((range, outcome))
            }
        }
        return records.map { ManifestSegment($0.range, $0.outcome) }
    }

    @Test func itDoesNotDependOnOrderOrOnTheCutOfWhatHasNoData() {
        let seed = TestSeed()
        for round in 0..<200 {
            var generator = seed.generator(round: round)
            let outcomes = outcomes(&generator)
            let expected = ManifestSegment.digest(of: records(outcomes, &generator))
            let others = records(outcomes, &generator).shuffled(using: &generator)
            #expect(ManifestSegment.digest(of: others) == expected, "\(seed), round \(round)")
            #expect(ManifestSegment.ranges(of: others) == [0..<UInt64(outcomes.count) << 20])
        }
    }

    @Test func itChangesWithEverySegment() {
        let seed = TestSeed()
        for round in 0..<200 {
            var generator = seed.generator(round: round)
            var outcomes = outcomes(&generator)
            let before = ManifestSegment.digest(of: records(outcomes, &generator))
            let index = Int.random(in: 0..<outcomes.count, using: &generator)
            outcomes[index] = outcomes[index] == .zero ? .backing : .zero
            #expect(
                ManifestSegment.digest(of: records(outcomes, &generator)) != before, "\(seed), round \(round)"
            )
        }
    }

    @Test func itIsTheDigestOfALineForEachRun() throws {
        let segments = try ManifestText.parse(ManifestText.whole).segments
        let lines = [
            "0 2048 data \(String(repeating: "a", count: 32))",
            "2048 2048 zero \(String(repeating: "0", count: 32))",
            "4096 2048 data \(String(repeating: "b", count: 32))",
            "6144 10240 zero \(String(repeating: "0", count: 32))",
        ]
        #expect(ManifestSegment.digest(of: segments) == ContentDigest(of: ManifestText.bytes(lines)))
    }

    @Test func rangesAreToldInOrderWithNeighboursTogether() {
        let segments = [3072, 0, 1024, 5120].map { (start: UInt64) in
            ManifestSegment(start..<start + 1024, .zero)
        }
        let expected: [Range<UInt64>] = [0..<2048, 3072..<4096, 5120..<6144]
        #expect(ManifestSegment.ranges(of: segments) == expected)
        #expect(ManifestSegment.ranges(of: []).isEmpty)
    }
}
