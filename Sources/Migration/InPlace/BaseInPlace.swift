internal import DiskImages
internal import ImageFormats
internal import Linux
internal import Manifests
internal import Stages
internal import SystemPackage

/// The backing file that an overlay is merged into: raw, or a COW file in a layout that is written.
struct BaseInPlace {
    private static let pieceLength: UInt64 = 1 << 20

    /// Where it has its disk.
    private enum Holding {
        /// From the file's start to its end.
        case whole
        /// Behind a bitmap that says which sectors there are.
        case marked(CowHeader)

        /// Where the disk begins in the file, in bytes.
        var offset: UInt64 {
            switch self {
            case .whole: 0
            case .marked(let header): header.geometry.dataOffset
            }
        }
    }

    let file: PatchedFile
    let layer: ImageLayer
    private let holding: Holding
    private let image: FilePath

    /// Locks the file of `layer`. Throws `badData` where it is of a kind that nothing is merged
    /// into, `unavailable` where anybody has a lock on it, or another change of it is not ended.
    init(_ layer: ImageLayer, under overlay: OverlayInPlace, options: ChainOptions) throws {
        (self.layer, image) = (layer, overlay.path)
        if layer.isRaw {
            holding = .whole
        } else if let content = layer.content as? CowContent {
            holding = .marked(content.header)
            guard CowLayout.writable.contains(content.header.layout) else {
                throw MigrationError(
                    .badData, "\(layer.path): is \(content.header.layout.rawValue), which is not written")
            }
        } else {
            throw MigrationError(
                .badData,
                "\(layer.path): is a \(layer.formatName) image; nothing is merged into one (qemu-img commit does it for overlays of that format)"
            )
        }
        guard layer.file.identity.isRegular else {
            throw MigrationError(.badData, "\(layer.path): is a block device; nothing is merged into one")
        }
        file = try PatchedFile(at: layer.path)
        guard let journal = try Journal(of: file.identity(), at: file.place) else { return }
        guard journal.head.command == .commit, try journal.head.hasPartner(overlay.file.identity()) else {
            throw DiskImageError(
                .unavailable, layer.path,
                "is being changed in place, and that was interrupted (\(journal.head.command.name) goes on with it)"
            )
        }
    }

    /// Throws `badData` where the base cannot hold what `overlay` does.
    func checkHolds(_ overlay: OverlayInPlace) throws {
        guard case .marked(let header) = holding else { return }
        let length = overlay.header.geometry.guestLength
        guard length <= header.geometry.guestLength else {
            throw MigrationError(
                .badData,
                "\(file.path): has a disk of \(header.geometry.guestLength) bytes, and \(image) one of \(length)"
            )
        }
        let mapped = header.geometry.mappedSectorCount * sectorSize
        guard length > mapped else { return }
        try overlay.forEachHeld { range, _ in
            guard range.upperBound > mapped else { return }
            throw MigrationError(
                .badData,
                "\(file.path): \(header.layout.rawValue) has no bits for its last sectors, which \(image) holds"
            )
        }
    }

    /// The time that the base gets, in seconds: now, and later than it was.
    func nextMtime() throws -> UInt64 {
        let old = layer.file.identity.mtime
        // A whole second later, also where the old one has a fraction.
        let (later, overflow) = old.seconds.addingReportingOverflow(old.nanoseconds > 0 ? 2 : 1)
        let next = max(Int(max(WallClock.now, 0)), overflow ? .max : later)
        guard let seconds = UInt32(exactly: next) else {
            throw MigrationError(
                .badData, "\(file.path): no COW header can hold \(next), the time that it would get")
        }
        return UInt64(seconds)
    }

    /// Keeps everybody from the base until it is done, and records its new bits.
    func begin(_ overlay: OverlayInPlace, _ mtime: UInt64) throws {
        let journal = try JournalWriter(
            of: file,
            Journal.Head(.commit, of: file.identity(), partner: overlay.file.identity(), mtime: mtime))
        if case .marked(let header) = holding {
            var bits = try BitmapChanges(file, header, journal)
            try overlay.forEachHeld { range, _ in
                try bits.set(range.lowerBound / sectorSize..<range.upperBound / sectorSize)
            }
            try bits.flush()
        }
        try journal.seal()
    }

    /// Writes into the base what the overlay holds, durably; returns how much that is.
    func take(_ overlay: OverlayInPlace, _ options: MoveOptions) throws -> UInt64 {
        let source = try ChunkReader([overlay.chain.top])
        let buffer = try AlignedBuffer(capacity: Int(BaseInPlace.pieceLength))
        var merged: UInt64 = 0
        options.progress.begin(
            Progress.Snapshot(name: image.description, length: overlay.header.geometry.guestLength))
        var limit = UInt64.max
        if case .whole = holding {
            // A longer overlay lengthens it; a UML layout's is as long as it, to the byte.
            let length = overlay.header.geometry.guestLength
            if overlay.header.layout.isUML {
                limit = layer.file.length
            } else if length > layer.guestLength {
                try file.lengthen(to: length)
            }
        }
        try overlay.forEachHeld { range, content in
            var position = range.lowerBound
            while position < range.upperBound {
                let end = min(range.upperBound, position + BaseInPlace.pieceLength)
                try write(content, range.lowerBound, position..<end, source, buffer, limit)
                options.progress.add(covered: 0, written: Int(end - position))
                guard !options.stop.isRequested else {
                    throw MigrationError(
                        .stopped, "\(image): stopped by a signal (run the same command again to go on)")
                }
                position = end
            }
            merged += range.upperBound - range.lowerBound
        }
        try file.synchronize()
        return merged
    }

    /// Writes the part `range` of a run that begins at `start`.
    private func write(
        _ content: Extent.Content, _ start: UInt64, _ range: Range<UInt64>, _ source: ChunkReader,
        _ buffer: AlignedBuffer, _ limit: UInt64
    ) throws {
        let offset = holding.offset
        let end = min(range.upperBound, limit)
        guard end > range.lowerBound else { return }
        let count = Int(end - range.lowerBound)
        guard case .data(let place) = content else {
            return try file.clear(offset + range.lowerBound..<offset + end)
        }
        let bytes = UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[..<count])
        try source.read(
            [
                ReadRun(
                    layer: 0, offset: place + (range.lowerBound - start), isEncoded: false, position: 0,
                    length: count)
            ],
            into: bytes)
        try file.write(UnsafeRawBufferPointer(bytes), at: offset + range.lowerBound)
    }

    /// Sets the bits, then the time, durably.
    func complete(_ mtime: UInt64) throws {
        if let journal = try Journal(of: file.identity(), at: file.place) { try journal.apply(to: file) }
        try file.setMtime(Timestamp(seconds: Int(mtime), nanoseconds: 0))
        try file.synchronize()
    }
}
