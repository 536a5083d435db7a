internal import CLinux
internal import Glibc
package import SystemPackage

/// What the kernel says of itself in `/proc` and `/sys`: short files and folders that may be gone
/// at any time.
package enum SystemText {
    /// The lines of a file; none where it is not there.
    package static func lines(of path: FilePath) throws -> [Substring] {
        let descriptor = path.withPlatformString { clinux_open($0, O_RDONLY, 0) }
        guard descriptor >= 0 else { return [] }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = Glibc.read(descriptor, &piece, piece.count)
            if count < 0, errno == EINTR { continue }
            // A device may be detached between opening and reading.
            guard count > 0 else { break }
            bytes += piece[..<count]
        }
        return String(decoding: bytes, as: UTF8.self).split(separator: "\n")
    }

    /// The names in a folder; none where it is not there.
    package static func names(in folder: FilePath) throws -> [String] {
        guard let stream = folder.withPlatformString({ opendir($0) }) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            names.append(
                withUnsafePointer(to: &entry.pointee.d_name) { name in
                    name.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
                })
        }
        return names
    }
}
