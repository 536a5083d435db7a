internal import Glibc
internal import Linux
package import SystemPackage

/// Bytes that come one after the other: from a pipe, or from a file that can also be read from
/// another place.
package final class ByteStream: @unchecked Sendable {
    private enum Source {
        case pipe(CInt, isStopped: @Sendable () -> Bool)
        case file(ImageFile)
    }

    private let source: Source
    /// What messages call it.
    package let path: FilePath
    /// Where the next byte is read from. One task reads.
    package private(set) var offset: UInt64 = 0
    /// Up to where all will be read, where somebody knows.
    private var end: UInt64?

    /// Standard input. `isStopped` is asked while nothing comes.
    package init(isStopped: @escaping @Sendable () -> Bool) {
        source = .pipe(STDIN_FILENO, isStopped: isStopped)
        path = "standard input"
    }

    /// A file from its start.
    package init(_ file: ImageFile) {
        source = .file(file)
        path = file.path
    }

    /// The file, where it is one that can be read from any place.
    package var file: ImageFile? {
        if case .file(let file) = source { file } else { nil }
    }

    /// Reads until `buffer` is full or the bytes end; returns how many there were. Throws `stopped`
    /// where a pipe stalls and somebody asks to stop.
    package func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        var done = 0
        switch source {
        case .file(let file): done = try file.readAvailable(into: buffer, at: offset, upTo: end)
        case .pipe(let descriptor, let isStopped):
            while done < buffer.count {
                try PipeWait.wait(for: descriptor, POLLIN, path, isStopped)
                let count = Glibc.read(descriptor, buffer.baseAddress! + done, buffer.count - done)
                if count > 0 {
                    done += count
                } else if count == 0 {
                    try ByteStream.checkEnd(of: descriptor, path)
                    break
                } else if errno != EINTR, errno != EAGAIN {
                    throw DiskImageError.system(path, "reading", .current)
                }
            }
        }
        offset += UInt64(done)
        return done
    }

    /// Standard input may be a file, which says itself where it ends.
    private static func checkEnd(of descriptor: CInt, _ path: FilePath) throws {
        let position = lseek(descriptor, 0, SEEK_CUR)
        var status = stat()
        guard position >= 0, fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            return
        }
        try ImageFile.checkEnd(of: descriptor, at: UInt64(position), path)
    }

    /// At most `count` bytes; fewer at the end. Memory grows with what there is, not with what is
    /// asked for.
    package func read(_ count: Int) throws -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count < count {
            let piece = min(count - bytes.count, 1 << 20)
            let start = bytes.count
            bytes += [UInt8](repeating: 0, count: piece)
            let found = try bytes.withUnsafeMutableBytes {
                try read(into: UnsafeMutableRawBufferPointer(rebasing: $0[start...]))
            }
            if found < piece {
                bytes.removeLast(piece - found)
                break
            }
        }
        return bytes
    }

    /// Leaves `count` bytes out; a file is not read for it. False where there are not so many.
    package func skip(_ count: UInt64) throws -> Bool {
        if let file {
            guard offset <= file.length, count <= file.length - offset else { return false }
            offset += count
            return true
        }
        var rest = count
        while rest > 0 {
            let piece = try read(Int(min(rest, 1 << 20)))
            if piece.isEmpty { return false }
            rest -= UInt64(piece.count)
        }
        return true
    }

    /// Goes on at `offset` of a file.
    package func seek(to offset: UInt64) { (self.offset, end) = (offset, nil) }

    /// All will be read up to `end`: a file that lies elsewhere is asked for in larger parts.
    package func expect(upTo end: UInt64?) { self.end = end }
}
