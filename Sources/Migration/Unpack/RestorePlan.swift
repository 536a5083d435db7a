internal import DiskImages
internal import ImageFormats
internal import Linux
internal import Manifests
internal import SystemPackage
internal import TransportArchive

/// Which layers of an archive are restored, where, and as what.
struct RestorePlan: Sendable {
    let header: ArchiveHeader
    let id: ContentDigest
    let request: UnpackRequest
    /// A file that was asked for: a layer, and one of its names.
    struct Image: Sendable {
        let layer: Int
        let name: String
    }

    /// The images asked for.
    let images: [Image]
    /// The layers that those need, in the archive's order.
    let needed: [Int]
    /// Symbolic links among them.
    var links: [Image] { images.filter { header.layers[$0.layer].link != nil } }
    /// The layers that others of the archive stand on: they get their times back, whether or not
    /// those others are restored with them.
    private let bases: Set<Int>
    /// The names that each of `needed` gets below the root.
    private let names: [Int: [String]]
    /// Who may read the archive; nil of one from a pipe.
    private let archiveAccess: FileAccess?
    /// The folder that names are below, links resolved.
    let root: FilePath
    /// What `needed` become, known before anything is written: what a layout cannot hold is found
    /// in time.
    private(set) var layers: [Int: RestoredLayer] = [:]
    /// How the raw layers begin that headers are to name.
    private(set) var beginnings: [Int: [UInt8]] = [:]
    /// What the index of a file says of the layers' ends: two archives with one id may differ in
    /// what their layers hold.
    var anchors: ArchiveAnchors?

    /// Throws `badData` where a layout cannot hold what it would have to, before anything is
    /// written.
    ///
    /// `beginning` reads how a raw layer begins; nil where that comes later.
    init(
        _ reader: ArchiveReader, _ request: UnpackRequest, beginning: (Int) throws -> [UInt8]? = { _ in nil }
    ) throws {
        header = reader.header
        id = reader.id
        self.request = request
        archiveAccess = try reader.stream.file?.access()
        let header = reader.header
        images =
            try request.names.isEmpty
            ? header.layers.indices.filter { header.layers[$0].image || !request.isFlattened }.flatMap {
                layer in
                header.layers[layer].names.map { Image(layer: layer, name: $0) }
            }
            : RestorePlan.find(request.names, in: header, request.archiveName)
        var seen: Set<Int> = []
        var names: [Int: [String]] = [:]
        var taken: Set<[UInt8]> = []
        func take(_ layer: Int, as name: String) {
            if taken.insert(Array(name.utf8)).inserted { names[layer, default: []].append(name) }
        }
        for image in images {
            var next: Int? = image.layer
            while let layer = next, seen.insert(layer).inserted {
                next = header.layers[layer].backing
                if let next { take(next, as: header.layers[next].name) }
            }
        }
        needed = seen.filter { header.layers[$0].link == nil }.sorted()
        for image in images { take(image.layer, as: image.name) }
        self.names = names
        bases = Set(header.layers.compactMap(\.backing))
        root = try FolderTree.path(of: request.directory)
        if !request.isFlattened {
            for base in Set(needed.compactMap { header.layers[$0].backing }).sorted()
            where header.layers[base].isRaw {
                beginnings[base] = try beginning(base)
            }
        }
        if !request.isFlattened {
            for layer in needed { layers[layer] = try planned(layer) }
        }
    }

    /// The files that are restored as the layers they are.
    var files: [Image] { needed.flatMap { layer in names(of: layer).map { Image(layer: layer, name: $0) } } }

    func holding(of layer: Int) -> CopyScope {
        isRaw(layer) ? .everything(marks: false) : .above(depth: 1, backingLength: 0)
    }

    /// What of `layer` is still to be written to `target`; all of it where that is nil.
    func content(of layer: Int, _ target: OpenTarget<ImageContent>?) -> RecordContent.Layer {
        content(of: layer, finished: target?.finished ?? [])
    }

    /// The same; `finished` are ranges that the target has already, in order.
    func content(of layer: Int, finished: [Range<UInt64>]) -> RecordContent.Layer {
        RecordContent.Layer(
            index: layer, scope: holding(of: layer), segmentLength: request.segmentLength, finished: finished)
    }

    /// The same, read from `chain`: `layer` where it was restored already, or where it lies in the
    /// archive.
    func copy(
        of chain: ImageChain, _ layer: Int, finished: [Range<UInt64>] = [], _ options: MoveOptions
    ) -> ChainContent {
        ChainContent(
            chain, holding(of: layer), segmentLength: request.segmentLength, finished: finished,
            progress: options.progress)
    }

    /// Whether `layer` is a raw image.
    func isRaw(_ layer: Int) -> Bool { header.layers[layer].isRaw }

    /// The names of the files that `layer` is restored to, the one that others stand on first.
    func names(of layer: Int) -> [String] { names[layer] ?? [] }

