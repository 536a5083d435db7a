internal import CLinux
internal import Glibc
package import Linux
package import SystemPackage

/// A file of an image, open for reading: a regular file or a block device. The only place that
/// reads image data.
///
/// Reads name their own offset, so that many tasks may read at once.
package final class ImageFile: Sendable {
    /// The name it was opened by.
    package let path: FilePath
    /// The file as it was when it was opened.
    package let identity: FileIdentity
    /// The host's clock right before `identity` was taken.
    package let opened: Timestamp
    private let descriptor: CInt
    /// Where a web server has it; `descriptor` is an empty file then, which nobody else knows.
    private let remote: RemoteFile?
    private let pages = CachedPages()
    /// What was asked for before and stays as it is.
    private let found = Locked((path: FilePath?.none, fileSystem: UInt32?.none))

    /// Length in bytes when it was opened.
    package var length: UInt64 { identity.size }

    /// Opens `path` for reading. Throws `unavailable` where there is none or it cannot be read,
    /// `badData` where it is neither a regular file nor a block device: a FIFO or a terminal is
    /// never opened. With `synchronizing`, what was written to it is on the disk before it is
    /// looked at: stores through a mapping move its time from then on.
    package convenience init(opening path: FilePath, synchronizing: Bool = false) throws {
        try self.init(path, looking: try ImageFile.status(of: path), synchronizing) { flags in
            path.withPlatformString { clinux_open($0, flags, 0) }
        }
    }

    /// As above, of what lies at `place`, which must be no link.
    package convenience init(opening place: FilePlace, synchronizing: Bool = false) throws {
        guard let before = try place.status() else {
            throw DiskImageError.system(place.path, "cannot be opened", .noSuchFileOrDirectory, .unavailable)
        }
        try self.init(place.path, looking: before, synchronizing) { place.open($0) }
    }

    /// The file of `descriptor`, which stays its owner's.
    convenience init(sharing descriptor: CInt, _ path: FilePath) throws {
        try self.init(adopting: fcntl(descriptor, F_DUPFD_CLOEXEC, 0), path, synchronizing: false)
    }

    /// The same file by another name.
    package func called(_ path: FilePath) throws -> ImageFile {
        try remote.map { try ImageFile($0, path) } ?? ImageFile(sharing: descriptor, path)
    }

    /// The file at the address that `path` is, on a web server.
    package convenience init(at path: FilePath) throws { try self.init(RemoteFile(path), path) }

    private init(_ remote: RemoteFile, _ path: FilePath) throws {
        descriptor = clinux_empty_file()
        guard descriptor >= 0 else { throw DiskImageError.system(path, "no file can stand for it") }
        opened = SystemClock.now
        identity = FileIdentity(remote: remote)
        (self.path, self.remote) = (path, remote)
    }

    private convenience init(
        _ path: FilePath, looking before: stat, _ synchronizing: Bool, _ open: (CInt) -> CInt
    ) throws {
        guard [S_IFREG, S_IFBLK].contains(before.st_mode & S_IFMT) else {
            throw DiskImageError(
                .badData, path,
                "is \(ImageFile.name(ofMode: before.st_mode)); expected a regular file or a block device")
        }
        try self.init(adopting: open(O_RDONLY | O_NONBLOCK), path, synchronizing: synchronizing)
    }

    /// What an opening of `path` returned.
    private init(adopting descriptor: CInt, _ path: FilePath, synchronizing: Bool) throws {
        guard descriptor >= 0 else {
            throw DiskImageError.system(path, "cannot be opened", .current, .unavailable)
        }
        do {
            if synchronizing { try ImageFile.synchronize(descriptor, path) }
            opened = SystemClock.now
            identity = try ImageFile.identity(of: descriptor, path)
        } catch {
            close(descriptor)
            throw error
        }
        self.path = path
        self.descriptor = descriptor
        remote = nil
        // The name may mean another file by now than the one that was looked at.
        guard identity.isRegular || identity.isBlockDevice, identity.size <= UInt64(Int64.max) else {
            throw DiskImageError(
                .badData, path,
                "changed while it was opened; expected a regular file or a block device below 2^63 bytes")
        }
    }

    deinit {
        pages.finish(descriptor)
        close(descriptor)
    }

    /// Where it lies, links resolved, as that was when it was first asked for. Throws where that
    /// cannot be found any more.
    package func resolvedPath() throws -> FilePath {
        try found.withLock { found in
            if let path = found.path { return path }
            let path = try resolved(path)
            found.path = path
            return path
        }
    }

    /// From now on, what is read of it does not stay in the host's page cache, unless it was there
    /// before.
    package func passesCache() { if remote == nil { pages.pass(descriptor) } }

    /// What is read of it stays, whatever else is asked for.
    package func staysCached() { pages.pin() }

    /// Takes note of what the page cache has of it, so that `forgetCached` lets go of the rest
    /// alone.
    package func rememberCached() { pages.remember(length, of: descriptor) }

    /// Lets go of what the page cache had not when that was remembered, whoever read it.
    package func forgetCached() { pages.forget(descriptor) }

    func withDescriptor<R>(_ body: (CInt) -> R) -> R { body(descriptor) }

    /// Gives the file a modification time, durably.
    func setMtime(_ time: Timestamp) throws {
        guard clinux_set_mtime(descriptor, time.seconds, time.nanoseconds) == 0 else {
            throw DiskImageError.system(path, "setting its time", .current, .target)
        }
        try ImageFile.synchronize(descriptor, path)
    }

    /// Who may read and write it, and whose it is.
    package func access() throws -> FileAccess { try FileAccess(of: descriptor, path) }

    /// The file's present state; compare it with `identity` to learn whether it changed.
    package func currentIdentity() throws -> FileIdentity {
        // A server is asked at every read.
        try remote == nil ? ImageFile.identity(of: descriptor, path) : identity
    }

    /// The present state of whatever is called `path`, links followed, or nil where nothing is.
    package static func identity(at path: FilePath) throws -> FileIdentity? {
        var status = stat()
        guard path.withPlatformString({ stat($0, &status) }) == 0 else {
            if [ENOENT, ENOTDIR].contains(errno) { return nil }
            throw DiskImageError.system(path, "cannot be examined", .current, .unavailable)
        }
        return FileIdentity(status, size: UInt64(max(0, status.st_size)))
    }

    /// Whether a process holds a lock that keeps others from reading, and its process id where that
    /// is known.
    package func writeLockHolder() throws -> (isLocked: Bool, process: Int32?) {
        try lockHolder(countingReaders: false)
    }

    /// Whether a process holds any lock on the file, and its process id where that is known: a
    /// running UML locks its backing file, too.
    package func lockHolder() throws -> (isLocked: Bool, process: Int32?) {
        try lockHolder(countingReaders: true)
    }

    /// A lock of anybody on the byte at `offset`: where it begins, its length (0: to the file's
    /// end), and the process where that is known. Of several it is one.
    func lock(at offset: Int64) throws -> (start: Int64, length: Int64, process: Int32?)? {
        var (process, start, length): (pid_t, off_t, off_t) = (0, 0, 0)
        switch clinux_lock_at(descriptor, off_t(offset), 1, &process, &start, &length) {
        case 0: return nil
        case 1: return (Int64(start), Int64(length), process > 0 ? process : nil)
        default:
            if ImageFile.isWithoutLocks(.current) { return nil }
            throw DiskImageError.system(path, "asking for its locks")
        }
    }

    /// The type of the file system that it lies on, as statfs(2) has it.
    func fileSystemType() throws -> UInt32 {
        try found.withLock { found in
            if let type = found.fileSystem { return type }
            var type: UInt32 = 0
            guard clinux_file_system_type(descriptor, &type) == 0 else {
                throw DiskImageError.system(path, "asking for its file system")
            }
            found.fileSystem = type
            return type
        }
    }

    /// A file system without locks knows of nobody. Whoever needs one of his own is told when he
    /// takes it.
    private static func isWithoutLocks(_ error: Errno) -> Bool {
        [.noLocks, .noFunction, .notSupported, .invalidArgument].contains(error)
    }

    private func lockHolder(countingReaders: Bool) throws -> (isLocked: Bool, process: Int32?) {
        var process: pid_t = 0
        switch clinux_lock_holder(descriptor, countingReaders ? 1 : 0, &process) {
        case 0: return (false, nil)
        case 1: return (true, process > 0 ? process : nil)
        default:
            if ImageFile.isWithoutLocks(.current) { return (false, nil) }
            throw DiskImageError.system(path, "asking for its lock")
        }
    }

    /// Fills `buffer` from `offset`; throws where the file ends before the buffer is full, which
    /// means that it has changed.
    package func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws {
        let count = try readAvailable(into: buffer, at: offset)
        guard count == buffer.count else {
            throw endsEarly(at: offset + UInt64(count), wanted: offset + UInt64(buffer.count))
        }
    }

    /// The first `count` bytes, or as many as there are.
    package func prefix(_ count: Int) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        let read = try bytes.withUnsafeMutableBytes { try readAvailable(into: $0, at: 0) }
        return Array(bytes[..<read])
    }

    /// As above; `orNone`: none where they cannot be read.
    func prefix(_ count: Int, orNone: Bool) throws -> [UInt8] {
        do {
            return try prefix(count)
        } catch let error as DiskImageError where orNone && error.kind == .io {
            return []
        }
    }

    /// Reads from `offset` until `buffer` is full or the file ends; returns how many bytes there
    /// were. Throws `io` where nothing comes although the file system says that there is more: a
    /// network file system's hiccup is no end. `end`: up to there all will be read, which a server
    /// is asked for in larger parts.
    package func readAvailable(
        into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64, upTo end: UInt64? = nil
    ) throws -> Int {
        if let remote { return try remote.read(into: buffer, at: offset, upTo: end) }
        pages.begin(offset..<offset + UInt64(buffer.count), of: descriptor)
        var done = 0
        defer { pages.end(offset..<offset + UInt64(done), of: descriptor) }
        while done < buffer.count {
            let count = pread(
                descriptor, buffer.baseAddress! + done, buffer.count - done, off_t(offset) + off_t(done))
            if count > 0 {
                done += count
            } else if count == 0 {
                try checkEnd(at: offset + UInt64(done))
                break
            } else if errno != EINTR {
                throw DiskImageError.system(path, "reading \(buffer.count) bytes at offset \(offset)")
            }
        }
        return done
    }

    /// Fills the `pieces` one after the other from `offset` with as few calls as it takes; at most
    /// 1024 pieces.
    func read(scatteredInto pieces: inout [iovec], at offset: UInt64) throws {
        let length = pieces.reduce(UInt64(0)) { $0 + UInt64($1.iov_len) }
        pages.begin(offset..<offset + length, of: descriptor)
        var position = offset
        defer { pages.end(offset..<position, of: descriptor) }
        var first = 0
        while first < pieces.count {
            let count = pieces.withUnsafeBufferPointer {
                preadv(descriptor, $0.baseAddress! + first, CInt($0.count - first), off_t(position))
            }
            if count < 0 {
                if errno == EINTR { continue }
                throw DiskImageError.system(path, "reading at offset \(position)")
            }
            guard count > 0 else {
                try checkEnd(at: position)
                throw endsEarly(at: position, wanted: position + UInt64(pieces[first].iov_len))
            }
            position += UInt64(count)
            var rest = count
            while first < pieces.count, rest >= pieces[first].iov_len {
                rest -= pieces[first].iov_len
                first += 1
            }
            if rest > 0 {
                pieces[first].iov_base += rest
                pieces[first].iov_len -= rest
            }
        }
    }

    /// Where the next data begins at or after `offset`, or nil where there is none; where the file
    /// system does not say, `offset`.
    func nextData(from offset: UInt64) throws -> UInt64? {
        let found = clinux_seek_data(descriptor, off_t(offset))
        if found >= 0 { return UInt64(found) }
        switch errno {
        case ENXIO: return nil
        case EINVAL, EOPNOTSUPP: return offset
        default: throw DiskImageError.system(path, "looking for data at offset \(offset)")
        }
    }

    /// Where the data at `offset` ends: the next hole's start, or the file's end.
    func nextHole(from offset: UInt64) throws -> UInt64 {
        let found = clinux_seek_hole(descriptor, off_t(offset))
        if found >= 0 { return max(UInt64(found), offset) }
        switch errno {
        case ENXIO, EINVAL, EOPNOTSUPP: return max(length, offset)
        default: throw DiskImageError.system(path, "looking for a hole at offset \(offset)")
        }
    }

    /// Throws where the file goes on behind `offset`, at which a read found nothing.
    private func checkEnd(at offset: UInt64) throws {
        try ImageFile.checkEnd(of: descriptor, at: offset, path)
    }

    /// As above, of any open file.
    static func checkEnd(of descriptor: CInt, at offset: UInt64, _ path: FilePath) throws {
        let size = try identity(of: descriptor, path).size
        guard offset >= size else {
            throw DiskImageError(
                .io, path,
                "reading at offset \(offset) gave nothing, but the file has \(size) bytes (run the same command again)"
            )
        }
    }

    /// What cannot be synced, as on a read-only file system, has nothing to sync. What this process
    /// synced before and is as it was then is not synced again: a base is opened for each of its
    /// overlays.
    private static func synchronize(_ descriptor: CInt, _ path: FilePath) throws {
        let before = try identity(of: descriptor, path)
        guard SyncedFiles.isNews(before) else { return }
        guard retried({ fsync(descriptor) }) == 0 || [EINVAL, EROFS, EBADF].contains(errno) else {
            throw DiskImageError.system(path, "syncing it to disk before it is read")
        }
        SyncedFiles.note(try identity(of: descriptor, path))
    }

    private func endsEarly(at end: UInt64, wanted: UInt64) -> DiskImageError {
        DiskImageError(
            .badData, path,
            "ends at offset \(end); expected data up to \(wanted) (it changed while it was read)")
    }

    private static func status(of path: FilePath) throws -> stat {
        var status = stat()
        guard path.withPlatformString({ stat($0, &status) }) == 0 else {
            throw DiskImageError.system(path, "cannot be opened", .current, .unavailable)
        }
        return status
    }

    static func identity(of descriptor: CInt, _ path: FilePath) throws -> FileIdentity {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw DiskImageError.system(path, "cannot be examined") }
        if status.st_mode & S_IFMT == S_IFBLK {
            var size: UInt64 = 0
            guard clinux_block_device_size(descriptor, &size) == 0 else {
                throw DiskImageError.system(path, "asking for its size")
            }
            return FileIdentity(status, size: size)
        }
        return FileIdentity(status, size: UInt64(max(0, status.st_size)))
    }

    /// What a person calls a file of this mode.
    static func name(ofMode mode: mode_t) -> String {
        switch mode & S_IFMT {
        case S_IFDIR: "a directory"
        case S_IFIFO: "a FIFO"
        case S_IFLNK: "a symbolic link"
        case S_IFCHR: "a character device"
        case S_IFSOCK: "a socket"
        case S_IFBLK: "a block device"
        default: "no regular file"
        }
    }
}
