import DiskImages
import ImageFormats
import Linux
import SystemPackage
import TestSupport
import Testing

/// UML reads its backing file as raw bytes, even a COW file's; whether that was meant shows in the
/// overlay's size.
struct CowOverCowTests {
    private static let umlLayouts = CowLayout.allCases.filter(\.isUML)
    private let directory = try! TemporaryDirectory()

    /// A COW file over a raw base, of 64 KiB for its guest; returns its path and length.
    private func middle(length: UInt64? = nil) throws -> (path: FilePath, length: UInt64) {
        try directory.raw("b.raw")
        let path = try directory.cow("middle.cow", over: "b.raw") { $0.length = length }
        return (path, try ImageFile(opening: path).length)
    }

    @Test(arguments: umlLayouts)
    func aSizeThatIsTheGuestDisksMeansAChain(layout: CowLayout) throws {
        let middle = try middle()
        let chain = try ImageChain.open(directory.cow("top.cow", layout, over: middle.path.string))
        #expect(chain.summary == "top.cow:\(layout.rawValue) middle.cow:qemu-v2 b.raw:raw")
    }

    @Test(arguments: umlLayouts)
    func aSizeThatIsTheFilesLengthMeansRawBytes(layout: CowLayout) throws {
        let middle = try middle()
        let chain = try ImageChain.open(
            directory.cow("top.cow", layout, over: middle.path.string, size: middle.length))
        #expect(chain.summary == "top.cow:\(layout.rawValue) middle.cow:raw")
        #expect(try chain.guestBytes.starts(with: "OOOM".utf8))
    }

    @Test func aSizeThatIsNeitherIsAnError() throws {
        let middle = try middle()
        let top = try directory.cow("top.cow", .umlV3, over: middle.path.string, size: 70_000)
        let error = try diskImageError { _ = try ImageChain.open(top) }
        #expect(error.kind == .badData)
        #expect(
            error.line
                == "\(top): backing file \(middle.path) is a COW file, and neither its length (\(middle.length)) nor its guest disk has "
                + "the size of 70000 bytes that the overlay expects (--backing-format raw or cow decides)")
    }

    @Test func aSizeThatIsBothIsAnErrorThatBackingFormatSettles() throws {
        let middle = try middle(length: 65_536)
        let top = try directory.cow("top.cow", .umlV3, over: middle.path.string)
        let error = try diskImageError { _ = try ImageChain.open(top) }
        #expect(
            error.line
                == "\(top): backing file \(middle.path) is a COW file, and both its length and its guest disk have "
                + "the size of 65536 bytes that the overlay expects (--backing-format raw or cow decides)")
        #expect(
            try ImageChain.open(top, .usual { $0.backingFormat = .raw }).summary
                == "top.cow:uml-v3 middle.cow:raw")
        #expect(
            try ImageChain.open(top, .usual { $0.backingFormat = .cow(nil) }).summary
                == "top.cow:uml-v3 middle.cow:qemu-v2 b.raw:raw")
    }

    @Test(arguments: [CowLayout.qemuV2, .qemuV2Packed])
    func aQEMUOverlayOfACowFileIsAChainWhateverTheSizes(layout: CowLayout) throws {
        let middle = try middle()
        for size in [middle.length, 65_536, 70_000] {
            let chain = try ImageChain.open(directory.cow("top.cow", layout, over: "middle.cow", size: size))
            #expect(chain.summary == "top.cow:\(layout.rawValue) middle.cow:qemu-v2 b.raw:raw")
        }
    }

    @Test func backingFormatRawStopsAQEMUChainAtTheContainer() throws {
        _ = try middle()
        let top = try directory.cow("top.cow", over: "middle.cow")
        #expect(
            try ImageChain.open(top, .usual { $0.backingFormat = .raw }).summary
                == "top.cow:qemu-v2 middle.cow:raw")
    }
}
