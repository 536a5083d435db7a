internal import CLinux
internal import Glibc
internal import Linux
package import SystemPackage

/// A folder that is held open: names are looked up in this very folder, whatever its path means by
/// then.
///
/// It may be missing: then nothing is found in it, and nothing can be made.
package final class Folder: Sendable {
    /// What messages call it; empty for the current one.
    package let path: FilePath
    /// Only good for looking up names (O_PATH): a folder need not be readable. -1 where it is
    /// missing.
    let descriptor: CInt
    /// Why it is missing.
    private let missing: Errno?

    /// The folder called `path`, links followed. Throws `target` where it may not be looked into.
    package convenience init(at path: FilePath) throws {
        try self.init(path, path, in: AT_FDCWD)
    }

    /// The folder that `path`, seen from `folder`, means; links are followed.
    convenience init(at path: FilePath, from folder: Folder) throws {
        try self.init(folder.path.pushing(path), path, in: folder.descriptor)
    }

    private init(_ path: FilePath, _ name: FilePath, in folder: CInt) throws {
        let found = (name.isEmpty ? "." : name).withPlatformString { clinux_open_folder(folder, $0, 1) }
        let error = Errno.current
        guard found >= 0 || [.noSuchFileOrDirectory, .notDirectory].contains(error) else {
            throw DiskImageError.system(path, "cannot be opened", error, .target)
        }
        self.path = path
        descriptor = found
        missing = found < 0 ? error : nil
    }

    private init(_ path: FilePath, holding descriptor: CInt) {
        (self.path, self.descriptor, missing) = (path, descriptor, nil)
    }

    /// One that is not there.
    init(missing path: FilePath) { (self.path, descriptor, missing) = (path, -1, .noSuchFileOrDirectory) }

    deinit { if descriptor >= 0 { close(descriptor) } }

    /// Whether there is such a folder.
    package var exists: Bool { missing == nil }

    /// Throws `target` where there is no such folder, in which `file` is to be made.
    func checkExists(for file: FilePlace) throws {
        if let missing { throw DiskImageError.system(file.path, "cannot be created", missing, .target) }
    }

    /// The place of `name` in it.
    package func place(of name: FilePath.Component) -> FilePlace { FilePlace(folder: self, name: name) }

    /// The folder called `name` in it, which must be one itself and no link; nil where nothing has
    /// the name. `makes` makes it then, durably.
    func folder(_ name: FilePath.Component, makes: Bool) throws -> Folder? {
        let path = path.appending(name)
        guard name.kind == .regular else { throw DiskImageError(.target, path, "is no name for a folder") }
        while true {
            let found = name.withPlatformString { clinux_open_folder(descriptor, $0, 0) }
            if found >= 0 { return Folder(path, holding: found) }
            switch Errno.current {
            case .noSuchFileOrDirectory where !makes: return nil
            case .noSuchFileOrDirectory:
                if name.withPlatformString({ mkdirat(descriptor, $0, 0o777) }) != 0, errno != EEXIST {
                    throw DiskImageError.system(path, "cannot be created", .current, .target)
                }
                try synchronize()
            case .notDirectory, .tooManySymbolicLinkLevels:
                guard try place(of: name).isLink() else {
                    throw DiskImageError(.target, path, "is no folder (remove it)")
                }
                throw DiskImageError(.target, path, "is a symbolic link, which is not followed (remove it)")
            case let error: throw DiskImageError.system(path, "cannot be opened", error, .target)
            }
        }
    }

    /// The folder at the end of `names`, each of which is looked up in the one before it and must
    /// be no link; nil where one is missing.
    func descend<Names: Sequence<FilePath.Component>>(_ names: Names, makes: Bool) throws -> Folder? {
        var folder = self
        for name in names {
            guard let next = try folder.folder(name, makes: makes) else { return nil }
            folder = next
        }
        return folder
    }

    /// Makes the names in it durable.
    package func synchronize() throws {
        // A descriptor that only looks up names cannot be synced.
        let descriptor = clinux_open_at(descriptor, ".", O_RDONLY | O_DIRECTORY, 0)
        guard descriptor >= 0 else {
            throw DiskImageError.system(path.isEmpty ? "." : path, "cannot be opened")
        }
        defer { close(descriptor) }
        // Some file systems do not sync folders, and say so; on one that is only read nothing can
        // be lost.
        guard retried({ fsync(descriptor) }) == 0 || [EINVAL, EROFS].contains(errno) else {
            throw DiskImageError.system(path.isEmpty ? "." : path, "syncing to disk")
        }
    }

    /// Its present state.
    func identity() throws -> FileIdentity {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else {
            throw DiskImageError.system(path, "cannot be examined", .current, .target)
        }
        return FileIdentity(status, size: 0)
    }

    /// Whether it lies among devices or on a file system that has something else than ordinary
    /// files: no target is ever made there. What is mounted below /dev for ordinary files, as
    /// /dev/shm is, is fine.
    package func isOfDevices() throws -> Bool {
        guard exists else { return false }
        switch clinux_holds_no_files(descriptor) {
        case 0: break
        case 1: return true
        default: throw DiskImageError.system(path, "cannot be examined", .current, .target)
        }
        guard let devices = try ImageFile.identity(at: "/dev"), try identity().device == devices.device else {
            return false
        }
        // One file system for all of them: wherever it is mounted. Else /dev is a folder like
        // others, and its path decides.
        if try ImageFile.identity(at: "/")?.device != devices.device { return true }
        return try resolved(path.isEmpty ? "." : path).starts(with: "/dev")
    }
}
