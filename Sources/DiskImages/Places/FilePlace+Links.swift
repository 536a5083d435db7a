internal import Glibc
package import Linux
internal import SystemPackage

/// Symbolic links that are kept as such, and not followed.
extension FilePlace {
    /// Where the symbolic link that has the name leads, as it says it, and its own time; nil where
    /// the name is no link's. Throws `badData` where the text is no UTF-8.
    package func linkAsWritten() throws -> (text: String, mtime: Timestamp)? {
        guard let status = try status(), let target = try link() else { return nil }
        let text = target.string
        guard target == FilePath(text) else {
            throw DiskImageError(
                .badData, path, "leads to a name that is no UTF-8, which an archive cannot hold")
        }
        return (text, FileIdentity(status, size: 0).mtime)
    }

    /// Makes a symbolic link with the name that leads to `text`; false where there is such a one.
    /// Throws `target` where something else has the name; another link is replaced where that is
    /// allowed.
    package func makeLink(to text: String, mtime: Timestamp, replaces: Bool) throws -> Bool {
        if let found = try status() {
            guard found.st_mode & S_IFMT == S_IFLNK else {
                throw DiskImageError(.target, path, "exists and is no symbolic link (remove it)")
            }
            if try link() == FilePath(text) { return false }
            guard replaces else {
                throw DiskImageError(.target, path, "exists and leads elsewhere (\(.force) replaces it)")
            }
        }
        // Under another name first: the old link is there until the new one is.
        let staged = withSuffix(".partial")
        staged.remove()
        guard staged.name.withPlatformString({ name in symlinkat(text, folder.descriptor, name) }) == 0 else {
            throw DiskImageError.system(path, "cannot be created", .current, .target)
        }
        let time = timespec(tv_sec: time_t(clamping: mtime.seconds), tv_nsec: Int(mtime.nanoseconds))
        var times = [time, time]
        _ = staged.name.withPlatformString { utimensat(folder.descriptor, $0, &times, AT_SYMLINK_NOFOLLOW) }
        let result = staged.name.withPlatformString { from in
            name.withPlatformString { renameat(folder.descriptor, from, folder.descriptor, $0) }
        }
        guard result == 0 else { throw DiskImageError.system(path, "cannot be created", .current, .target) }
        try folder.synchronize()
        return true
    }
}
