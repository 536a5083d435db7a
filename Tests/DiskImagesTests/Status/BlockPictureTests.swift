import DiskImages
import SystemPackage
import TestSupport
import Testing

/// Block status reduced to cells, against the block status itself.
struct BlockPictureTests {
    private let directory = try! TemporaryDirectory()

    /// The cells as lines: `0:512 z:512 h:0`, only what is not 0.
    private func cells(_ picture: BlockPicture) -> [String] {
        (0..<picture.cellCount).map { cell in
            picture.sources.compactMap { source in
                let bytes = picture.bytes(of: source, in: cell)
                guard bytes > 0 else { return nil }
                return switch source {
                case .data(let depth): "\(depth):\(bytes)"
                case .zeros: "z:\(bytes)"
                case .hole: "h:\(bytes)"
                }
            }.joined(separator: " ")
        }
    }

    @Test func everyCellSaysHowMuchComesFromWhere() throws {
        var file = SparseFile()
        file.put([UInt8](repeating: 1, count: 8192), at: 0)
        try file.write(to: directory("b.raw"), length: 32_768)
        let top = try directory.cow("top.cow", over: "b.raw", size: 32_768) { image in
            for sector: UInt64 in 8..<12 { image.allocated[sector] = .data([1]) }
            for sector: UInt64 in 56..<64 { image.allocated[sector] = .hole }
        }
        // An allocated sector over a hole of the file is known to be zero only in whole blocks: the
        // last ones here.
        let picture = try BlockPicture(of: ImageChain.open(top), cells: 4)
        #expect(cells(picture) == ["0:2048 1:6144", "h:8192", "h:8192", "z:4096 h:4096"])
        #expect(picture.total(of: .data(depth: 1)) == 6144)
        #expect(picture.sources == [.data(depth: 0), .data(depth: 1), .zeros, .hole])
    }

    @Test func aDiskOfNoSizeHasNoCells() {
        var picture = BlockPicture(guestLength: 0, layerCount: 1, cells: 100)
        picture.add(.hole, 0..<0)
        #expect(picture.cellCount == 0)
        #expect(picture.total(of: .hole) == 0)
    }

    @Test func aDiskWithFewSectorsHasACellForEach() {
        var picture = BlockPicture(guestLength: 3 * 512, layerCount: 1, cells: 256)
        picture.add(.data(depth: 0), 512..<1536)
        #expect(picture.cellLength == 512)
        #expect(cells(picture) == ["", "0:512", "0:512"])
    }

    @Test(arguments: [1, 2, 255, 256, 8192, 1 << 40])
    func theLargestDiskFits(wanted: Int) {
        let length: UInt64 = 1 << 63
        var picture = BlockPicture(guestLength: length, layerCount: 64, cells: wanted)
        picture.add(.hole, 0..<length - 512)
        picture.add(.data(depth: 63), length - 512..<length)
        #expect(picture.cellCount <= min(wanted, BlockPicture.mostCells))
        #expect(picture.total(of: .hole) == length - 512)
        #expect(picture.bytes(of: .data(depth: 63), in: picture.cellCount - 1) == 512)
        #expect(picture.range(of: picture.cellCount - 1).upperBound == length)
    }

    @Test(arguments: [0, 1, 512, 513, 65_536, UInt64.max] as [UInt64])
    func anyCellLengthIsMadeWholeSectors(cellLength: UInt64) {
        let picture = BlockPicture(guestLength: 1 << 20, layerCount: 1, cellLength: cellLength)
        #expect(picture.cellLength % 512 == 0 && picture.cellLength >= min(cellLength, 1 << 63))
        #expect((1...BlockPicture.mostCells).contains(picture.cellCount))
    }

    @Test func randomChainsAddUpToTheirExtents() throws {
        let seed = TestSeed(for: #function)
        for round in 0..<40 {
            var generator = seed.generator(round: round)
            let directory = try TemporaryDirectory()
            let model = try ModelChain.random(in: directory.path, using: &generator)
            let chain = try ImageChain.open(model.path)
            let extents = try chain.extents
            let picture = try BlockPicture(of: chain, cells: Int.random(in: 1...300, using: &generator))
            var expected: [UInt64: [BlockPicture.Source: UInt64]] = [:]
            for sector in 0..<model.sectorCount {
                let found = model.sector(sector)
                let extent = try #require(extents.first { $0.start <= sector * 512 && $0.end > sector * 512 })
                let isRaw = model.layers[found.depth].held == nil
                let source: BlockPicture.Source =
                    !extent.isZero ? .data(depth: found.depth) : found.isPresent && !isRaw ? .zeros : .hole
                expected[sector * 512 / picture.cellLength, default: [:]][source, default: 0] += 512
            }
            for cell in 0..<picture.cellCount {
                for source in picture.sources {
                    let bytes = picture.bytes(of: source, in: cell)
                    #expect(
                        bytes == expected[UInt64(cell)]?[source] ?? 0,
                        "\(seed), round \(round), cell \(cell): \(model)")
                }
            }
        }
    }
}
