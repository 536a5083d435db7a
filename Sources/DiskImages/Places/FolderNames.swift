internal import Glibc
internal import Linux
package import SystemPackage

/// The names in a folder.
package enum FolderNames {
    /// In the order of their bytes, whatever bytes they have. Throws `unavailable` where the folder
    /// cannot be read.
    package static func all(in folder: FilePath) throws -> [FilePath.Component] {
        guard let stream = folder.withPlatformString({ opendir($0) }) else {
            throw DiskImageError.system(folder, "cannot be searched", .current, .unavailable)
        }
        defer { closedir(stream) }
        var names: [FilePath.Component] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { FilePath.Component(platformString: $0) }
            }
            if let name, name.kind == .regular { names.append(name) }
        }
        return names.map { ($0, FilePath(root: nil, [$0]).pathBytes) }
            .sorted { $0.1.lexicographicallyPrecedes($1.1) }.map(\.0)
    }
}
