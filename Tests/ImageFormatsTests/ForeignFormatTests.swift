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

    @Test func nothingAndAnythingElseIsNotForeign() {
        #expect(ForeignFormat(recognising: []) == nil)
        #expect(ForeignFormat(recognising: [UInt8](repeating: 0, count: 512)) == nil)
        #expect(ForeignFormat(recognising: Writer(layout: .umlV3).image().header) == nil)
    }
}
