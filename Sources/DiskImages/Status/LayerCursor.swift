internal import ImageFormats

/// What one layer says of a stretch of its disk; walks forward through bitmap and holes and holds a
/// window of the bitmap, no more.
struct LayerCursor: Sendable {
    /// The layer's answer.
    enum Answer: Equatable {
        case data(offset: UInt64)
        case zero(offset: UInt64)
        /// The next layer is to be asked.
        case unallocated
    }

    /// Bytes of bitmap held at a time: 128 MiB of guest disk.
    private static let windowLength = 32 << 10

    private let layer: ImageLayer
    private var data: DataMap
    private var bitmapHoles: DataMap
    private var window: [UInt8] = []
    private var windowStart: UInt64 = 0

    init(_ layer: ImageLayer) {
        self.layer = layer
        data = DataMap(layer.file)
        bitmapHoles = DataMap(layer.file)
    }

    /// The answer for guest offset `position` and where it stops being valid, at most `end`; both
    /// whole sectors within the layer.
    mutating func answer(at position: UInt64, upTo end: UInt64) throws -> (Answer, end: UInt64) {
        guard case .cow(let header) = layer.content else {
            return try stored(at: position, upTo: end, dataOffset: 0)
        }
        let geometry = header.geometry
        let sector = position / sectorSize
        let lastSector = min((end + sectorSize - 1) / sectorSize, geometry.sectorCount)
        // The sectors that UML V1 and V2 have no bit for always read from the backing file.
        guard sector < geometry.mappedSectorCount else { return (.unallocated, end) }
        let run = try bits(from: sector, to: min(lastSector, geometry.mappedSectorCount), header)
        let runEnd = min(run.end * sectorSize, end)
        guard run.isSet else { return (.unallocated, runEnd) }
        return try stored(at: position, upTo: runEnd, dataOffset: geometry.dataOffset)
    }

    /// Data or hole of sectors that this layer holds. A stretch that is hole in part is taken for
    /// data to whole sectors.
    private mutating func stored(at position: UInt64, upTo end: UInt64, dataOffset: UInt64) throws -> (
        Answer, end: UInt64
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

    /// The run of equal bits that begins at sector `first`, ending at `last` at most; holes of the
    /// bitmap are not read.
    private mutating func bits(from first: UInt64, to last: UInt64, _ header: CowHeader) throws -> (
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
            try fillWindow(from: byte, header)
        }
        let from = Int(first - windowStart * 8)
        let to = Int(min(last - windowStart * 8, UInt64(window.count) * 8))
        let run = window.withUnsafeBytes { CowBitmap.run(in: $0, from: from, to: to) }
        return (run.isSet, first + UInt64(run.length))
    }

    private mutating func fillWindow(from byte: UInt64, _ header: CowHeader) throws {
        let count = Int(min(UInt64(LayerCursor.windowLength), header.geometry.bitmapLength - byte))
        if window.count != count { window = [UInt8](repeating: 0, count: count) }
        windowStart = byte
        try window.withUnsafeMutableBytes {
            try layer.file.read(into: $0, at: header.geometry.bitmapOffset + byte)
        }
    }
}
