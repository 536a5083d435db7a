import DiskImages
import ImageFormats
import SystemPackage
import TestSupport
import Testing

/// Random chains against a model that looks at every sector by itself.
struct RandomChainTests {
    /// Runs `body` on `count` random chains; an issue of a round names the seed, the round and the
    /// chain.
    private func onRandomChains(
        _ count: Int, test: StaticString = #function,
        _ body: (ModelChain, ImageChain, inout SplitMix64, Comment) throws -> Void
    ) throws {
        let seed = TestSeed(for: test)
        for round in 0..<count {
            var generator = seed.generator(round: round)
            let directory = try TemporaryDirectory()
            let model = try ModelChain.random(in: directory.path, using: &generator)
            let comment: Comment = "\(seed), round \(round): \(model)"
            do {
                try body(model, ImageChain.open(model.path), &generator, comment)
            } catch {
                Issue.record("\(error); \(comment)")
                return
            }
        }
    }

    @Test func everySectorComesFromTheLayerAndOffsetThatTheModelSays() throws {
        try onRandomChains(120) { model, chain, _, comment in
            try #require(
                chain.layers.count == model.layers.count && chain.guestLength == model.sectorCount * 512,
                comment)
            var next: UInt64 = 0
            for extent in try chain.extents {
                try #require(extent.start == next && extent.length > 0 && extent.length % 512 == 0, comment)
                for number in extent.start / 512..<extent.end / 512 {
                    let sector = model.sector(number)
                    let offset = extent.offset.map { $0 + number * 512 - extent.start }
                    try #require(
                        extent.depth == sector.depth && extent.isPresent == sector.isPresent
                            && offset == sector.offset,
                        "sector \(number) is \(extent), not \(sector.depth) \(sector.offset ?? 0); \(comment)"
                    )
                    // Known zeros are zeros, and what was written is data although it be zeros.
                    try #require(
                        !extent.isZero || sector.bytes.allSatisfy { $0 == 0 }, "sector \(number), \(comment)")
                    try #require(!extent.isZero || !sector.isWritten, "sector \(number), \(comment)")
                }
                next = extent.end
            }
            #expect(next == chain.guestLength, comment)
        }
    }

    @Test func neighboursThatGoOnSeamlesslyAreOneExtent() throws {
        try onRandomChains(60) { _, chain, _, comment in
            let extents = try chain.extents
            for (first, second) in zip(extents, extents.dropFirst()) {
                let isSameKind =
                    first.depth == second.depth && first.isPresent == second.isPresent
                    && first.isZero == second.isZero
                let isSeamless = first.offset.map { $0 + first.length } == second.offset
                #expect(!(isSameKind && isSeamless), "\(first) and \(second); \(comment)")
            }
        }
    }

    @Test func theDataAtTheExtentsIsTheGuestsDisk() throws {
        try onRandomChains(60) { model, chain, _, comment in
            let guestBytes = try chain.guestBytes
            #expect(guestBytes == model.guestBytes, comment)
        }
    }

    @Test func aWalkMayBeginAtAnySector() throws {
        try onRandomChains(60) { _, chain, generator, comment in
            let start = UInt64.random(in: 0..<chain.guestLength / 512, using: &generator) * 512
            let whole = try chain.extents.filter { $0.end > start }.map {
                $0.clipped(to: start..<chain.guestLength)
            }
            #expect(try chain.extents(from: BlockStatus(of: chain, from: start)) == whole, comment)
        }
    }

    @Test func everyLayerCountsTheBytesThatItHolds() throws {
        try onRandomChains(40) { model, chain, _, comment in
            for (layer, expected) in zip(chain.layers, model.layers) where layer.header != nil {
                let allocated = try layer.allocatedBytes()
                #expect(allocated == UInt64(expected.held?.count ?? 0) * 512, comment)
            }
        }
    }
}
