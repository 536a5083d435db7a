package import DiskImages
internal import ImageFormats
internal import Linux
package import SystemPackage
internal import TransportArchive

/// What is to be served: a file, and how it is opened.
package struct ServingOptions: Sendable {
    package let file: FilePath
    /// Of an archive, the image that is meant; nil offers all of them.
    package var image: String?
    package var format: ImageFormat?
    package var backingFormat: ImageFormat?
    package var location: BackingLocation
    /// Folders with archives that others stand on.
    package var archives: [FilePath] = []
    package var ignoreMtime = false
    package var forceShare = false
    /// Bytes of decoded frames that are kept.
    package var cache: UInt64 = ServingOptions.usualCache

    /// What is kept of decoded frames, unless somebody says otherwise.
    package static let usualCache: UInt64 = 16 << 20

    package init(file: FilePath, location: BackingLocation) { (self.file, self.location) = (file, location) }
}

/// An image, or an archive with its images, opened to be served.
package final class ServedFile: Sendable {
    /// A disk that a client may choose by its name.
    package struct Export: Equatable, Sendable {
        package let name: String
        package let description: String
    }

    private enum Content {
        case disk(ServedDisk, Export)
        case archive(ArchiveFile)
    }

    private let content: Content
    /// The disks of an archive that somebody has open.
    private let open = Locked([FilePath: Weak]())

    private struct Weak { weak var disk: ServedDisk? }

    /// Opens everything that can be opened now. Throws what is wrong with the image, or with the
    /// archive and those it stands on.
    package init(_ options: ServingOptions) throws {
        let ancestors = AncestorSearch(
            in: options.archives, allowedBy: options.location, keepingIn: ArchiveCache(frames: options.cache))
        if options.format == nil, let archive = try ServedFile.archive(options, ancestors) {
            guard let image = options.image else {
                content = .archive(archive)
                return
            }
            let chain = try archive.chain(called: image)
            content = .disk(
                ServedDisk(chain, isChecked: false), Export(name: image, description: chain.top.layoutName))
            return
        }
        guard options.image == nil else {
            throw DiskImageError(.badData, options.file, "is no archive: it holds no image with a name")
        }
        var chainOptions = ChainOptions(
            format: options.format, backingFormat: options.backingFormat, location: options.location,
            ignoreMtime: options.ignoreMtime, forceShare: options.forceShare)
        chainOptions.archived = { try ArchivedImage.open($0, ancestors, options.location) }
        let chain = try ImageChain.open(options.file, chainOptions)
        content = .disk(
            ServedDisk(chain, isChecked: chain.top.content.archived == nil && !options.forceShare),
            Export(name: "", description: chain.top.layoutName))
    }

    /// What clients may choose from. Of one disk alone the name does not matter.
    package var exports: [Export] {
        switch content {
        case .disk(_, let export): [export]
        case .archive(let archive):
            archive.header.layers.filter(\.image).flatMap { layer in
                layer.names.map { Export(name: $0, description: layer.layout) }
            }
        }
    }

    /// What a client gets that names nothing; nil where it must.
    package var defaultExport: String? {
        let exports = exports
        return exports.count == 1 ? exports[0].name : nil
    }

    /// The disk called `name`, as `drover list` prints it, or its last component.
    package func disk(called name: String) throws -> ServedDisk {
        switch content {
        case .disk(let disk, _): return disk
        case .archive(let archive):
            guard let name = name.isEmpty ? defaultExport : name else {
                throw DiskImageError(
                    .unavailable, archive.file.path, "holds several images (choose one by its export name)")
            }
            let chain = try archive.chain(called: name)
            // Whoever opens the same disk at once shares its walks.
            return open.withLock { open in
                if let disk = open[chain.top.path]?.disk { return disk }
                open = open.filter { $0.value.disk != nil }
                let disk = ServedDisk(chain, isChecked: false)
                open[chain.top.path] = Weak(disk: disk)
                return disk
            }
        }
    }

    /// The archive that the file is as a whole; nil where it is none.
    private static func archive(_ options: ServingOptions, _ ancestors: AncestorSearch) throws -> ArchiveFile?
    {
        guard let file = try ArchiveAddress.archive(at: options.file, allowedBy: options.location) else {
            return nil
        }
        let archive = try ArchiveFile(file, ancestors)
        // What is missing is said before anybody connects.
        try archive.openAncestors(of: archive.header.layers.indices)
        return archive
    }
}
