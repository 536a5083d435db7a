import DiskImages
import ImageFormats
import Linux
import SystemPackage
import TestSupport
import Testing

/// Opening chains: which file is the next layer, and which are none.
struct ChainTests {
    private let directory = try! TemporaryDirectory()

    @Test func aRawFileIsAChainOfOneLayer() throws {
        let chain = try ImageChain.open(directory.raw("disk.img", size: 1000))
        #expect(chain.summary == "disk.img:raw")
        #expect(chain.guestLength == 1024)
        #expect(chain.top.size == 1000)
    }

    @Test func anEmptyFileIsARawDiskOfNoSize() throws {
        let chain = try ImageChain.open(directory.raw("empty", size: 0))
        #expect(chain.guestLength == 0)
        #expect(try chain.extents.isEmpty)
    }

    @Test func aRelativeBackingPathStartsAtTheOverlaysOwnFolder() throws {
        try directory.directory("guests/deep")
        try directory.directory("bases")
        try directory.raw("bases/b.raw")
        try directory.cow("guests/deep/top.cow", over: "../../bases/b.raw")
        let chain = try ImageChain.open(directory("guests/deep/top.cow"))
        #expect(chain.summary == "top.cow:qemu-v2 b.raw:raw")
    }

    @Test func anAbsoluteBackingPathIsTakenAsItIs() throws {
        try directory.directory("guests")
        let base = try directory.raw("b.raw")
        let chain = try ImageChain.open(directory.cow("guests/top.cow", .umlV3, over: base.string))
        #expect(chain.summary == "top.cow:uml-v3 b.raw:raw")
        #expect(chain.layers[1].path == base)
    }

    @Test func aQEMUImageWithoutABackingFileIsAChainOfOneLayer() throws {
        let chain = try ImageChain.open(directory.cow("top.cow", over: ""))
        #expect(chain.summary == "top.cow:qemu-v2")
        let extents = try chain.extents
        #expect(extents.count == 1)
        #expect(extents[0].length == 65_536 && extents[0].depth == 0 && extents[0].content == .absent)
    }

    @Test func chainsMixLayouts() throws {
        try directory.raw("b.raw")
        try directory.cow("one.cow", .umlV2, over: directory("b.raw").string)
        try directory.cow("two.cow", .qemuV2Packed, over: "one.cow")
        let chain = try ImageChain.open(directory.cow("three.cow", .umlV1, over: directory("two.cow").string))
        #expect(chain.summary == "three.cow:uml-v1 two.cow:qemu-v2-32 one.cow:uml-v2 b.raw:raw")
    }

    @Test func aDiskOfOneSectorIsNotTakenForADiskOfNoSize() throws {
        let top = try directory.cow("top.cow", .qemuV2, over: "", size: 512) { $0.allocated[0] = .data([1]) }
        #expect(try ImageChain.open(top).summary == "top.cow:qemu-v2")
    }

    @Test func aMissingImageIsUnavailable() throws {
        let error = try diskImageError { _ = try ImageChain.open(directory("none.cow")) }
        #expect(error.kind == .unavailable)
        #expect(error.line == "\(directory("none.cow")): cannot be opened: No such file or directory")
    }

    @Test func aMissingBackingFileIsToldWithTheOverlaysName() throws {
        let top = try directory.cow("top.cow", over: "nothere.raw")
        let error = try diskImageError { _ = try ImageChain.open(top) }
        #expect(error.kind == .unavailable)
        #expect(
            error.line
                == "\(top): backing file \(directory("nothere.raw")) cannot be opened: No such file or directory "
                + "(where bases have moved, --backing-map OLD=NEW or --backing-search DIRECTORY finds them)")
    }

    @Test func aDirectoryIsNoImage() throws {
        let error = try diskImageError { _ = try ImageChain.open(directory.path) }
        #expect(error.kind == .badData)
        #expect(
            error.line
                == "\(directory.path): is a directory; expected a regular file or a block device")
    }

    @Test func aFIFOIsRefusedAndNeverWaitedFor() throws {
        let fifo = try directory.fifo("fifo")
        let error = try diskImageError { _ = try ImageChain.open(fifo) }
        #expect(error.line == "\(fifo): is a FIFO; expected a regular file or a block device")
        let top = try directory.cow("top.cow", over: "fifo")
        #expect(try diskImageError { _ = try ImageChain.open(top) }.kind == .badData)
    }

    @Test func aCharacterDeviceIsNoImage() throws {
        let error = try diskImageError { _ = try ImageChain.open("/dev/zero") }
        #expect(
            error.line == "/dev/zero: is a character device; expected a regular file or a block device"
        )
    }

    @Test(arguments: [1, 2, 5])
    func aLoopIsRefused(length: Int) throws {
        for index in 0..<length {
            try directory.cow("\(index).cow", over: "\((index + 1) % length).cow") { $0.mtime = 0 }
        }
        let error = try diskImageError { _ = try ImageChain.open(directory("0.cow")) }
        #expect(error.kind == .badData)
        #expect(
            error.line
                == "\(directory("\(length - 1).cow")): backing file \(directory("0.cow")) is layer 0 of the same chain (a loop)"
        )
    }

    @Test func aLoopThroughASymbolicLinkIsRefused() throws {
        try directory.link("other.cow", to: "top.cow")
        let error = try diskImageError {
            _ = try ImageChain.open(directory.cow("top.cow", over: "other.cow"))
        }
        #expect(error.factLine.hasSuffix("is layer 0 of the same chain (a loop)"))
    }

    @Test func aChainOf64LayersIsOpenedAndOneOf65IsNot() throws {
        try directory.raw("64.cow")
        for index in 0..<64 { try directory.cow("\(index).cow", over: "\(index + 1).cow") }
        #expect(try ImageChain.open(directory("1.cow")).layers.count == 64)
        let error = try diskImageError { _ = try ImageChain.open(directory("0.cow")) }
        #expect(error.kind == .badData)
        #expect(error.line == "\(directory("63.cow")): the chain is deeper than 64 layers")
    }
}
