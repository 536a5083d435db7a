package import DiskImages
internal import Linux
package import SystemPackage

/// Where the archives lie that incremental ones stand on: beside those, by the name that they had,
/// and in further folders, by what they hold.
package struct AncestorSearch: Sendable {
    private let folders: [FilePath]
    private let location: BackingLocation?
    /// What is kept of all archives of the line.
    let cache: ArchiveCache
    /// The archives of the line so far: none of them stands on itself.
    private var line: Set<FileID> = []

    /// Looks into `folders` too; what `location` does not allow is not opened.
    package init(
        in folders: [FilePath] = [], allowedBy location: BackingLocation? = nil,
        keepingIn cache: ArchiveCache = ArchiveCache()
    ) {
        (self.folders, self.location, self.cache) = (folders, location, cache)
    }

    func including(_ file: ImageFile) -> AncestorSearch {
        var search = self
        search.line.insert(FileID(file.identity))
        return search
    }

    /// The archive of the state that `wanted` names, which `child` stands on: the one that still
    /// has its name, or another one, of which all is there that it stands on itself.
    func find(_ wanted: ArchiveHeader.Parent, of child: ArchiveFile) throws -> ArchiveFile {
        var named = [ArchiveAddress.beside(child.file.path, wanted.name)].compactMap(\.self)
        named += folders.map { $0.pushing(FilePath(wanted.name)) }
        var other: FilePath?
        var broken: DiskImageError?
        for (path, isNamed) in named.map({ ($0, true) }) + (try further().map { ($0, false) }) {
            guard let found = try opened(path, named: isNamed) else { continue }
            guard found.index.state == wanted.state else {
                if isNamed { other = other ?? path }
                continue
            }
            do {
                try found.openAncestors(of: found.header.layers.indices)
                return found
            } catch let error as DiskImageError
                where [.unavailable, .badData, .confined].contains(error.kind)
            {
                broken = broken ?? error
            }
        }
        if let broken { throw broken }
        if let other {
            throw DiskImageError(
                .badData, child.file.path,
                "stands on an archive \(wanted.name) of state \(wanted.state); \(other) has another (\(.archives) names a folder to look in)"
            )
        }
        throw DiskImageError(
            .unavailable, child.file.path,
            "stands on the archive \(wanted.name) of state \(wanted.state), which is not there (\(.archives) names a folder to look in)",
            cause: .noSuchFileOrDirectory)
    }

    /// All files of the folders, in the order of their names.
    private func further() throws -> [FilePath] {
        try folders.flatMap { folder in
            try SystemText.names(in: folder).sorted().map { folder.pushing(FilePath($0)) }
        }
    }

    /// The archive at `path`; nil where there is none, or one of the line. `named`: it is the one
    /// that is looked for, and what is wrong with it is said.
    private func opened(_ path: FilePath, named: Bool) throws -> ArchiveFile? {
        guard try ArchiveAddress.isRemote(path) || ImageFile.identity(at: path)?.isRegular == true else {
            return nil
        }
        do {
            let file = try ArchiveAddress.open(path, allowedBy: location)
            guard !line.contains(FileID(file.identity)), try FrameFormat.reading(ByteStream(file)) != nil
            else { return nil }
            return try ArchiveFile(file, self)
        } catch let error as DiskImageError
            where error.isMissing || !named && error.kind != .shortage
        {
            return nil
        }
    }
}
