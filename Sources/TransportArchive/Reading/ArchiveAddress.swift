package import DiskImages
internal import Linux
package import SystemPackage

/// Archives by the names that a user gives them: a file of this host, or an address on a web server
/// (`https://`, `http://`).
package enum ArchiveAddress {
    /// Opens what `path` means. Throws `unavailable` where there is none or it cannot be read, `confined`
    /// where `location` does not allow to open it.
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

    /// Whether a file, here or on a server, begins as an archive does. Throws where it cannot be read.
    package static func isArchive(_ path: FilePath) throws -> Bool {
        try FrameFormat.reading(ByteStream(open(path))) != nil
    }

    /// As above; false, too, where `path` means no regular file. An address with `::` means an image.
    package static func isArchiveFile(_ path: FilePath) throws -> Bool {
        guard !isRemote(path) else { return try splits(of: path).isEmpty && isArchive(path) }
        return try ImageFile.identity(at: path)?.isRegular == true && isArchive(path)
    }

    /// Where the bytes of `path` may be split into an archive and the name of an image.
    static func splits(of path: FilePath) -> [Int] {
        let bytes = path.pathBytes
        // The host of an address may have colons, too: it ends with the second slash.
        let slashes = bytes.indices.filter { bytes[$0] == UInt8(ascii: "/") }
        let first = isRemote(path) ? slashes.dropFirst().first ?? bytes.count : 1
        return bytes.indices.dropFirst(first).dropLast(2).filter {
            bytes[$0..<$0 + 2].elementsEqual("::".utf8)
        }
    }

    /// What lies beside `path` under `name`, which is one component; nil where nobody can say where that
    /// is.
    static func beside(_ path: FilePath, _ name: String) -> FilePath? {
        guard isRemote(path) else {
            return path.absolute.removingLastComponent().pushing(FilePath(name))
        }
        // A query goes with one file.
        guard !path.pathBytes.contains(UInt8(ascii: "?")) else { return nil }
        return path.removingLastComponent().pushing(FilePath(percentEncoded(name)))
    }

    /// `name` as a component of an address (RFC 3986).
    private static func percentEncoded(_ name: String) -> String {
        name.utf8.map { byte in
            let character = Character(UnicodeScalar(byte))
            if character.isASCII, character.isLetter || character.isNumber || "-._~".contains(character) {
                return String(character)
            }
            return "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
        }.joined()
    }
}
