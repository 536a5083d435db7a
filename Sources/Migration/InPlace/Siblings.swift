internal import DiskImages
internal import Glibc
internal import ImageFormats
internal import Linux
internal import SystemPackage

/// Other overlays of a backing file, which show other bytes when it changes.
struct Siblings {
    private let base: ImageLayer
    private let overlay: FileIdentity
    private let location: BackingLocation

    /// Of `base`, beside `overlay`.
    init(on base: ImageLayer, beside overlay: FileIdentity, _ location: BackingLocation) {
        (self.base, self.overlay, self.location) = (base, overlay, location)
    }

    /// The overlays in `folders`, of whatever format: their headers lead to the base, or nowhere
    /// and say its name, and its time where they have one. Throws `unavailable` where a folder or a
    /// file in it cannot be read: it may be one.
    func find(in folders: [FilePath]) throws -> [(path: FilePath, mtime: UInt32?)] {
        var found: [(FilePath, UInt32?)] = []
        var seen: Set<FileID> = [FileID(overlay), FileID(base.file.identity)]
        var seenFolders: Set<FilePath> = []
        for folder in folders.map({ $0.isEmpty ? "." : $0 })
        where seenFolders.insert(try resolved(folder)).inserted {
            for name in try FolderNames.all(in: folder) {
                let path = folder.appending(name)
                guard let file = try ImageFile.identity(at: path), file.isRegular,
                    seen.insert(FileID(file)).inserted
                else { continue }
                let references = try FormatList.references(of: ImageFile(opening: path))
                if let here = references.first(where: { leadsHere($0, path) }) {
                    found.append((path, here.mtime))
                }
            }
        }
        return found
    }

    private func leadsHere(_ reference: BackingClause, _ image: FilePath) -> Bool {
        let place = location.moved(reference.path, from: image)
        if let file = try? ImageFile.identity(at: place) { return file.isSameFile(as: base.file.identity) }
        return reference.path.lastComponent == base.path.lastComponent
            && reference.expects(base.file.identity.mtime)
    }
}
