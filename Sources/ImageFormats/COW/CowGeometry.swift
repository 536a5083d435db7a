/// The unit of every bitmap and of every guest disk: 512 bytes.
package let sectorSize: UInt64 = 512

/// `value` rounded up to the next multiple of `unit`, or nil where that is past 2^63 - 1 (no file
/// offset is larger).
func roundUp(_ value: UInt64, to unit: UInt64) -> UInt64? {
    let (sum, overflow) = value.addingReportingOverflow(unit - 1)
    guard !overflow else { return nil }
    let rounded = sum / unit * unit
    return rounded <= UInt64(Int64.max) ? rounded : nil
}

/// Where bitmap and data of a COW file lie. All offsets and lengths are bytes; every sum of them
/// fits an `Int64`.
package struct CowGeometry: Equatable, Sendable {
    /// Sectors of the guest disk; a last partial sector counts.
    package let sectorCount: UInt64
    /// Sectors that have a bit. UML V1 and V2 round the bitmap's length down, so up to 7 last
    /// sectors have none and always read from the backing file.
    package let mappedSectorCount: UInt64
    package let bitmapOffset: UInt64
    package let bitmapLength: UInt64
    /// Sector n's data is at `dataOffset + 512 * n`.
    package let dataOffset: UInt64

    /// Length of the guest disk: a whole number of sectors.
    package var guestLength: UInt64 { sectorCount * sectorSize }

    /// Computes the layout's geometry for a disk of `size` bytes; `alignment` counts for V3 alone.
    /// Throws where a sum passes 2^63 - 1.
    init(layout: CowLayout, size: UInt64, alignment: UInt32) throws(FormatError) {
        let header = UInt64(layout.fields.headerLength)
        func fits(_ value: UInt64?) throws(FormatError) -> UInt64 {
            guard let value else {
                throw .field(
                    "size", at: layout.fields.size, is: size, expected: "a disk whose offsets fit 63 bits")
            }
            return value
        }
        let guestLength = try fits(roundUp(size, to: sectorSize))
        sectorCount = guestLength / sectorSize
        switch layout {
        case .umlV1, .umlV2, .umlV2Unpacked:
            bitmapLength = (size + sectorSize - 1) / (8 * sectorSize)
            bitmapOffset = header
            dataOffset = try fits(roundUp(header + bitmapLength, to: sectorSize))
        case .qemuV2, .qemuV2Packed:
            bitmapLength = (sectorCount + 7) / 8
            bitmapOffset = header
            dataOffset = try fits(roundUp(header + bitmapLength, to: sectorSize))
        case .umlV3, .umlV3Unpacked:
            bitmapLength = (sectorCount + 7) / 8
            bitmapOffset = try fits(roundUp(header, to: UInt64(alignment)))
            dataOffset = try fits(roundUp(bitmapOffset + bitmapLength, to: UInt64(alignment)))
        }
        mappedSectorCount = min(sectorCount, bitmapLength * 8)
        let (end, overflow) = dataOffset.addingReportingOverflow(guestLength)
        _ = try fits(overflow || end > UInt64(Int64.max) ? nil : end)
    }
}
