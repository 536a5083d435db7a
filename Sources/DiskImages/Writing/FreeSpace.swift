internal import CLinux
internal import Linux
package import SystemPackage

/// The room that a file system has left.
package enum FreeSpace {
    /// The bytes that can still be written below `folder`; nil where its file system compresses,
    /// shares, or lies on another machine: there, what is written may take less.
    package static func bytes(in folder: FilePath) throws -> UInt64? {
        var bytes: UInt64 = 0
        switch folder.withPlatformString({ clinux_free_space($0, &bytes) }) {
        case 1: return bytes
        case 0: return nil
        default: throw DiskImageError.system(folder, "asking for its free space", .current, .target)
        }
    }
}
