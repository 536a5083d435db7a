internal import DiskImages
internal import Glibc
internal import ImageFormats
internal import Linux
internal import SystemPackage
internal import TransportArchive

/// A small file or a symbolic link that belongs to the images of an archive and travels with them.
enum Companion: Sendable {
    case file(FilePath, ImageLayer)
    case link(FilePath, text: String, mtime: Timestamp)

    /// The longest file that is taken for a small one, in bytes.
    private static let longest: UInt64 = 16 << 20

    /// Where it lies, absolute.
    var place: FilePath {
        switch self {
        case .file(let place, _): place
        case .link(let place, _, _): place
        }
    }

    var isLink: Bool { if case .link = self { true } else { false } }

    /// Those of an archive, as if it were unpacked beside itself.
    static func all(of archive: ArchiveFile, at path: FilePath) throws -> [Companion] {
        try archive.header.layers.enumerated().filter(\.element.isCompanion).map { index, layer in
            let place = path.removingLastComponent().pushing(FilePath(layer.name))
            return try layer.link.map { .link(place, text: $0, mtime: layer.time) }
                ?? .file(place, archive.chain(of: index).top)
        }
    }

    /// How a header says of a link what it is; nil of a file.
    func described(as name: String) -> ArchiveHeader.Layer? {
        guard case .link(_, let text, let mtime) = self else { return nil }
        let raw = ImageFormat.raw.name
        var described = ArchiveHeader.Layer(
            names: [name], format: FormatDescription(format: raw, layout: raw), size: 0,
            mtime: mtime.description, backing: nil, isImage: false)
        (described.isCompanion, described.link) = (true, text)
        return described
    }

    /// What shell patterns find that count from the first of `folders` in which they find
    /// something, in the order of the names' bytes; folders, Drover's own files and what is in
    /// `taken` are passed over. Throws where one finds nothing, or no small file.
    static func find(_ patterns: [String], below folders: [FilePath], without taken: Set<FilePath>) throws
        -> [Companion]
    {
        var seen = taken
        return try patterns.flatMap { pattern in
            let path = FilePath(pattern)
            guard !path.isAbsolute, !path.components.contains("..") else {
                throw MigrationError(
                    .usage, "\(pattern): leads out of the folder of the images (patterns count from there)")
            }
            var found: [FilePath] = []
            for folder in folders where found.isEmpty { found = try paths(pattern, below: folder) }
            guard !found.isEmpty else {
                throw DiskImageError(
                    .unavailable, folders[0], "nothing there matches \(pattern)",
                    cause: .noSuchFileOrDirectory)
            }
            return try found.filter { seen.insert($0).inserted }.compactMap(Companion.init(at:))
        }
    }

    private static func paths(_ pattern: String, below folder: FilePath) throws -> [FilePath] {
        var whole = ""
        for character in folder.string {
            if "*?[]\\".contains(character) { whole.append("\\") }
            whole.append(character)
        }
        var found = glob_t()
        defer { globfree(&found) }
        switch glob(whole + "/" + pattern, GLOB_NOSORT, nil, &found) {
        case 0: break
        case GLOB_NOMATCH: return []
        default: throw MigrationError(.io, "\(folder): cannot be searched for \(pattern)")
        }
        return (0..<Int(found.gl_pathc)).compactMap {
            found.gl_pathv[$0].map { FilePath(platformString: $0) }
        }
        .sorted { $0.pathBytes.lexicographicallyPrecedes($1.pathBytes) }
    }

    /// nil where `path` is none.
    private init?(at path: FilePath) throws {
        let name = path.lastComponent?.string ?? ""
        guard !name.hasSuffix(".manifest"), !name.hasSuffix(".partial"), !name.hasSuffix(".journal") else {
            return nil
        }
        let place = try FilePlace(at: path)
        if let link = try place.linkAsWritten() {
            self = .link(path, text: link.text, mtime: link.mtime)
            return
        }
        guard let identity = try place.identity(), !identity.isDirectory else { return nil }
        guard identity.isRegular, identity.size <= Companion.longest else {
            throw MigrationError(
                .badData,
                "\(path): is no file of at most \(Companion.longest >> 20) MiB, as those are that travel with images"
            )
        }
        self = .file(path, try ImageLayer(ImageFile(opening: place), as: .raw))
    }
}

extension PlannedLayer {
    /// A file that travels with the images; nil of a link.
    init?(_ companion: Companion) {
        guard case .file(let place, let layer) = companion else { return nil }
        self.init(
            place: place,
            source: PackSource(chain: ImageChain(layers: [layer]), holding: .everything(marks: false)),
            format: layer.content.restored, size: layer.size, backing: nil)
        isCompanion = true
    }
}
