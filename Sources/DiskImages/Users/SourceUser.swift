internal import Glibc
internal import Linux
package import SystemPackage

/// Somebody who may write to a file while it is read. Readers are none: a running guest's backing
/// file can be read.
package enum SourceUser: Equatable, Sendable {
    /// A process with a write lock, as a running UML has on its COW file.
    case writer(process: Int32?)
    /// A process with locks by which QEMU says that it writes.
    case qemu(process: Int32?)
    /// Whoever has a block device for itself: a mount, LVM, RAID, swap, another program.
    case holder
    /// A loop device that passes writes on.
    case loop(FilePath)

    /// What a message says of the file.
    var fact: Message {
        func name(_ process: Int32?) -> String { process.map { "process \($0)" } ?? "a process" }
        return switch self {
        case .writer(let process):
            "is locked for writing by \(name(process)) (stop the guest that uses it\(.forceShare))"
        case .qemu(let process):
            "is open for writing in QEMU, as the locks of \(name(process)) say (stop the guest that uses it\(.forceShare))"
        case .holder:
            "is mounted, or held by LVM, RAID, swap or another program (unmount or stop that first\(.forceShare))"
        case .loop(let device):
            "is in use by the loop device \(device) (detach it: losetup -d \(device)\(.forceShare))"
        }
    }
}

extension ImageFile {
    /// Who may write to this file now; nil where nobody says so. Whoever uses no locks, as QEMU
    /// with `locking=off`, is not seen.
    ///
    /// A block device is held by this process from the first time on that it is asked for and free.
    package func user() throws -> SourceUser? {
        // Mostly there are no locks at all.
        if try lockHolder().isLocked {
            let writer = try writeLockHolder()
            if writer.isLocked { return .writer(process: writer.process) }
            if let user = try QEMULocks.writer(to: self) { return user }
        }
        if identity.isBlockDevice, try !DeviceClaims.claim(path, identity.deviceNumber) { return .holder }
        return try LoopDevices.writing(to: identity).map { .loop($0) }
    }

    /// Throws `unavailable` where somebody may write to this file now.
    package func checkUnused() throws {
        if let user = try user() { throw DiskImageError(.unavailable, path, user.fact) }
    }
}

/// The locks by which QEMU's processes tell each other what they do with a file: read locks on
/// single bytes, which nobody takes for the data's sake. Source: `block/file-posix.c`
/// (`RAW_LOCK_PERM_BASE` 100, `RAW_LOCK_SHARED_BASE` 200) and `include/block/block-common.h`.
enum QEMULocks {
    /// 100 + BLK_PERM_WRITE, 100 + BLK_PERM_RESIZE: it writes. 200 + BLK_PERM_CONSISTENT_READ:
    /// nobody else is to read it as it is.
    private static let writing: [Int64] = [101, 103, 200]
    /// Where such locks lie; neighbours are one lock to the kernel.
    private static let place: Range<Int64> = 100..<264

    /// A process that writes to `file`, or keeps others from reading it, as its locks say.
    static func writer(to file: ImageFile) throws -> SourceUser? {
        for byte in writing {
            guard let found = try file.lock(at: byte) else { continue }
            if isQEMUs(found.start, found.length) { return .qemu(process: found.process) }
            // The kernel names one lock of several: that of a guest's backing file, on all of it,
            // may hide another.
            if try isInTable(byte, file.identity) { return .qemu(process: nil) }
        }
        return nil
    }

    private static func isQEMUs(_ start: Int64, _ length: Int64) -> Bool {
        length > 0 && place.contains(start) && start + length <= place.upperBound
    }

    /// Whether the kernel's table of locks has one of QEMU's on `byte`. Its lines: `1: OFDLCK
    /// ADVISORY READ -1 00:2a:1234 100 101`. The device is not compared: some file systems show
    /// another one there.
    private static func isInTable(_ byte: Int64, _ identity: FileIdentity) throws -> Bool {
        try SystemText.lines(of: "/proc/locks").contains { line in
            let words = line.split(separator: " ")
            guard words.count >= 8,
                words[words.count - 3].split(separator: ":").last.flatMap({ UInt64($0) }) == identity.inode,
                let first = Int64(words[words.count - 2]), let last = Int64(words[words.count - 1]),
                first <= byte, byte <= last
            else { return false }
            return isQEMUs(first, last - first + 1)
        }
    }
}
