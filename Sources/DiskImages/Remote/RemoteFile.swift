internal import CCurl
internal import Glibc
internal import Linux
package import SystemPackage

/// A file that a web server has, read in ranges. What it says of the file (length, ETag, time) is
/// held against what it said first at every answer.
///
/// A path means one where it begins with `https:/` or `http:/`: a `FilePath` has no empty
/// components, so there the address has one slash less. Only names that a user gave are looked at
/// in this way, never those of headers.
package final class RemoteFile: Sendable {
    /// Asked for at once where nobody knows how much will be read, and where much will be.
    private static let window = 64 << 10
    private static let longWindow = 1 << 20
    /// Windows that are kept.
    private static let mostWindows = 8
    private static let mostIdle = 16

    package let address: String
    let length: UInt64
    /// When it was last modified, in seconds since 1970; 0 where the server does not say.
    let modified: Int64
    private let path: FilePath
    private let etag: String
    private let lastModified: String
    private let windows = Locked([(offset: UInt64, bytes: [UInt8])]())
    /// Connections that nobody uses now.
    private let idle = Locked([Connection]())

    private final class Connection: @unchecked Sendable {
        let handle: UnsafeMutableRawPointer

        init() throws {
            guard let handle = ccurl_open() else { throw Shortage("no memory for a connection") }
            self.handle = handle
        }

        deinit { ccurl_close(handle) }
    }

    /// The address that `path` means; nil where it means a file of this host.
    package static func address(of path: FilePath) -> String? {
        let bytes = path.pathBytes
        guard bytes.starts(with: "http".utf8) else { return nil }
        let text = String(decoding: bytes, as: UTF8.self)
        for scheme in ["https", "http"] where text.hasPrefix("\(scheme):/") {
            return "\(scheme)://\(text.dropFirst(scheme.utf8.count + 2))"
        }
        return nil
    }

    /// What `path` is called in front of people: of an address neither the query nor the name and
    /// password, which may be what gives access.
    package static func shown(_ path: FilePath) -> String {
        guard let address = address(of: path) else { return path.description }
        let scheme = address.prefix { $0 != "/" } + "//"
        let host = address.dropFirst(scheme.count).prefix { $0 != "/" }
        let place = address.dropFirst(scheme.count + host.count)
        var query = place.drop { $0 != "?" }
        let path = place.dropLast(query.count)
        while !query.isEmpty, !query.hasPrefix("::") { query.removeFirst() }
        return String(scheme + (host.split(separator: "@").last ?? "") + path + query)
    }

    /// Asks for the beginning of `path`, which is an address. Throws `unavailable` where the server
    /// is not there or does not give the file, `badData` where it cannot give a part of it.
    init(_ path: FilePath) throws {
        guard let address = RemoteFile.address(of: path) else {
            throw DiskImageError(.unavailable, path, "is no address")
        }
        guard ccurl_load() != 0 else {
            throw DiskImageError(
                .unavailable, path, "cannot be read: libcurl is not there (install it: apt install libcurl4)")
        }
        var bytes = [UInt8](repeating: 0, count: RemoteFile.window)
        let connection = try Connection()
        let answer = try bytes.withUnsafeMutableBytes {
            try RemoteFile.ask(connection, for: Part(address: address, path: path), $0, .unavailable)
        }
        let total = answer.total
        guard answer.status == 206, total > 0, answer.first == 0 else {
            throw DiskImageError(
                .badData, path,
                "is on a server that gives no parts of files (it answers \(answer.status); download it, or use a server with ranges)"
            )
        }
        (self.path, self.address, length) = (path, address, UInt64(total))
        (etag, lastModified) = (answer.etagText, answer.modifiedText)
        modified = max(0, ccurl_seconds(lastModified))
        bytes.removeLast(bytes.count - Int(min(length, UInt64(bytes.count))))
        try check(answer, 0, bytes.count)
        windows.withLock { $0.append((0, bytes)) }
        idle.withLock { $0.append(connection) }
    }

    /// Fills `buffer` from `offset`; returns how many bytes there were before the file's end.
    /// `end`: up to there much will be read in this way.
    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64, upTo end: UInt64?) throws -> Int
    {
        guard offset < length else { return 0 }
        let count = Int(min(UInt64(buffer.count), length - offset))
        var done = 0
        while done < count {
            let position = offset + UInt64(done)
            let rest = UnsafeMutableRawBufferPointer(rebasing: buffer[done..<count])
            if let found = copyKept(at: position, into: rest) {
                done += found
                continue
            }
            let ahead = Int(clamping: min(max(end ?? 0, position), length) - position)
            let wanted = max(
                min(ahead, RemoteFile.longWindow), min(RemoteFile.window, Int(clamping: length - position)))
            if rest.count >= wanted {
                try fetch(at: position, into: rest)
                done = count
            } else {
                // Near the end what lies before it is asked for as well: an index is read
                // backwards.
                let isLast = end == nil && length - position < UInt64(RemoteFile.window)
                let start = isLast ? length - min(length, UInt64(RemoteFile.window)) : position
                var bytes = [UInt8](
                    repeating: 0, count: isLast ? Int(length - start) : wanted)
                try bytes.withUnsafeMutableBytes { try fetch(at: start, into: $0) }
                windows.withLock { windows in
                    windows.append((start, bytes))
                    if windows.count > RemoteFile.mostWindows { windows.removeFirst() }
                }
            }
        }
        return count
    }

    /// Copies what is kept from `position` on; nil where nothing is.
    private func copyKept(at position: UInt64, into buffer: UnsafeMutableRawBufferPointer) -> Int? {
        windows.withLock { windows in
            guard
                let window = windows.last(where: {
                    $0.offset <= position && position - $0.offset < UInt64($0.bytes.count)
                })
            else { return nil }
            let start = Int(position - window.offset)
            let count = min(buffer.count, window.bytes.count - start)
            window.bytes.withUnsafeBytes {
                UnsafeMutableRawBufferPointer(rebasing: buffer[..<count]).copyMemory(
                    from: UnsafeRawBufferPointer(rebasing: $0[start..<start + count]))
            }
            return count
        }
    }

    /// Fills `buffer`, which does not go past the file's end.
    private func fetch(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws {
        let connection = try idle.withLock { $0.popLast() } ?? Connection()
        // A weak one matches nothing; it is compared all the same.
        let condition = etag.isEmpty || etag.hasPrefix("W/") ? nil : etag
        let part = Part(address: address, path: path, offset: offset, etag: condition)
        let answer = try RemoteFile.ask(connection, for: part, buffer, .io)
        try check(answer, offset, buffer.count)
        idle.withLock { if $0.count < RemoteFile.mostIdle { $0.append(connection) } }
    }

    /// Throws where `answer` is not the `count` bytes from `offset` on of the file that this was.
    private func check(_ answer: ccurl_answer, _ offset: UInt64, _ count: Int) throws {
        guard answer.status != 412, answer.status != 416,
            answer.status != 206
                || answer.total == Int64(length) && answer.etagText == etag
                    && answer.modifiedText == lastModified
        else {
            throw DiskImageError(
                .badData, path, "changed on the server while it was read (run the same command again)")
        }
        guard answer.status == 206 else {
            throw DiskImageError(
                .io, path,
                "the server answered \(answer.status) where bytes \(offset) to \(offset + UInt64(count) - 1) were asked for"
            )
        }
        guard answer.first == Int64(offset), answer.last == Int64(offset) + Int64(count) - 1,
            answer.received == count, answer.has_more == 0
        else {
            throw DiskImageError(
                .io, path,
                "the server sent \(answer.has_more != 0 ? "more than " : "")\(answer.received) bytes, called \(answer.first) to \(answer.last), where \(offset) to \(offset + UInt64(count) - 1) were asked for"
            )
        }
    }

    /// What is asked for: as many bytes as there is room for, of the file that has the tag.
    private struct Part {
        let address: String
        let path: FilePath
        var offset: UInt64 = 0
        /// nil takes any.
        var etag: String? = nil
    }

    /// What the server answers. Throws, with `kind`, where there is no answer, or it leads
    /// elsewhere, or the bytes are not those of the file.
    private static func ask(
        _ connection: Connection, for part: Part, _ buffer: UnsafeMutableRawBufferPointer,
        _ kind: DiskImageError.Kind
    ) throws -> ccurl_answer {
        let path = part.path
        var answer = ccurl_answer()
        var problem = [CChar](repeating: 0, count: 256)
        guard
            ccurl_get(
                connection.handle, part.address, part.offset, buffer.count, part.etag, buffer.baseAddress,
                &answer, &problem) == 0
        else {
            throw DiskImageError(kind, path, "cannot be read: \(text(problem))")
        }
        switch answer.status {
        case 300..<400:
            let place = withUnsafeBytes(of: answer.location, text)
            throw DiskImageError(
                .unavailable, path,
                "is redirected\(place.isEmpty ? "" : " to \(place)") (give the address where it lies)")
        case 401, 403, 407:
            throw DiskImageError(
                .unavailable, path,
                "the server does not give it: \(answer.status) (names and passwords are read from ~/.netrc)")
        case 404, 410:
            throw DiskImageError(
                .unavailable, path, "is not on the server: \(answer.status)", cause: .noSuchFileOrDirectory)
        case 500...: throw DiskImageError(kind, path, "the server failed: it answered \(answer.status)")
        default: break
        }
        let encoding = withUnsafeBytes(of: answer.encoding, text)
        guard encoding.isEmpty || encoding == "identity" else {
            throw DiskImageError(.badData, path, "is sent encoded (\(encoding)), so parts of it mean nothing")
        }
        return answer
    }

    private static func text(_ characters: [CChar]) -> String {
        characters.withUnsafeBytes(text)
    }

    /// The text up to the first NUL.
    fileprivate static func text(_ bytes: UnsafeRawBufferPointer) -> String {
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
}

extension ccurl_answer {
    fileprivate var etagText: String { withUnsafeBytes(of: etag, RemoteFile.text) }
    fileprivate var modifiedText: String { withUnsafeBytes(of: modified, RemoteFile.text) }
}
