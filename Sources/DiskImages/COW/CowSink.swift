package import ImageFormats

/// A COW image: header and bitmap before the data. A marked sector whose data was not written is a
/// hole, which reads as zeros.
package struct CowSink: PlacedSink {
    package let file: TargetFile
    package let header: CowHeader

    /// Bytes of bitmap that one write of `markAll` takes: 256 MiB of guest disk.
    private static let markLength: UInt64 = 64 << 10

    /// An image with `header` in `file`.
    package init(file: TargetFile, header: CowHeader) {
        self.file = file
        self.header = header
    }

    package func prepare() throws {
        try file.reset(length: header.fullLength)
        try header.serialized().withUnsafeBytes { try file.write($0, at: 0) }
    }

    package func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws {
        try file.write(bytes, at: fileOffset(of: offset))
    }

    package func write(
        _ bytes: UnsafeRawBufferPointer, at offset: UInt64, from source: ImageFile, _ origin: UInt64
    ) throws {
        try file.writeOrShare(bytes, at: fileOffset(of: offset), from: source, origin)
    }

    package func mark(_ bitmap: UnsafeRawBufferPointer, at offset: UInt64) throws {
        let first = offset / sectorSize / 8
        // The last byte of a bitmap that UML rounded down has no place; the plan has made sure that
        // it holds no bit.
        let count = Int(
            min(UInt64(bitmap.count), header.geometry.bitmapLength - min(first, header.geometry.bitmapLength))
        )
        guard count > 0, !ZeroScan.isZero(bitmap) else { return }
        try file.write(
            UnsafeRawBufferPointer(rebasing: bitmap[..<count]), at: header.geometry.bitmapOffset + first)
    }

    package func adopt(_ range: Range<UInt64>, of earlier: ImageFile) throws -> Bool {
        let end = min(fileOffset(of: range.upperBound), header.fullLength)
        guard earlier.length == header.fullLength,
            try file.share(fileOffset(of: range.lowerBound)..<end, of: earlier)
        else { return false }
        let geometry = header.geometry
        var byte = min(range.lowerBound / sectorSize / 8, geometry.bitmapLength)
        let last = min((range.upperBound / sectorSize + 7) / 8, geometry.bitmapLength)
        while byte < last {
            var bitmap = [UInt8](repeating: 0, count: Int(min(CowSink.markLength, last - byte)))
            try bitmap.withUnsafeMutableBytes { try earlier.read(into: $0, at: geometry.bitmapOffset + byte) }
            try bitmap.withUnsafeBytes { try mark($0, at: byte * 8 * sectorSize) }
            byte += UInt64(bitmap.count)
        }
        return true
    }

    package func markAll(_ range: Range<UInt64>) throws {
        let end = (range.upperBound + sectorSize - 1) / sectorSize
        var sector = range.lowerBound / sectorSize
        while sector < end {
            let next = min(sector + CowSink.markLength * 8, end)
            let bitmap = [UInt8](unsafeUninitializedCapacity: Int((next - sector + 7) / 8)) { buffer, count in
                buffer.initialize(repeating: 0)
                CowBitmap.set(0..<Int(next - sector), in: UnsafeMutableRawBufferPointer(buffer))
                count = buffer.count
            }
            try bitmap.withUnsafeBytes { try mark($0, at: sector * sectorSize) }
            sector = next
        }
    }

    package func clear(_ range: Range<UInt64>) throws {
        let geometry = header.geometry
        let first = min(range.lowerBound / sectorSize / 8, geometry.bitmapLength)
        let last = min((range.upperBound / sectorSize + 7) / 8, geometry.bitmapLength)
        try file.clear(geometry.bitmapOffset + first..<geometry.bitmapOffset + last)
        try file.clear(fileOffset(of: range.lowerBound)..<fileOffset(of: range.upperBound))
    }

    package func fileOffset(of offset: UInt64) -> UInt64 { header.geometry.dataOffset + offset }
}
