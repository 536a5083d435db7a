import DiskImages
import ImageFormats
import SystemPackage
import TestSupport
import Testing

@testable import Migration

/// A new overlay that holds nothing.
struct OverlayCreationTests {
    private let directory = try! TemporaryDirectory()

    private func open(_ name: String) throws -> ImageChain {
        try ImageChain.open(directory(name), ChainOptions(location: try BackingLocation()))
    }

    private func create(
        _ name: String = "new", over backing: String = "base", _ layout: CowLayout = .umlV3,
        size: UInt64? = nil, force: Bool = false
    ) throws {
        try OverlayCreation(
            file: directory(name), backing: directory(backing), chain: try open(backing),
            as: CowChoice(layout, alignment: 4096), size: size,
            force: force
        ).run()
    }

    @Test(arguments: CowLayout.writable)
    func itShowsItsBackingFileAndHoldsNothing(layout: CowLayout) throws {
        try directory.raw("base", "a.b")
        try create("new", over: "base", layout)
        #expect(try directory.picture(of: "new") == "a.b")
        #expect(try open("new").top.allocatedBytes() == 0)
        #expect(try directory.names == ["base", "new"])
    }

    @Test func aQEMULayoutMayHaveAnotherSizeInWholeSectors() throws {
        try directory.raw("base", "a")
        try create("new", over: "base", .qemuV2, size: (2 << 20) + 1)
        #expect(try open("new").guestLength == (2 << 20) + 512)
    }

    @Test func anExistingFileIsReplacedByForceAlone() throws {
        try directory.raw("base", "a")
        try directory.raw("new", "z")
        let refused = refusal { try create() }
        #expect(refused == "target: \(directory("new")): exists (--force replaces it)")
        #expect(try directory.picture(of: "new") == "z")
        try create(force: true)
        #expect(try directory.picture(of: "new") == "a")
    }

    @Test func aFileOfTheBackingFilesChainIsNeverReplaced() throws {
        try directory.raw("base", "a")
        try directory.cow("middle", over: "base", "-")
        let refused = refusal { try create("base", over: "middle", .qemuV2, force: true) }
        #expect(
            refused
                == "target: \(directory("base")): is a file of the source's own chain (choose another target)"
        )
    }

    @Test func aDiskThatIsTooLargeIsRefused() throws {
        try directory.raw("base", "a")
        let tooLarge = refusal { try create("new", over: "base", .qemuV2, size: .max) }
        #expect(tooLarge == "usage: \(directory("new")): a disk of \(UInt64.max) bytes is too large")
        let pastOffsets = refusal { try create("new", over: "base", .qemuV2, size: 1 << 63) }
        #expect(
            pastOffsets
                == "badData: \(directory("new")): size at offset 1040 is \(UInt64(1) << 63); expected a disk whose offsets fit 63 bits"
        )
        #expect(try directory.names == ["base"])
    }
}
