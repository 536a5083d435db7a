import DiskImages
import ImageFormats
import SystemPackage
import TestSupport
import Testing

@testable import Linux
@testable import Migration

/// What a COW layout cannot hold is refused before anything is written, naming a layout that can.
struct CowTargetTests {
    private let directory = try! TemporaryDirectory()
    private let target: FilePath = "/images/out.cow"

    private func layer(_ path: FilePath) throws -> ImageLayer {
        try ImageChain.open(path, ChainOptions(location: try BackingLocation())).top
    }

    /// How a header over the file `backing`, called `name`, is refused.
    private func refusal(
        _ layout: CowLayout, length: UInt64 = 4096, over backing: FilePath? = nil, as name: FilePath? = nil,
        alignment: UInt32 = 4096
    ) throws -> String {
        let over = try backing.map { try BackingReference(try layer($0), name: name ?? $0) }
        return MigrationTests.refusal {
            _ = try CowHeader(
                writing: layout, alignment: alignment,
                for: TargetDisk(target: target, length: length, over: over))
        }
    }

    private func cannotHold(
        _ layout: CowLayout, _ what: String, _ advice: String = " (-o layout=qemu-v2 can)"
    ) -> String {
        "badData: /images/out.cow: \(layout.rawValue) cannot hold \(what)\(advice)"
    }

    private func base(_ length: UInt64 = 4096) throws -> FilePath {
        try SparseFile().write(to: directory("base"), length: length)
        return directory("base")
    }

    @Test(arguments: CowLayout.writable)
    func aHeaderNamesTheBackingFileWithItsSizeAndTime(layout: CowLayout) throws {
        let base = try base(9 * 512)
        let header = try CowHeader(
            writing: layout, alignment: 8192,
            for: TargetDisk(
                target: target, length: 9 * 512, over: try BackingReference(try layer(base), name: base)))
        #expect(header.layout == layout)
        #expect(FilePath(bytes: header.backingPath) == base)
        #expect(header.mtime == SparseFile.usualMtime)
        #expect(header.size == 9 * 512)
        #expect(header.alignment == 8192)
    }

    @Test(arguments: [CowLayout.umlV3, .umlV2])
    func umlLayoutsSayTheBackingFilesOwnLengthAlthoughItIsNotWholeSectors(layout: CowLayout) throws {
        let base = try base(1000)
        let header = try CowHeader(
            writing: layout, alignment: 4096,
            for: TargetDisk(
                target: target, length: 1024, over: try BackingReference(try layer(base), name: base)))
        #expect(header.size == 1000)
    }

    @Test func qemuLayoutsNeedNoBackingFile() throws {
        let header = try CowHeader(
            writing: .qemuV2, alignment: 4096, for: TargetDisk(target: target, length: 0))
        #expect(header.backingPath.isEmpty && header.mtime == 0 && header.size == 0)
    }

