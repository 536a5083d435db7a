package import ImageFormats
package import SystemPackage

/// Writes COW files the way UML and QEMU did, field after field from their C structs, and shares no
/// code with Drover's own reader and writer: the tests hold the two against each other.
package struct CowImageBuilder {
    /// What an allocated sector has in the data area.
    package enum Sector: Equatable, Sendable {
        /// Up to 512 bytes.
        case data([UInt8])
        /// Nothing was ever written: the bit is set over a hole.
        case hole
    }

    package var layout: CowLayout
    /// Only `uml-v1` was ever written so.
    package var isLittleEndian = false
    package var backing: [UInt8]
    /// What stands in the path's buffer after its NUL: UML did not clear it.
    package var garbage: [UInt8] = []
    package var mtime: UInt32 = SparseFile.usualMtime
    package var size: UInt64
    package var alignment: UInt32 = 4096
    /// Fields that have only one right value.
    package var version: UInt32
    package var sectorSizeField: UInt32 = 512
    package var cowFormat: UInt32 = 0
    /// Sectors with a bit.
    package var allocated: [UInt64: Sector] = [:]
    /// Data of sectors without a bit: a guest died between writing the data and writing the bitmap.
    package var uncommitted: [UInt64: [UInt8]] = [:]
    /// The file's length; nil is the writer's habit: UML sets the full length, QEMU writes as far
    /// as there is data.
    package var length: UInt64?

    package init(_ layout: CowLayout, backing: String, size: UInt64) {
        self.layout = layout
        self.backing = Array(backing.utf8)
        self.size = size
        version =
            switch layout {
            case .umlV1: 1
            case .umlV2, .umlV2Unpacked, .qemuV2, .qemuV2Packed: 2
            case .umlV3, .umlV3Unpacked: 3
            }
    }

    /// The header as it stands at the start of the file.
    package var header: [UInt8] {
        var fields = PackedBytes(isLittleEndian: isLittleEndian)
        fields.append(0x4f4f_4f4d as UInt32)
        fields.append(version)
        switch layout {
        case .umlV1, .umlV2, .qemuV2Packed:
            fields.append(
                backing, garbage: garbage, length: layout == .umlV1 ? 256 : layout == .umlV2 ? 4096 : 1024)
            fields.append(mtime)
            fields.append(size)
            fields.append(sectorSizeField)
        case .umlV2Unpacked, .qemuV2:
            fields.append(backing, garbage: garbage, length: layout == .qemuV2 ? 1024 : 4096)
            fields.append(mtime)
            fields.append(0 as UInt32)
            fields.append(size)
            fields.append(sectorSizeField)
            fields.append(0 as UInt32)
        case .umlV3, .umlV3Unpacked:
            fields.append(mtime)
            if layout == .umlV3Unpacked { fields.append(0 as UInt32) }
            fields.append(size)
            fields.append(sectorSizeField)
            fields.append(alignment)
            fields.append(cowFormat)
            fields.append(backing, garbage: garbage, length: 4096)
            if layout == .umlV3Unpacked { fields.append(0 as UInt32) }
        }
        return fields.bytes
    }

    /// Writes the file, modified at `mtime`; bitmap and data that were never touched are holes.
    package func write(to path: FilePath, mtime: UInt32 = SparseFile.usualMtime) throws {
        try sparseFile().write(to: path, length: fileLength, mtime: mtime)
    }

    /// The whole file, as bytes; its length must reach as far as the data.
    package var bytes: [UInt8] {
        var bytes = header + [UInt8](repeating: 0, count: Int(fileLength) - header.count)
        for sector in allocated.keys { bytes[Int(bitmapOffset + sector / 8)] |= 1 << UInt8(sector % 8) }
        let start = dataOffset
        for (sector, data) in written {
            let place = Int(start + sector * 512)
            bytes.replaceSubrange(place..<place + data.count, with: data)
        }
        return bytes
    }
}
