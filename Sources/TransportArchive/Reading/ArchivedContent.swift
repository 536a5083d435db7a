internal import DiskImages
internal import ImageFormats
internal import SystemPackage

/// A layer of an archive, as a file that it was packed from would be.
struct ArchivedContent: LayerContent {
    let archive: ArchiveFile
    let layer: Int
    let archived: ArchivedSource?

    init(archive: ArchiveFile, layer: Int) {
        (self.archive, self.layer) = (archive, layer)
        let described = archive.header.layers[layer]
        var archived = ArchivedSource(
            layer: layer, name: "archive \(archive.id): \(described.name)", size: described.size,
            mtime: described.time, digest: archive.anchors.digest(of: layer))
        archived.access = described.access
        self.archived = archived
    }

    private var described: ArchiveHeader.Layer { archive.header.layers[layer] }

    var formatName: String { isRaw ? ImageFormat.raw.name : "cow" }
    var format: ImageFormat { ImageFormat(name: described.layout) ?? .raw }
    var restored: FormatDescription {
        FormatDescription(format: formatName, layout: described.layout, alignment: described.alignment)
    }
    var size: UInt64 { described.size }
    var isRaw: Bool { described.isRaw }
    var backing: BackingClause? {
        described.backing.map { BackingClause(path: FilePath(archive.header.layers[$0].name)) }
    }

    func cursor(over file: ImageFile) -> any LayerCursor {
        ArchivedCursor(archive: archive, layer: layer, isRaw: isRaw)
    }

    func decode(_ file: ImageFile, at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws {
        let (archive, layer) = try archive.stored(layer)
        try archive.read(layer, at: offset, into: buffer)
    }

    func beginning(of file: ImageFile, _ count: Int) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: (count + 511) / 512 * 512)
        let chain = ImageChain(layers: [ImageLayer(file: file, content: self)])
        try bytes.withUnsafeMutableBytes { try GuestReader(chain).read(at: 0, into: $0) }
        return Array(bytes.prefix(min(count, Int(clamping: size))))
    }
}

/// Walks through the records of a layer. Holds the one that it is in.
private struct ArchivedCursor: LayerCursor {
    let archive: ArchiveFile
    let layer: Int
    let isRaw: Bool
    private var current: RunRecord?

    init(archive: ArchiveFile, layer: Int, isRaw: Bool) {
        (self.archive, self.layer, self.isRaw) = (archive, layer, isRaw)
    }

    mutating func answer(at position: UInt64, upTo end: UInt64) throws -> (Extent.Content, end: UInt64) {
        if current?.range.contains(position) != true {
            let (archive, layer) = try archive.stored(layer)
            current = try archive.run(of: layer, at: position).run
        }
        guard let record = current else { return (.absent, end) }
        let end = min(end, record.range.upperBound)
        let runs = record.runs
        let low = runs.firstIndex(endingBehind: position)
        let gap: Extent.Content = isRaw ? .zero(offset: nil) : .absent
        guard low < runs.count else { return (gap, end) }
        let run = runs[low]
        guard run.start <= position else { return (gap, min(end, run.start)) }
        return (run.isZero ? .zero(offset: nil) : .encoded(offset: position), min(end, run.end))
    }
}
