internal import CLinux
internal import Glibc
package import SystemPackage

/// A file that gets its name only when it is whole: it is written under a staging name beside it, `NAME.partial`, and renamed at the end.
///
/// Writes name their own offset, so that many tasks may write at once, each to its own ranges.
package final class TargetFile: Sendable {
    /// The name it will have; links are resolved.
    package let path: FilePath
    /// The name it has until then.
    package let partialPath: FilePath
    /// Whether no later run can go on with it: it goes away with this object, unless it got its name.
    private let isPassing: Bool
    private let descriptor: CInt
    private let turn = WriteTurn()

    /// The staging name of `path`.
    package static func partialPath(of path: FilePath) -> FilePath { path.withSuffix(".partial") }

    /// Opens the staging file of `path`, with what an earlier run left in it. Throws `target` where it cannot be created or is no regular file.
    package convenience init(staging path: FilePath) throws {
        try self.init(path, TargetFile.partialPath(of: path), isPassing: false)
    }

    /// Creates a staging file of `path` that nobody else has, for what is written at once: no lock keeps others away. `NAME.PID.partial`.
    package convenience init(passing path: FilePath) throws {
        try self.init(path, path.withSuffix(".\(getpid()).partial"), isPassing: true)
    }

    private init(_ path: FilePath, _ partialPath: FilePath, isPassing: Bool) throws {
        // An earlier process of the same number may have left one behind.
        if isPassing { _ = partialPath.withPlatformString { unlink($0) } }
        let flags = O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | (isPassing ? O_EXCL : 0)
        let descriptor = partialPath.withPlatformString { clinux_open($0, flags, 0o600) }
        guard descriptor >= 0 else { throw DiskImageError.system(partialPath, "cannot be created", .current, .target) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            close(descriptor)
            throw DiskImageError(.target, partialPath, "exists and is no regular file (remove it)")
        }
        guard status.st_nlink == 1 else {
            close(descriptor)
            throw DiskImageError(.target, partialPath, "has another name, under which its content is not to be written over (remove it)")
        }
        do {
            // Nobody else reads it before it is known who may.
            try FileAccess.close(descriptor, partialPath)
        } catch {
            close(descriptor)
            throw error
        }
        self.path = path
        self.partialPath = partialPath
        self.isPassing = isPassing
        self.descriptor = descriptor
    }

    deinit {
        close(descriptor)
        if isPassing { _ = partialPath.withPlatformString { unlink($0) } }
    }

    /// Drops what is there and makes the file `length` bytes of hole.
    package func reset(length: UInt64) throws {
        guard retried({ ftruncate(descriptor, 0) }) == 0, retried({ ftruncate(descriptor, off_t(length)) }) == 0 else {
            throw DiskImageError.system(partialPath, "making it \(length) bytes long")
        }
    }

    /// Drops what is behind `length`.
    package func setLength(_ length: UInt64) throws {
        guard retried({ ftruncate(descriptor, off_t(length)) }) == 0 else {
            throw DiskImageError.system(partialPath, "making it \(length) bytes long")
        }
    }

    /// Writes all of `bytes` at `offset`.
    package func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws {
        var done = 0
        while done < bytes.count {
            let count = turn.take { pwrite(descriptor, bytes.baseAddress! + done, bytes.count - done, off_t(offset) + off_t(done)) }
            if count > 0 {
                done += count
            } else if count == 0 {
                throw DiskImageError(.io, partialPath, "writing at offset \(offset) wrote nothing")
            } else if errno != EINTR {
                throw DiskImageError.system(partialPath, "writing \(bytes.count) bytes at offset \(offset)")
            }
        }
    }

    /// Turns `range` back into a hole; where the file system has none, writes zeros.
    package func clear(_ range: Range<UInt64>) throws {
        guard !range.isEmpty else { return }
        if retried({ clinux_punch_hole(descriptor, off_t(range.lowerBound), off_t(range.upperBound - range.lowerBound)) }) == 0 { return }
        guard errno == EOPNOTSUPP || errno == ENOSYS else { throw DiskImageError.system(partialPath, "punching a hole") }
        let zeros = [UInt8](repeating: 0, count: 1 << 20)
        var position = range.lowerBound
        while position < range.upperBound {
            let count = Int(min(UInt64(zeros.count), range.upperBound - position))
            try zeros.withUnsafeBytes { try write(UnsafeRawBufferPointer(rebasing: $0[..<count]), at: position) }
            position += UInt64(count)
        }
    }

    /// Asks the kernel to begin writing `range` to the disk, and does not wait: the sync that follows has less to do.
    package func startWriteback(_ range: Range<UInt64>) {
        _ = clinux_start_writeback(descriptor, off_t(range.lowerBound), off_t(range.upperBound - range.lowerBound))
    }

    /// Returns when all that was written is on the disk.
    package func synchronize() throws {
        guard retried({ fdatasync(descriptor) }) == 0 else { throw DiskImageError.system(partialPath, "syncing to disk") }
    }

    /// Returns when data, length and times are on the disk.
    package func synchronizeWithTimes() throws {
        guard retried({ fsync(descriptor) }) == 0 else { throw DiskImageError.system(partialPath, "syncing to disk") }
    }

    /// Gives the file another one's modification time, to the nanosecond.
    package func setMtime(_ time: Timestamp) throws {
        guard clinux_set_mtime(descriptor, time.seconds, time.nanoseconds) == 0 else {
            throw DiskImageError.system(partialPath, "setting its time")
        }
    }

    /// Gives the file who may read it and whose it is, or, where the process may not give it away, `mode` alone.
    package func setAccess(_ access: FileAccess, orMode mode: UInt32) throws {
        if try !access.give(to: descriptor, partialPath) { try FileAccess.setMode(mode, of: descriptor, partialPath) }
    }

    /// The staging file's present state.
    package func identity() throws -> FileIdentity {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw DiskImageError.system(partialPath, "cannot be examined") }
        return FileIdentity(status, size: UInt64(max(0, status.st_size)))
    }

    /// Gives the file its final name and makes that durable. The caller has synced the data. `check` throws where the file that has the name may not
    /// be replaced; one that appears behind its back is not.
    package func publish(replacing check: (FileIdentity) throws -> Void) throws {
        try TargetFile.publish(path, from: partialPath, replacing: check)
    }

    /// As above, for the staging file of `path` that an earlier run left.
    package static func publish(_ path: FilePath, replacing check: (FileIdentity) throws -> Void) throws {
        try publish(path, from: partialPath(of: path), replacing: check)
    }

    private static func publish(_ path: FilePath, from partial: FilePath, replacing check: (FileIdentity) throws -> Void) throws {
        func rename(_ call: (UnsafePointer<CChar>, UnsafePointer<CChar>) -> CInt) -> CInt {
            partial.withPlatformString { old in path.withPlatformString { new in call(old, new) } }
        }
        while true {
            if let existing = try ImageFile.identity(at: path) {
                try check(existing)
            } else if rename(clinux_rename_new) == 0 {
                break
            } else if errno == EEXIST {
                continue
            } else if errno != EINVAL, errno != ENOSYS {
                throw DiskImageError.system(path, "cannot get its name from \(partial)")
            }
            if rename(Glibc.rename) == 0 { break }
            throw DiskImageError.system(path, "cannot get its name from \(partial)")
        }
        try synchronizeFolder(of: path)
    }

    /// Makes the content of a file that has its name already durable.
    package static func synchronizeFile(at path: FilePath) throws {
        let descriptor = path.withPlatformString { clinux_open($0, O_RDONLY | O_NONBLOCK, 0) }
        guard descriptor >= 0 else { throw DiskImageError.system(path, "cannot be opened") }
        defer { close(descriptor) }
        guard retried({ fsync(descriptor) }) == 0 || [EINVAL, EROFS].contains(errno) else {
            throw DiskImageError.system(path, "syncing to disk")
        }
    }

    /// Makes the names in the folder of `path` durable.
    package static func synchronizeFolder(of path: FilePath) throws {
        let parent = path.removingLastComponent()
        let folder = parent.isEmpty ? FilePath(".") : parent
        let descriptor = folder.withPlatformString { clinux_open($0, O_RDONLY | O_DIRECTORY, 0) }
        guard descriptor >= 0 else { throw DiskImageError.system(folder, "cannot be opened") }
        defer { close(descriptor) }
        // Some file systems do not sync folders, and say so; on one that is only read nothing can be lost.
        guard retried({ fsync(descriptor) }) == 0 || [EINVAL, EROFS].contains(errno) else {
            throw DiskImageError.system(folder, "syncing to disk")
        }
    }
}

extension FilePath {
    /// The path with `suffix` at the end of its last component.
    package func withSuffix(_ suffix: String) -> FilePath { FilePath(bytes: pathBytes + Array(suffix.utf8)) }
}