    @Test(arguments: [CowLayout.umlV3, .umlV2])
    func whatUMLInsistsOnIsRefusedInItsLayouts(layout: CowLayout) throws {
        #expect(try refusal(layout, length: 0, over: base()) == cannotHold(layout, "a disk of size 0"))
        #expect(try refusal(layout) == cannotHold(layout, "an image without a backing file"))
        #expect(
            try refusal(layout, length: 8192, over: base())
                == cannotHold(layout, "a disk of 8192 bytes over \(base()), which has 4096"))
        #expect(
            try refusal(layout, length: 2048, over: base())
                == cannotHold(layout, "a disk of 2048 bytes over \(base()), which has 4096"))
        let cow = try directory.cow("middle", over: "base", "-", unit: 4096)
        #expect(try refusal(layout, over: cow) == cannotHold(layout, "an overlay of the COW file \(cow)"))
    }

    @Test(arguments: [(CowLayout.qemuV2, 1023), (.umlV3, 4095), (.umlV2, 4095)])
    func aBackingPathMayBeAsLongAsTheHeaderHasRoom(layout: CowLayout, longest: Int) throws {
        let name = FilePath("/" + String(repeating: "n", count: longest - 1))
        #expect(try refusal(layout, over: base(), as: name) == "no error")
    }

    @Test func aBackingPathThatIsTooLongIsRefusedNamingALayoutWithRoom() throws {
        let long = FilePath("/" + String(repeating: "n", count: 1023))
        #expect(
            try refusal(.qemuV2, over: base(), as: long)
                == cannotHold(.qemuV2, "a backing path of 1024 bytes", " (-o layout=uml-v3 can)"))
        let longer = FilePath("/" + String(repeating: "n", count: 4095))
        for layout in CowLayout.writable {
            #expect(
                try refusal(layout, over: base(), as: longer)
                    == cannotHold(layout, "a backing path of 4096 bytes", ""))
        }
        let cow = try directory.cow("middle", over: "base", "-", unit: 4096)
        #expect(
            try refusal(.qemuV2, over: cow, as: long)
                == cannotHold(.qemuV2, "a backing path of 1024 bytes", ""))
    }

    @Test func noLayoutIsNamedThatCouldNotHoldTheDiskEither() throws {
        // UML layouts have room for the path, but not for a disk that is longer than its backing
        // file.
        let long = FilePath("/" + String(repeating: "n", count: 1023))
        #expect(
            try refusal(.qemuV2, length: 8192, over: base(), as: long)
                == cannotHold(.qemuV2, "a backing path of 1024 bytes", ""))
    }

    @Test(arguments: [-1, Int(UInt32.max) + 1])
    func aTimeOutside32BitsIsRefused(seconds: Int) throws {
        let base = try base()
        try FileChanges.setMtime(of: base, Timestamp(seconds: seconds, nanoseconds: 0))
        for layout in CowLayout.writable {
            #expect(
                try refusal(layout, over: base)
                    == "badData: /images/out.cow: no COW layout can hold the mtime \(seconds) (\(Timestamp.date(seconds))) of \(base); expected 0 to 4294967295 (name a copy that has another time, as drover convert makes one; with another time on that file itself, every overlay that it has would be refused)"
            )
        }
    }

    @Test(arguments: [0, 1, Int(UInt32.max)])
    func aTimeOf32BitsIsHeld(seconds: Int) throws {
        let base = try base()
        try FileChanges.setMtime(of: base, Timestamp(seconds: seconds, nanoseconds: 999_999_999))
        let header = try CowHeader(
            writing: .umlV3, alignment: 4096,
            for: TargetDisk(
                target: target, length: 4096, over: try BackingReference(try layer(base), name: base)))
        #expect(header.mtime == UInt32(seconds))
    }

    @Test(arguments: [0, 3, 4097, 1 << 31] as [UInt32])
    func anAlignmentThatIsNoneIsRefused(alignment: UInt32) throws {
        #expect(
            try refusal(.umlV3, over: base(), alignment: alignment)
                == "badData: /images/out.cow: alignment at offset 24 is \(alignment); expected a power of two up to 1073741824"
        )
    }

    @Test func aBitmapThatNoProgramCanOpenIsRefused() throws {
        #expect(
            try refusal(.qemuV2, length: 1 << 43)
                == "badData: /images/out.cow: header and bitmap of a qemu-v2 disk of \(1 << 43) bytes pass 2^31 bytes, which no program can open (-O raw can hold it)"
        )
        #expect(try refusal(.qemuV2, length: (1 << 43) - (1 << 24)) == "no error")
    }

    @Test func sectorsWithoutABitAreRefusedWhereTheyAreAllocated() async throws {
        let unit = 512
        try directory.raw("base", "aaaaaaaaa", unit: unit)
        try directory.cow("held", over: "base", "--------b", unit: unit)
        try directory.cow("left", over: "base", "b-------" + "-", unit: unit)
        let refused = try Move(directory, "held").over("base", .umlV2)
        #expect(
            await refused.refusal()
                == "badData: \(refused.target): uml-v2 has no bits for the last 1 sectors, which are allocated (-o layout=uml-v3 can)"
        )
        #expect(try !directory.names.contains("out.manifest"))
        try await Move(directory, "left").over("base", .umlV2).run()
        #expect(try directory.picture(of: "out", unit: unit) == "baaaaaaaa")
        try await Move(directory, "held", to: "other").over("base", .umlV3).run()
        #expect(try directory.picture(of: "other", unit: unit) == "aaaaaaaab")
    }
}
