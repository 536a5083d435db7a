internal import DiskImages
internal import SystemPackage
internal import TransportArchive

/// The names by which one file was asked for. Each of them is to be in the archive, also where they
/// are links to one another.
struct AskedNames {
    private struct Name {
        /// Absolute, as it was given.
        let given: FilePath
        /// Links resolved.
        let resolved: FilePath
        /// The folder's links resolved, the name's own not.
        let own: FilePath

        init(_ path: FilePath, _ file: ImageFile) throws {
            if let place = try AskedNames.place(path) {
                (given, resolved, own) = (place, place, place)
                return
            }
            given = path.absolute
            resolved = try file.path == path ? file.resolvedPath() : DiskImages.resolved(path)
            if given == resolved {
                own = given
                return
            }
            let folder = given.removingLastComponent()
            own = try given.lastComponent.map { try DiskImages.resolved(folder).appending($0) } ?? resolved
        }
    }

    /// Where an image in an archive would lie if it were unpacked beside that; nil of a file.
    static func place(_ path: FilePath) throws -> FilePath? {
        try ArchivedImage.parts(of: path).map {
            try DiskImages.resolved($0.archive).removingLastComponent().pushing(FilePath($0.name))
        }
    }

    private var names: [Name] = []
    private var given: Set<FilePath> = []

    var isEmpty: Bool { names.isEmpty }

    /// Adds the name `path` of what was opened by it: `file`.
    mutating func add(_ path: FilePath, of file: ImageFile) throws {
        let name = try Name(path, file)
        if given.insert(name.given).inserted { names.append(name) }
    }

    /// A place for each name, in the order of asking. A symbolic link stands for the file that it
    /// leads to, as long as it is the only name for that; of several, each stands for itself.
    func places() -> [FilePath] {
        let counts = Dictionary(names.map { ($0.resolved, 1) }, uniquingKeysWith: +)
        var taken: Set<FilePath> = []
        return names.map { name in
            let place = counts[name.resolved] == 1 ? name.resolved : name.own
            // Through a folder that is a link, one directory entry has two names.
            return taken.insert(place).inserted ? place : name.given
        }
    }
}
