internal import DiskImages
internal import Glibc
internal import Linux
package import SystemPackage

/// A pattern for file names: `*`, `?` and `[...]` as in glob(3), each for a part of one name; a
/// leading point is matched by a point alone.
package struct SourceGlob: Equatable, Sendable {
    /// Why a pattern is none; the end of a line.
    struct Fault: Error {
        let description: String
    }

    /// More files, or folders on the way to them, are a mistake.
    private static let most = 100_000

    /// As it stands in the pipeline file.
    package let pattern: String
    /// Where it stands there.
    package let line: Int
    /// The folder before the first component with a wildcard, absolute.
    package let fixed: FilePath
    /// What is matched below it; at least one component.
    let components: [String]

    /// The pattern made absolute.
    package var absolute: FilePath {
        FilePath(bytes: fixed.pathBytes + Array(components.flatMap { "/\($0)".utf8 }))
    }

    /// `place` makes a path of the pipeline file absolute.
    init(_ pattern: String, line: Int, place: (String) -> FilePath) throws(Fault) {
        if pattern.isEmpty { throw Fault(description: "is empty; expected a pattern such as guests/*.cow") }
        if pattern.utf8.contains(0) { throw Fault(description: "contains a NUL") }
        if pattern.utf8.last == UInt8(ascii: "/") {
            throw Fault(description: "names a folder; expected a pattern for files (add *)")
        }
        var components = pattern.utf8.split(separator: UInt8(ascii: "/")).map {
            String(decoding: $0, as: UTF8.self)
        }.filter { $0 != "." }
        let isAbsolute = pattern.utf8.first == UInt8(ascii: "/")
        if components.contains(where: { $0.contains("**") }) {
            throw Fault(
                description:
                    "has **, and a wildcard never goes down into folders (write a pattern for each depth: guests/*/*.cow)"
            )
        }
        var fixed: [String] = []
        while components.count > 1, let first = components.first, !SourceGlob.hasWildcard(first) {
            fixed.append(SourceGlob.unescaped(first))
            components.removeFirst()
        }
        guard let last = components.last, last != ".." else {
            throw Fault(description: "names a folder; expected a pattern for files")
        }
        if components.contains("..") { throw Fault(description: "goes back up (..) behind a wildcard") }
        self.pattern = pattern
        self.line = line
        self.fixed = place((isAbsolute ? "/" : "./") + fixed.joined(separator: "/"))
        self.components = components
    }

    /// A file that a pattern matches.
    struct Match {
        let path: FilePath
        /// The path of its folder below `fixed`.
        let directory: FilePath
    }

    /// What is there and matches: files of any kind, in no order. Throws where a folder cannot be
    /// listed, or too much matches.
    func matches() throws -> [Match] {
        var found = [Match(path: fixed, directory: "")]
        for (index, component) in components.enumerated() {
            var next: [Match] = []
            for folder in found {
                let below =
                    index == 0 ? "" : folder.directory.appending(folder.path.lastComponent.map { [$0] } ?? [])
                for name in try names(in: folder.path, matching: component) {
                    next.append(
                        Match(path: FilePath(bytes: folder.path.pathBytes + [0x2f] + name), directory: below))
                }
                guard next.count <= SourceGlob.most else {
                    throw DiskImageError(
                        .badData, fixed, "matches more than \(SourceGlob.most) files or folders")
                }
            }
            found = next
        }
        return found
    }

    /// The names in `folder` that `component` matches; none where it is no folder.
    private func names(in folder: FilePath, matching component: String) throws -> [[UInt8]] {
        guard SourceGlob.hasWildcard(component) else {
            let name = Array(SourceGlob.unescaped(component).utf8)
            var status = stat()
            let path = FilePath(bytes: folder.pathBytes + [0x2f] + name)
            if path.withPlatformString({ lstat($0, &status) }) == 0 { return [name] }
            if [ENOENT, ENOTDIR].contains(errno) { return [] }
            throw DiskImageError.system(path, "cannot be examined", .current, .unavailable)
        }
        guard let stream = folder.withPlatformString({ opendir($0) }) else {
            if [ENOENT, ENOTDIR].contains(errno) { return [] }
            throw DiskImageError.system(folder, "cannot be listed", .current, .unavailable)
        }
        defer { closedir(stream) }
        var names: [[UInt8]] = []
        while true {
            errno = 0
            guard let entry = readdir(stream) else {
                if errno != 0 {
                    throw DiskImageError.system(folder, "cannot be listed", .current, .unavailable)
                }
                return names
            }
            // The name is as long as it is, not as its field.
            let name = UnsafeRawPointer(entry).advanced(by: SourceGlob.nameOffset).assumingMemoryBound(
                to: CChar.self)
            guard strcmp(name, ".") != 0, strcmp(name, "..") != 0,
                fnmatch(component, name, FNM_PATHNAME | FNM_PERIOD) == 0
            else {
                continue
            }
            names.append(Array(UnsafeRawBufferPointer(start: name, count: strlen(name))))
        }
    }

    private static let nameOffset = MemoryLayout<dirent>.offset(of: \dirent.d_name) ?? 19

    /// Whether `component` is more than a name with escapes.
    package static func hasWildcard(_ component: String) -> Bool {
        var isEscaped = false
        for byte in component.utf8 {
            if !isEscaped, "*?[".utf8.contains(byte) { return true }
            isEscaped = !isEscaped && byte == UInt8(ascii: "\\")
        }
        return false
    }

    /// The name that a component without wildcards means: a backslash takes the meaning from what
    /// follows.
    private static func unescaped(_ component: String) -> String {
        var bytes: [UInt8] = []
        var isEscaped = false
        for byte in component.utf8 {
            isEscaped = !isEscaped && byte == UInt8(ascii: "\\")
            if !isEscaped { bytes.append(byte) }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
