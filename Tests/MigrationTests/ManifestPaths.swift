import DiskImages
import SystemPackage

@testable import Migration

/// Tests know a target by its path.
extension ManifestFile {
    convenience init(of target: FilePath) throws { try self.init(of: FilePlace(at: target)) }

    static func recordFailure(_ reason: String, of target: FilePath) throws { try recordFailure(reason, of: FilePlace(at: target)) }

    static func dropFailure(of target: FilePath) throws { try dropFailure(of: FilePlace(at: target)) }
}
