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
    func find(in folders: [FilePath]) throws -> [FilePath] {
        var found: [FilePath] = []
        var seen: Set<FileID> = [FileID(overlay), FileID(base.file.identity)]
        var folderNames: Set<String> = []
        for folder in folders where folderNames.insert(try resolved(folder).string).inserted {
            for name in try Siblings.names(in: folder) {
                let path = folder.appending(name)
                guard let file = try ImageFile.identity(at: path), file.isRegular,
                    seen.insert(FileID(file)).inserted
                else { continue }
                if try FormatList.references(of: ImageFile(opening: path)).contains(where: {
                    try leadsHere($0, path)
                }) {
                    found.append(path)
                }
            }
        }
        return found
    }

    private func leadsHere(_ reference: BackingClause, _ image: FilePath) throws -> Bool {
        let place = location.moved(reference.path, from: image)
        if let file = try? ImageFile.identity(at: place) { return file.isSameFile(as: base.file.identity) }
        return reference.path.lastComponent == base.path.lastComponent
            && reference.expects(base.file.identity.mtime)
    }

    private static func names(in folder: FilePath) throws -> [String] {
        guard let stream = folder.withPlatformString({ opendir($0) }) else {
            throw DiskImageError.system(folder, "cannot be searched for overlays", .current, .unavailable)
        }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { FilePath(platformString: $0).string }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }
}
