internal import CLinux
internal import Glibc
internal import Linux
internal import SystemPackage

/// Who may read and write a file, and whose it is.
package struct FileAccess: Equatable, Sendable {
    /// The permission bits, without set-id and sticky.
    package let mode: UInt32
    package let owner: UInt32
    package let group: UInt32
    /// The POSIX access control list as the kernel stores it; nil where there is none. The mode's
    /// group bits are then the list's mask.
    package let acl: [UInt8]?

    package init(mode: UInt32, owner: UInt32, group: UInt32, acl: [UInt8]? = nil) {
        (self.mode, self.owner, self.group, self.acl) = (mode & 0o777, owner, group, acl)
    }

    /// Of an open file; `path` is for messages.
    init(of descriptor: CInt, _ path: FilePath) throws {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw DiskImageError.system(path, "cannot be examined") }
        self.init(status, acl: try FileAccess.acl(path) { clinux_get_acl(descriptor, $0, $1) })
    }

    private init(_ status: stat, acl: [UInt8]?) {
        self.init(mode: status.st_mode, owner: status.st_uid, group: status.st_gid, acl: acl)
    }

    /// Of what lies at `place`, which must be no link; nil where nothing does. It need not be
    /// readable.
    package static func of(_ place: FilePlace) throws -> FileAccess? {
        var descriptor = place.open(O_RDONLY | O_NONBLOCK)
        let isReadable = descriptor >= 0
        if !isReadable, errno == EACCES { descriptor = place.openUnread() }
        guard descriptor >= 0 else {
            if [ENOENT, ENOTDIR].contains(errno) { return nil }
            throw DiskImageError.system(place.path, "cannot be examined", .current, .target)
        }
        defer { Glibc.close(descriptor) }
        if isReadable { return try FileAccess(of: descriptor, place.path) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else {
            throw DiskImageError.system(place.path, "cannot be examined")
        }
        return FileAccess(
            status, acl: try acl(place.path) { clinux_get_acl_of("/proc/self/fd/\(descriptor)", $0, $1) })
    }

    private static func acl(_ path: FilePath, _ get: (UnsafeMutableRawPointer?, Int) -> Int) throws
        -> [UInt8]?
    {
        var count = get(nil, 0)
        guard count != 0 else { return nil }
        // As long as the kernel lets any extended attribute be: it may have grown meanwhile.
        var bytes = [UInt8](repeating: 0, count: 65536)
        if count > 0 { count = bytes.withUnsafeMutableBytes { get($0.baseAddress, $0.count) } }
        guard count >= 0 else { throw DiskImageError.system(path, "asking for its access control list") }
        return count == 0 ? nil : Array(bytes[..<count])
    }

    /// Gives an open file what this says, or, where the process may not give it this owner or
    /// group, `other` alone as its mode. The mode comes last, because a new owner takes some of it
    /// away.
    func give(to descriptor: CInt, _ path: FilePath, orMode other: UInt32) throws {
        let now = try FileAccess(of: descriptor, path)
        if now.owner != owner || now.group != group, retried({ fchown(descriptor, owner, group) }) != 0 {
            guard errno == EPERM else { throw DiskImageError.system(path, "giving it its owner") }
            return try FileAccess.setMode(other, of: descriptor, path)
        }
        if let acl {
            let result = acl.withUnsafeBytes { bytes in
                retried { clinux_set_acl(descriptor, bytes.baseAddress, bytes.count) }
            }
            guard result == 0 || errno == EOPNOTSUPP else {
                throw DiskImageError.system(path, "giving it its access control list")
            }
        }
        try FileAccess.setMode(mode, of: descriptor, path)
    }

    private static func setMode(_ mode: UInt32, of descriptor: CInt, _ path: FilePath) throws {
        guard retried({ fchmod(descriptor, mode) }) == 0 else {
            throw DiskImageError.system(path, "setting its mode")
        }
    }

    /// Makes an open file, which its folder may have given a list to, or an earlier run a mode, one
    /// that nobody but its owner may read.
    static func close(_ descriptor: CInt, _ path: FilePath) throws {
        let now = try FileAccess(of: descriptor, path)
        guard now.mode & 0o077 != 0 || now.acl != nil else { return }
        guard retried({ clinux_remove_acl(descriptor) }) == 0, retried({ fchmod(descriptor, 0o600) }) == 0
        else {
            throw DiskImageError.system(path, "making it private", .current, .target)
        }
    }

    /// Whether nobody is kept from what `bit` allows others (4 reads, 2 writes): no class of the
    /// mode, no entry of the list.
    package func isForAll(_ bit: UInt32) -> Bool {
        guard mode & bit != 0 else { return false }
        guard let acl else { return mode & bit << 3 != 0 }
        // A version of four bytes; then entries: a tag, what it allows, and whom, in 2, 2 and 4
        // bytes, little-endian.
        guard acl.count >= 4, (acl.count - 4) % 8 == 0, acl[0] == 2, acl[1...3].allSatisfy({ $0 == 0 }) else {
            return false
        }
        return stride(from: 4, to: acl.count, by: 8).allSatisfy { UInt32(acl[$0 + 2]) & bit != 0 }
    }
}
