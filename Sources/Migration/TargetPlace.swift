package import DiskImages
internal import Glibc
package import SystemPackage

/// Where a target goes: its name with links resolved, and what must not be there.
package struct TargetPlace: Sendable {
    /// The target's final name; no symbolic link.
    package let path: FilePath
    /// The file that has the name now.
    package let existing: FileIdentity?

    /// Throws `target` where `name` is something else than a regular file, or where the target or one of the files beside it is one of `sources`.
    package init(_ name: FilePath, sources: [FileIdentity]) throws {
        path = try TargetPlace.follow(name)
        guard let last = path.lastComponent, last.kind == .regular else {
            throw MigrationError(.target, "\(name): is no name for a file")
        }
        if let ending = last.extension, ["partial", "manifest"].contains(ending) {
            throw MigrationError(.target, "\(name): ends in .\(ending), as what Drover keeps beside a target does (choose another name)")
        }
        do {
            existing = try ImageFile.identity(at: path)
            _ = try ImageFile.identity(at: ManifestFile.path(of: path))
        } catch let error as DiskImageError where error.kind == .unavailable {
            // A name too long, or a folder that may not be looked into.
            throw DiskImageError(.target, error.path, error.fact)
        }
        if let existing, !existing.isRegular {
            throw MigrationError(.target, "\(name): exists and is no regular file (it is never replaced)")
        }
        for (place, found) in [
            (path, existing), (TargetFile.partialPath(of: path), nil), (ManifestFile.path(of: path), nil),
        ] {
            guard let identity = try found ?? ImageFile.identity(at: place) else { continue }
            if sources.contains(where: { $0.isSameFile(as: identity) }) {
                throw MigrationError(.target, "\(place): is a file of the source's own chain (choose another target)")
            }
        }
    }

    /// Resolves a symbolic link at the end of `name`, whether or not its target exists.
    static func follow(_ name: FilePath) throws -> FilePath {
        var path = name
        for _ in 0..<40 {
            var buffer = [CChar](repeating: 0, count: Int(PATH_MAX) + 1)
            let count = path.withPlatformString { readlink($0, &buffer, Int(PATH_MAX)) }
            guard count >= 0 else { return path }
            let link = FilePath(bytes: buffer[..<count].map { UInt8(bitPattern: $0) })
            path = link.isAbsolute ? link : path.removingLastComponent().pushing(link)
        }
        throw MigrationError(.target, "\(name): leads through too many symbolic links")
    }
}

extension FilePath {
    /// The path from the root, without `.` and `..`; links are not resolved.
    package var absolute: FilePath {
        // A `..` behind a link leads elsewhere than it looks: the folder is resolved then.
        if components.contains(where: { $0.kind == .parentDirectory }), let last = lastComponent, last.kind == .regular,
            let folder = try? resolved(isRelative && components.count == 1 ? "." : removingLastComponent())
        {
            return folder.appending(last)
        }
        if isAbsolute { return lexicallyNormalized() }
        guard let folder = getcwd(nil, 0) else { return self }
        defer { free(folder) }
        return FilePath(platformString: folder).pushing(self).lexicallyNormalized()
    }
}
