internal import DiskImages
internal import Linux
package import SystemPackage

/// What an archive holds, from its header and its index: no payload is read.
package struct ArchiveListing: Encodable, Equatable, Sendable {
    /// One layer, by one of its names. Sizes in bytes.
    package struct Layer: Encodable, Equatable, Sendable {
        package let name: String
        package let image: Bool
        package let layout: String
        package let virtualSize: UInt64
        /// Guest bytes that are data, wherever they lie, and that are allocated zeros.
        package let data: UInt64
        package let zeros: UInt64
        /// What of the data lies in layers before it, and in the archive that this one stands on.
        package let shared: UInt64
        package let inherited: UInt64
        /// What the rest takes in the archive.
        package let stored: UInt64
        package let backing: String?
        /// The name under which its data is counted, where this is a further one.
        package let sameAs: String?
        package let mtime: String
        /// Whether it is a small file or a link that travels with the images; where that leads.
        package let with: Bool
        package let link: String?
    }

    package let archive: String
    package let id: String
    package let formatVersion: Int
    package let compression: String
    package let flattened: Bool
    package let size: UInt64
    /// What it holds, however it is stored.
    package let state: String
    /// The archive that it stands on; nil where it can be restored alone.
    package let parent: ArchiveHeader.Parent?
    /// The archives of its line that are there, as far as the first that is missing.
    package let line: [String]
    /// What keeps it from being restored; nil where nothing does.
    package let missing: String?
    package let layers: [Layer]

    /// Reads the beginning and the end of `path`. `names` are those that are meant: as they are
    /// listed, last components that are unique, or patterns; none are all. Throws `unavailable`
    /// where one is not there.
    package init(
        _ path: FilePath, _ ancestors: AncestorSearch = AncestorSearch(), names: [String] = []
    ) throws {
        let file = try ArchiveAddress.open(path)
        let reader = try ArchiveReader(ByteStream(file))
        let index = try reader.readIndex(of: file)
        archive = RemoteFile.shown(path)
        id = reader.id.description
        formatVersion = reader.header.version
        compression = reader.header.options.compression
        flattened = reader.header.options.flatten
        size = file.length
        (state, parent) = (index.state, reader.header.parent)
        var (line, missing): ([String], String?) = ([], nil)
        do {
            var next = try ArchiveFile(file, reader, index, ancestors).parent()
            while let archive = next {
                line.append(archive.file.path.description)
                next = try archive.parent()
            }
        } catch let error as DiskImageError {
            missing = error.description
        }
        (self.line, self.missing) = (line, missing)
        let meant =
            names.isEmpty
            ? nil
            : try Set(ArchiveNames(reader.header).all(meantBy: names, in: path).map { Array($0.name.utf8) })
        layers = zip(reader.header.layers, index.layers).flatMap { layer, entry in
            layer.names.enumerated().filter { meant?.contains(Array($0.element.utf8)) ?? true }.map {
                number, name in
                Layer(
                    name: name, image: layer.image, layout: layer.layout, virtualSize: layer.size,
                    data: entry.held, zeros: entry.zeros, shared: entry.shared,
                    inherited: entry.inherited,
                    stored: number > 0 ? 0 : entry.stored,
                    backing: layer.backing.map { reader.header.layers[$0].name },
                    sameAs: number > 0 ? layer.name : nil, mtime: layer.mtime,
                    with: layer.isCompanion, link: layer.link)
            }
        }
    }
}
