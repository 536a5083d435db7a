internal import DiskImages
internal import Linux
internal import Stages
internal import SystemPackage
internal import TransportArchive

/// The images that an archive was asked for, opened with their chains.
struct OpenedImages: Sendable {
    var collection = LayerCollection()
    /// What travels with the images of archives that were named.
    var companions: [Companion] = []
    /// Where the images lie, links resolved.
    var asked: [FilePath] = []

    /// Opens every image of `request`; throws where one cannot be packed.
    init(_ request: PackRequest, _ workers: WorkerSlots) async throws {
        let known = Locked(Known())
        let opened = try await Workers.map(request.images, workers) { image in
            let (chains, companions) = try OpenedImages.open(image, request)
            // A base that many overlays name is open once.
            return (chains.map { OpenedImages.shared($0, known) }, companions)
        }
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

    /// The layers that were opened, by what they are and by what name.
    private typealias Known = [LayerCollection.Key: [FilePath: ImageLayer]]

    /// `chain`, of whose files those that are `known` already by the same name are taken from
    /// there.
    private static func shared(_ chain: ImageChain, _ known: Locked<Known>) -> ImageChain {
        known.withLock { known in
            ImageChain(
                layers: chain.layers.map { layer in
                    let key = LayerCollection.Key(layer)
                    let first = known[key]?[layer.path] ?? layer
                    known[key, default: [:]][layer.path] = first
                    return first
                })
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
