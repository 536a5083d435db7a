internal import DiskImages
internal import ImageFormats
internal import Linux
internal import Manifests
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
    /// What is asked of each of the files but its content.
    let facts: [FileFacts]
    /// Where the images lie that were asked for, links resolved.
    let asked: [FilePath]
    /// What the archive stands on; nil where it stands alone.
    let parent: ParentArchive?
    /// What puts the archive's records in order, which has had none yet.
    let composer: ArchiveComposer

    /// Opens every image with its chain; throws where one cannot be packed, before anything is
    /// written.
    init(_ request: PackRequest, _ options: MoveOptions) async throws {
        // Where nothing changed, that is most of the work.
        let (parent, images) = try await both(
            {
                try request.since.map {
                    try ParentArchive($0, request.ancestors, trustsTimes: !request.policy.reread)
                }
            }, { try await OpenedImages(request, options.workers) })
        self.parent = parent
        asked = images.asked
        var layers = try await images.collection.finished(options, images.known, since: parent)
        let places = layers.flatMap { [$0.place] + $0.also }
        let common = PackPlan.common(places)
        let companions =
            try images.companions
            + Companion.find(
                request.companions, below: [PackPlan.common(asked), common].map { FilePath(bytes: $0) },
                without: Set(places))
        layers += companions.compactMap(PlannedLayer.init)
        files = images.collection.opened + layers.filter(\.isCompanion).flatMap(\.source.chain.layers)
        let known = images.known
        facts = try files.map(known.facts)
        let isConsistent = !facts.contains(where: \.isUsed)
        self.isConsistent = isConsistent
        let links = companions.filter(\.isLink)
        var names = try PackPlan.names(
            of: layers.flatMap { [$0.place] + $0.also } + links.map(\.place), below: common)[...]
        let named = layers.map { layer in
            let count = 1 + layer.also.count
            defer { names.removeFirst(count) }
            return (layer, names: Array(names.prefix(count)))
        }
        let packed = try await Workers.map(named, options.workers) { layer, names in
            var source = layer.source
            source.inherited = try parent?.content(
                of: layer, called: names[0], isFlattened: request.flatten, known)
            return (source, try layer.described(as: names, source.inherited, known))
        }
        sources = packed.map(\.0)
        let described = packed.map(\.1) + links.compactMap { $0.described(as: names.removeFirst()) }
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

    /// The backing files whose time no COW header can hold, a line for each: their overlays cannot
    /// be restored as they are.
    var unrestorable: [Message] {
        let bases = Set(header.layers.compactMap(\.backing)).sorted().map { sources[$0].chain.top.file }
        return bases.filter { $0.identity.mtime.headerSeconds == nil }.map {
            "\($0.path): its mtime, \($0.identity.mtime.date), fits no COW header: its overlays can be unpacked as raw images alone (unpack \(.written(.raw)))"
        }
    }

    /// The deepest folder that all `places` lie in, its last byte a slash. They are absolute.
    private static func common(_ places: [FilePath]) -> [UInt8] {
        let slash = UInt8(ascii: "/")
        guard var common = places.first?.pathBytes[...] else { return [slash] }
        for place in places {
            let bytes = place.pathBytes
            if !bytes.starts(with: common) {
                common = common.prefix(zip(common, bytes).prefix { $0 == $1 }.count)
            }
        }
        return Array(common[...(common.lastIndex(of: slash) ?? common.startIndex)])
    }

    /// What of each path follows as many folders as `common` names.
    private static func names(of places: [FilePath], below common: [UInt8]) throws -> [String] {
        let slash = UInt8(ascii: "/")
        let depth = common.count { $0 == slash }
        var seen: Set<[UInt8]> = []
        return try places.map { place in
            var rest = place.pathBytes[...]
            for _ in 0..<depth {
                rest = rest[(rest.firstIndex(of: slash).map { $0 + 1 } ?? rest.endIndex)...]
            }
            guard let name = String(validating: rest, as: UTF8.self) else {
                throw MigrationError(
                    .badData, "\(place): its name is no UTF-8, which an archive cannot hold (rename it)")
            }
            if let fault = ArchiveName.fault(of: name) {
                throw MigrationError(.badData, "\(place): its name in the archive, \(name), \(fault)")
            }
            guard seen.insert(Array(rest)).inserted else {
                throw MigrationError(
                    .badData,
                    "\(place): is used both as raw bytes and as a COW image, which one archive cannot hold")
            }
            return name
        }
    }
}
