internal import Glibc
package import Linux

/// Which file it is, and in which state: what tells a resumed move that its source is still the
/// same.
package struct FileIdentity: Equatable, Sendable {
    package let device: UInt64
    package let inode: UInt64
    /// Length in bytes; of a block device, its size.
    package let size: UInt64
    package let mtime: Timestamp
    /// When content, mode, owner, name or number of names last changed.
    package let ctime: Timestamp
    /// Bytes that the file takes on its file system.
    package let allocated: UInt64
    package let isRegular: Bool
    package let isDirectory: Bool
    package let isBlockDevice: Bool
    /// Which block device it is, by whatever name; 0 where it is none.
    package let deviceNumber: UInt64

    /// The same file, whatever its state.
    package func isSameFile(as other: FileIdentity) -> Bool {
        if isBlockDevice || other.isBlockDevice {
            return isBlockDevice == other.isBlockDevice && deviceNumber == other.deviceNumber
        }
        return device == other.device && inode == other.inode
    }

    /// Whether this is the file that `earlier` was, of which nobody has changed the content since.
    package func isUnchanged(since earlier: FileIdentity) -> Bool {
        isSameFile(as: earlier) && size == earlier.size && mtime == earlier.mtime
    }

    init(_ status: stat, size: UInt64) {
        device = UInt64(status.st_dev)
        inode = UInt64(status.st_ino)
        self.size = size
        mtime = Timestamp(seconds: status.st_mtim.tv_sec, nanoseconds: status.st_mtim.tv_nsec)
        ctime = Timestamp(seconds: status.st_ctim.tv_sec, nanoseconds: status.st_ctim.tv_nsec)
        allocated = UInt64(max(0, status.st_blocks)) * 512
        isDirectory = status.st_mode & S_IFMT == S_IFDIR
        isRegular = status.st_mode & S_IFMT == S_IFREG
        isBlockDevice = status.st_mode & S_IFMT == S_IFBLK
        deviceNumber = isBlockDevice ? UInt64(status.st_rdev) : 0
    }
}

extension FileIdentity {
    /// A file on a web server: its address is what it is known by.
    init(remote: RemoteFile) {
        var status = stat()
        status.st_mode = S_IFREG | 0o600
        status.st_dev = .max
        let address = Array(remote.address.utf8)
        status.st_ino = UInt(truncatingIfNeeded: address.withUnsafeBytes { ContentDigest(of: $0).low })
        status.st_mtim.tv_sec = Int(remote.modified)
        status.st_ctim = status.st_mtim
        self.init(status, size: remote.length)
    }
}

/// A file, whatever it is called and whatever its state.
package struct FileID: Hashable, Sendable {
    private let device: UInt64
    private let inode: UInt64

    package init(_ file: FileIdentity) { (device, inode) = (file.device, file.inode) }
}

extension Timestamp: Comparable {
    package static func < (a: Timestamp, b: Timestamp) -> Bool {
        (a.seconds, a.nanoseconds) < (b.seconds, b.nanoseconds)
    }
}
