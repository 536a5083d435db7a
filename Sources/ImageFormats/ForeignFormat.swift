/// Disk image formats that Drover knows by their magic numbers and does not read: such a file is refused by name, never taken for raw.
package enum ForeignFormat: String, CaseIterable, Sendable {
    case qcow2, qcow, qed, vmdk, vdi, vhdx, vpc, parallels
    case archive = "Drover archive"

    /// How many bytes of the file's beginning `init(recognising:)` looks at.
    package static let prefixLength = 512

    /// The format a file that begins with `bytes` is in, or nil.
    /// Sources: QEMU's `block/*.c` probe functions.
    package init?(recognising bytes: [UInt8]) {
        func begins(with text: String, at offset: Int = 0) -> Bool { bytes.dropFirst(offset).starts(with: text.utf8) }
        if bytes.starts(with: [0x51, 0x46, 0x49, 0xfb]) {
            self = bytes.number(UInt32.self, at: 4, .big) == 1 ? .qcow : .qcow2
        } else if begins(with: "QED\0") {
            self = .qed
        } else if begins(with: "KDMV") || begins(with: "COWD") || begins(with: "# Disk DescriptorFile") {
            self = .vmdk
        } else if bytes.number(UInt32.self, at: 64, .little) == 0xbeda_107f {
            self = .vdi
        } else if begins(with: "vhdxfile") {
            self = .vhdx
        } else if begins(with: "conectix") {
            self = .vpc
        } else if begins(with: "WithoutFreeSpace") || begins(with: "WithouFreSpacExt") {
            self = .parallels
        } else if bytes.starts(with: [0x04, 0x22, 0x4d, 0x18, 0x64, 0x40, 0xa7, 0, 0, 0, 0, 0x05, 0x5d, 0xcc, 0x02]),
            bytes.number(UInt32.self, at: 15, .little).map({ $0 & 0xffff_fff0 == 0x184d_2a50 }) == true
        {
            // An empty LZ4 frame and a skippable one: Documentation/archive-format.md.
            self = .archive
        } else {
            return nil
        }
    }
}
