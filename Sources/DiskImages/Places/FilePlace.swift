internal import CLinux
internal import Glibc
internal import Linux
package import SystemPackage

/// A name in a folder that is held open: what is looked at, made and renamed there stays in that
/// folder. No link that has the name is followed.
package struct FilePlace: Sendable {
    package let folder: Folder
    package let name: FilePath.Component
    /// What messages and manifests call it.
    package let path: FilePath

    /// The place of `name` in `folder`; `path` where it is called otherwise than the two say.
    init(folder: Folder, name: FilePath.Component, path: FilePath? = nil) {
        self.folder = folder
        self.name = name
        self.path = path ?? folder.path.appending(name)
    }

    /// The place called `path`; links in the names of folders are followed. Throws `target` where
    /// it is no name for a file.
    package init(at path: FilePath) throws {
        self.init(folder: try Folder(at: path.removingLastComponent()), name: try FilePlace.name(of: path))
    }

    /// The place that the link `path`, seen from `folder`, leads to.
    private init(at path: FilePath, from folder: Folder) throws {
        let parent = path.removingLastComponent()
        self.init(
            folder: path.isAbsolute
                ? try Folder(at: parent) : parent.isEmpty ? folder : try Folder(at: parent, from: folder),
            name: try FilePlace.name(of: path))
    }

    /// The place called `path`, where a symbolic link that has the name leads to, whether or not
    /// there is a file.
    package init(following path: FilePath) throws {
        var place = try FilePlace(at: path)
        for _ in 0..<40 {
            guard let link = try place.link() else {
                self = place
                return
            }
            place = try FilePlace(at: link, from: place.folder)
        }
        throw DiskImageError(.target, path, "leads through too many symbolic links")
    }

    static func name(of path: FilePath) throws -> FilePath.Component {
        guard let last = path.lastComponent, last.kind == .regular else {
            guard path.namesFolder else { throw DiskImageError(.target, path, "is no name for a file") }
            let folder = path.removingLastComponent()
            let isFolder = try ImageFile.identity(at: folder)?.isDirectory == true
            throw DiskImageError(
                .target, folder,
                "\(folder)/ \(isFolder ? "is a folder (name a file in it)" : "is no folder (make it, or name a file)")"
            )
        }
        return last
    }

    /// The name with `suffix` at its end, in the same folder.
    package func withSuffix(_ suffix: String) -> FilePlace {
        // A suffix without a slash is part of the last component.
        FilePlace(
            folder: folder, name: FilePath(root: nil, [name]).withSuffix(suffix).lastComponent ?? name,
            path: path.withSuffix(suffix))
    }

    /// The present state of what has the name, or nil where nothing has. Throws `target` where that
    /// cannot be found out.
    package func identity() throws -> FileIdentity? {
        try status().map { FileIdentity($0, size: UInt64(max(0, $0.st_size))) }
    }

    /// The same of the file that a link with the name leads to.
    package func linkedIdentity() throws -> FileIdentity? {
        try isLink() ? try ImageFile.identity(at: FilePlace(following: path).path) : try identity()
    }

    package func isLink() throws -> Bool { try status().map { $0.st_mode & S_IFMT == S_IFLNK } ?? false }

    func status() throws -> stat? {
        guard folder.exists else { return nil }
        var status = stat()
        guard name.withPlatformString({ fstatat(folder.descriptor, $0, &status, AT_SYMLINK_NOFOLLOW) }) == 0
        else {
            if [ENOENT, ENOTDIR].contains(errno) { return nil }
            throw DiskImageError.system(path, "cannot be examined", .current, .target)
        }
        return status
    }

    /// Where the symbolic link that has the name leads; nil where it is none.
    func link() throws -> FilePath? {
        guard try isLink() else { return nil }
        var buffer = [CChar](repeating: 0, count: Int(PATH_MAX) + 1)
        let count = name.withPlatformString { readlinkat(folder.descriptor, $0, &buffer, Int(PATH_MAX)) }
        guard count >= 0 else { throw DiskImageError.system(path, "cannot be followed", .current, .target) }
        return FilePath(file: buffer[..<count].map { UInt8(bitPattern: $0) })
    }

    /// Opens what has the name, with `O_NOFOLLOW`; -1 and errno where that fails.
    func open(_ flags: CInt, mode: UInt32 = 0) -> CInt {
        name.withPlatformString { clinux_open_at(folder.descriptor, $0, flags | O_NOFOLLOW, mode) }
    }

    /// Opens what has the name to ask for what it is, whether or not it may be read; -1 and errno
    /// where that fails.
    func openUnread() -> CInt { name.withPlatformString { clinux_open_unread(folder.descriptor, $0) } }

    /// Makes the file that has the name, and the name, durable.
    package func synchronize() throws {
        let descriptor = open(O_RDONLY | O_NONBLOCK)
        guard descriptor >= 0 else { throw DiskImageError.system(path, "cannot be opened") }
        defer { close(descriptor) }
        guard retried({ fsync(descriptor) }) == 0 || errno == EROFS else {
            throw DiskImageError.system(path, "syncing to disk")
        }
        try folder.synchronize()
    }

    /// What `descriptor`, which was opened to be written to, is. Throws `target` where it is no
    /// regular file, or one that has other names as well.
    @discardableResult
    func checkIsOnlyName(of descriptor: CInt) throws -> FileIdentity {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else {
            throw DiskImageError.system(path, "cannot be examined", .current, .target)
        }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw DiskImageError(.target, path, "exists and is no regular file (remove it)")
        }
        guard status.st_nlink < 2 else {
            throw DiskImageError(
                .target, path,
                "has another name, under which its content is not to be written over (remove it)")
        }
        return FileIdentity(status, size: UInt64(max(0, status.st_size)))
    }

    /// Removes the file that has the name; false and errno where that fails.
    @discardableResult
    package func remove() -> Bool { name.withPlatformString { unlinkat(folder.descriptor, $0, 0) } == 0 }

    /// Removes the folder that has the name, where it is empty.
    func removeFolder() { _ = name.withPlatformString { unlinkat(folder.descriptor, $0, AT_REMOVEDIR) } }

    /// Gives what has this name the name of `other`, in the same folder. `replaces` allows a file
    /// to have that.
    func rename(to other: FilePlace, replaces: Bool) -> Bool {
        name.withPlatformString { from in
            other.name.withPlatformString { to in
                replaces
                    ? renameat(folder.descriptor, from, other.folder.descriptor, to) == 0
                    : clinux_rename_new(folder.descriptor, from, to) == 0
            }
        }
    }
}

extension FilePath {
    /// The path of a file as somebody gave it. A slash at the end, which a path does not keep, says
    /// that it is to be a folder: `NAME/.`.
    package init(file bytes: [UInt8]) {
        let path = FilePath(bytes: bytes)
        self = bytes.last == UInt8(ascii: "/") && path.lastComponent != nil ? path.appending(".") : path
    }

    /// Whether it can only be the name of a folder.
    fileprivate var namesFolder: Bool { lastComponent?.kind == .currentDirectory && components.count > 1 }
}
