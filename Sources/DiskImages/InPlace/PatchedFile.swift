internal import CLinux
internal import Glibc
package import Linux
package import SystemPackage

/// A regular file that is changed in place: open for reading and writing, and locked as a whole, as
/// User-Mode Linux locks its images.
package final class PatchedFile: Sendable {
    package let place: FilePlace
    /// How many names it has.
    package let nameCount: UInt64
    private let descriptor: CInt

    /// Opens and locks what `path` leads to. Throws `unavailable` where it cannot be opened, or
    /// anybody has a lock on it; `badData` where it is no regular file.
    package init(at path: FilePath) throws {
        place = try FilePlace(following: path)
        let descriptor = place.open(O_RDWR | O_NONBLOCK)
        guard descriptor >= 0 else {
            throw DiskImageError.system(path, "cannot be opened for writing", .current, .unavailable)
        }
        var status = stat()
        let isExamined = fstat(descriptor, &status) == 0
        (self.descriptor, nameCount) = (descriptor, UInt64(status.st_nlink))
        // From here on `deinit` closes it, also where this throws: closed twice, its number may be
        // another file's the second time.
        guard isExamined, status.st_mode & S_IFMT == S_IFREG else {
            throw DiskImageError(.badData, path, "is no regular file, and is not changed in place")
        }
        var process: pid_t = 0
        let isLocked = clinux_lock_holder(descriptor, 1, &process) == 1
        guard !isLocked, clinux_lock_exclusive(descriptor) == 0 else {
            let who = process > 0 ? "process \(process)" : "another process"
            throw DiskImageError(
                .unavailable, path, "is locked by \(who) (stop whatever uses it: it is changed in place)")
        }
        if let device = try? LoopDevices.writing(to: identity()) {
            throw DiskImageError(
                .unavailable, path, "is in use by the loop device \(device) (detach it: losetup -d \(device))"
            )
        }
    }

    deinit { close(descriptor) }

    package var path: FilePath { place.path }

    /// Its present state.
    package func identity() throws -> FileIdentity {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else {
            throw DiskImageError.system(path, "cannot be examined")
        }
        return FileIdentity(status, size: UInt64(max(0, status.st_size)))
    }

    /// Who may read it.
    func access() throws -> FileAccess { try FileAccess(of: descriptor, path) }

    /// The file, for reading.
    package func reading() throws -> ImageFile { try ImageFile(sharing: descriptor, path) }

    /// Writes all of `bytes` at `offset`.
    package func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws {
        try writeWhole(bytes, to: descriptor, at: offset, of: path)
    }

    /// Makes `range` zeros; holes where the file system has them.
    package func clear(_ range: Range<UInt64>) throws {
        guard !range.isEmpty else { return }
        if retried({
            clinux_punch_hole(descriptor, off_t(range.lowerBound), off_t(range.upperBound - range.lowerBound))
        }) == 0 {
            return
        }
        guard errno == EOPNOTSUPP || errno == ENOSYS else {
            throw DiskImageError.system(path, "punching a hole")
        }
        try writeZeros(range) { try write($0, at: $1) }
    }

    /// Makes it `length` bytes long, where it is shorter.
    package func lengthen(to length: UInt64) throws {
        guard try identity().size < length else { return }
        guard retried({ ftruncate(descriptor, off_t(length)) }) == 0 else {
            throw DiskImageError.system(path, "making it \(length) bytes long")
        }
    }

    package func setMtime(_ time: Timestamp) throws {
        guard clinux_set_mtime(descriptor, time.seconds, time.nanoseconds) == 0 else {
            throw DiskImageError.system(path, "setting its time")
        }
    }

    /// Returns when all that was written is on the disk, times too.
    package func synchronize() throws {
        guard retried({ fsync(descriptor) }) == 0 else {
            throw DiskImageError.system(path, "syncing to disk")
        }
    }
}
