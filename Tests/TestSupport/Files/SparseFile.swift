internal import Glibc
package import SystemPackage

/// A file to be written in pieces, with holes between them.
package struct SparseFile {
    /// The time that test files get: 2023-11-14 22:13:20 UTC. Headers can name it before the file
    /// is there.
    package static let usualMtime: UInt32 = 1_700_000_000

    private var pieces: [(offset: UInt64, bytes: [UInt8])] = []
    /// Where the last piece ends.
    package private(set) var end: UInt64 = 0

    package init() {}

    /// Adds bytes at `offset`; what no piece covers stays a hole, in whole blocks of the file
    /// system.
    package mutating func put(_ bytes: [UInt8], at offset: UInt64) {
        guard !bytes.isEmpty else { return }
        if let last = pieces.indices.last, pieces[last].offset + UInt64(pieces[last].bytes.count) == offset {
            pieces[last].bytes += bytes
        } else {
            pieces.append((offset, bytes))
        }
        end = max(end, offset + UInt64(bytes.count))
    }

    /// Writes the file anew, `length` bytes long (the pieces' end, where that is nil), modified at
    /// `mtime`.
    package func write(to path: FilePath, length: UInt64? = nil, mtime: UInt32 = SparseFile.usualMtime) throws
    {
        let descriptor = open(path.string, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw SystemCallFailed("open \(path)") }
        defer { close(descriptor) }
        for piece in pieces {
            guard pwrite(descriptor, piece.bytes, piece.bytes.count, off_t(piece.offset)) == piece.bytes.count
            else {
                throw SystemCallFailed("pwrite \(path)")
            }
        }
        guard ftruncate(descriptor, off_t(length ?? end)) == 0 else {
            throw SystemCallFailed("ftruncate \(path)")
        }
        let time = timespec(tv_sec: Int(mtime), tv_nsec: 0)
        guard futimens(descriptor, [time, time]) == 0 else { throw SystemCallFailed("futimens \(path)") }
    }

    /// Writes `bytes` to `path`, modified at `mtime`.
    package static func write(_ bytes: [UInt8], to path: FilePath, mtime: UInt32 = SparseFile.usualMtime)
        throws
    {
        var file = SparseFile()
        file.put(bytes, at: 0)
        try file.write(to: path, mtime: mtime)
    }
}
