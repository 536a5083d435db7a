import ImageFormats
import TestSupport
import Testing

struct ForeignFormatTests {
    private static let beginnings: [(String, [UInt8], ForeignFormat)] = [
        ("qcow2", Array("QFI".utf8) + [0xfb, 0, 0, 0, 3], .qcow2),
        ("qcow2 of the first version", Array("QFI".utf8) + [0xfb, 0, 0, 0, 2], .qcow2),
        ("qcow", Array("QFI".utf8) + [0xfb, 0, 0, 0, 1], .qcow),
        ("qed", Array("QED\0".utf8), .qed),
        ("a sparse vmdk", Array("KDMV".utf8), .vmdk),
        ("an ESX vmdk", Array("COWD".utf8), .vmdk),
        ("a vmdk descriptor", Array("# Disk DescriptorFile\nversion=1\n".utf8), .vmdk),
        ("vdi", [UInt8](repeating: 0x20, count: 64) + [0x7f, 0x10, 0xda, 0xbe], .vdi),
        ("vhdx", Array("vhdxfile".utf8), .vhdx),
        ("vpc", Array("conectix".utf8), .vpc),
        ("parallels", Array("WithoutFreeSpace".utf8), .parallels),
        ("parallels of the second version", Array("WithouFreSpacExt".utf8), .parallels),
        ("E01", [0x45, 0x56, 0x46, 0x09, 0x0d, 0x0a, 0xff, 0x00], .ewf),
        ("L01", [0x4c, 0x56, 0x46, 0x09, 0x0d, 0x0a, 0xff, 0x00], .ewf),
        ("Ex01", [0x45, 0x56, 0x46, 0x32, 0x0d, 0x0a, 0x81, 0x00], .ewf),
        ("VMA", Array("VMA\0".utf8), .vma),
        ("partclone", Array("partclone-image".utf8), .partclone),
        ("Android sparse", [0x3a, 0xff, 0x26, 0xed, 1, 0], .androidSparse),
        ("gzip", [0x1f, 0x8b, 8, 0], .gzip),
        ("xz", [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0], .xz),
        ("zstd", [0x28, 0xb5, 0x2f, 0xfd], .zstd),
        ("bzip2", Array("BZh91AY&SY".utf8), .bzip2),
        ("bzip2 of nothing", Array("BZh1".utf8) + [0x17, 0x72, 0x45, 0x38, 0x50, 0x90], .bzip2),
        ("lz4", [4, 0x22, 0x4d, 0x18], .lz4),
        ("lz4 as Linux kernels have it", [2, 0x21, 0x4c, 0x18], .lz4),
        ("pzstd", [0x50, 0x2a, 0x4d, 0x18], .skippable),
        ("zip", Array("PK".utf8) + [3, 4], .zip),
        ("zip of nothing", Array("PK".utf8) + [5, 6], .zip),
        ("7z", [0x37, 0x7a, 0xbc, 0xaf, 0x27, 0x1c], .sevenZip),
        ("rar", Array("Rar!".utf8) + [0x1a, 7], .rar),
        ("a manifest", Array(#"{"consistent":"#.utf8), .manifest),
        ("an archive's manifest", Array(#"{"archive":"#.utf8), .manifest),
    ]

    @Test(arguments: beginnings)
    func recognisesAFormatByItsMagic(name: String, beginning: [UInt8], format: ForeignFormat) {
        let whole = beginning + [UInt8](repeating: 0, count: ForeignFormat.prefixLength - beginning.count)
        #expect(ForeignFormat(recognising: whole) == format)
        #expect(ForeignFormat(recognising: beginning) == format, "a file of these bytes alone")
    }

    @Test(arguments: beginnings)
    func aMagicThatIsCutIsNone(name: String, beginning: [UInt8], format: ForeignFormat) {
        let length = [.qcow2, .qcow].contains(format) ? 3 : format == .vmdk ? 3 : beginning.count - 1
        #expect(ForeignFormat(recognising: Array(beginning[..<length])) == nil)
    }

    /// A tar header of one file, as GNU tar, POSIX and Unix V7 write it.
    private static func tar(_ magic: String, spoiled: Bool = false) -> [UInt8] {
        var block = [UInt8](repeating: 0, count: 512)
        func put(_ text: String, at offset: Int) {
            block.replaceSubrange(offset..<offset + text.utf8.count, with: text.utf8)
        }
        for (text, offset) in [
            ("base.img", 0), ("0000644\0", 100), ("00010000000\0", 124), ("        ", 148), ("0", 156),
            (magic, 257),
        ] {
            put(text, at: offset)
        }
        let sum = String(block.reduce(0) { $0 + Int($1) } + (spoiled ? 1 : 0), radix: 8)
        put(String(repeating: "0", count: 6 - sum.count) + sum + "\0 ", at: 148)
        return block
    }

    @Test(arguments: ["ustar\u{0}00", "ustar  ", ""])
    func recognisesATarArchiveByMagicOrChecksum(magic: String) {
        #expect(ForeignFormat(recognising: ForeignFormatTests.tar(magic)) == .tar)
    }

    @Test func whatOnlyLooksLikeAnOldTarHeaderIsNone() {
        #expect(ForeignFormat(recognising: ForeignFormatTests.tar("", spoiled: true)) == nil)
    }

    @Test func aDmgIsRecognisedByItsEnd() {
        let boot = [UInt8](repeating: 0, count: 512)
        let trailer = Array("koly".utf8) + [0, 0, 0, 4, 0, 0, 2, 0] + [UInt8](repeating: 0, count: 500)
        #expect(ForeignFormat(recognising: boot, end: trailer) == .dmg)
        #expect(ForeignFormat(recognising: boot, end: boot) == nil)
    }

    /// What real disks begin with: boot sectors of several loaders and partition tables, and file
    /// systems without one.
    @Test(
        arguments: [
            [0xeb, 0x63, 0x90, 0x10, 0x8e, 0xd0], [0xeb, 0x3c, 0x90] + Array("mkfs.fat".utf8),
            [0xeb, 0x52, 0x90] + Array("NTFS    ".utf8),
            [0x33, 0xc0, 0x8e, 0xd0, 0xbc, 0x00, 0x7c], [0xfa, 0xb8, 0x00, 0x10], [0x45, 0x52, 0x08, 0x00],
            Array("LUKS".utf8) + [0xba, 0xbe, 0, 1],
            Array("XFSB".utf8), Array("hsqs".utf8), [0x1f, 0x8b, 0x09], Array("BZh9".utf8), Array("PK".utf8),
            Array("Rar!".utf8),
        ] as [[UInt8]])
    func noDiskIsTakenForSomethingElse(beginning: [UInt8]) {
        var sector = beginning + [UInt8](repeating: 0, count: 512 - beginning.count)
        (sector[510], sector[511]) = (0x55, 0xaa)
        #expect(ForeignFormat(recognising: sector) == nil)
    }

    @Test(arguments: ForeignFormat.allCases)
    func theAdviceIsPartOfASentenceAndNeverToTakeItForRaw(format: ForeignFormat) {
        #expect(!format.advice.contains("-f raw") && !format.advice.contains("-O raw"))
        #expect(!(format.name + format.advice).contains { "()".contains($0) } || format == .vpc)
    }

    @Test func nothingAndAnythingElseIsNotForeign() {
        #expect(ForeignFormat(recognising: []) == nil)
        #expect(ForeignFormat(recognising: [UInt8](repeating: 0, count: 512)) == nil)
        #expect(ForeignFormat(recognising: Writer(layout: .umlV3).image().header) == nil)
    }
}
