internal import DiskImages
internal import ImageFormats
internal import SystemPackage
internal import TransportArchive

/// Which layers an archive will hold, and under which names: every file once, backing files before their overlays.
struct PackPlan {
    let header: ArchiveHeader
    /// What is read for each of the header's layers.
    let sources: [PackSource]
    /// False where a file is read although somebody writes to it.
    let isConsistent: Bool
    /// Every file that is read, once.
    let files: [ImageLayer]

    /// Opens every image with its chain; throws where one cannot be packed, before anything is written.
    init(
        _ images: [FilePath], _ options: (FilePath) throws -> ChainOptions, flatten: Bool, compression: Compression, zeroRun: Int,
        stop: StopFlag
    )
        throws
    {
        var collection = LayerCollection()
        var chains: [(path: FilePath, chain: ImageChain)] = []
        for image in images {
            let chain = try ImageChain.open(image, options(image))
            if flatten {
                if !chains.contains(where: { $0.chain.top.file.identity.isSameFile(as: chain.top.file.identity) }) {
                    chains.append((image, chain))
                }
            } else {
                try collection.add(chain)
            }
        }
        let layers = flatten ? try PackPlan.flattened(chains) : try collection.finished(stop)
        let names = try PackPlan.names(of: layers.map(\.place))
        header = ArchiveHeader(
            options: ArchiveHeader.Options(compression: compression.description, flatten: flatten, zeroRun: zeroRun),
            layers: try zip(names, layers).map { name, layer in try layer.described(as: name) })
        sources = layers.map(\.source)
        files = flatten ? chains.flatMap(\.chain.layers) : collection.opened
        isConsistent = try !files.contains { try $0.file.user() != nil }
        guard header.layers.allSatisfy({ $0.size <= UInt64(Int64.max) - 511 }) else {
            throw MigrationError(.badData, "\(images.first?.description ?? ""): a disk is too large")
        }
    }

    private static func flattened(_ chains: [(path: FilePath, chain: ImageChain)]) throws -> [PlannedLayer] {
        try chains.map { image, chain in
            PlannedLayer(
                place: try resolved(chain.top.path), source: PackSource(chain: chain, holding: .everything(marks: false)), layout: "raw",
                size: chain.guestLength, backing: nil, alignment: nil, isImage: true)
        }
    }

    /// The backing files whose time no COW header can hold, a line for each: their overlays cannot be restored as they are.
    var unrestorable: [String] {
        let bases = Set(header.layers.compactMap(\.backing)).sorted().map { sources[$0].chain.top.file }
        return bases.filter { $0.identity.mtime.headerSeconds == nil }.map {
            "\($0.path): its mtime, \($0.identity.mtime.seconds), fits no COW header: its overlays can be unpacked as raw images alone (unpack -O raw)"
        }
    }

    /// The paths below their deepest common folder.
    private static func names(of places: [FilePath]) throws -> [String] {
        let folders = places.map { Array($0.removingLastComponent().components) }
        let common = folders.dropFirst().reduce(folders.first ?? []) { shared, folder in
            Array(zip(shared, folder).prefix { $0 == $1 }.map(\.0))
        }
        var seen: Set<[UInt8]> = []
        return try places.map { place in
            let name = place.components.dropFirst(common.count).map(\.string).joined(separator: "/")
            guard name.utf8.elementsEqual(place.components.dropFirst(common.count).map(\.bytes).joined(separator: [0x2f])) else {
                throw MigrationError(.badData, "\(place): its name is no UTF-8, which an archive cannot hold (rename it)")
            }
            if let fault = ArchiveName.fault(of: name) {
                throw MigrationError(.badData, "\(place): its name in the archive, \(name), \(fault)")
            }
            guard seen.insert(Array(name.utf8)).inserted else {
                throw MigrationError(.badData, "\(place): is used both as raw bytes and as a COW image, which one archive cannot hold")
            }
            return name
        }
    }
}

/// A layer that is to be packed.
struct PlannedLayer {
    /// Its file, absolute, links resolved.
    let place: FilePath
    let source: PackSource
    /// The layout it is restored in.
    let layout: String
    let size: UInt64
    var backing: Int?
    let alignment: UInt32?
    var isImage: Bool

    func described(as name: String) throws -> ArchiveHeader.Layer {
        let access = TargetAccess(holding: try source.chain.layers.map { try $0.file.access() }, umask: 0).wanted
        return ArchiveHeader.Layer(
            name: name, layout: layout, size: size, mtime: source.chain.top.file.identity.mtime.description, backing: backing,
            alignment: alignment, image: isImage, access: access)
    }
}

/// Collects the layers of many chains, each file once: recognised by device and inode, and raw backing files by content where copies exist.
private struct LayerCollection {
    private struct Key: Hashable {
        let device: UInt64
        let inode: UInt64
        let layout: String
    }

    private var layers: [PlannedLayer] = []
    private var indices: [Key: Int] = [:]

    /// Every file that was opened, also those that turn out to be copies.
    var opened: [ImageLayer] { layers.map { $0.source.chain.top } }

    mutating func add(_ chain: ImageChain) throws {
        var below: Int?
        for (depth, layer) in chain.layers.enumerated().reversed() {
            let identity = layer.file.identity
            let key = Key(device: identity.device, inode: identity.inode, layout: layer.layoutName)
            if let known = indices[key] {
                below = known
            } else {
                layers.append(try planned(layer, below))
                below = layers.count - 1
                indices[key] = below
            }
            if depth == 0, let below { layers[below].isImage = true }
        }
    }

    private func planned(_ layer: ImageLayer, _ backing: Int?) throws -> PlannedLayer {
        let layout = layer.header?.layout.writableEquivalent
        return PlannedLayer(
            place: try resolved(layer.path),
            source: PackSource(
                chain: ImageChain(layers: [layer]),
                holding: layer.header == nil ? .everything(marks: false) : .above(depth: 1, backingLength: 0)),
            layout: layout?.rawValue ?? "raw", size: layer.size, backing: backing, alignment: layout == .umlV3 ? alignment(of: layer) : nil,
            isImage: false)
    }

    /// UML V1 and V2 have no alignment; what becomes V3 gets the usual one.
    private func alignment(of layer: ImageLayer) -> UInt32 { layer.header?.alignment ?? CowHeader.usualAlignment }

    private func isSame(_ a: ImageChain, _ b: ImageChain, _ stop: StopFlag) throws -> Bool {
        var comparison = try ChainComparison(a, b, length: a.guestLength)
        while let step = try comparison.next() {
            if stop.isRequested { throw MigrationError(.stopped, "\(b.top.path): stopped by a signal (run the same command again)") }
            if case .different = step { return false }
        }
        return true
    }

    /// The layers, copies of one backing file taken together under the first one's name.
    func finished(_ stop: StopFlag) throws -> [PlannedLayer] {
        var replacement: [Int: Int] = [:]
        var bySize: [UInt64: [Int]] = [:]
        for (index, layer) in layers.enumerated() where layer.layout == "raw" && !layer.isImage {
            let twin = try bySize[layer.size, default: []].first { other in
                try isSame(layers[other].source.chain, layer.source.chain, stop)
            }
            if let twin { replacement[index] = twin } else { bySize[layer.size, default: []].append(index) }
        }
        var places: [Int: Int] = [:]
        var kept: [PlannedLayer] = []
        for (index, layer) in layers.enumerated() where replacement[index] == nil {
            places[index] = kept.count
            var layer = layer
            layer.backing = layer.backing.flatMap { places[replacement[$0] ?? $0] }
            kept.append(layer)
        }
        return kept
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
