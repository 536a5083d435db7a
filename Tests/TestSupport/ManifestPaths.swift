internal import DiskImages
package import Manifests
package import SystemPackage

/// Tests know a target by its path.
extension ManifestFile {
    package convenience init(of target: FilePath) throws { try self.init(of: FilePlace(at: target)) }

    package static func recordFailure(_ reason: String, of target: FilePath) throws {
        try recordFailure(reason, of: FilePlace(at: target))
    }

    package static func dropFailure(of target: FilePath) throws { try dropFailure(of: FilePlace(at: target)) }
}
