import DiskImages
import ImageFormats
import Linux
import SystemPackage
import TestSupport
import Testing

struct TruncatedImageTests {
    private let directory = try! TemporaryDirectory()

    /// An image of 100 sectors over a base, sectors 10..<20 and 50 allocated, cut to `length`.
    private func image(_ layout: CowLayout, length: (CowImageBuilder) -> UInt64) throws -> (
        path: FilePath, image: CowImageBuilder
    ) {
        let base = try directory.raw("b.raw", size: 51_200)
        var image = CowImageBuilder(layout, backing: base.string, size: 51_200)
        for sector: UInt64 in Array(10..<20) + [50] {
            image.allocated[sector] = .data([UInt8](repeating: 1, count: 512))
        }
        image.length = length(image)
        try image.write(to: directory("top.cow"))
        return (directory("top.cow"), image)
    }

    @Test(arguments: CowLayout.allCases)
    func aFileThatHoldsEveryAllocatedSectorIsSound(layout: CowLayout) throws {
        let top = try image(layout) { $0.dataOffset + 51 * 512 }
        #expect(
            try ImageChain.open(top.path).top.content.firstTruncatedSector(in: ImageFile(opening: top.path))
                == nil)
    }

    @Test(
        arguments: CowLayout.allCases,
        [(51 * 512 - 1, 50), (50 * 512, 50), (19 * 512, 19), (15 * 512 + 7, 15), (0, 10)]
            as [(UInt64, UInt64)])
    func anAllocatedSectorPastTheEndOfTheFileIsATruncatedImage(
        layout: CowLayout, cut: (held: UInt64, sector: UInt64)
    ) throws {
        let top = try image(layout) { $0.dataOffset + cut.held }
        let end = top.image.dataOffset
        let error = try diskImageError { _ = try ImageChain.open(top.path) }
        #expect(error.kind == .badData)
        #expect(
            error.line
                == "\(top.path): sector \(cut.sector) is allocated, but the file ends at \(end + cut.held) bytes; "
                + "expected data up to \(end + (cut.sector + 1) * 512) (the image is truncated)")
    }

    @Test func aFileThatEndsWithItsBitmapHoldsNoSector() throws {
        let top = try image(.umlV3) { $0.bitmapEnd }
        let error = try diskImageError { _ = try ImageChain.open(top.path) }
        #expect(
            error.factLine.hasPrefix(
                "sector 10 is allocated, but the file ends at \(top.image.bitmapEnd) bytes;")
        )
    }

    @Test func examiningATruncatedImageTellsItAndGoesOn() throws {
        let top = try image(.qemuV2) { $0.dataOffset }
        let chain = try ImageChain.examine(top.path, .usual)
        #expect(chain.layers.count == 2)
        #expect(chain.problems.map(\.kind) == [.truncated])
    }

    @Test func aLastPartialSectorMayEndWhereTheDiskDoes() throws {
        let base = try directory.raw("b.raw", size: 1000)
        let sound = try directory.cow("sound.cow", .umlV3, over: base.string, size: 1000) {
            $0.allocated[1] = .data([UInt8](repeating: 3, count: 488))
        }
        #expect(
            try ImageChain.open(sound).guestBytes[512...].elementsEqual(
                [UInt8](repeating: 3, count: 488) + [UInt8](repeating: 0, count: 24)))
        let cut = try directory.cow("cut.cow", .umlV3, over: base.string, size: 1000) {
            $0.allocated[1] = .data([3])
            $0.length = $0.dataOffset + 999
        }
        #expect(try diskImageError { _ = try ImageChain.open(cut) }.kind == .badData)
    }

    @Test func aBackingFileThatIsTruncatedIsNamed() throws {
        _ = try image(.qemuV2) { $0.dataOffset }
        let error = try diskImageError {
            _ = try ImageChain.open(directory.cow("over.cow", over: "top.cow", size: 51_200))
        }
        #expect(error.path == directory("top.cow"))
    }

    @Test(arguments: CowLayout.allCases)
    func aFileCutAtAnyLengthIsAnErrorOrSound(layout: CowLayout) throws {
        let whole = try image(layout) { $0.dataOffset + 51_200 }
        let sound = whole.image.dataOffset + 51 * 512
        for length in stride(from: UInt64(0), to: whole.image.dataOffset + 51_200, by: 389) {
            var cut = whole.image
            cut.length = length
            try cut.write(to: whole.path)
            let layouts = (try? ImageChain.open(whole.path))?.layers.map(\.layoutName)
            // Without its magic number it is a raw file like any other.
            let expected = length < 4 ? ["raw"] : length < sound ? nil : [layout.rawValue, "raw"]
            #expect(layouts == expected, "\(length)")
        }
    }
}
