internal import ImageFormats

/// Data or hole of sectors that a file holds at a fixed distance from their guest offsets.
struct StoredData: Sendable {
    private var data: DataMap

    init(_ file: ImageFile) { data = DataMap(file) }

    /// What is stored for guest offset `position`, whose data lies `dataOffset` behind it in the
    /// file, and where that ends, at most at `end`. A stretch that is hole in part is taken for
    /// data to whole sectors.
    mutating func answer(at position: UInt64, upTo end: UInt64, dataOffset: UInt64) throws -> (
        Extent.Content, end: UInt64
    ) {
        let offset = dataOffset + position
        let stretch = try data.stretch(at: offset)
        if stretch.isData {
            let dataEnd = stretch.end - dataOffset
            return (.data(offset: offset), min((dataEnd + sectorSize - 1) / sectorSize * sectorSize, end))
        }
        let holeEnd =
            stretch.end == .max ? end : min((stretch.end - dataOffset) / sectorSize * sectorSize, end)
        // A hole that does not reach the end of its first sector leaves that sector to be read.
        return holeEnd > position
            ? (.zero(offset: offset), holeEnd) : (.data(offset: offset), min(position + sectorSize, end))
    }
}
