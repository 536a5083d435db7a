internal import ImageFormats

/// Where bitmap and data of a built file lie, worked out as `Documentation/cow-formats.md` has it.
extension CowImageBuilder {
    package var sectorCount: UInt64 { size / 512 + (size % 512 == 0 ? 0 : 1) }

    /// Sectors that can have a bit.
    package var mappedSectorCount: UInt64 { min(sectorCount, 8 * bitmapLength) }

    package var bitmapOffset: UInt64 {
        version == 3 ? rounded(headerLength) : headerLength
    }

    /// Bytes of header, from the C structs: asked for every sector, so it is not built for that.
    private var headerLength: UInt64 {
        switch layout {
        case .umlV1: 280
        case .qemuV2Packed: 1048
        case .qemuV2: 1056
        case .umlV2: 4120
        case .umlV2Unpacked, .umlV3: 4128
        case .umlV3Unpacked: 4136
        }
    }

    package var bitmapLength: UInt64 {
        switch layout {
        case .umlV1, .umlV2, .umlV2Unpacked: (size + 511) / 4096
        default: sectorCount / 8 + (sectorCount % 8 == 0 ? 0 : 1)
        }
    }

    package var bitmapEnd: UInt64 { bitmapOffset + bitmapLength }

    package var dataOffset: UInt64 { rounded(bitmapEnd) }

    /// The length that `write` gives the file.
    package var fileLength: UInt64 {
        if let length { return length }
        if layout != .qemuV2, layout != .qemuV2Packed { return dataOffset + size }
        let last = max(allocated.keys.max() ?? 0, uncommitted.keys.max() ?? 0)
        return allocated.isEmpty && uncommitted.isEmpty ? bitmapEnd : dataOffset + (last + 1) * 512
    }

    /// Every sector with bytes in the data area.
    var written: [(sector: UInt64, bytes: [UInt8])] {
        let committed = allocated.compactMap { sector, content in
            if case .data(let bytes) = content { (sector, bytes) } else { nil }
        }
        return (committed + uncommitted.map { ($0.key, $0.value) }).sorted { $0.0 < $1.0 }
    }

    /// Header, bitmap and data, in the order they stand in the file; blocks of bitmap without a bit
    /// are left out.
    func sparseFile() -> SparseFile {
        var file = SparseFile()
        precondition(header.count == headerLength)
        file.put(header, at: 0)
        let blockBits: UInt64 = 8 * 4096
        for (block, sectors) in Dictionary(grouping: allocated.keys, by: { $0 / blockBits }).sorted(by: {
            $0.key < $1.key
        }) {
            var bits = [UInt8](repeating: 0, count: Int(min(4096, bitmapLength - block * 4096)))
            for sector in sectors { bits[Int(sector % blockBits / 8)] |= 1 << UInt8(sector % 8) }
            file.put(bits, at: bitmapOffset + block * 4096)
        }
        // Worked out once: there may be thousands of sectors.
        let start = dataOffset
        for (sector, bytes) in written { file.put(bytes, at: start + sector * 512) }
        return file
    }

    private func rounded(_ offset: UInt64) -> UInt64 {
        let unit = version == 3 ? UInt64(alignment) : 512
        return offset % unit == 0 ? offset : offset + unit - offset % unit
    }
}
