internal import Glibc
internal import Linux
package import SystemPackage

/// A folder below which files are created by names of somebody else's choice: it is held open, no
/// link is followed, nothing is touched outside.
package struct FolderTree: Sendable {
    /// Absolute, links resolved.
    package let root: FilePath
    private let folder: Folder

    /// Creates `root`, which may be a link, where it is missing; its own parent must be there.
    package init(at root: FilePath) throws {
        try FolderTree.create(root)
        self.root = try resolved(root)
        folder = try Folder(at: self.root)
        guard folder.exists else { throw DiskImageError(.target, root, "is no folder") }
    }

    /// Creates the folder called `name` in that of `tree`, where it is missing; it must be no link.
    package init(_ name: FilePath.Component, in tree: FolderTree) throws {
        root = tree.root.appending(name)
        folder = try tree.folder.descend([name], makes: true) ?? Folder(missing: root)
    }

    /// Creates `folder` and what is missing above it, durably. Throws `target` where something else
    /// has one of the names.
    package static func make(_ folder: FilePath) throws {
        guard !folder.isEmpty, try mode(following: folder).map({ $0 & S_IFMT == S_IFDIR }) != true else {
            return
        }
        let parent = folder.removingLastComponent()
        if parent != folder { try make(parent) }
        try create(folder)
        guard try mode(following: folder).map({ $0 & S_IFMT == S_IFDIR }) == true else {
            throw DiskImageError(.target, folder, "is no folder")
        }
    }

    /// Creates `folder` where nothing has its name, and makes that durable; where something has, an
    /// earlier run may have died before it did.
    private static func create(_ folder: FilePath) throws {
        guard folder.withPlatformString({ mkdir($0, 0o777) }) == 0 || errno == EEXIST else {
            throw DiskImageError.system(folder, "cannot be created", .current, .target)
        }
        try TargetFile.synchronizeFolder(of: folder)
    }

    /// Throws `target` where files could not be created in `folder`, or the folder itself in what
    /// there is above it.
    package static func checkWritable(_ folder: FilePath) throws {
        var place = folder.isEmpty ? "." : folder
        while try mode(of: place) == nil, place.removeLastComponent(), !place.isEmpty {}
        if place.isEmpty { place = "." }
        guard try mode(following: place).map({ $0 & S_IFMT == S_IFDIR }) == true else {
            throw DiskImageError(.target, place, "is no folder")
        }
        guard place.withPlatformString({ access($0, W_OK | X_OK) }) == 0 else {
            throw DiskImageError.system(place, "cannot be written to", .current, .target)
        }
    }

    private static func mode(following path: FilePath) throws -> mode_t? {
        var status = stat()
        guard path.withPlatformString({ stat($0, &status) }) == 0 else {
            if [ENOENT, ENOTDIR].contains(errno) { return nil }
            throw DiskImageError.system(path, "cannot be examined", .current, .target)
        }
        return status.st_mode
    }

    /// The `root` that a tree at `root` has, also where the folder is still to be created.
    package static func path(of root: FilePath) throws -> FilePath {
        if try mode(of: root) != nil { return try resolved(root) }
        guard let last = root.lastComponent, last.kind == .regular else { return try resolved(root) }
        let parent = root.removingLastComponent()
        guard
            let folder = try mode(of: parent.isEmpty ? "." : parent).map({ _ in
                try resolved(parent.isEmpty ? "." : parent)
            })
        else {
            throw DiskImageError(.target, root, "cannot be created: the folder that it lies in is missing")
        }
        return folder.appending(last)
    }

    /// The place of `name`, components joined by `/` that were checked; its folders are created.
    /// Throws `target` where a link or something else than a folder is in the way, or where the
    /// name itself is taken by a link.
    package func place(for name: String) throws -> FilePlace {
        let place = try linkPlace(for: name)
        if try place.isLink() {
            throw DiskImageError(.target, place.path, "is a symbolic link, which is not followed (remove it)")
        }
        return place
    }

    /// The same of a name that may be taken by a link, which is not followed.
    package func linkPlace(for name: String) throws -> FilePlace {
        let path = FilePath(name)
        let parent = try folder.descend(path.components.dropLast(), makes: true)
        guard let parent, let last = path.lastComponent else {
            throw DiskImageError(.target, root.pushing(path), "is no name for a file")
        }
        return parent.place(of: last)
    }

    /// Removes the files called `names` and the folders they leave empty, and the root from `tree`;
    /// what else is there stays.
    package func remove(_ names: [String], from tree: FolderTree) {
        var folders: Set<FilePath> = []
        for name in names {
            var path = FilePath(name)
            if let place = existing(path) { place.remove() }
            while path.removeLastComponent(), !path.isEmpty { folders.insert(path) }
        }
        for folder in folders.sorted(by: { $0.components.count > $1.components.count }) {
            existing(folder)?.removeFolder()
        }
        if let name = root.lastComponent { tree.folder.place(of: name).removeFolder() }
    }

    /// The place of what is called `path`; nil where there is no such folder, or a link leads
    /// there: that is not ours to remove.
    private func existing(_ path: FilePath) -> FilePlace? {
        guard let last = path.lastComponent else { return nil }
        do {
            return try folder.descend(path.components.dropLast(), makes: false)?.place(of: last)
        } catch {
            return nil
        }
    }

    private static func mode(of path: FilePath) throws -> mode_t? {
        var status = stat()
        guard path.withPlatformString({ lstat($0, &status) }) == 0 else {
            if [ENOENT, ENOTDIR].contains(errno) { return nil }
            throw DiskImageError.system(path, "cannot be examined", .current, .target)
        }
        return status.st_mode
    }
}
