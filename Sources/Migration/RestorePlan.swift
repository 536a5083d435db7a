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
    /// The layers that others of the archive stand on: they get their times back, whether or not those others are restored with them.
    private let bases: Set<Int>
    /// The folder that names are below, links resolved.
    let root: FilePath
    /// The headers of the COW files among `needed`, known before anything is written: what a layout cannot hold is found in time.
    private(set) var headers: [Int: CowHeader] = [:]
    /// What the index of a file says of the layers' ends: two archives with one id may differ in what their layers hold.
    var anchors: ArchiveAnchors?

    /// Throws `badData` where a layout cannot hold what it would have to, before anything is written.
    init(_ reader: ArchiveReader, _ request: UnpackRequest) throws {
        header = reader.header
        id = reader.id
        self.request = request
        let header = reader.header
        images =
            try request.names.isEmpty
            ? header.layers.indices.filter { header.layers[$0].image || request.form != .raw }
            : LayerNames(header, request.archiveName).find(request.names)
        var seen: Set<Int> = []
        for image in images {
            var next: Int? = image
            while let layer = next, seen.insert(layer).inserted { next = header.layers[layer].backing }
        }
        needed = seen.sorted()
        bases = Set(header.layers.compactMap(\.backing))
        root = try FolderTree.path(of: request.directory)
        for layer in needed { headers[layer] = try request.form == .raw ? scratchHeader(of: layer) : plannedHeader(of: layer) }
    }

    func holding(of layer: Int) -> Holding {
        header.layers[layer].layout == "raw" ? .everything(marks: false) : .above(depth: 1, backingLength: 0)
    }

    /// How `layer` is written below `tree`, where its backing file stands already.
    func move(_ layer: Int, in tree: FolderTree) throws -> TargetMove {
        let described = header.layers[layer]
        let file = try tree.place(for: described.name)
        let path = file.path
        let place = try TargetPlace(file, called: path, sources: try archiveIdentity())
        let cowHeader = try writtenHeader(of: layer, in: tree)
        let size = cowHeader.map(\.fullLength) ?? described.size
        let backing = cowHeader?.backingPath.isEmpty == false ? described.backing : nil
        let job = ManifestJob(
            sources: [source(of: layer)],
            options: ManifestJob.Options(
                format: cowHeader == nil ? "raw" : "cow", layout: cowHeader?.layout.rawValue ?? "raw",
                alignment: cowHeader.map(\.alignment),
                depth: cowHeader == nil ? nil : 1, backing: backing.map(source(of:)),
                backingName: backing.map { self.path(of: $0, in: tree.root).description }, zeroRun: 0, segment: request.segmentLength),
            target: ManifestJob.Target(path: path.description, length: described.guestLength, size: size), consistent: true)
        return TargetMove(
            name: path, place: place, job: job, header: cowHeader, access: request.form == .raw ? .personal : try access(of: layer),
            mtime: request.form != .raw && bases.contains(layer) ? described.time : nil,
            restart: request.restart, replacing: Replacing(path, force: request.force))
    }

    /// Who may read `layer`, restored: as it is recorded, else whoever may read the archive.
    private func access(of layer: Int) throws -> TargetAccess {
        if let recorded = header.layers[layer].access { return TargetAccess(recorded: recorded) }
        return try request.archive.flatMap(FileAccess.of).map { TargetAccess(holding: [$0]) } ?? .personal
    }

    /// Who may read the image of `layer` flattened: whoever may read every layer.
    func flattenedAccess(of layer: Int) throws -> TargetAccess {
        let recorded = header.chain(of: layer).map { header.layers[$0].access }
        let all = recorded.compactMap { $0 }
        return all.count == recorded.count ? TargetAccess(holding: all) : try access(of: layer)
    }

    /// A layer that was restored before, opened as what the archive says it is, whatever its bytes look like.
    func restored(_ layer: Int, in tree: FolderTree) throws -> ImageLayer {
        try ImageLayer(ImageFile(opening: tree.place(for: header.layers[layer].name)), as: headers[layer]?.layout)
    }

    /// Where the layers lie while they wait to be flattened.
    var scratch: FilePath { root.appending(".drover-scratch-\(id)") }

    func path(of layer: Int, in root: FilePath) -> FilePath { root.pushing(FilePath(header.layers[layer].name)) }

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

    private func source(of index: Int) -> ManifestJob.Source {
        let layer = header.layers[index]
        return ManifestJob.Source(
            path: "archive \(id): \(layer.name)", size: layer.size, mtime: layer.mtime, inode: 0, layout: layer.layout,
            digest: anchors?.digest(of: index))
    }

}

/// The layers of an archive by the names that a user has for them. By bytes: a String takes names for equal that only look the same.
private struct LayerNames {
    private let archive: String
    private var byName: [[UInt8]: Int] = [:]
    private var byLastComponent: [[UInt8]: [Int]] = [:]

    init(_ header: ArchiveHeader, _ archive: String) {
        self.archive = archive
        for (index, layer) in header.layers.enumerated() {
            byName[Array(layer.name.utf8)] = index
            byLastComponent[ArchiveName.lastComponent(of: layer.name), default: []].append(index)
        }
    }

    /// Full names, or last components that are unique.
    func find(_ names: [String]) throws -> [Int] { try names.map(find) }

    private func find(_ name: String) throws -> Int {
        let bytes = Array(name.utf8)
        if let index = byName[bytes] { return index }
        let matches = byLastComponent[bytes] ?? []
        guard matches.count <= 1 else {
            throw MigrationError(
                .usage, "\(archive): \(name) is the name of \(matches.count) images (give the full name, as drover list prints it)")
        }
        guard let index = matches.first else { throw MigrationError(.usage, "\(archive): holds no image \(name) (drover list names them)") }
        return index
    }
}
