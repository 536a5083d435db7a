internal import DiskImages
internal import Linux
internal import Manifests
package import SystemPackage
internal import TransportArchive

/// What can be verified of a directory.
package enum VerifiableFiles {
    /// The targets with a manifest, there or not, and the archives below `folder`, in the order of
    /// their names; nil where it is no directory. Throws `unavailable` where there is nothing of
    /// the kind.
    package static func below(_ folder: FilePath) throws -> [FilePath]? {
        guard try ImageFile.identity(at: folder)?.isDirectory == true else { return nil }
        let found = try files(in: folder, depth: 0)
        guard !found.isEmpty else {
            throw DiskImageError(
                .unavailable, folder, "holds neither an archive nor anything with a manifest beside it")
        }
        return found
    }

    /// The targets below `folder` of which there is a manifest, in the order of their names; none
    /// where there is no such directory.
    package static func recorded(below folder: FilePath) throws -> [FilePath] {
        guard try ImageFile.identity(at: folder)?.isDirectory == true else { return [] }
        return try files(in: folder, depth: 0).filter {
            try ImageFile.identity(at: ManifestFile.path(of: $0)) != nil
        }
    }

    private static func files(in folder: FilePath, depth: Int) throws -> [FilePath] {
        guard depth < 64 else { return [] }
        var found: Set<FilePath> = []
        for name in try FolderNames.all(in: folder) {
            let path = folder.appending(name)
            // Links lead to what is somewhere else, or to what is found anyhow.
            guard try !FilePlace(at: path).isLink(), let file = try ImageFile.identity(at: path) else {
                continue
            }
            switch path.extension {
            case _ where file.isDirectory: found.formUnion(try files(in: path, depth: depth + 1))
            case "manifest" where file.isRegular:
                found.insert(FilePath(bytes: Array(path.pathBytes.dropLast(".manifest".utf8.count))))
            case "drover" where file.isRegular:
                if try ArchiveAddress.isArchive(path) { found.insert(path) }
            default: break
            }
        }
        return found.sorted { $0.pathBytes.lexicographicallyPrecedes($1.pathBytes) }
    }
}
