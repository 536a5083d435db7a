internal import Glibc
internal import Linux
package import SystemPackage

/// A folder that is held open, outside of which nothing is opened or made. Links below it may lead
/// about within it: a path is resolved and checked, and then gone again from the folder that is
/// held, through no link. Where one was swapped in meanwhile that is an error.
package struct Confinement: Sendable {
    /// Absolute, links resolved.
    package let path: FilePath
    private let folder: Folder

    /// Throws `unavailable` where there is no such folder.
    package init(at path: FilePath) throws {
        self.path = try resolved(path)
        folder = try Folder(at: self.path)
        guard folder.exists else { throw DiskImageError(.unavailable, path, "is no folder") }
    }

    /// Whether `real`, a path without links, lies in it.
    package func contains(_ real: FilePath) -> Bool { real.starts(with: path) }

    /// Opens what lies at `real`, a path without links that it contains; messages call it `name`.
    func open(_ real: FilePath, called name: FilePath, synchronizing: Bool = false) throws -> ImageFile {
        let below = names(of: real)
        guard let last = below.last else {
            throw DiskImageError(.badData, name, "is a directory; expected a regular file or a block device")
        }
        do {
            if let parent = try folder.descend(below.dropLast(), makes: false) {
                return try ImageFile(
                    opening: FilePlace(folder: parent, name: last, path: name), synchronizing: synchronizing)
            }
        } catch let error as DiskImageError where error.kind == .target {
            throw DiskImageError(.unavailable, name, "cannot be opened: \(error.path) \(error.fact)")
        }
        throw DiskImageError(
            .unavailable, name,
            "cannot be opened: its folder was moved meanwhile (run the same command again)")
    }

    /// Where `target`, an absolute path, leads to, links followed, whether or not there is a file.
    /// `makes` makes the folders that are missing. Throws `target` where that is outside.
    package func place(following target: FilePath, makes: Bool) throws -> FilePlace {
        var path = target
        for _ in 0..<40 {
            let name = try FilePlace.name(of: path)
            let parent = path.removingLastComponent()
            let real = try Confinement.real(parent)
            guard contains(real) else {
                throw DiskImageError(
                    .target, target,
                    "lies at \(real.appending(name)), outside of \(self.path) (a link leads there; remove it)"
                )
            }
            let folder = try folder.descend(names(of: real), makes: makes) ?? Folder(missing: real)
            let place = FilePlace(folder: folder, name: name, path: path)
            guard let link = try place.link() else { return place }
            path = link.isAbsolute ? link : parent.pushing(link)
        }
        throw DiskImageError(.target, target, "leads through too many symbolic links")
    }

    private func names(of real: FilePath) -> [FilePath.Component] {
        Array(real.components.dropFirst(path.components.count))
    }

    /// `folder` without links; in what is not there yet are none.
    private static func real(_ folder: FilePath) throws -> FilePath {
        do {
            return try resolved(folder)
        } catch {
            guard let last = folder.lastComponent, last.kind == .regular else { throw error }
            return try real(folder.removingLastComponent()).appending(last)
        }
    }
}
