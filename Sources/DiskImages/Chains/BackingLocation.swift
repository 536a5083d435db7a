internal import Glibc
internal import Linux
package import SystemPackage

/// Where backing files may lie: headers hold absolute paths, fleets get moved, and a header of an
/// unknown origin may name any file.
package struct BackingLocation: Sendable {
    /// Where a header's path begins with `old`, in whole components, the file lies under `new`.
    package struct Move: Equatable, Sendable {
        package let old: FilePath
        package let new: FilePath

        package init(old: FilePath, new: FilePath) {
            self.old = old
            self.new = new
        }
    }

    /// The moves; the longest `old` that fits wins.
    package var moves: [Move]
    /// Directories in which a backing file is looked for whose path leads nowhere, by its last
    /// component, size and time.
    package var searches: [FilePath]
    /// Directories, held open, outside of which no backing file is opened; nil allows every place.
    private let confinement: [Confinement]?

    /// Whether not every place is allowed.
    package var isConfined: Bool { confinement != nil }

    /// What is said of `image` where `place`, its backing file, cannot be opened: what to do
    /// depends on whether there is such a file.
    static func error(_ error: DiskImageError, opening place: FilePath, of image: FilePath) -> DiskImageError
    {
        let advice: Message =
            error.isMissing ? " (where bases have moved, \(.backingMap) or \(.backingSearch) finds them)" : ""
        return DiskImageError(
            error.kind, image, "backing file \(place) \(error.fact)\(advice)", cause: error.cause)
    }

    /// Throws where a directory of `confinement` is missing.
    package init(
        moves: [Move] = [], searches: [FilePath] = [], confinement: [FilePath]? = nil
    ) throws {
        self.moves = moves
        self.searches = searches
        self.confinement = try confinement?.map(Confinement.init(at:))
    }

    /// The file that `name` in the header of `image` means: moved, absolute or relative to the
    /// image's own folder; allowed or not.
    package func moved(_ name: FilePath, from image: FilePath) -> FilePath {
        let written = name.isAbsolute ? name : image.removingLastComponent().pushing(name)
        let lexical = written.lexicallyNormalized()
        let move = moves.filter { name.starts(with: $0.old) || lexical.starts(with: $0.old) }.max {
            $0.old.components.count < $1.old.components.count
        }
        var place = written
        if let move {
            let moved = name.starts(with: move.old) ? name : lexical
            place = move.new
            place.components.append(contentsOf: moved.components.dropFirst(move.old.components.count))
        }
        return place
    }

    /// As `moved`; and allowed.
    func locate(_ name: FilePath, from image: FilePath) throws -> FilePath {
        let place = moved(name, from: image)
        guard let confinement else { return place }
        let real: FilePath
        do {
            real = try resolved(place)
        } catch let error as DiskImageError {
            throw BackingLocation.error(error, opening: place, of: image)
        }
        _ = try check(real, called: place, of: image, within: confinement)
        return real
    }

    /// Opens the file that `locate` found: with a confinement from the folder that is held, so that
    /// it lies there, whatever its path means by now.
    func open(_ place: FilePath, synchronizing: Bool = false) throws -> ImageFile {
        guard let confinement else { return try ImageFile(opening: place, synchronizing: synchronizing) }
        return try check(place, called: place, of: place, within: confinement).open(
            place, called: place, synchronizing: synchronizing)
    }

    /// Opens a file that was named outright. Throws `confined` where it lies where none may be
    /// opened.
    package func open(named path: FilePath, synchronizing: Bool = false) throws -> ImageFile {
        guard let confinement else { return try ImageFile(opening: path, synchronizing: synchronizing) }
        let real = try resolved(path)
        return try check(real, called: path, of: path, within: confinement).open(
            real, called: path, synchronizing: synchronizing)
    }

    /// Throws `confined` where a backing file that was named outright lies where none may be
    /// opened.
    package func check(named path: FilePath) throws {
        if let confinement { _ = try check(try resolved(path), called: path, of: path, within: confinement) }
    }

    /// The directory in which `real` lies.
    private func check(
        _ real: FilePath, called place: FilePath, of image: FilePath, within confinement: [Confinement]
    ) throws
        -> Confinement
    {
        guard let found = confinement.first(where: { $0.contains(real) }) else {
            throw DiskImageError(
                .confined, image,
                "backing file \(place) lies at \(real), outside of \(confinement.map(\.path.description).joined(separator: ", ")) (\(.confine))"
            )
        }
        return found
    }
}

/// `path` absolute and without links; throws `unavailable` where there is no such file.
package func resolved(_ path: FilePath) throws -> FilePath {
    guard let pointer = path.withPlatformString({ realpath($0, nil) }) else {
        throw DiskImageError.system(path, "cannot be found", .current, .unavailable)
    }
    defer { free(pointer) }
    return FilePath(platformString: pointer)
}