    /// How `layer` is written as `name` below `tree`, where its backing file stands already.
    func target(_ layer: Int, as name: String, in tree: FolderTree) throws -> PlannedFile {
        let described = header.layers[layer]
        let file = try tree.place(for: name)
        let format = try format(of: layer, in: tree)
        let backing = format.namesBacking ? described.backing : nil
        var options = ManifestJob.Options(format.target, zeroRun: 0, segment: request.segmentLength)
        options.depth = isRaw(layer) ? nil : 1
        options.backing = backing.map(source(of:))
        options.backingName = backing.map { self.path(of: $0, in: tree.root).description }
        let job = ManifestJob(
            sources: [source(of: layer)], options: options,
            target: ManifestJob.Target(
                path: file.path.description, length: described.guestLength, size: format.target.fileLength),
            consistent: true)
        return try PlannedFile(
            TargetTransaction(
                place: TargetPlace(file, called: file.path, sources: archiveIdentity()),
                content: ImageContent(job: job, format: format.target),
                access: access(of: layer),
                mtime: bases.contains(layer) || described.isCompanion ? described.time : nil,
                policy: request.policy))
    }

    /// How the image of `layer` is written flattened, at `file`.
    func flattened(_ layer: Int, at file: FilePlace) throws -> PlannedFile {
        try PlannedFile(
            TargetTransaction(
                place: TargetPlace(file, called: file.path, sources: archiveIdentity()),
                content: ImageContent(
                    job: flatteningJob(layer, at: file.path),
                    format: flattenedFormat(of: layer, at: file.path)),
                access: flattenedAccess(of: layer), policy: request.policy))
    }

    /// Who may read `layer`, restored: as it is recorded, else whoever may read the archive.
    private func access(of layer: Int) -> TargetAccess {
        if let recorded = header.layers[layer].access {
            return TargetAccess(recorded: recorded, keepsExecution: header.layers[layer].isCompanion)
        }
        return archiveAccess.map { TargetAccess(holding: [$0]) } ?? .personal
    }

    /// Who may read the image of `layer` flattened: whoever may read every layer.
    func flattenedAccess(of layer: Int) -> TargetAccess {
        let recorded = header.chain(of: layer).map { header.layers[$0].access }
        let all = recorded.compactMap { $0 }
        return all.count == recorded.count ? TargetAccess(holding: all) : access(of: layer)
    }

    /// A layer that was restored before, opened as what the archive says it is, whatever its bytes
    /// look like.
    func restored(_ layer: Int, in tree: FolderTree) throws -> ImageLayer {
        try ImageLayer(
            ImageFile(opening: tree.place(for: header.layers[layer].name)),
            as: layers[layer]?.format ?? .raw)
    }

    /// Where an archive from a pipe lies while it is read again.
    var scratch: FilePath { root.appending(".drover-scratch-\(id)") }

    /// The file that `layer` is restored to, the first of several.
    func path(of layer: Int, in root: FilePath) -> FilePath {
        root.pushing(FilePath(names(of: layer).first ?? header.layers[layer].name))
    }

    /// How the flattened image of `layer` is called in a manifest: what is in the archive, not the
    /// files it passes through.
    func flatteningJob(_ layer: Int, at path: FilePath) throws -> ManifestJob {
        let format = try flattenedFormat(of: layer, at: path)
        return ManifestJob(
            sources: header.chain(of: layer).map(source(of:)),
            options: ManifestJob.Options(format, zeroRun: 4096, segment: request.segmentLength),
            target: ManifestJob.Target(
                path: path.description, length: header.layers[layer].guestLength, size: format.fileLength),
            consistent: true)
    }

    private func flattenedFormat(of layer: Int, at path: FilePath) throws -> any TargetFormat {
        let length = header.layers[layer].guestLength
        return try request.flattening?.format(for: TargetDisk(target: path, length: length))
            ?? RawTarget(fileLength: length)
    }

    /// Makes a symbolic link; false where it was there.
    func restore(_ link: Image, in tree: FolderTree) throws -> Bool {
        let layer = header.layers[link.layer]
        guard let text = layer.link else { return false }
        return try tree.linkPlace(for: link.name).makeLink(
            to: text, mtime: layer.time, replaces: request.policy.force)
    }

    /// The archive's own file, which no target may be.
    func archiveIdentity() throws -> [FileIdentity] {
        try request.archive.flatMap { try ImageFile.identity(at: $0) }.map { [$0] } ?? []
    }

    private func source(of index: Int) -> ManifestJob.Source {
        let layer = header.layers[index]
        return ManifestJob.Source(
            path: "archive \(id): \(layer.name)", size: layer.size, mtime: layer.mtime, inode: 0,
            layout: layer.layout,
            digest: anchors?.digest(of: index))
    }

}

/// What a layer of an archive becomes: an archive has raw images and COW files.
enum RestoredLayer: Sendable {
    case raw
    case cow(CowHeader)

    var format: ImageFormat {
        switch self {
        case .raw: .raw
        case .cow(let header): .cow(header.layout)
        }
    }

    var isRaw: Bool { format == .raw }
}

extension RestorePlan {
    /// The images that `names` mean: full names, last components that are unique, or
    /// patterns.
    private static func find(_ names: [String], in header: ArchiveHeader, _ archive: String) throws -> [Image]
    {
        do {
            return try ArchiveNames(header).all(meantBy: names, in: FilePath(archive)).map {
                Image(layer: $0.layer, name: $0.name)
            }
        } catch let error as DiskImageError {
            throw MigrationError(.usage, "\(archive): \(error.fact)")
        }
    }
}
