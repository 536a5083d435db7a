package import DiskImages
internal import Linux
package import SystemPackage

/// Archives by the names that a user gives them: a file of this host, or an address on a web server
/// (`https://`, `http://`).
package enum ArchiveAddress {
    /// Opens what `path` means. Throws `unavailable` where there is none or it cannot be read,
    /// `confined` where `location` does not allow to open it.
    package static func open(_ path: FilePath, allowedBy location: BackingLocation? = nil) throws -> ImageFile
    {
        guard isRemote(path) else { return try location?.open(named: path) ?? ImageFile(opening: path) }
        if let location { try check(path, allowedBy: location) }
        return try ImageFile(at: path)
    }

    /// Throws where `path`, an address, is not allowed by `location`.
    static func check(_ path: FilePath, allowedBy location: BackingLocation) throws {
        guard !location.isConfined else {
            throw DiskImageError(.confined, path, "lies outside of every directory (\(.confine))")
        }
    }

    /// Whether `path` is an address on a web server.
    package static func isRemote(_ path: FilePath) -> Bool { RemoteFile.address(of: path) != nil }

    /// Whether a file, here or on a server, begins as an archive does. Throws where it cannot be
    /// read.
    package static func isArchive(_ path: FilePath) throws -> Bool {
        try FrameFormat.reading(ByteStream(open(path))) != nil
    }

    /// As above, of a file that is open.
    package static func isArchive(_ file: ImageFile) throws -> Bool {
        try file.identity.isRegular && FrameFormat.reading(ByteStream(file)) != nil
    }

    /// As above; false, too, where `path` means no regular file. An address with `::` means an
    /// image.
    package static func isArchiveFile(_ path: FilePath) throws -> Bool { try archive(at: path) != nil }

    /// The file that `path` means, opened, where it begins as an archive does; nil where it does
    /// not, or means something else.
    package static func archive(at path: FilePath, allowedBy location: BackingLocation? = nil) throws
        -> ImageFile?
    {
        guard try isRemote(path) ? splits(of: path).isEmpty : ImageFile.identity(at: path)?.isRegular == true
        else { return nil }
        let file = try open(path, allowedBy: location)
        return try isArchive(file) ? file : nil
    }

    /// Where the bytes of `path` may be split into an archive and the name of an image.
    static func splits(of path: FilePath) -> [Int] {
        let bytes = path.pathBytes
        guard bytes.contains(UInt8(ascii: ":")) else { return [] }
        // The host of an address may have colons, too: it ends with the second slash.
        let slashes = bytes.indices.filter { bytes[$0] == UInt8(ascii: "/") }
        let first = isRemote(path) ? slashes.dropFirst().first ?? bytes.count : 1
        return bytes.indices.dropFirst(first).dropLast(2).filter {
            bytes[$0..<$0 + 2].elementsEqual("::".utf8)
        }
    }

    /// What lies beside `path` under `name`, which is one component; nil where nobody can say where
    /// that is.
    static func beside(_ path: FilePath, _ name: String) -> FilePath? {
        guard isRemote(path) else {
            return path.absolute.removingLastComponent().pushing(FilePath(name))
        }
        // A query goes with one file.
        guard !path.pathBytes.contains(UInt8(ascii: "?")) else { return nil }
        return path.removingLastComponent().pushing(FilePath(name.utf8.percentEncoded()))
    }
}
