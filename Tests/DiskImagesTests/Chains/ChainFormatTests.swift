import DiskImages
import ImageFormats
import Linux
import SystemPackage
import TestSupport
import Testing

/// Opening chains: what the bytes of a file mean, and who decides.
struct ChainFormatTests {
    private let directory = try! TemporaryDirectory()

    @Test func rawTakesACowFilesBytesAsTheyAre() throws {
        let top = try directory.cow("top.cow", over: "nothere")
        let chain = try ImageChain.open(top, .usual { $0.format = .raw })
        #expect(chain.summary == "top.cow:raw")
        #expect(chain.top.size == chain.top.file.length)
    }

    @Test func aFileThatIsToBeACowFileAndIsNoneIsRefused() throws {
        let base = try directory.raw("b.raw")
        let error = try diskImageError { _ = try ImageChain.open(base, .usual { $0.format = .cow(nil) }) }
        #expect(error.kind == .badData)
        #expect(
            error.line
                == "\(base): magic at offset 0 is 0x62626262; expected 0x4f4f4f4d, the magic number of COW files"
        )
    }

    @Test(arguments: [
        ("raw", ImageFormat.raw), ("cow", .cow(nil)), ("qemu-v2-32", .cow(.qemuV2Packed)),
        ("uml-v3", .cow(.umlV3)),
    ])
    func formatsHaveTheNamesOfTheCommandLine(name: String, format: ImageFormat) {
        #expect(ImageFormat(name: name) == format)
        #expect(ImageFormat(name: name.uppercased()) == nil)
    }

    @Test(arguments: [(0, "-f raw"), (1, "--backing-format raw")])
    func aForeignImageIsRefusedByNameAndNeverTakenForRaw(depth: Int, option: String) throws {
        var file = SparseFile()
        file.put(Array("KDMV".utf8), at: 0)
        try file.write(to: directory("b.vmdk"), length: 65_536)
        let top = depth == 0 ? directory("b.vmdk") : try directory.cow("top.cow", over: "b.vmdk")
        let error = try diskImageError { _ = try ImageChain.open(top) }
        #expect(error.kind == .badData)
        #expect(
            error.line
                == "\(directory("b.vmdk")): is a vmdk image, which Drover does not read (qemu-img convert makes a raw image of it; \(option) takes its bytes as they are)"
        )
        let chain = try ImageChain.open(
            top,
            .usual {
                if depth == 0 { $0.format = .raw } else { $0.backingFormat = .raw }
            })
        #expect(chain.layers.last?.layoutName == "raw")
    }

    /// A header that reads as `uml-v2` of 1 MiB and as `qemu-v2` of 64 KiB.
    @discardableResult
    private func ambiguous(_ name: String, over backing: String) throws -> FilePath {
        try directory.cow(name, .umlV2, over: backing, size: 1 << 20) {
            $0.garbage = Array(
                CowImageBuilder(.qemuV2, backing: "", size: 65_536).header[(9 + $0.backing.count)...])
        }
    }

    @Test(arguments: [(1 << 20, "uml-v2"), (65_536, "qemu-v2")])
    func theBackingFilesSizeDecidesBetweenLayouts(size: Int, layout: String) throws {
        let base = try directory.raw("b.raw", size: size)
        #expect(try ImageChain.open(ambiguous("top.cow", over: base.string)).top.layoutName == layout)
    }

    @Test func theGuestSizeOfABackingCowFileDecidesBetweenLayouts() throws {
        let base = try directory.raw("b.raw", size: 1 << 20)
        let middle = try directory.cow("middle.cow", .umlV3, over: base.string, size: 1 << 20)
        #expect(
            try ImageChain.open(ambiguous("top.cow", over: middle.string)).summary
                == "top.cow:uml-v2 middle.cow:uml-v3 b.raw:raw")
    }

    @Test func whatIsStillAmbiguousNamesTheLayoutsAndTheOptionThatChooses() throws {
        let base = try directory.raw("b.raw", size: 4096)
        let top = try ambiguous("top.cow", over: base.string)
        let error = try diskImageError { _ = try ImageChain.open(top) }
        #expect(error.kind == .badData)
        #expect(
            error.line
                == "\(top): its header fits more than one layout: uml-v2, qemu-v2 (choose with -f)")
        let chain = try ImageChain.open(
            top,
            .usual {
                $0.format = .cow(.qemuV2)
                $0.ignoreMtime = true
            })
        #expect(chain.top.size == 65_536)
    }

    @Test func anAmbiguousBackingFileIsChosenWithBackingFormat() throws {
        try ambiguous("middle.cow", over: directory.raw("b.raw", size: 4096).string)
        let top = try directory.cow("top.cow", over: "middle.cow")
        let error = try diskImageError { _ = try ImageChain.open(top) }
        #expect(
            error.line
                == "\(directory("middle.cow")): its header fits more than one layout: uml-v2, qemu-v2 (choose with --backing-format)"
        )
        let chain = try ImageChain.open(top, .usual { $0.backingFormat = .cow(.qemuV2) })
        #expect(chain.summary == "top.cow:qemu-v2 middle.cow:qemu-v2 b.raw:raw")
    }

    @Test func aBackingCowFileWhoseHeaderIsBrokenIsNotTakenForRaw() throws {
        try directory.cow("middle.cow", .umlV3, over: "/b") { $0.sectorSizeField = 1024 }
        let top = try directory.cow("top.cow", over: "middle.cow")
        let error = try diskImageError { _ = try ImageChain.open(top) }
        #expect(error.kind == .badData)
        #expect(
            error.line == "\(directory("middle.cow")): sector size at offset 20 is 1024; expected 512")
    }
}
