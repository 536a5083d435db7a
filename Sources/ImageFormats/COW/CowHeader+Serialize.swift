extension CowHeader {
    /// The header's bytes as they stand at the start of a file; the rest of the path's buffer is
    /// zeros.
    package func serialized() -> [UInt8] {
        let fields = layout.fields
        var bytes = [UInt8](repeating: 0, count: fields.headerLength)
        bytes.store(CowHeader.magic, at: 0, byteOrder)
        bytes.store(fields.version, at: 4, byteOrder)
        bytes.replaceSubrange(fields.path..<fields.path + backingPath.count, with: backingPath)
        bytes.store(mtime, at: fields.mtime, byteOrder)
        bytes.store(size, at: fields.size, byteOrder)
        bytes.store(UInt32(sectorSize), at: fields.sectorSize, byteOrder)
        if let place = fields.alignment { bytes.store(alignment, at: place, byteOrder) }
        return bytes
    }
}
