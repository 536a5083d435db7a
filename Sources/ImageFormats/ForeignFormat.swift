/// Formats that Drover knows by their magic numbers and does not read as an image: such a file is
/// refused by name, never taken for raw.
///
/// No boot sector, partition table or file system begins so: every magic number here is at least
/// three bytes at a fixed place, or has a checksum.
package enum ForeignFormat: CaseIterable, Sendable {
    // Disk images. Sources: QEMU's `block/*.c` probe functions; Android's
    // `system/core/libsparse/sparse_format.h`; libewf's format pages; Proxmox's `vma_spec.txt`;
    // partclone's `src/partclone.h`; ntfs-3g's `ntfsclone.c`.
    case qcow2, qcow, qed, vmdk, vdi, vhdx, vpc, parallels, dmg, bochs
    case androidSparse, ewf, vma, partclone, ntfsclone
    // Compressed. Sources: RFC 1952; the xz, lzip, bzip2, lzop and lz4 format pages; RFC 8878.
    case gzip, xz, zstd, bzip2, lz4, lzip, lzop
    /// Frames of LZ4 or Zstandard behind a skippable one, which both have.
    case skippable
    // Many files in one. Sources: POSIX's ustar, PKWARE's APPNOTE, 7-Zip's `7zFormat.txt`, RARLAB's
    // technote.
    case tar, zip, sevenZip, rar
    // Drover's own: Documentation/archive-format.md, Documentation/manifest-format.md.
    case archive, manifest

    /// How many bytes of the file's beginning and of its end `init` looks at.
    package static let prefixLength = 512
    package static let endLength = 512

    /// The format of a file that begins with `bytes`, the first 512 or all, and ends with `end`, or
    /// nil.
    package init?(recognising bytes: [UInt8], end: [UInt8] = []) {
        if let found = ForeignFormat.magics.first(where: { bytes.dropFirst($0.offset).starts(with: $0.bytes) }
        ) {
            self = found.format
        } else if bytes.starts(with: [0x51, 0x46, 0x49, 0xfb]) {
            self = bytes.number(UInt32.self, at: 4, .big) == 1 ? .qcow : .qcow2
        } else if ForeignFormat.isLZ4(bytes) {
            self = ForeignFormat.isArchive(bytes) ? .archive : .lz4
        } else if bytes.number(UInt32.self, at: 0, .little).map({ $0 & 0xffff_fff0 == 0x184d_2a50 }) == true {
            self = .skippable
        } else if bytes.starts(with: [0x1f, 0x8b, 8]), bytes.count > 3, bytes[3] & 0xe0 == 0 {
            // Deflated; the upper flags are reserved.
            self = .gzip
        } else if ForeignFormat.isBzip2(bytes) {
            self = .bzip2
        } else if bytes.starts(with: [0x3a, 0xff, 0x26, 0xed]), bytes.number(UInt16.self, at: 4, .little) == 1
        {
            self = .androidSparse
        } else if TarHeader.isOne(bytes) {
            self = .tar
        } else if end.starts(with: "koly".utf8), end.number(UInt32.self, at: 8, .big) == 512 {
            self = .dmg
        } else {
            return nil
        }
    }

    private struct Magic: Sendable {
        let format: ForeignFormat
        let offset: Int
        let bytes: [UInt8]

        init(_ format: ForeignFormat, _ bytes: [UInt8], at offset: Int = 0) {
            (self.format, self.offset, self.bytes) = (format, offset, bytes)
        }

        init(_ format: ForeignFormat, _ text: String) { self.init(format, Array(text.utf8)) }
    }

    private static let magics = [
        Magic(.qed, "QED\0"), Magic(.vmdk, "KDMV"), Magic(.vmdk, "COWD"),
        Magic(.vmdk, "# Disk DescriptorFile"),
        Magic(.vdi, [0x7f, 0x10, 0xda, 0xbe], at: 64), Magic(.vhdx, "vhdxfile"), Magic(.vpc, "conectix"),
        Magic(.parallels, "WithoutFreeSpace"), Magic(.parallels, "WithouFreSpacExt"),
        Magic(.bochs, "Bochs Virtual HD Image"),
        // EWF and its logical kind, both in two versions: E01, L01, Ex01, Lx01.
        Magic(.ewf, [0x45, 0x56, 0x46, 0x09, 0x0d, 0x0a, 0xff, 0]),
        Magic(.ewf, [0x4c, 0x56, 0x46, 0x09, 0x0d, 0x0a, 0xff, 0]),
        Magic(.ewf, [0x45, 0x56, 0x46, 0x32, 0x0d, 0x0a, 0x81, 0]),
        Magic(.ewf, [0x4c, 0x45, 0x46, 0x32, 0x0d, 0x0a, 0x81, 0]),
        Magic(.vma, "VMA\0"), Magic(.partclone, "partclone-image"), Magic(.ntfsclone, "\0ntfsclone-image"),
        Magic(.xz, [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0]), Magic(.zstd, [0x28, 0xb5, 0x2f, 0xfd]),
        Magic(.lzip, "LZIP\u{1}"),
        Magic(.lzop, [0x89, 0x4c, 0x5a, 0x4f, 0, 0x0d, 0x0a, 0x1a, 0x0a]),
        Magic(.zip, [0x50, 0x4b, 3, 4]), Magic(.zip, [0x50, 0x4b, 5, 6]), Magic(.zip, [0x50, 0x4b, 7, 8]),
        Magic(.sevenZip, [0x37, 0x7a, 0xbc, 0xaf, 0x27, 0x1c]),
        Magic(.rar, [0x52, 0x61, 0x72, 0x21, 0x1a, 7]),
        Magic(.manifest, #"{"consistent":"#), Magic(.manifest, #"{"archive":"#),
        Magic(.manifest, #"{"failure":"#),
    ]

    private static func isLZ4(_ bytes: [UInt8]) -> Bool {
        // The frame format, and the legacy one of Linux kernels.
        bytes.starts(with: [4, 0x22, 0x4d, 0x18]) || bytes.starts(with: [2, 0x21, 0x4c, 0x18])
    }

    /// An empty LZ4 frame and a skippable one behind it.
    private static func isArchive(_ bytes: [UInt8]) -> Bool {
        bytes.starts(with: [0x04, 0x22, 0x4d, 0x18, 0x64, 0x40, 0xa7, 0, 0, 0, 0, 0x05, 0x5d, 0xcc, 0x02])
            && bytes.number(UInt32.self, at: 15, .little).map { $0 & 0xffff_fff0 == 0x184d_2a50 } == true
    }

    /// `BZh`, the block size, and a block's magic number or that of the end.
    private static func isBzip2(_ bytes: [UInt8]) -> Bool {
        guard bytes.starts(with: "BZh".utf8), bytes.count >= 10, (0x31...0x39).contains(bytes[3]) else {
            return false
        }
        return [[0x31, 0x41, 0x59, 0x26, 0x53, 0x59], [0x17, 0x72, 0x45, 0x38, 0x50, 0x90]].contains(
            Array(bytes[4..<10]))
    }
}

/// The first block of a tar archive.
///
///     offset  length
///        148       8   checksum: the sum of the block's bytes, these eight taken for blanks; octal digits, ended by a blank or NUL
///        257       5   `ustar`, since POSIX.1-1988; older archives have nothing there
private enum TarHeader {
    static func isOne(_ bytes: [UInt8]) -> Bool {
        guard bytes.count >= 512 else { return false }
        if bytes[257...].starts(with: "ustar\0".utf8) || bytes[257...].starts(with: "ustar ".utf8) {
            return true
        }
        let field = bytes[148..<156].drop { $0 == 0x20 }.prefix { $0 != 0x20 && $0 != 0 }
        guard bytes[0] != 0, field.count >= 3, field.allSatisfy({ (0x30...0x37).contains($0) }) else {
            return false
        }
        let recorded = field.reduce(0) { $0 * 8 + Int($1 - 0x30) }
        return recorded == bytes[..<148].reduce(0) { $0 + Int($1) } + 8 * 0x20
            + bytes[156..<512].reduce(0) { $0 + Int($1) }
    }
}
