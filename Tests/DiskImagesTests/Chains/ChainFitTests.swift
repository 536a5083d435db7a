import DiskImages
import ImageFormats
import Linux
import SystemPackage
import TestSupport
import Testing

/// Opening chains: does the backing file still fit its overlay.
struct ChainFitTests {
    private static let umlLayouts = CowLayout.allCases.filter(\.isUML)
    private let directory = try! TemporaryDirectory()

    @Test(arguments: umlLayouts, [65_535, 65_537, 0, 131_072])
    func aUMLOverlayNeedsABaseOfItsOwnSize(layout: CowLayout, size: Int) throws {
        let base = try directory.raw("b.raw", size: size)
        let top = try directory.cow("top.cow", layout, over: base.string)
        let error = try diskImageError { _ = try ImageChain.open(top) }
        #expect(error.kind == .badData)
        #expect(
            error.line
                == "\(top): backing file \(base) has \(size) bytes; the header expects 65536 (the base was changed or replaced)"
        )
    }

    @Test(arguments: umlLayouts + [.qemuV2, .qemuV2Packed])
    func anOverlayNeedsABaseOfTheMtimeItNames(layout: CowLayout) throws {
        let base = try directory.raw("b.raw", mtime: 1_700_000_001)
        let top = try directory.cow("top.cow", layout, over: base.string)
        let error = try diskImageError { _ = try ImageChain.open(top) }
        #expect(error.kind == .badData)
        #expect(
            error.line
                == "\(top): backing file \(base) was modified 2023-11-14 22:13:21 UTC (1700000001); the header expects "
                + "2023-11-14 22:13:20 UTC (1700000000): if its bytes are unchanged, drover check -r mtime gives it its time "
                + "back where that can be proven, and --ignore-mtime goes on without")
        #expect(try ImageChain.open(top, .usual { $0.ignoreMtime = true }).layers.count == 2)
    }

    @Test(arguments: [(CowLayout.umlV3, false), (.umlV1, false), (.qemuV2, true), (.qemuV2Packed, true)])
    func mtime0IsUnknownInQEMUHeadersAlone(layout: CowLayout, isOpened: Bool) throws {
        let base = try directory.raw("b.raw")
        let top = try directory.cow("top.cow", layout, over: base.string) { $0.mtime = 0 }
        #expect(((try? ImageChain.open(top)) != nil) == isOpened)
    }

    @Test(arguments: [512, 65_535, 65_537, 1 << 20])
    func aQEMUOverlayTakesABaseOfAnySize(size: Int) throws {
        try directory.raw("b.raw", size: size)
        #expect(try ImageChain.open(directory.cow("top.cow", over: "b.raw")).guestLength == 65_536)
    }

    @Test func examiningTellsWhatDoesNotFitAndGoesOn() throws {
        let base = try directory.raw("b.raw", size: 1024, mtime: 7)
        let chain = try ImageChain.examine(directory.cow("top.cow", .umlV3, over: base.string), .usual)
        #expect(chain.layers.count == 2)
        #expect(chain.problems.map(\.kind) == [.size, .mtime])
        #expect(chain.problems.map(\.depth) == [0, 0])
    }

    @Test func examiningTellsThatABackingFileIsMissing() throws {
        try directory.cow("middle.cow", over: "nothere.raw")
        let chain = try ImageChain.examine(directory.cow("top.cow", over: "middle.cow"), .usual)
        #expect(chain.summary == "top.cow:qemu-v2 middle.cow:qemu-v2")
        #expect(chain.problems.map(\.kind) == [.missing])
        #expect(chain.problems.map(\.depth) == [1])
    }

    @Test func aChangeWhileTheChainIsOpenIsNoticed() throws {
        try directory.raw("b.raw")
        let chain = try ImageChain.open(directory.cow("top.cow", over: "b.raw"))
        try chain.checkUnchanged()
        try directory.raw("b.raw", fill: 0x63, mtime: 1_700_000_002)
        let error = try diskImageError { try chain.checkUnchanged() }
        #expect(
            error.line
                == "\(directory("b.raw")): changed while it was read (begin again when nothing writes to it)")
    }
}
