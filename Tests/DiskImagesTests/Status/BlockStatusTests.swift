import DiskImages
import ImageFormats
import SystemPackage
import TestSupport
import Testing

/// The block status of small chains, worked out by hand.
struct BlockStatusTests {
    private let directory = try! TemporaryDirectory()

    /// An extent as a line: `start+length depth@offset`, `zero` after it where it is known to be
    /// zero.
    private func lines(_ chain: ImageChain) throws -> [String] {
        try chain.extents.map { extent in
            let place = extent.offset.map { "\(extent.depth)@\($0)" } ?? "\(extent.depth) absent"
            return
                "\(extent.start)+\(extent.length) \(place)\(extent.isPresent && extent.isZero ? " zero" : "")"
        }
    }

    @Test func eachRunComesFromTheTopmostLayerThatHasIt() throws {
        try directory.raw("b.raw", size: 16_384)
        try directory.cow("middle.cow", over: "b.raw", size: 16_384) { image in
            for sector: UInt64 in 4..<12 { image.allocated[sector] = .data([1]) }
        }
        let top = try directory.cow("top.cow", over: "middle.cow", size: 16_384) { image in
            for sector: UInt64 in 8..<10 { image.allocated[sector] = .data([2]) }
        }
        let expected = [
            "0+2048 2@0", "2048+2048 1@3584", "4096+1024 0@5632", "5120+1024 1@6656", "6144+10240 2@6144",
        ]
        #expect(try lines(ImageChain.open(top)) == expected)
    }

    @Test func pastAShorterBaseTheOverlayAnswersWithNothing() throws {
        try directory.raw("b.raw", size: 4096)
        let top = try directory.cow("top.cow", over: "b.raw", size: 8192) { $0.allocated[15] = .data([1]) }
        #expect(try lines(ImageChain.open(top)) == ["0+4096 1@0", "4096+3584 0 absent", "7680+512 0@9216"])
    }

    @Test func aShorterLayerHidesWhatIsLongerBelowIt() throws {
        try directory.raw("b.raw", size: 16_384)
        try directory.cow("middle.cow", over: "b.raw", size: 4096)
        let top = try directory.cow("top.cow", over: "middle.cow", size: 16_384)
        #expect(try lines(ImageChain.open(top)) == ["0+4096 2@0", "4096+12288 0 absent"])
    }

    @Test func aLongerBaseIsCutOff() throws {
        try directory.raw("b.raw", size: 16_384)
        #expect(
            try lines(ImageChain.open(directory.cow("top.cow", over: "b.raw", size: 4096))) == ["0+4096 1@0"])
    }

    @Test func aPartialLastSectorIsAWholeOne() throws {
        let base = try directory.raw("b.raw", size: 1000)
        #expect(try lines(ImageChain.open(base)) == ["0+1024 0@0"])
        #expect(
            try lines(ImageChain.open(directory.cow("top.cow", .umlV3, over: base.string, size: 1000))) == [
                "0+1024 1@0"
            ])
    }

    @Test func aSetBitOverAHoleIsZeroAndNeverTheBase() throws {
        let base = try directory.raw("b.raw")
        let top = try directory.cow("top.cow", .umlV3, over: base.string) { image in
            for sector: UInt64 in 8..<16 { image.allocated[sector] = .hole }
        }
        #expect(
            try lines(ImageChain.open(top)) == ["0+4096 1@0", "4096+4096 0@16384 zero", "8192+57344 1@8192"])
    }

    @Test func aHoleOfARawBaseIsPresentAndZero() throws {
        var file = SparseFile()
        file.put([UInt8](repeating: 1, count: 4096), at: 8192)
        try file.write(to: directory("b.raw"), length: 20_000)
        #expect(
            try lines(ImageChain.open(directory("b.raw"))) == [
                "0+8192 0@0 zero", "8192+4096 0@8192", "12288+8192 0@12288 zero",
            ])
    }

    @Test(arguments: [CowLayout.umlV1, .umlV2, .umlV2Unpacked])
    func theLastSectorsWithoutABitReadFromTheBase(layout: CowLayout) throws {
        let base = try directory.raw("b.raw", size: 15 * 512)
        let top = try directory.cow("top.cow", layout, over: base.string, size: 15 * 512) { image in
            for sector: UInt64 in 0..<8 { image.allocated[sector] = .data([1]) }
        }
        let chain = try ImageChain.open(top)
        let offset = try #require(chain.top.header?.geometry.dataOffset)
        #expect(try lines(chain) == ["0+4096 0@\(offset)", "4096+3584 1@4096"])
    }

    @Test func dataWithoutABitIsNotLookedAt() throws {
        try directory.raw("b.raw")
        let top = try directory.cow("top.cow", over: "b.raw") {
            $0.uncommitted[3] = [UInt8](repeating: 9, count: 512)
        }
        #expect(try lines(ImageChain.open(top)) == ["0+65536 1@0"])
    }

    /// A bitmap of 1.75 GiB that is nearly all hole: nothing of it may be read that is not data.
    @Test func aHugeOverlayWithAFewSectorsIsMappedWithoutWalkingItsBitmap() throws {
        let size: UInt64 = 7 << 40
        let base = directory("b.raw")
        try SparseFile().write(to: base, length: size)
        let sectors: [UInt64] = [0, 1, 1 << 20, 1 << 30, size / 512 - 1]
        let top = try directory.cow("top.cow", .umlV3, over: base.string, size: size) { image in
            for sector in sectors { image.allocated[sector] = .data([7]) }
        }
        let starts: [UInt64] = [0, 1 << 29, 1 << 39, size - 512]
        let clock = ContinuousClock()
        let start = clock.now
        let extents = try ImageChain.open(top).extents
        #expect(start.duration(to: clock.now) < .seconds(2))
        #expect(extents.filter { $0.depth == 0 }.map(\.start) == starts)
        #expect(extents.filter { $0.depth == 1 && !$0.isZero }.isEmpty)
        #expect(extents.last?.end == size)
    }
}
