package import ImageFormats
internal import Linux
package import SystemPackage

/// A COW file: header and bitmap, then data, each sector at a fixed place.
package struct CowContent: LayerContent {
    package let header: CowHeader

    package init(_ header: CowHeader) { self.header = header }

    package var formatName: String { ImageFormat.cow.name }
    package var format: ImageFormat { .cow(header.layout) }
    package var size: UInt64 { header.size }
    package var isRaw: Bool { false }
    package var metadataLength: UInt64 { header.geometry.dataOffset }
    package var warning: String? { header.isPastUMLLimit ? CowHeader.pastUMLLimit : nil }

    /// In a layout that is written. UML V1 and V2 have no alignment; what becomes V3 gets the usual
    /// one.
    package var restored: FormatDescription {
        let layout = header.layout.writableEquivalent
        return FormatDescription(
            format: formatName, layout: layout.rawValue,
            alignment: layout == .umlV3 ? header.alignment : nil)
    }

    /// QEMU looked at no time, and its mtime 0 is unknown.
    package var backing: BackingClause? {
        guard !header.backingPath.isEmpty else { return nil }
        let isKnown = header.layout.isUML || header.mtime != 0
        return BackingClause(path: FilePath(bytes: header.backingPath), mtime: isKnown ? header.mtime : nil)
    }

    package func cursor(over file: ImageFile) -> any LayerCursor { CowCursor(file, header) }

    /// Only bits past the file's end are looked at. Bytes that a last partial sector lacks do not
    /// count.
    package func firstTruncatedSector(in file: ImageFile) throws -> (sector: UInt64, dataEnd: UInt64)? {
        let geometry = header.geometry
        let held = file.length > geometry.dataOffset ? file.length - geometry.dataOffset : 0
        guard held < header.size else { return nil }
        var cursor = CowCursor(file, header)
        var position = held / sectorSize * sectorSize
        while position < geometry.guestLength {
            let (answer, end) = try cursor.answer(at: position, upTo: geometry.guestLength)
            if answer != .absent {
                let sector = position / sectorSize
                return (sector, geometry.dataOffset + (sector + 1) * sectorSize)
            }
            position = end
        }
        return nil
    }

    /// Of what stands before the bitmap.
    package func metadataDigest(in file: ImageFile) throws -> ContentDigest? {
        let length = header.geometry.bitmapOffset
        guard length <= CowContent.longestMetadata else {
            throw DiskImageError(
                .badData, file.path,
                "its bitmap begins at offset \(length); expected \(CowContent.longestMetadata) at most")
        }
        return ContentDigest(of: try file.prefix(Int(length)))
    }

    /// No header that Drover writes reaches further: its alignment is 1 MiB at most.
    private static let longestMetadata: UInt64 = 2 << 20

    /// UML reads its backing file as raw bytes, whatever it holds; whether that is meant shows in
    /// the overlay's size.
    package func backingContent(_ opening: FormatOpening, of referrer: FilePath) throws -> (any LayerContent)?
    {
        guard header.layout.isUML else { return nil }
        let file = opening.file
        let (name, format): (String, ImageFormat)
        let fitting: [any LayerContent]
        if CowHeader.isCow(opening.prefix) {
            (name, format) = ("COW file", .cow)
            let readings = ((try? CowFormat.readings(opening)) ?? []).filter { $0.size == header.size }
            fitting = readings.map { CowContent($0) }
        } else if Qcow2Header.isQcow2(opening.prefix) {
            (name, format) = ("qcow2 image", .qcow2)
            fitting = [try Qcow2Format().content(opening)].filter { $0.size == header.size }
        } else {
            return nil
        }
        let isRaw = header.size == file.length
        switch (isRaw, fitting.isEmpty) {
        case (true, true): return RawContent(size: file.length)
        case (false, false): return fitting.count == 1 ? fitting[0] : nil
        default:
            let fact =
                isRaw
                ? "both its length and its guest disk have"
                : "neither its length (\(file.length)) nor its guest disk has"
            throw DiskImageError(
                .badData, referrer,
                "backing file \(file.path) is a \(name), and \(fact) the size of \(header.size) bytes that the overlay expects (\(.sourceFormat(depth: 1, format: nil, isB: false)) raw or \(format.name) decides)"
            )
        }
    }

    /// What UML insists on before it opens an overlay: the backing file's size and mtime. QEMU
    /// looked at neither.
    package func misfits(of backing: ImageLayer, under referrer: FilePath) -> [BackingMisfit] {
        var misfits: [BackingMisfit] = []
        if header.layout.isUML, backing.size != header.size {
            misfits.append(
                BackingMisfit(
                    .size,
                    DiskImageError(
                        .badData, referrer,
                        "backing file \(backing.path) has \(backing.size) bytes; the header expects \(header.size) (the base was changed or replaced)"
                    )))
        }
        let mtime = backing.file.identity.mtime
        if let clause = self.backing, !clause.expects(mtime) {
            misfits.append(
                BackingMisfit(
                    .mtime,
                    DiskImageError(
                        .badData, referrer,
                        "backing file \(backing.path) was modified \(mtime.date) (\(mtime.seconds)); the header expects \(Timestamp.date(Int(header.mtime))) (\(header.mtime)): if its bytes are unchanged, \(.repairMtime) gives it its time back where that can be proven, and \(.ignoreMtime) goes on without"
                    )))
        }
        return misfits
    }
}
