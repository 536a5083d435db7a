/// The layouts of copy-on-write files that User-Mode Linux and QEMU wrote under the magic number
/// 0x4f4f4f4d.
///
/// The raw value is the name users see. Where fields lie (offsets in bytes; all numbers are
/// big-endian, but `uml-v1` follows its writer's host):
///
/// | layout     | version | path, length | mtime | size | sector size | alignment | cow_format | header |
/// |------------|---------|--------------|-------|------|-------------|-----------|------------|--------|
/// | uml-v1     | 1       | 8, 256       | 264   | 268  | 276         |           |            | 280    |
/// | uml-v2     | 2       | 8, 4096      | 4104  | 4108 | 4116        |           |            | 4120   |
/// | uml-v2-64  | 2       | 8, 4096      | 4104  | 4112 | 4120        |           |            | 4128   |
/// | qemu-v2    | 2       | 8, 1024      | 1032  | 1040 | 1048        |           |            | 1056   |
/// | qemu-v2-32 | 2       | 8, 1024      | 1032  | 1036 | 1044        |           |            | 1048   |
/// | uml-v3     | 3       | 32, 4096     | 8     | 12   | 20          | 24        | 28         | 4128   |
/// | uml-v3-64  | 3       | 36, 4096     | 8     | 16   | 24          | 28        | 32         | 4136   |
///
/// mtime is 32 bits wide; unpacked 64-bit builds gave it eight bytes and stored the value in the
/// first four. size is 64 bits wide, sector size, alignment and cow_format 32. Sources: User-Mode
/// Linux `arch/um/drivers/cow_user.c`, QEMU 2.1 `block/cow.c`.
package enum CowLayout: String, CaseIterable, Sendable {
    case umlV1 = "uml-v1"
    case umlV2 = "uml-v2"
    case umlV2Unpacked = "uml-v2-64"
    case qemuV2 = "qemu-v2"
    case qemuV2Packed = "qemu-v2-32"
    case umlV3 = "uml-v3"
    case umlV3Unpacked = "uml-v3-64"

    /// The layouts that Drover writes; the others are old variants that hold nothing these cannot.
    package static let writable: [CowLayout] = [.umlV3, .umlV2, .qemuV2]

    /// Where each field lies, in bytes from the start of the file.
    struct Fields {
        let version: UInt32
        let path: Int
        let pathLength: Int
        let mtime: Int
        let size: Int
        let sectorSize: Int
        var alignment: Int? = nil
        var cowFormat: Int? = nil
        let headerLength: Int
        /// Whether numbers are in the byte order of the writer's host, and not always big-endian.
        var followsHost = false
    }

    var fields: Fields {
        switch self {
        case .umlV1:
            Fields(
                version: 1, path: 8, pathLength: 256, mtime: 264, size: 268, sectorSize: 276,
                headerLength: 280, followsHost: true)
        case .umlV2:
            Fields(
                version: 2, path: 8, pathLength: 4096, mtime: 4104, size: 4108, sectorSize: 4116,
                headerLength: 4120)
        case .umlV2Unpacked:
            Fields(
                version: 2, path: 8, pathLength: 4096, mtime: 4104, size: 4112, sectorSize: 4120,
                headerLength: 4128)
        case .qemuV2:
            Fields(
                version: 2, path: 8, pathLength: 1024, mtime: 1032, size: 1040, sectorSize: 1048,
                headerLength: 1056)
        case .qemuV2Packed:
            Fields(
                version: 2, path: 8, pathLength: 1024, mtime: 1032, size: 1036, sectorSize: 1044,
                headerLength: 1048)
        case .umlV3:
            Fields(
                version: 3, path: 32, pathLength: 4096, mtime: 8, size: 12, sectorSize: 20, alignment: 24,
                cowFormat: 28,
                headerLength: 4128)
        case .umlV3Unpacked:
            Fields(
                version: 3, path: 36, pathLength: 4096, mtime: 8, size: 16, sectorSize: 24, alignment: 28,
                cowFormat: 32,
                headerLength: 4136)
        }
    }

    /// Written by User-Mode Linux: it insists on the backing file's size and mtime, and reads it as
    /// raw bytes.
    package var isUML: Bool {
        switch self {
        case .qemuV2, .qemuV2Packed: false
        default: true
        }
    }

    /// The longest backing path the header holds, in bytes, without its NUL.
    package var longestPath: Int { fields.pathLength - 1 }

    /// The layout that takes this one's place when an image is written anew: itself where Drover
    /// writes it.
    package var writableEquivalent: CowLayout {
        switch self {
        case .umlV1, .umlV2Unpacked, .umlV3Unpacked, .umlV3: .umlV3
        case .umlV2: .umlV2
        case .qemuV2, .qemuV2Packed: .qemuV2
        }
    }
}
