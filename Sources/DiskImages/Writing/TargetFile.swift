internal import CLinux
internal import Glibc
package import Linux
package import SystemPackage

/// A file that gets its name only when it is whole: it is written under a staging name beside it,
/// `NAME.partial`, and renamed at the end.
///
/// Writes name their own offset, so that many tasks may write at once, each to its own ranges.
package final class TargetFile: Sendable {
    /// Where it will be.
    package let place: FilePlace
    /// Where it is until then.
    package let partial: FilePlace
    /// Whether no later run can go on with it: it goes away with this object, unless it got its
    /// name.
    private let isPassing: Bool
    private let descriptor: CInt
    /// One thread at a time writes. The kernel does the same with a lock of its own, but whoever
    /// waits for that one spins, and takes the processor from whoever could read meanwhile.
    private let turn = Locked(())
    /// What it shares with its sources; nil where everything is copied.
    private let sharing = Locked(ExtentSharing?.none)

    /// What messages call it.
    private var partialPath: FilePath { partial.path }

    /// The staging name of `path`.
    package static func partialPath(of path: FilePath) -> FilePath { path.withSuffix(".partial") }

    /// The staging place of `place`.
    package static func partial(of place: FilePlace) -> FilePlace { place.withSuffix(".partial") }

    /// Opens the staging file of `place`, with what an earlier run left in it, and locks it. Throws
    /// `locked` where another process writes to it, `target` where it cannot be created, is no
    /// regular file, or has another name as well.
    package convenience init(staging place: FilePlace) throws { try self.init(place, isPassing: false) }

    /// As above, for what is written at once and goes away with this object, unless it got its
    /// name.
    package convenience init(passing place: FilePlace) throws { try self.init(place, isPassing: true) }

    /// The block device called `path`, to be written in place: it has its name already. It is
    /// opened exclusively; throws `target` where it is none, somebody else has it, or it cannot be
    /// written to.
    package init(device path: FilePath) throws {
        place = try FilePlace(following: path)
        (partial, isPassing) = (place, false)
        descriptor = path.withPlatformString { clinux_open($0, O_RDWR | O_EXCL | O_NONBLOCK, 0) }
        guard descriptor >= 0 else {
            if Errno.current == .resourceBusy {
                throw DiskImageError(
                    .target, path, "is in use: mounted, or held by LVM, RAID, swap or another program")
            }
            throw DiskImageError.system(path, "cannot be opened for writing", .current, .target)
        }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFBLK else {
            throw DiskImageError(.target, path, "is no block device")
        }
    }

    private init(_ place: FilePlace, isPassing: Bool) throws {
        let partial = TargetFile.partial(of: place)
        try place.folder.checkExists(for: partial)
        (self.place, self.partial, self.isPassing) = (place, partial, isPassing)
        descriptor = try TargetFile.open(partial)
    }

    /// Opens and locks the staging file; once more, where whoever had the lock until then gave it
    /// its final name.
    private static func open(_ partial: FilePlace) throws -> CInt {
        while true {
            let descriptor = partial.open(O_RDWR | O_CREAT | O_NONBLOCK, mode: 0o600)
            guard descriptor >= 0 else {
                throw DiskImageError.system(partial.path, "cannot be created", .current, .target)
            }
            do {
                let file = try partial.checkIsOnlyName(of: descriptor)
                guard TargetFile.lock(descriptor, .writing) || !isLocked(.current) else {
                    throw DiskImageError(
                        .locked, partial.path, "is locked by another drover that writes it (wait for it)")
                }
                if try partial.identity()?.isSameFile(as: file) == true {
                    // Nobody else reads it before it is known who may.
                    try FileAccess.close(descriptor, partial.path)
                    return descriptor
                }
            } catch {
                close(descriptor)
                throw error
            }
            close(descriptor)
        }
    }

    private enum Lock: CInt {
        case none = 0
        /// Keeps other writers away, and tells nobody who reads the file that it is written to.
        case reading = 1
        case writing = 2
    }

    private static func lock(_ descriptor: CInt, _ lock: Lock) -> Bool {
        clinux_lock_start(descriptor, lock.rawValue) == 0
    }

    /// Whether somebody has the lock; any other error is that of a file system without locks, where
    /// the manifest's lock decides what is done.
    private static func isLocked(_ error: Errno) -> Bool {
        [.resourceTemporarilyUnavailable, .permissionDenied].contains(error)
    }

    deinit {
        // Nobody else writes it while it is locked; the name may mean another file by now.
        if isPassing, let named = try? partial.identity(), let own = try? identity(),
            named.isSameFile(as: own)
        {
            partial.remove()
        }
        close(descriptor)
    }

    /// Drops what is there and makes the file `length` bytes of hole.
    package func reset(length: UInt64) throws {
        guard retried({ ftruncate(descriptor, 0) }) == 0,
            retried({ ftruncate(descriptor, off_t(length)) }) == 0
        else {
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
        try inOneTurn { try $0.write(bytes, at: offset) }
    }

    /// Hands `body` what writes to the file, and lets nobody else write until it ends: what is
    /// little and belongs to much need not wait for another turn.
    package func inOneTurn(_ body: (Turn) throws -> Void) throws {
        try turn.withLock { _ in try body(Turn(file: self)) }
    }

    /// Writes to a file while nobody else does.
    package struct Turn {
        fileprivate let file: TargetFile

        /// Writes all of `bytes` at `offset`.
        package func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws {
            try writeWhole(bytes, to: file.descriptor, at: offset, of: file.partialPath)
        }
    }

    /// From now on `writeOrShare` shares what it can.
    package func allowSharing() { sharing.withLock { $0 = ExtentSharing(descriptor) } }

    /// Whether that is allowed, and not every source was refused by the file system so far.
    package var sharesExtents: Bool { sharing.withLock { $0?.isWorthwhile ?? false } }

    /// Bytes that it shares with its sources.
    package var sharedLength: UInt64 { sharing.withLock { $0?.shared ?? 0 } }

    /// Writes `bytes` at `offset`, or shares those of them that `source` has from `place` on.
    package func writeOrShare(
        _ bytes: UnsafeRawBufferPointer, at offset: UInt64, from source: ImageFile, _ place: UInt64
    ) throws {
        let blocks = sharing.withLock { sharing in
            sharing.flatMap {
                $0.isRefused(source.identity) ? nil : $0.blocks(UInt64(bytes.count), from: place, to: offset)
            }
        }
        guard let blocks else { return try write(bytes, at: offset) }
        let error = turn.withLock { _ in
            source.share(
                place + blocks.lowerBound, blocks.upperBound - blocks.lowerBound, with: descriptor,
                at: offset + blocks.lowerBound)
        }
        guard try !isRefused(error, source, at: offset) else { return try write(bytes, at: offset) }
        sharing.withLock { $0?.add(blocks.upperBound - blocks.lowerBound) }
        try write(UnsafeRawBufferPointer(rebasing: bytes[..<Int(blocks.lowerBound)]), at: offset)
        try write(
            UnsafeRawBufferPointer(rebasing: bytes[Int(blocks.upperBound)...]),
            at: offset + blocks.upperBound)
    }

    /// Shares all of `range` with `source`, which has it at the same place; `range` begins with a
    /// block, and what of its last one cannot be shared is copied. False, and nothing is done,
    /// where that is not allowed or the file system refuses.
    func share(_ range: Range<UInt64>, of source: ImageFile) throws -> Bool {
        let block = sharing.withLock { sharing in
            sharing.flatMap { $0.isRefused(source.identity) ? nil : $0.blockLength } ?? 0
        }
        guard block > 0, range.lowerBound % block == 0 else { return false }
        // A last block that is not whole can be shared where both files end with it.
        let endsBoth = try range.upperBound == source.length && identity().size == range.upperBound
        let end = endsBoth ? range.upperBound : range.upperBound / block * block
        if end > range.lowerBound {
            let error = turn.withLock { _ in
                source.share(
                    range.lowerBound, end - range.lowerBound, with: descriptor, at: range.lowerBound)
            }
            guard try !isRefused(error, source, at: range.lowerBound) else { return false }
            sharing.withLock { $0?.add(end - range.lowerBound) }
        }
        guard end < range.upperBound else { return true }
        let rest = try AlignedBuffer(capacity: Int(block))
        let bytes = UnsafeMutableRawBufferPointer(
            rebasing: rest.bytes[..<Int(range.upperBound - end)])
        try source.read(into: bytes, at: end)
        try write(UnsafeRawBufferPointer(bytes), at: end)
        return true
    }

    /// Whether `error`, of sharing with `source` at `offset`, means that it is to be copied; throws
    /// what copying would meet too.
    private func isRefused(_ error: Errno?, _ source: ImageFile, at offset: UInt64) throws -> Bool {
        switch error {
        case nil: return false
        case .ioError, .noSpace, Errno(rawValue: EDQUOT):
            throw DiskImageError.system(partialPath, "sharing extents at offset \(offset)", error ?? .current)
        case .interrupted: return true
        default:
            sharing.withLock { $0?.refuse(source.identity) }
            return true
        }
    }

    /// Turns `range` back into a hole; where the file system has none, writes zeros.
    package func clear(_ range: Range<UInt64>) throws {
        guard !range.isEmpty else { return }
        let (start, length) = (off_t(range.lowerBound), off_t(range.upperBound - range.lowerBound))
        if retried({ clinux_punch_hole(descriptor, start, length) }) == 0 { return }
        // EINVAL: a device's blocks are longer than that.
        guard [EOPNOTSUPP, ENOSYS, EINVAL].contains(errno) else {
            throw DiskImageError.system(partialPath, "punching a hole")
        }
        if retried({ clinux_zero_range(descriptor, start, length) }) == 0 { return }
        try writeZeros(range) { try write($0, at: $1) }
    }

    /// Asks the kernel to begin writing `range` to the disk, and does not wait: the sync that
    /// follows has less to do.
    package func startWriteback(_ range: Range<UInt64>) {
        _ = clinux_start_writeback(
            descriptor, off_t(range.lowerBound), off_t(range.upperBound - range.lowerBound))
    }

    /// Returns when all that was written is on the disk.
    package func synchronize() throws {
        guard retried({ fdatasync(descriptor) }) == 0 else {
            throw DiskImageError.system(partialPath, "syncing to disk")
        }
    }

    /// What is on the disk does not stay in the host's page cache.
    package func leaveCache() { posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED) }

    /// Returns when data, length and times are on the disk.
    package func synchronizeWithTimes() throws {
        guard retried({ fsync(descriptor) }) == 0 else {
            throw DiskImageError.system(partialPath, "syncing to disk")
        }
    }

    /// Gives the file another one's modification time, to the nanosecond.
    package func setMtime(_ time: Timestamp) throws {
        guard clinux_set_mtime(descriptor, time.seconds, time.nanoseconds) == 0 else {
            throw DiskImageError.system(partialPath, "setting its time")
        }
    }

    /// Gives the file who may read it and whose it is, or, where the process may not give it away,
    /// `mode` alone.
    package func setAccess(_ access: FileAccess, orMode mode: UInt32) throws {
        try access.give(to: descriptor, partialPath, orMode: mode)
    }

    /// The staging file's present state.
    package func identity() throws -> FileIdentity {
        try ImageFile.identity(of: descriptor, partialPath)
    }

    /// The staging file, for reading.
    package func reading() throws -> ImageFile { try ImageFile(sharing: descriptor, partial.path) }

    /// Gives the file its final name and makes that durable. The caller has synced the data.
    /// `check` throws where the file that has the name may not be replaced; one that appears behind
    /// its back is not. Throws `io` where somebody else has taken the staging name.
    package func publish(replacing check: (FileIdentity) throws -> Void) throws {
        // Under its final name it is no longer written to, and others may use it at once.
        _ = TargetFile.lock(descriptor, .reading)
        defer { _ = TargetFile.lock(descriptor, .none) }
        try TargetFile.publish(place, try identity(), replacing: check)
    }

    /// As above, for the staging file of `place` that an earlier run left and that was found to be
    /// `file`.
    package static func publish(
        _ place: FilePlace, _ file: FileIdentity, replacing check: (FileIdentity) throws -> Void
    ) throws {
        let partial = partial(of: place)
        while true {
            guard try partial.identity()?.isSameFile(as: file) == true else {
                throw DiskImageError(
                    .io, partial.path,
                    "is no longer the file that was written (somebody took its name; run the same command again)"
                )
            }
            if let existing = try place.identity() {
                try check(existing)
            } else if partial.rename(to: place, replaces: false) {
                break
            } else if Errno.current == .fileExists {
                continue
            } else if ![.invalidArgument, .noFunction].contains(Errno.current) {
                throw DiskImageError.system(place.path, "cannot get its name from \(partial.path)")
            }
            if partial.rename(to: place, replaces: true) { break }
            throw DiskImageError.system(place.path, "cannot get its name from \(partial.path)")
        }
        guard try place.identity()?.isSameFile(as: file) == true else {
            // What was renamed instead is no target: it gets back the name that its owner gave it.
            _ = place.rename(to: partial, replaces: false)
            throw DiskImageError(
                .io, place.path,
                "is not the file that was written: somebody took the name \(partial.path) (run the same command again)"
            )
        }
        try FailPoint.renamed.pass()
        try place.folder.synchronize()
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
        try Folder(at: path.removingLastComponent()).synchronize()
    }
}
