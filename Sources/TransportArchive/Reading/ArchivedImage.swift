package import DiskImages
internal import Glibc
internal import Linux
package import SystemPackage

/// `ARCHIVE::NAME`: an image in an archive, wherever an image is read.
package enum ArchivedImage {
    /// The archive and the name that `path` means: a file of exactly that name is meant first, else
    /// it is split at the first `::` whose left side is a regular file that begins as an archive.
    /// nil where there is no such.
    package static func parts(of path: FilePath) throws -> (archive: FilePath, name: String)? {
        try split(path).map { ($0.archive.path, $0.name) }
    }

    private static func split(_ path: FilePath) throws -> (archive: ImageFile, name: String)? {
        let splits = ArchiveAddress.splits(of: path)
        guard !splits.isEmpty else { return nil }
        let isRemote = ArchiveAddress.isRemote(path)
        guard try isRemote || ImageFile.identity(at: path) == nil else { return nil }
        let bytes = path.pathBytes
        for start in splits {
            let archive = FilePath(bytes: Array(bytes[..<start]))
            guard try isRemote || ImageFile.identity(at: archive)?.isRegular == true else { continue }
            let file = try ArchiveAddress.open(archive)
            guard try FrameFormat.reading(ByteStream(file)) != nil else { continue }
            return (file, String(decoding: bytes[(start + 2)...], as: UTF8.self))
        }
        return nil
    }

    /// Throws `badData` where `path` means an image in an archive, which no header can name.
    @Sendable
    package static func refuse(_ path: FilePath) throws -> ImageChain? {
        guard let (archive, name) = try parts(of: path) else { return nil }
        throw DiskImageError(
            .badData, path, "is \(name) in the archive \(archive), which is only read (unpack it first)")
    }

    /// The chain of the image that `path` means; nil where it means a file. Throws `unavailable`
    /// where the archive has no such image, or one that it stands on is missing; `confined` where
    /// `location` does not allow to open it.
    package static func open(_ path: FilePath, _ ancestors: AncestorSearch, _ location: BackingLocation)
        throws
        -> ImageChain?
    {
        if ArchiveAddress.isRemote(path) { try ArchiveAddress.check(path, allowedBy: location) }
        guard let (archive, name) = try split(path) else {
            guard !ArchiveAddress.isRemote(path) else {
                throw DiskImageError(
                    .badData, path,
                    "is an address, and what lies elsewhere is read of archives alone (ARCHIVE::NAME)")
            }
            return nil
        }
        // One that is confined is opened from the folder that is held.
        let file = location.isConfined ? try ArchiveAddress.open(archive.path, allowedBy: location) : archive
        return try ArchiveFile(file, ancestors).chain(called: name)
    }
}

extension ArchiveFile {
    /// The chain of the image that a user calls `name`. Throws `unavailable` where there is no such
    /// image, or one that it stands on is missing.
    package func chain(called name: String) throws -> ImageChain {
        let (layer, name) = try ArchiveNames(header).one(called: name, in: file.path)
        try openAncestors(of: header.chain(of: layer))
        return try chain(of: layer, called: name)
    }

    /// The chain of `layer`, to be read from the archive; `name` is one of its names, nil the
    /// first.
    package func chain(of layer: Int, called name: String? = nil) throws -> ImageChain {
        ImageChain(
            layers: try header.chain(of: layer).enumerated().map { depth, index in
                let name = depth == 0 ? name ?? header.layers[index].name : header.layers[index].name
                return ImageLayer(
                    file: try file.called(FilePath("\(file.path)::\(name)")),
                    content: ArchivedContent(archive: self, layer: index))
            })
    }

    /// The chains of all images of the archive, one for each of their names.
    package func images() throws -> [ImageChain] {
        try header.layers.indices.filter { header.layers[$0].image }.flatMap { layer in
            try header.layers[layer].names.map { try chain(of: layer, called: $0) }
        }
    }
}

/// The layers of an archive by the names that a user has for them. By bytes: a String takes names
/// for equal that only look the same.
package struct ArchiveNames {
    /// What a name means.
    package enum Found {
        /// A layer, and its full name.
        case one(layer: Int, name: String)
        /// A last component of so many.
        case several(Int)
        case none
    }

    private let header: ArchiveHeader
    private var byName: [[UInt8]: (layer: Int, name: String)] = [:]
    private var byLastComponent: [[UInt8]: [(layer: Int, name: String)]] = [:]

    package init(_ header: ArchiveHeader) {
        self.header = header
        for (index, layer) in header.layers.enumerated() {
            for name in layer.names {
                byName[Array(name.utf8)] = (index, name)
                byLastComponent[ArchiveName.lastComponent(of: name), default: []].append((index, name))
            }
        }
    }

    /// The images that a shell's pattern matches, by their whole names, or, where it has no `/`, by
    /// the last components of those.
    package func matching(_ pattern: String) -> [(layer: Int, name: String)] {
        header.layers.enumerated().filter(\.element.image).flatMap { index, layer in
            layer.names.filter {
                ArchiveNames.matches(pattern, $0)
                    || !pattern.utf8.contains(UInt8(ascii: "/"))
                        && ArchiveNames.matches(
                            pattern, String(decoding: ArchiveName.lastComponent(of: $0), as: UTF8.self))
            }.map { (index, $0) }
        }
    }

    private static func matches(_ pattern: String, _ name: String) -> Bool {
        fnmatch(pattern, name, FNM_PATHNAME) == 0
    }

    /// The layers that `names` mean: full names, last components that are unique, or patterns; each
    /// once. Throws `unavailable` where one means nothing, or several.
    package func all(meantBy names: [String], in archive: FilePath) throws -> [(layer: Int, name: String)] {
        var seen: Set<[UInt8]> = []
        return try names.flatMap { name in
            let matches =
                if case .none = find(name) { matching(name) } else { [(layer: Int, name: String)]() }
            return try matches.isEmpty ? [one(called: name, in: archive)] : matches
        }.filter { seen.insert(Array($0.name.utf8)).inserted }
    }

    /// The layer that `name` means. Throws as above.
    func one(called name: String, in archive: FilePath) throws -> (layer: Int, name: String) {
        switch find(name) {
        case .one(let layer, let name): return (layer, name)
        case .several(let count):
            throw DiskImageError(
                .unavailable, archive,
                "\(name) is the name of \(count) images (give the full name, as drover list prints it)")
        case .none:
            throw DiskImageError(
                .unavailable, archive, "holds no image \(name) (drover list names them)",
                cause: .noSuchFileOrDirectory)
        }
    }

    /// A full name, or a last component that is unique.
    package func find(_ name: String) -> Found {
        let bytes = Array(name.utf8)
        if let (layer, name) = byName[bytes] { return .one(layer: layer, name: name) }
        let matches = byLastComponent[bytes] ?? []
        guard matches.count <= 1 else { return .several(matches.count) }
        return matches.first.map { .one(layer: $0.layer, name: $0.name) } ?? .none
    }
}
