internal import DiskImages
internal import ImageFormats
internal import Linux
internal import PipelineFiles
internal import SystemPackage

/// What `info` says of one layer of a chain; as JSON with the keys of `qemu-img info`, where it has
/// one.
struct ImageFacts: Encodable {
    /// What only COW files have; `type` and `data` as `qemu-img` nests them.
    struct FormatSpecific: Encodable {
        var type = ImageFormat.cow.name
        let data: CowFacts
    }

    /// Something that is wrong, by kind and as text.
    struct Problem: Encodable {
        let kind: String
        let text: String
    }

    let filename: String
    let format: String
    /// The disk's size as a guest sees it: whole sectors.
    let virtualSize: UInt64
    /// Bytes that the file takes on its file system.
    let actualSize: UInt64
    /// COW files have no such flag.
    var dirtyFlag = false
    let backingFilename: String?
    let fullBackingFilename: String?
    let backingFilenameFormat: String?
    let formatSpecific: FormatSpecific?
    let locked: Bool
    let problems: [Problem]
    let warnings: [String]

    /// Looks at layer `depth` of a chain that was opened to be examined.
    init(of chain: ImageChain, depth: Int) throws {
        let layer = chain.layers[depth]
        let backing = depth + 1 < chain.layers.count ? chain.layers[depth + 1] : nil
        filename = layer.path.description
        format = layer.formatName
        virtualSize = layer.guestLength
        actualSize = layer.file.identity.allocated
        backingFilename = layer.backingPath?.description
        fullBackingFilename =
            (backing?.path ?? layer.backingPath.map { layer.path.removingLastComponent().pushing($0) })?
            .description
        backingFilenameFormat = backing?.formatName
        formatSpecific = try (layer.content as? CowContent).map {
            FormatSpecific(data: try CowFacts($0, of: layer, backing))
        }
        locked = try layer.file.user() != nil
        problems = chain.problems.filter { $0.depth == depth }.map {
            Problem(kind: $0.kind.name, text: $0.error.fact.text(ChoiceWords.commandLine))
        }
        warnings = layer.content.warning.map { [$0] } ?? []
    }
}

/// The `format-specific` facts of a COW file.
struct CowFacts: Encodable {
    let layout: String
    let byteOrder: String
    /// The size that stands in the header, not always whole sectors.
    let headerSize: UInt64
    /// Bytes of guest disk that the image holds itself.
    let allocated: UInt64
    let bitmapOffset: UInt64
    let bitmapLength: UInt64
    let dataOffset: UInt64
    /// The backing file's mtime that the header expects; nil where it is unknown or there is none.
    let backingMtime: UInt32?
    /// Nil where the header does not say, or the backing file could not be opened.
    let backingMtimeMatches: Bool?
    /// Nil in QEMU layouts, whose backing files may have any size, and where the backing file could
    /// not be opened.
    let backingSizeMatches: Bool?

    init(_ content: CowContent, of layer: ImageLayer, _ backing: ImageLayer?) throws {
        let header = content.header
        layout = header.layout.rawValue
        byteOrder = header.byteOrder == .big ? "big" : "little"
        headerSize = header.size
        allocated = try layer.allocatedBytes()
        bitmapOffset = header.geometry.bitmapOffset
        bitmapLength = header.geometry.bitmapLength
        dataOffset = header.geometry.dataOffset
        backingMtime = content.backing?.mtime
        backingMtimeMatches = backingMtime.flatMap { _ in
            backing.flatMap { content.backing?.expects($0.file.identity.mtime) }
        }
        backingSizeMatches = header.layout.isUML ? backing.map { $0.size == header.size } : nil
    }
}

extension ChainProblem.Kind {
    /// The word for it in JSON.
    var name: String {
        switch self {
        case .mtime: "mtime"
        case .size: "size"
        case .truncated: "truncated"
        case .missing: "missing"
        case .unreadable: "unreadable"
        case .invalid: "invalid"
        case .confined: "confined"
        case .locked: "locked"
        }
    }
}
