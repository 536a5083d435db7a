internal import CLinux
internal import Glibc
internal import Linux
package import SystemPackage

/// A small file that one process at a time appends records to, under an open-file-description lock.
package final class LockedFile: @unchecked Sendable {
    private let place: FilePlace
    private let descriptor: CInt
    private let usesLock: Bool
    /// What we have written; a file of another length was written to by somebody else. One task
    /// appends.
    package private(set) var length = 0

    package var path: FilePath { place.path }

    /// Opens or creates the file at `place` and locks it. Throws `target` where another process
    /// holds the lock, the file is no regular one, or it has another name as well. Without
    /// `usesLock` the caller sees to it that no other process works on the file.
    /// `called`: what the file is for, where that is what a user knows.
    package init(_ place: FilePlace, called name: FilePath? = nil, usesLock: Bool = true) throws {
        do {
            try place.folder.checkExists(for: place)
        } catch let error as DiskImageError {
            throw DiskImageError(error.kind, name ?? error.path, error.fact, cause: error.cause)
        }
        let descriptor = place.open(O_RDWR | O_CREAT | O_NONBLOCK, mode: 0o600)
        guard descriptor >= 0 else {
            let error = Errno.current
            // What keeps this file from its folder keeps every other from it.
            let isFolders = [.permissionDenied, .readOnlyFileSystem, .noSpace, .noSuchFileOrDirectory]
                .contains(error)
            let path = isFolders ? name ?? place.path : place.path
            throw DiskImageError.system(path, "cannot be created", error, .target)
        }
        do {
            try place.checkIsOnlyName(of: descriptor)
            guard !usesLock || clinux_lock_exclusive(descriptor) == 0 else {
                let error = Errno.current
                guard [.resourceTemporarilyUnavailable, .permissionDenied].contains(error) else {
                    throw DiskImageError.system(place.path, "cannot be locked", error, .target)
                }
                throw DiskImageError(
                    .locked, place.path, "is locked by another drover that works on this target (wait for it)"
                )
            }
            // Asked again: whoever held the lock until now may have written meanwhile.
            length = try Int(place.checkIsOnlyName(of: descriptor).size)
        } catch {
            close(descriptor)
            throw error
        }
        (self.place, self.usesLock, self.descriptor) = (place, usesLock, descriptor)
    }

    deinit { close(descriptor) }

    /// All of the file; throws where it is longer than `limit` bytes.
    package func contents(limit: Int) throws -> [UInt8] {
        guard length <= limit else {
            throw DiskImageError(.badData, path, "is \(length) bytes long; expected at most \(limit)")
        }
        var bytes = [UInt8](repeating: 0, count: length)
        var done = 0
        while done < length {
            let count = bytes.withUnsafeMutableBytes {
                pread(descriptor, $0.baseAddress! + done, length - done, off_t(done))
            }
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw DiskImageError.system(path, "reading") }
            guard count > 0 else {
                try ImageFile.checkEnd(of: descriptor, at: UInt64(done), path)
                break
            }
            done += count
        }
        return Array(bytes[..<done])
    }

    /// Drops everything after `count` bytes.
    package func truncate(to count: Int) throws {
        guard retried({ ftruncate(descriptor, off_t(count)) }) == 0 else {
            throw DiskImageError.system(path, "cutting it to \(count) bytes")
        }
        length = count
    }

    /// Writes `bytes`, fewer than there are, over the start.
    package func overwriteStart(with bytes: [UInt8]) throws { try write(bytes, at: 0) }

    /// Writes `bytes` at the end.
    package func append(_ bytes: [UInt8]) throws {
        try write(bytes, at: length)
        length += bytes.count
    }

    private func write(_ bytes: [UInt8], at start: Int) throws {
        try bytes.withUnsafeBytes { try writeWhole($0, to: descriptor, at: UInt64(start), of: path) }
    }

    /// Gives the file who may read it and whose it is, or, where the process may not give it away,
    /// `mode` alone.
    package func setAccess(_ access: FileAccess, orMode mode: UInt32) throws {
        try access.give(to: descriptor, path, orMode: mode)
    }

    /// Returns when all records are on the disk.
    package func synchronize() throws {
        guard retried({ fsync(descriptor) }) == 0 else {
            throw DiskImageError.system(path, "syncing to disk")
        }
    }

    /// Throws where the lock was lost, somebody else wrote to the file, or its name means another
    /// file by now.
    package func checkStillLocked() throws {
        var status = stat()
        guard !usesLock || clinux_lock_exclusive(descriptor) == 0, fstat(descriptor, &status) == 0,
            Int(status.st_size) == length,
            try place.identity()?.isSameFile(as: FileIdentity(status, size: 0)) == true
        else {
            throw DiskImageError(
                .io, path,
                "is no longer ours: the lock was lost or the file replaced (run the same command again)")
        }
    }
}
