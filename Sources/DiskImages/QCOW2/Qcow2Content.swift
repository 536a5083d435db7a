package import ImageFormats
internal import Linux
package import SystemPackage

/// A qcow2 file: clusters wherever they lie, found by a table of tables.
package struct Qcow2Content: LayerContent {
    package let header: Qcow2Header
    /// Whether clusters may be allocated that were never written: those are holes of the file.
    private let hasEmptyClusters: Bool
    package let backing: BackingClause?

    /// Of `file`, which begins with `header`. Throws `badData` where its backing file has no path.
    init(_ header: Qcow2Header, of file: ImageFile) throws {
        self.header = header
        backing = try Qcow2Content.backingPath(header, file).map { BackingClause(path: $0) }
        hasEmptyClusters = try Qcow2Refcounts(file, header).showPreallocation()
    }

    package var formatName: String { ImageFormat.qcow2.name }
    package var format: ImageFormat { .qcow2 }
    package var restored: FormatDescription { FormatDescription(format: formatName, layout: formatName) }
    package var size: UInt64 { header.size }
    package var isRaw: Bool { false }
    package var metadataLength: UInt64 { header.clusterLength }

    package var warning: String? {
        switch (header.snapshotCount, header.hasBitmaps) {
        case (0, false): nil
        case (0, true): "its persistent bitmaps are left out"
        case (let count, false): "its internal snapshots, \(count), are left out"
        case (let count, true): "its internal snapshots, \(count), and its persistent bitmaps are left out"
        }
    }

    package func cursor(over file: ImageFile) -> any LayerCursor {
        Qcow2Cursor(file, header, asksForHoles: hasEmptyClusters)
    }

    package func metadataDigest(in file: ImageFile) throws -> ContentDigest? {
        try Qcow2Content.metadataDigest(of: header, in: file)
    }

    /// Of the header's cluster, but for where the refcount table lies: that depends on what the
    /// file holds.
    package static func metadataDigest(of header: Qcow2Header, in file: ImageFile) throws -> ContentDigest? {
        var bytes = try file.prefix(Int(header.clusterLength))
        for index in Qcow2Header.refcountFields where index < bytes.count { bytes[index] = 0 }
        return ContentDigest(of: bytes)
    }

    package func decode(_ file: ImageFile, at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer)
        throws
    {
        var entries = Qcow2Tables(file, header)
        var decoder = try ClusterDecoder(header, file.path)
        var done = 0
        while done < buffer.count {
            let position = offset + UInt64(done)
            guard case .compressed(let place, let length) = try entries.entry(at: position) else {
                throw DiskImageError(
                    .badData, file.path, "changed while it was read (nothing may write to it)")
            }
            let skipped = Int(position % header.clusterLength)
            let count = min(Int(header.clusterLength) - skipped, buffer.count - done)
            try decoder.decode(
                file, at: place, length, skipping: skipped,
                into: UnsafeMutableRawBufferPointer(rebasing: buffer[done..<done + count]), guest: position)
            done += count
        }
    }

    /// By the format that the header names, if it names one.
    package func backingContent(_ opening: FormatOpening, of referrer: FilePath) throws -> (any LayerContent)?
    {
        let named = String(decoding: header.backingFormat, as: UTF8.self)
        switch named {
        case "": return nil
        case ImageFormat.raw.name, "file", "host_device": return RawContent(size: opening.file.length)
        case ImageFormat.qcow2.name: return try Qcow2Format().content(opening)
        case ImageFormat.cow.name: return try CowFormat().content(opening)
        default:
            throw DiskImageError(
                .badData, referrer,
                "its header says that its backing file \(opening.file.path) is \(named), which Drover does not read (\(.sourceFormat(depth: 1, format: nil, isB: false)) says otherwise)"
            )
        }
    }

    /// As QEMU has it: what stands before a colon is a protocol.
    private static func backingPath(_ header: Qcow2Header, _ file: ImageFile) throws -> FilePath? {
        guard !header.backingPath.isEmpty else { return nil }
        let end = header.backingPath.firstIndex { $0 == UInt8(ascii: ":") || $0 == UInt8(ascii: "/") }
        guard let end, header.backingPath[end] == UInt8(ascii: ":") else {
            return FilePath(bytes: header.backingPath)
        }
        guard header.backingPath[..<end].elementsEqual("file".utf8), end + 1 < header.backingPath.count else {
            throw DiskImageError(
                .badData, file.path,
                "its backing file is \(FilePath(bytes: header.backingPath)); expected the path of a file (qemu-img convert makes one image of the chain)"
            )
        }
        return FilePath(bytes: Array(header.backingPath[(end + 1)...]))
    }
}
