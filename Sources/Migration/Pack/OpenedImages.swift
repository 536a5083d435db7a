internal import DiskImages
internal import Linux
internal import Manifests
internal import Stages
internal import SystemPackage
internal import TransportArchive

/// What is asked of a file that is packed, beside its content.
struct FileFacts: Sendable {
    /// Whether somebody may be writing to it.
    let isUsed: Bool
    /// How the manifest records it.
    let recorded: ManifestJob.Source
    let access: FileAccess

    init(of layer: ImageLayer) throws {
        isUsed = try layer.file.user() != nil
        recorded = try ManifestJob.Source(layer)
        access = try layer.file.access()
    }
}

/// The files that were opened, each once under each of its names, and what was asked of them.
struct KnownFiles: Sendable {
    private struct File: Sendable {
        let layer: ImageLayer
        let facts: FileFacts
    }

    private var files: [LayerCollection.Key: [FilePath: File]] = [:]

    /// What was asked of the layer's file, or is now, where nothing was.
    func facts(of layer: ImageLayer) throws -> FileFacts {
        try files[LayerCollection.Key(layer)]?[layer.path]?.facts ?? FileFacts(of: layer)
    }

    /// `chain`, of whose files those that are `known` already by the same name are taken from
    /// there: a base that many overlays name is open once.
    static func shared(_ chain: ImageChain, _ known: Locked<KnownFiles>) throws -> ImageChain {
        ImageChain(
            layers: try chain.layers.map { layer in
                let key = LayerCollection.Key(layer)
                if let first = known.withLock({ $0.files[key]?[layer.path] }) { return first.layer }
                let facts = try FileFacts(of: layer)
                return known.withLock { known in
                    let first = known.files[key]?[layer.path] ?? File(layer: layer, facts: facts)
                    known.files[key, default: [:]][layer.path] = first
                    return first.layer
                }
            })
    }
}

/// The images that an archive was asked for, opened with their chains.
struct OpenedImages: Sendable {
    var collection = LayerCollection()
    let known: KnownFiles
    /// What travels with the images of archives that were named.
    var companions: [Companion] = []
    /// Where the images lie, links resolved.
    var asked: [FilePath] = []

    /// Opens every image of `request`; throws where one cannot be packed.
    init(_ request: PackRequest, _ workers: WorkerSlots) async throws {
        let known = Locked(KnownFiles())
        let opened = try await Workers.map(request.images, workers) { image in
            let (chains, companions) = try OpenedImages.open(image, request)
            if !request.flatten { try chains.forEach(LayerCollection.checkReadBack) }
            return (try chains.map { try KnownFiles.shared($0, known) }, companions)
        }
        self.known = known.withLock(\.self)
        for (image, (chains, further)) in zip(request.images, opened) {
            companions += further
            let file = chains.count == 1 ? chains[0].top.file : nil
            asked.append(
                try AskedNames.place(image)
                    ?? (file?.path == image ? file?.resolvedPath() : nil) ?? resolved(image))
            for chain in chains {
                let name = chain.top.content.archived == nil ? image : chain.top.path
                try request.flatten
                    ? collection.addFlattened(chain, as: name) : collection.add(chain, as: name)
            }
        }
    }

    /// The chain of one image, or those of all images of an archive with what travels with them.
    private static func open(_ image: FilePath, _ request: PackRequest) throws -> ([ImageChain], [Companion])
    {
        guard !ArchiveAddress.isRemote(image) else {
            throw DiskImageError(
                .badData, image, "lies on a server; only files of this host are packed (fetch it first)")
        }
        let options = request.options
        if let chain = try options.archived(image) { return ([chain], []) }
        let file = try options.file(of: image)
        if options.format == nil, try ArchiveAddress.isArchive(file) {
            let archive = try ArchiveFile(file, request.ancestors)
            try archive.openAncestors(of: archive.header.layers.indices)
            return (try archive.images(), try Companion.all(of: archive, at: resolved(image)))
        }
        return ([try ImageChain.open(file, options)], [])
    }
}
