import DiskImages
import TestSupport

@testable import Manifests

extension ManifestText {
    static func parse(_ lines: [String]) throws -> ManifestContents {
        try ManifestContents(parsing: bytes(lines), path: path)
    }

    /// Kind and text of the error that parsing ends with.
    static func refusal(_ lines: [String]) -> String { TestSupport.refusal { _ = try parse(lines) } }
}
