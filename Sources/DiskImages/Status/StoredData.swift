internal import ImageFormats

/// Data or hole of sectors that a file holds.
struct StoredData: Sendable {
    private var data: DataMap

    init(_ file: ImageFile) { data = DataMap(file) }

    /// What is stored at `offset` for guest offset `position`, and where that ends in the guest, at
    /// most at `end`. A stretch that is hole in part is taken for data to whole sectors.
    mutating func answer(at position: UInt64, upTo end: UInt64, storedAt offset: UInt64) throws -> (
        Extent.Content, end: UInt64
    ) {
        let stretch = try data.stretch(at: offset)
        let length = stretch.end - offset
        if stretch.isData {
            let whole = min(length, end - position)
            return (
                .data(offset: offset), min(position + (whole + sectorSize - 1) / sectorSize * sectorSize, end)
            )
        }
        let holeEnd = position + min(length / sectorSize * sectorSize, end - position)
        // A hole that does not reach the end of its first sector leaves that sector to be read.
        return holeEnd > position
            ? (.zero(offset: offset), holeEnd) : (.data(offset: offset), min(position + sectorSize, end))
    }
}
