internal import DiskImages
internal import ImageFormats
internal import Linux
internal import Stages
internal import SystemPackage
internal import TransportArchive

/// A layer that is to be packed.
struct PlannedLayer {
    /// Its file, absolute. Its name in the archive, and those of `also`, are the ends of such
    /// paths.
    var place: FilePath
    /// Where else it was asked for.
    var also: [FilePath] = []
    let source: PackSource
    /// What it is restored as.
    let format: FormatDescription
    let size: UInt64
    var backing: Int?
    /// The names that it was asked for by; none of what is only a backing file.
    var asked = AskedNames()
    /// Whether it is no image, but travels with those.
    var isCompanion = false
    /// Whether others were found to stand on it, by the name that it has as `place`.
    var isBacking = false

    /// `names` has one for `place` and each of `also`.
    func described(as names: [String], _ inherited: InheritedContent?, _ known: KnownFiles) throws
        -> ArchiveHeader.Layer
    {
        let accesses = try source.chain.layers.map {
            try $0.content.archived?.access ?? known.facts(of: $0).access
        }
        // What belongs to images may be a program.
        let access = isCompanion ? accesses.first : TargetAccess(holding: accesses, umask: 0).wanted
        var described = ArchiveHeader.Layer(
            names: names, format: format, size: size, mtime: source.chain.top.mtime.description,
            backing: backing, isImage: !asked.isEmpty, access: access)
        described.isCompanion = isCompanion
        if case .whole(let layer)? = inherited { described.same = layer }
        return described
    }
}

/// Collects the layers of many chains, each file once: recognised by device and inode, and raw
/// backing files by content where copies exist.
struct LayerCollection {
    struct Key: Hashable {
        private let file: FileID
        private let layout: String
        /// Of an image in an archive, which.
        private let layer: Int?

        init(_ layer: ImageLayer) {
            (file, layout) = (FileID(layer.file.identity), layer.layoutName)
            self.layer = layer.content.archived?.layer
        }
    }

    private var layers: [PlannedLayer] = []
    private var indices: [Key: Int] = [:]

    /// Every file that was opened, also those that turn out to be copies.
    var opened: [ImageLayer] { layers.flatMap(\.source.chain.layers) }

    /// Takes the layers of the chain of `image`, which was checked, in.
    mutating func add(_ chain: ImageChain, as image: FilePath) throws {
        var below: Int?
        for (depth, layer) in chain.layers.enumerated().reversed() {
            let key = Key(layer)
            let index = indices[key] ?? layers.count
            if indices[key] == nil {
                layers.append(try planned(layer, below))
                indices[key] = index
            }
            if depth == 0 {
                try layers[index].asked.add(image, of: chain.top.file)
            } else if !layers[index].isBacking {
                layers[index].isBacking = true
                layers[index].place = try LayerCollection.place(of: layer)
            }
            below = index
        }
    }

    /// Throws where an overlay, restored with its backing file, would be opened as another disk:
    /// the archive knows what the file is, no header does.
    static func checkReadBack(_ chain: ImageChain) throws {
        for (overlay, below) in zip(chain.layers, chain.layers.dropFirst()) {
            guard let layout = CowLayout(rawValue: overlay.content.restored.layout) else { continue }
            guard let misreading = try BackingReference(below, name: below.path).misreading(under: layout)
            else { continue }
            throw MigrationError(
                .badData,
                "\(overlay.path): \(layout.rawValue) cannot hold \(misreading) (\(.flatten) packs what its guest sees)"
            )
        }
    }

    /// Takes the disk that the guest of `image` sees in as one layer.
    mutating func addFlattened(_ chain: ImageChain, as image: FilePath) throws {
        let key = Key(chain.top)
        let index = indices[key] ?? layers.count
        if indices[key] == nil {
            layers.append(
                PlannedLayer(
                    place: try LayerCollection.place(of: chain.top),
                    source: PackSource(chain: chain, holding: .everything(marks: false)),
                    format: FormatDescription(
                        format: ImageFormat.raw.name, layout: ImageFormat.raw.name),
                    size: chain.guestLength, backing: nil))
            indices[key] = index
        }
        try layers[index].asked.add(image, of: chain.top.file)
    }

    /// Where the file lies; of one in an archive, where it would lie if it were unpacked beside
    /// that.
    private static func place(of layer: ImageLayer) throws -> FilePath {
        try AskedNames.place(layer.path) ?? layer.file.resolvedPath()
    }

    private func planned(_ layer: ImageLayer, _ backing: Int?) throws -> PlannedLayer {
        guard layer.isRaw || CowLayout(rawValue: layer.content.restored.layout) != nil else {
            throw MigrationError(
                .badData,
                "\(layer.path): is a \(layer.formatName) image, which an archive does not keep as it is (\(.flatten) packs what its guest sees)"
            )
        }
        return PlannedLayer(
            place: try LayerCollection.place(of: layer),
            source: PackSource(
                chain: ImageChain(layers: [layer]),
                holding: layer.isRaw ? .everything(marks: false) : .above(depth: 1, backingLength: 0)),
            format: layer.content.restored, size: layer.size, backing: backing)
    }

    /// The layers, copies of one backing file taken together under the first one's name. What
    /// others stand on keeps the name that they have for it, beside those that it was asked for by.
    func finished(_ options: MoveOptions, _ known: KnownFiles, since parent: ParentArchive?) async throws
        -> [PlannedLayer]
    {
        var replacement: [Int: Int] = [:]
        var bySize: [UInt64: [Int]] = [:]
        for (index, layer) in layers.enumerated() where layer.source.isRaw && layer.asked.isEmpty {
            var twin: Int?
            for other in bySize[layer.size, default: []] where twin == nil {
                let chain = layers[other].source.chain
                if let parent, let areTwins = try areTwins(layer, layers[other], in: parent, known) {
                    twin = areTwins ? other : nil
                    continue
                }
                let comparison = DiskComparison(chain, layer.source.chain, length: chain.guestLength)
                let name = layer.source.chain.top.path.description
                if try await comparison.firstDifference(named: name, options) == nil { twin = other }
            }
            if let twin { replacement[index] = twin } else { bySize[layer.size, default: []].append(index) }
        }
        var places: [Int: Int] = [:]
        var kept: [PlannedLayer] = []
        for (index, layer) in layers.enumerated() where replacement[index] == nil {
            places[index] = kept.count
            var layer = layer
            layer.backing = layer.backing.flatMap { places[replacement[$0] ?? $0] }
            let names = layer.asked.places()
            if !layer.isBacking, let first = names.first { layer.place = first }
            layer.also = names.filter { $0 != layer.place }
            kept.append(layer)
        }
        return kept
    }

    /// Whether two raw files of one size, both unchanged since `parent` was made, are copies of one
    /// another, as that found; nil where it does not tell.
    private func areTwins(
        _ one: PlannedLayer, _ other: PlannedLayer, in parent: ParentArchive, _ known: KnownFiles
    ) throws -> Bool? {
        // A flattened archive has no layers of its sources.
        guard !parent.archive.header.options.flatten, try parent.isUnchanged(one.source.chain, known),
            try parent.isUnchanged(other.source.chain, known)
        else { return nil }
        let kept = parent.rawLayers(size: one.size)
        if kept == 1 { return true }
        let files = layers.count { $0.source.isRaw && $0.size == one.size }
        return kept == files ? false : nil
    }
}
