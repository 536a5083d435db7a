internal import Glibc
internal import Linux
package import SystemPackage

/// The file system that a folder lies on.
package enum FileSystem {
    /// Bytes that are free for files in `folder`, or in the nearest folder above it that exists;
    /// nil where the file system does not say.
    package static func freeBytes(at folder: FilePath) throws -> UInt64? {
        var place = folder
        var status = statvfs()
        while place.withPlatformString({ statvfs($0, &status) }) != 0 {
            guard [ENOENT, ENOTDIR].contains(errno), place.removeLastComponent(), !place.isEmpty else {
                throw DiskImageError.system(folder, "cannot be examined", .current, .target)
            }
        }
        let (bytes, isTooLarge) = UInt64(status.f_bavail).multipliedReportingOverflow(
            by: UInt64(status.f_frsize))
        return isTooLarge || status.f_blocks == 0 ? nil : bytes
    }
}
