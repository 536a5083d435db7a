internal import DiskImages
package import SystemPackage

/// For whoever only asks what a manifest says, and looks at nothing beside it: the target by its
/// name.
extension ManifestFile {
    /// Reads a manifest without locking it; nil where there is none.
    package static func read(of target: FilePath) throws -> ManifestContents? {
        try read(of: FilePlace(at: target))
    }

    /// As `read`; the segments of a complete target are left out.
    package static func readEnds(of target: FilePath) throws -> ManifestContents? {
        try readEnds(of: FilePlace(at: target))
    }

    /// As `read`, for the manifest of an archive.
    package static func readArchive(of target: FilePath) throws -> ArchiveManifest? {
        try readArchive(of: FilePlace(at: target))
    }

    /// Whether the manifest of `target` is that of an archive.
    package static func isOfArchive(_ target: FilePath) throws -> Bool {
        try isOfArchive(FilePlace(at: target))
    }

    /// Whether another process works on `target` now.
    package static func isHeld(of target: FilePath) throws -> Bool { try isHeld(of: FilePlace(at: target)) }
}
