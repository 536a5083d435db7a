internal import DiskImages
internal import Glibc
package import Linux
package import SystemPackage

/// What the tests do to files behind Drover's back.
package enum FileChanges {
    /// Overwrites what lies at `offset`, which may lie past the file's end.
    package static func write(_ bytes: [UInt8], to path: FilePath, at offset: Int) throws {
        let descriptor = try opened(path)
        defer { close(descriptor) }
        guard pwrite(descriptor, bytes, bytes.count, off_t(offset)) == bytes.count else {
            throw SystemCallFailed("pwrite \(path)")
        }
    }

    /// Inverts the bits of the byte at `offset`.
    package static func flip(_ path: FilePath, at offset: Int) throws {
        try write([~(try bytes(of: path)[offset])], to: path, at: offset)
    }

    /// Overwrites without a trace: size and time stay what they were.
    package static func writeUnnoticed(_ bytes: [UInt8], to path: FilePath, at offset: Int) throws {
        let time = try ImageFile(opening: path).identity.mtime
        try write(bytes, to: path, at: offset)
        try setMtime(of: path, time)
    }

    package static func setMtime(of path: FilePath, _ time: Timestamp) throws {
        let value = timespec(tv_sec: time.seconds, tv_nsec: time.nanoseconds)
        guard utimensat(AT_FDCWD, path.string, [value, value], 0) == 0 else {
            throw SystemCallFailed("utimensat \(path)")
        }
    }

    /// Makes `text` all that a file has.
    package static func replace(_ path: FilePath, with text: String) throws {
        try truncate(path, to: 0)
        try write(Array(text.utf8), to: path, at: 0)
    }

    package static func truncate(_ path: FilePath, to length: Int) throws {
        guard Glibc.truncate(path.string, off_t(length)) == 0 else {
            throw SystemCallFailed("truncate \(path)")
        }
    }

    package static func rename(_ path: FilePath, to other: FilePath) throws {
        guard Glibc.rename(path.string, other.string) == 0 else { throw SystemCallFailed("rename \(path)") }
    }

    package static func remove(_ path: FilePath) throws {
        guard unlink(path.string) == 0 else { throw SystemCallFailed("unlink \(path)") }
    }

    /// Gives the file at `path` a second name.
    package static func hardLink(_ path: FilePath, as other: FilePath) throws {
        guard Glibc.link(path.string, other.string) == 0 else { throw SystemCallFailed("link \(path)") }
    }

    package static func bytes(of path: FilePath) throws -> [UInt8] {
        let file = try ImageFile(opening: path)
        var bytes = [UInt8](repeating: 0, count: Int(file.length))
        try bytes.withUnsafeMutableBytes { try file.read(into: $0, at: 0) }
        return bytes
    }

    package static func text(of path: FilePath) throws -> String {
        String(decoding: try bytes(of: path), as: UTF8.self)
    }

    /// Whether the file has a hole at `offset`.
    package static func isHole(_ path: FilePath, at offset: Int) throws -> Bool {
        let descriptor = open(path.string, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw SystemCallFailed("open \(path)") }
        defer { close(descriptor) }
        let seekData: CInt = 3
        return lseek(descriptor, off_t(offset), seekData) != off_t(offset)
    }

    private static func opened(_ path: FilePath) throws -> CInt {
        let descriptor = open(path.string, O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw SystemCallFailed("open \(path)") }
        return descriptor
    }
}
