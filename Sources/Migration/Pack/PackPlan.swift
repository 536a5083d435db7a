internal import DiskImages
internal import ImageFormats
internal import Linux
internal import Stages
internal import SystemPackage
internal import TransportArchive

/// Which layers an archive will hold, and under which names: every file once, backing files before
/// their overlays.
struct PackPlan {
    let header: ArchiveHeader
    /// What is read for each of the header's layers.
    let sources: [PackSource]
    /// False where a file is read although somebody writes to it.
    let isConsistent: Bool
    /// Every file that is read, once.
    let files: [ImageLayer]
    /// Where the images lie that were asked for, links resolved.
    let asked: [FilePath]
    /// What the archive stands on; nil where it stands alone.
    let parent: ParentArchive?
    /// What puts the archive's records in order, which has had none yet.
    let composer: ArchiveComposer

    /// Opens every image with its chain; throws where one cannot be packed, before anything is
    /// written.
    init(_ request: PackRequest, _ options: MoveOptions) async throws {
        let parent = try request.since.map {
            try ParentArchive($0, request.ancestors, trustsTimes: !request.policy.reread)
        }
        self.parent = parent
        var collection = LayerCollection()
        var companions: [Companion] = []
        var asked: [FilePath] = []
        for image in request.images {
            let chains = try PackPlan.chains(image, request, &companions)
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
        var layers = try await collection.finished(options, since: parent)
        let places = layers.flatMap { [$0.place] + $0.also }
        let common = PackPlan.common(places)
        self.asked = asked
        companions += try Companion.find(
            request.companions, below: [PackPlan.common(asked), common].map { FilePath(root: "/", $0) },
            without: Set(places))
        layers += companions.compactMap(PlannedLayer.init)
        files = collection.opened + layers.filter(\.isCompanion).flatMap(\.source.chain.layers)
        let isConsistent = try !files.contains { try $0.file.user() != nil }
        self.isConsistent = isConsistent
        let links = companions.filter(\.isLink)
        var names = try PackPlan.names(
            of: layers.flatMap { [$0.place] + $0.also } + links.map(\.place), below: common.count)[...]
        var sources: [PackSource] = []
        var described: [ArchiveHeader.Layer] = []
        for layer in layers {
            let count = 1 + layer.also.count
            var source = layer.source
            source.inherited = try names.first.flatMap {
                try parent?.content(of: layer, called: $0, isFlattened: request.flatten)
            }
            described.append(try layer.described(as: Array(names.prefix(count)), source.inherited))
            sources.append(source)
            names.removeFirst(count)
        }
        described += links.compactMap { $0.described(as: names.removeFirst()) }
        self.sources = sources
        header = ArchiveHeader(
            options: ArchiveHeader.Options(
                compression: request.compression.description, flatten: request.flatten,
                zeroRun: request.shortestZeroRun,
                sharesContent: request.sharesContent && isConsistent && layers.count > 1),
            layers: described,
            parent: try parent?.described)
        guard header.layers.allSatisfy({ $0.size <= UInt64(Int64.max) - 511 }) else {
            throw MigrationError(.badData, "\(request.images.first?.description ?? ""): a disk is too large")
        }
        composer = try ArchiveComposer(header, inheriting: parent?.archive.index.layers ?? [])
    }

    /// The chain of one image, or those of all images of an archive.
    private static func chains(
        _ image: FilePath, _ request: PackRequest, _ companions: inout [Companion]
    ) throws -> [ImageChain] {
        guard !ArchiveAddress.isRemote(image) else {
            throw DiskImageError(
                .badData, image, "lies on a server; only files of this host are packed (fetch it first)")
        }
        let options = try request.options(image)
        if options.format == nil, let file = try ArchiveAddress.archive(at: image) {
            let archive = try ArchiveFile(file, request.ancestors)
            try archive.openAncestors(of: archive.header.layers.indices)
            companions += try Companion.all(of: archive, at: resolved(image))
            return try archive.images()
        }
        return [try ImageChain.open(image, options)]
    }

    /// The backing files whose time no COW header can hold, a line for each: their overlays cannot
    /// be restored as they are.
    var unrestorable: [Message] {
        let bases = Set(header.layers.compactMap(\.backing)).sorted().map { sources[$0].chain.top.file }
        return bases.filter { $0.identity.mtime.headerSeconds == nil }.map {
            "\($0.path): its mtime, \($0.identity.mtime.date), fits no COW header: its overlays can be unpacked as raw images alone (unpack \(.written(.raw)))"
        }
    }

    /// The deepest folder that all `places` lie in.
    private static func common(_ places: [FilePath]) -> [FilePath.Component] {
        let folders = places.map { Array($0.removingLastComponent().components) }
        return folders.dropFirst().reduce(folders.first ?? []) { shared, folder in
            Array(zip(shared, folder).prefix { $0 == $1 }.map(\.0))
        }
    }

    /// The paths below their common folder, whose own path has so many components.
    private static func names(of places: [FilePath], below common: Int) throws -> [String] {
        var seen: Set<[UInt8]> = []
        return try places.map { place in
            let name = place.components.dropFirst(common).map(\.string).joined(separator: "/")
            guard
                name.utf8.elementsEqual(
                    place.components.dropFirst(common).map(\.bytes).joined(separator: [0x2f]))
            else {
                throw MigrationError(
                    .badData, "\(place): its name is no UTF-8, which an archive cannot hold (rename it)")
            }
            if let fault = ArchiveName.fault(of: name) {
                throw MigrationError(.badData, "\(place): its name in the archive, \(name), \(fault)")
            }
            guard seen.insert(Array(name.utf8)).inserted else {
                throw MigrationError(
                    .badData,
                    "\(place): is used both as raw bytes and as a COW image, which one archive cannot hold")
            }
            return name
        }
    }
}

extension FilePath.Component {
    /// The component's bytes.
    fileprivate var bytes: [UInt8] {
        var path = FilePath()
        path.append(self)
        return path.pathBytes
    }
}
