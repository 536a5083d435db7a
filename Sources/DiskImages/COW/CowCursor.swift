internal import ImageFormats

/// Walks through the bitmap of a COW file, forwards or anywhere, and holds a window of it, no more.
struct CowCursor: LayerCursor {
    /// Bytes of bitmap held at a time: 128 MiB of guest disk.
    private static let windowLength = 32 << 10

    private let file: ImageFile
    private let header: CowHeader
    private var stored: StoredData
    private var bitmapHoles: DataMap
    private var window: [UInt8] = []
    private var windowStart: UInt64 = 0

    init(_ file: ImageFile, _ header: CowHeader) {
        (self.file, self.header) = (file, header)
        stored = StoredData(file)
        bitmapHoles = DataMap(file)
    }

    mutating func answer(at position: UInt64, upTo end: UInt64) throws -> (Extent.Content, end: UInt64) {
        let geometry = header.geometry
        let sector = position / sectorSize
        let lastSector = min((end + sectorSize - 1) / sectorSize, geometry.sectorCount)
        // The sectors that UML V1 and V2 have no bit for always read from the backing file.
        guard sector < geometry.mappedSectorCount else { return (.absent, end) }
        let run = try bits(from: sector, to: min(lastSector, geometry.mappedSectorCount))
        let runEnd = min(run.end * sectorSize, end)
        guard run.isSet else { return (.absent, runEnd) }
        return try stored.answer(at: position, upTo: runEnd, storedAt: geometry.dataOffset + position)
    }

    /// The run of equal bits that begins at sector `first`, ending at `last` at most; holes of the
    /// bitmap are not read.
    private mutating func bits(from first: UInt64, to last: UInt64) throws -> (
        isSet: Bool, end: UInt64
    ) {
        let byte = first / 8
        if byte < windowStart || byte >= windowStart + UInt64(window.count) {
            let offset = header.geometry.bitmapOffset + byte
            let stretch = try bitmapHoles.stretch(at: offset)
            if !stretch.isData {
                // Cut to the bitmap before it is multiplied: a hole may end anywhere in the file.
                let end = min(stretch.end, header.geometry.bitmapOffset + header.geometry.bitmapLength)
                return (false, min((end - header.geometry.bitmapOffset) * 8, last))
            }
            try fillWindow(from: byte)
        }
        let from = Int(first - windowStart * 8)
        let to = Int(min(last - windowStart * 8, UInt64(window.count) * 8))
        let run = window.withUnsafeBytes { CowBitmap.run(in: $0, from: from, to: to) }
        return (run.isSet, first + UInt64(run.length))
    }

    private mutating func fillWindow(from byte: UInt64) throws {
        let count = Int(min(UInt64(CowCursor.windowLength), header.geometry.bitmapLength - byte))
        if window.count != count { window = [UInt8](repeating: 0, count: count) }
        windowStart = byte
        try window.withUnsafeMutableBytes {
            try file.read(into: $0, at: header.geometry.bitmapOffset + byte)
        }
    }
}
