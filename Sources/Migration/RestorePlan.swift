internal import DiskImages
internal import ImageFormats
internal import SystemPackage
internal import TransportArchive

/// Which layers of an archive are restored, where, and as what.
struct RestorePlan: Sendable {
    let header: ArchiveHeader
    let id: ContentDigest
    let request: UnpackRequest
    /// The images asked for.
    let images: [Int]
    /// The layers that those need, in the archive's order.
    let needed: [Int]
    /// The layers that others of them stand on.
    private let bases: Set<Int>

    init(_ reader: ArchiveReader, _ request: UnpackRequest) throws {
        header = reader.header
        id = reader.id
        self.request = request
        let header = reader.header
        images =
            try request.names.isEmpty
            ? header.layers.indices.filter { header.layers[$0].image || request.form != .raw }
            : request.names.map { try RestorePlan.find($0, in: header, request.archiveName) }
        var seen: Set<Int> = []
        for image in images {
            var next: Int? = image
            while let layer = next, seen.insert(layer).inserted { next = header.layers[layer].backing }
        }
        needed = seen.sorted()
        bases = Set(needed.compactMap { header.layers[$0].backing })
        for layer in needed { try check(layer) }
    }

    private static func find(_ name: String, in header: ArchiveHeader, _ archive: String) throws -> Int {
        if let index = header.layers.firstIndex(where: { $0.name.utf8.elementsEqual(name.utf8) }) { return index }
        let matches = header.layers.indices.filter {
            ArchiveName.components(of: header.layers[$0].name).last?.utf8.elementsEqual(name.utf8) == true
        }
        guard matches.count <= 1 else {
            throw MigrationError(
                .usage, "\(archive): \(name) is the name of \(matches.count) images (give the full name, as drover list prints it)")
        }
        guard let index = matches.first else { throw MigrationError(.usage, "\(archive): holds no image \(name) (drover list names them)") }
        return index
    }

    func holding(of layer: Int) -> Holding {
        header.layers[layer].layout == "raw" ? .everything(marks: false) : .above(depth: 1, backingLength: 0)
    }

    /// How `layer` is written below `tree`, where its backing file stands already.
    func move(_ layer: Int, in tree: FolderTree) throws -> TargetMove {
        let described = header.layers[layer]
        let path = try tree.place(for: described.name)
        let place = try TargetPlace(path, sources: try archiveIdentity())
        let cowHeader = try cowHeader(of: layer, at: path, in: tree)
        let size = cowHeader.map(\.fullLength) ?? described.size
        let backing = described.backing.map { header.layers[$0] }
        let job = ManifestJob(
            sources: [source(of: layer)],
            options: ManifestJob.Options(
                format: cowHeader == nil ? "raw" : "cow", layout: cowHeader?.layout.rawValue ?? "raw",
                alignment: cowHeader.map(\.alignment),
                depth: cowHeader == nil ? nil : 1, backing: described.backing.map(source(of:)),
                backingName: backing.map { tree.root.pushing(FilePath($0.name)).description }, zeroRun: 0, segment: request.segmentLength),
            target: ManifestJob.Target(path: path.description, length: described.guestLength, size: size), consistent: true)
        return TargetMove(
            name: path, place: place, job: job, header: cowHeader, mtime: bases.contains(layer) ? Timestamp(text: described.mtime) : nil,
            restart: request.restart, force: request.force)
    }

    /// How the flattened image of `layer` is called in a manifest: what is in the archive, not the files it passes through.
    func flatteningJob(_ layer: Int, at path: FilePath) -> ManifestJob {
        let length = header.layers[layer].guestLength
        return ManifestJob(
            sources: header.chain(of: layer).map(source(of:)),
            options: ManifestJob.Options(
                format: "raw", layout: "raw", alignment: nil, depth: nil, backing: nil, backingName: nil, zeroRun: 4096,
                segment: request.segmentLength),
            target: ManifestJob.Target(path: path.description, length: length, size: length), consistent: true)
    }

