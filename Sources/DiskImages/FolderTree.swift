internal import Glibc
package import SystemPackage

/// A folder below which files are created by names of somebody else's choice: no link is followed, nothing is touched outside.
package struct FolderTree: Sendable {
    /// Absolute, links resolved.
    package let root: FilePath

    /// Creates `root` where it is missing; its own parent must be there. `followsLink` allows `root` itself to be a symbolic link.
    package init(at root: FilePath, followsLink: Bool = true) throws {
        try FolderTree.create(root)
        if !followsLink, try FolderTree.mode(of: root).map({ $0 & S_IFMT == S_IFLNK }) == true {
            throw DiskImageError(.target, root, "is a symbolic link, which is not followed (remove it)")
        }
        self.root = try resolved(root)
        guard try FolderTree.mode(of: self.root).map({ $0 & S_IFMT == S_IFDIR }) == true else {
            throw DiskImageError(.target, root, "is no folder")
        }
    }

    /// Creates `folder` and what is missing above it, durably. Throws `target` where something else has one of the names.
    package static func make(_ folder: FilePath) throws {
        guard !folder.isEmpty, try mode(following: folder).map({ $0 & S_IFMT == S_IFDIR }) != true else { return }
        let parent = folder.removingLastComponent()
        if parent != folder { try make(parent) }
        try create(folder)
        guard try mode(following: folder).map({ $0 & S_IFMT == S_IFDIR }) == true else {
            throw DiskImageError(.target, folder, "is no folder")
        }
    }

    /// Creates `folder` durably, where nothing has its name.
    private static func create(_ folder: FilePath) throws {
        if folder.withPlatformString({ mkdir($0, 0o777) }) == 0 { return try TargetFile.synchronizeFolder(of: folder) }
        guard errno == EEXIST else { throw DiskImageError.system(folder, "cannot be created", .current, .target) }
    }

    /// Throws `target` where files could not be created in `folder`, or the folder itself in what there is above it.
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
        guard let folder = try mode(of: parent.isEmpty ? "." : parent).map({ _ in try resolved(parent.isEmpty ? "." : parent) }) else {
            throw DiskImageError(.target, root, "cannot be created: the folder that it lies in is missing")
        }
        return folder.appending(last)
    }

    /// The place of `name`, components joined by `/` that were checked; its folders are created. Throws `target` where a link or something else than a
    /// folder is in the way, or where the name itself is taken by a link.
    package func place(for name: String) throws -> FilePath {
        let components = name.utf8.split(separator: UInt8(ascii: "/")).map { String(decoding: $0, as: UTF8.self) }
        var path = root
        for folder in components.dropLast() {
            path = path.pushing(FilePath(folder))
            switch try FolderTree.mode(of: path).map({ $0 & S_IFMT }) {
            case S_IFDIR: break
            case nil:
                try FolderTree.create(path)
            case S_IFLNK: throw DiskImageError(.target, path, "is a symbolic link, which is not followed (remove it)")
            default: throw DiskImageError(.target, path, "is no folder (remove it)")
            }
        }
        path = path.pushing(FilePath(components.last ?? ""))
        if try FolderTree.mode(of: path).map({ $0 & S_IFMT == S_IFLNK }) == true {
            throw DiskImageError(.target, path, "is a symbolic link, which is not followed (remove it)")
        }
        return path
    }

    /// Removes the files called `names` and the folders they leave empty, and the root; what else is there stays.
    package func remove(_ names: [String]) {
        var folders: Set<FilePath> = [root]
        for name in names {
            var path = root.pushing(FilePath(name))
            _ = path.withPlatformString { unlink($0) }
            while path.removeLastComponent(), path != root { folders.insert(path) }
        }
        for folder in folders.sorted(by: { $0.components.count > $1.components.count }) {
            _ = folder.withPlatformString { rmdir($0) }
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
