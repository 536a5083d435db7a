import DiskImages
import TestSupport
import Testing

@testable import Manifests

struct SegmentDigestTests {
    private let segment = Segment(start: 3 << 20, length: (4 << 20) + 512)

    private func data(_ number: UInt64) -> Outcome { .data(ContentDigest(high: number, low: ~number)) }

    /// The segment's outcome when chunks come in `order`.
    private func digest(_ outcomes: [Outcome], _ order: [Int]) -> Outcome? {
        var digest = SegmentDigest(Segment(start: 0, length: UInt64(outcomes.count) << 20))
        for index in order.dropLast() { #expect(digest.add(outcomes[index], at: index) == nil) }
        return order.last.flatMap { digest.add(outcomes[$0], at: $0) }
    }

    @Test func aPartOfAChunkCountsAsOne() {
        #expect(segment.chunkCount == 5)
        var digest = SegmentDigest(segment)
        for index in 0..<4 { #expect(digest.add(.zero, at: index) == nil) }
        #expect(digest.add(.zero, at: 4) == .zero)
    }

    @Test func itIsOneForEveryOrderOfTheChunks() {
        let seed = TestSeed()
        for round in 0..<100 {
            var generator = seed.generator(round: round)
            let outcomes = (0..<Int.random(in: 1...9, using: &generator)).map { _ in
                [.zero, .backing, data(.random(in: 0 ... .max, using: &generator))].randomElement(
                    using: &generator) ?? .zero
            }
            let order = Array(outcomes.indices)
            let expected = digest(outcomes, order)
            #expect(expected != nil)
            #expect(
                digest(outcomes, order.shuffled(using: &generator)) == expected, "\(seed), round \(round)")
        }
    }

    @Test func aSegmentOfOneKindWithoutDataIsOfThatKind() {
        #expect(digest([.zero, .zero], [0, 1]) == .zero)
        #expect(digest([.backing, .backing], [1, 0]) == .backing)
    }

    @Test func everyChunkAndItsPlaceCount() {
        let all: [[Outcome]] = [
            [data(1), data(2)], [data(2), data(1)], [data(1), data(1)], [data(1), .zero], [.zero, data(1)],
            [data(1), .backing],
            [.zero, .backing], [.backing, .zero], [data(1)], [data(1), data(2), .zero],
        ]
        #expect(Set(all.compactMap { digest($0, Array($0.indices)) }).count == all.count)
    }

    @Test func itIsTheDigestOfTheChunksDigestsInOrder() {
        let expected = ContentDigest(
            of: data(7).digest.bytes + [UInt8](repeating: 0, count: 16) + [UInt8](repeating: 0xff, count: 16))
        #expect(digest([data(7), .zero, .backing], [2, 0, 1]) == .data(expected))
    }
}
