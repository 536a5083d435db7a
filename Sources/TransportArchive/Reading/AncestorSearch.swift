package import DiskImages
internal import Glibc
internal import Linux
package import SystemPackage

/// Where the archives lie that incremental ones stand on: beside those, by the name that they had, and
/// in further folders, by what they hold.
package struct AncestorSearch: Sendable {
    private let folders: [FilePath]
    private let location: BackingLocation?
    /// The archives of the line so far: none of them stands on itself.
    private var line: Set<FileID> = []

    /// Looks into `folders` too; what `location` does not allow is not opened.
    package init(in folders: [FilePath] = [], allowedBy location: BackingLocation? = nil) {
        (self.folders, self.location) = (folders, location)
    }

    func including(_ file: ImageFile) -> AncestorSearch {
        var search = self
        search.line.insert(FileID(file.identity))
        return search
    }

    /// The archive of the state that `wanted` names, which `child` stands on.
    func find(_ wanted: ArchiveHeader.Parent, of child: ArchiveFile) throws -> ArchiveFile {
        let beside = child.file.path.absolute.removingLastComponent().pushing(FilePath(wanted.name))
        var other: FilePath?
        if let found = try opened(beside, named: true) {
            if found.index.state == wanted.state { return found }
            other = beside
        }
        for folder in folders {
            let named = folder.pushing(FilePath(wanted.name))
            if let found = try opened(named, named: true) {
                if found.index.state == wanted.state { return found }
                other = other ?? named
            }
        }
        for folder in folders {
            for name in try SystemText.names(in: folder).sorted() {
                if let found = try opened(folder.pushing(FilePath(name)), named: false),
                    found.index.state == wanted.state
                {
                    return found
                }
            }
        }
        if let other {
            throw DiskImageError(
                .badData, child.file.path,
                "stands on an archive \(wanted.name) of state \(wanted.state); \(other) has another (\(Choice.archives) names a folder to look in)"
            )
        }
        throw DiskImageError(
            .unavailable, child.file.path,
            "stands on the archive \(wanted.name) of state \(wanted.state), which is not there (\(Choice.archives) names a folder to look in)",
            cause: .noSuchFileOrDirectory)
    }

    /// The archive at `path`; nil where there is none, or one of the line. `named`: it is the one that is
    /// looked for, and what is wrong with it is said.
    private func opened(_ path: FilePath, named: Bool) throws -> ArchiveFile? {
        guard let identity = try ImageFile.identity(at: path), identity.isRegular,
            !line.contains(FileID(identity))
        else { return nil }
        do {
            let file = try location?.open(named: path) ?? ImageFile(opening: path)
            guard try FrameFormat.reading(ByteStream(file)) != nil else { return nil }
            return try ArchiveFile(file, self)
        } catch let error as DiskImageError where !named && error.kind != .shortage {
            return nil
        }
    }
}
