internal import DiskImages
internal import ImageFormats
internal import Linux
internal import SystemPackage
internal import TransportArchive

/// The headers of restored COW files. All of them follow from the archive's header, but for the
/// times of the files they name.
extension RestorePlan {
    /// The layout that a COW layer is written in; nil for a raw one.
    private func layout(of layer: Int) throws -> CowLayout? {
        let described = header.layers[layer]
        guard !described.isRaw else { return nil }
        guard let original = CowLayout(rawValue: described.layout) else {
            throw MigrationError(
                .badData,
                "\(request.archiveName): \(described.name) has an unknown layout, \(described.layout)")
        }
        if case .chains(let asked?, _) = request.form { return asked }
        return original
    }

    /// What `layer` becomes, whose backing file is planned already. Throws `badData` where its
    /// layout cannot hold it.
    func planned(_ layer: Int) throws -> RestoredLayer {
        guard let layout = try layout(of: layer) else { return .raw }
        let described = header.layers[layer]
        // Which of the last sectors are allocated shows too late: the archive may come from a pipe.
        if layout == .umlV2, layout.rawValue != described.layout, described.guestLength % 4096 != 0 {
            throw MigrationError(
                .badData,
                "\(described.name): uml-v2 cannot hold the last sectors of such a disk, for which it has no bits (\(.layout(.umlV3)) can)"
            )
        }
        let backing = described.backing.map(backing)
        if let backing, backing.mtime.headerSeconds == nil {
            throw MigrationError(
                .badData,
                "\(described.name): no COW layout can hold \(backing.mtime), the mtime of its backing file (\(.written(.raw)) needs none)"
            )
        }
        // Where the bitmap begins is no part of the image; a huge alignment only wastes the disk.
        var alignment = described.alignment.flatMap { $0 <= 1 << 20 ? $0 : nil } ?? CowHeader.usualAlignment
        if case .chains(_, let asked?) = request.form { alignment = asked }
        return .cow(
            try CowHeader(
                writing: layout, alignment: alignment,
                for: TargetDisk(
                    target: path(of: layer, in: root), length: described.guestLength, size: described.size,
                    over: backing),
                keepsChain: CowLayout(rawValue: described.layout)?.isUML == true))
    }

    /// The length that a header over `layer` gives it, in bytes.
    private func size(of layer: Int) -> UInt64 {
        guard case .cow(let header)? = layers[layer] else { return header.layers[layer].size }
        return header.size
    }

    private func backing(_ layer: Int) -> BackingReference {
        let described = header.layers[layer]
        let path = path(of: layer, in: root)
        return BackingReference(
            name: path, path: path, size: size(of: layer), mtime: described.time,
            format: described.isRaw ? .raw : .cow,
            disguise: beginnings[layer].flatMap { RawDisguise($0, fileLength: described.size) })
    }

    /// How `layer` is written, and whether its file names a backing file.
    func format(of layer: Int, in tree: FolderTree) throws -> (target: any TargetFormat, namesBacking: Bool) {
        switch layers[layer] {
        case .cow(let planned)?:
            let header = try written(planned, of: layer, in: tree)
            return (CowTarget(header), !header.backingPath.isEmpty)
        case .raw?, nil: return (RawTarget(fileLength: header.layers[layer].size), false)
        }
    }

    /// The header of `layer` as it is written: the backing file stands there by now, and its time
    /// is the one that its file system could hold.
    private func written(_ planned: CowHeader, of layer: Int, in tree: FolderTree) throws -> CowHeader {
        guard !planned.backingPath.isEmpty, let below = header.layers[layer].backing else { return planned }
        let base = try restored(below, in: tree)
        // From a pipe, what the backing file looks like is known only now.
        var backing = backing(below)
        backing.disguise = try base.disguise()
        if let misreading = backing.misreading(under: planned.layout) {
            let advice: Message =
                planned.layout.isUML
                ? "\(.written(.raw)) can" : "\(.layout(.umlV3)) or \(.written(.raw)) can"
            throw MigrationError(
                .badData,
                "\(path(of: layer, in: tree.root)): \(planned.layout.rawValue) cannot hold \(misreading) (\(advice))"
            )
        }
        guard let mtime = base.file.identity.mtime.headerSeconds else {
            throw MigrationError(
                .badData, "\(base.path): no COW layout can hold its mtime \(base.file.identity.mtime.seconds)"
            )
        }
        return try CowHeader(
            layout: planned.layout, backingPath: planned.backingPath, mtime: mtime, size: planned.size,
            alignment: planned.alignment)
    }
}