    /// The archive's own file, which no target may be.
    func archiveIdentity() throws -> [FileIdentity] {
        try request.archive.flatMap { try ImageFile.identity(at: $0) }.map { [$0] } ?? []
    }

    private func source(of layer: Int) -> ManifestJob.Source {
        let layer = header.layers[layer]
        return ManifestJob.Source(
            path: "archive \(id): \(layer.name)", size: layer.size, mtime: layer.mtime, inode: 0, layout: layer.layout)
    }

    /// The layout that a COW layer is written in; nil for a raw one.
    private func layout(of layer: Int) throws -> CowLayout? {
        let described = header.layers[layer]
        guard described.layout != "raw" else { return nil }
        guard let original = CowLayout(rawValue: described.layout) else {
            throw MigrationError(.badData, "\(request.archiveName): \(described.name) has an unknown layout, \(described.layout)")
        }
        if case .chains(let asked?, _) = request.form { return asked }
        return original
    }

    /// Throws `badData` where a layout cannot hold what it would have to, before anything is written.
    private func check(_ layer: Int) throws {
        let described = header.layers[layer]
        guard let layout = try layout(of: layer), layout.rawValue != described.layout else { return }
        func refuse(_ what: String, _ instead: CowLayout) -> MigrationError {
            MigrationError(.badData, "\(described.name): \(layout.rawValue) cannot hold \(what) (-o layout=\(instead.rawValue) can)")
        }
        // Which of the last sectors are allocated shows too late: the archive may come from a pipe.
        if layout == .umlV2, described.guestLength % 4096 != 0 {
            throw refuse("the last sectors of such a disk, for which it has no bits", .umlV3)
        }
        guard layout.isUML, CowLayout(rawValue: described.layout)?.isUML == false else { return }
        guard let backing = described.backing.map({ header.layers[$0] }) else { throw refuse("an image without a backing file", .qemuV2) }
        guard described.size > 0 else { throw refuse("a disk of size 0", .qemuV2) }
        guard backing.layout == "raw" else { throw refuse("an overlay of the COW file \(backing.name)", .qemuV2) }
        guard backing.guestLength == described.guestLength else {
            throw refuse("a disk of \(described.size) bytes over \(backing.name), which has \(backing.size)", .qemuV2)
        }
    }

    private func cowHeader(of layer: Int, at path: FilePath, in tree: FolderTree) throws -> CowHeader? {
        guard let layout = try layout(of: layer) else { return nil }
        let described = header.layers[layer]
        // Where the bitmap begins is no part of the image; a huge alignment only wastes the disk.
        var alignment = described.alignment.flatMap { $0 <= 1 << 20 ? $0 : nil } ?? CowHeader.usualAlignment
        if case .chains(_, let asked?) = request.form { alignment = asked }
        let backing = try described.backing.map {
            (layer: try restored($0, in: tree), name: tree.root.pushing(FilePath(header.layers[$0].name)))
        }
        return try CowHeader(
            writing: layout, alignment: alignment, length: described.guestLength, over: backing, target: path,
            keepsChain: CowLayout(rawValue: described.layout)?.isUML == true, size: described.size)
    }

    /// A layer that was restored before, opened.
    private func restored(_ layer: Int, in tree: FolderTree) throws -> ImageLayer {
        let path = tree.root.pushing(FilePath(header.layers[layer].name))
        guard let layout = try layout(of: layer) else { return ImageLayer(file: try ImageFile(opening: path), content: .raw) }
        return try ImageChain.examine(path, ChainOptions(format: .cow(layout), location: try BackingLocation(), ignoreMtime: true)).top
    }
}

extension Timestamp {
    /// `SECONDS.NANOSECONDS`, or nil where the text is something else.
    init?(text: String) {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 2, let seconds = Int(parts[0]), let nanoseconds = Int(parts[1]), (0..<1_000_000_000).contains(nanoseconds)
        else { return nil }
        self.init(seconds: seconds, nanoseconds: nanoseconds)
    }
}
