internal import Foundation
package import SystemPackage

/// Images that the original programs wrote, unpacked from an archive in `Fixtures` with their holes
/// and modification times.
package struct Fixture: Sendable {
    private let directory: TemporaryDirectory

    /// Unpacks the member `name` of `Fixtures/ARCHIVE.tar.xz`, all of it where it is a directory.
    /// GNU tar is required.
    package init(_ name: String, from archive: String) throws {
        directory = try TemporaryDirectory()
        let file = Fixture.directory.appending("\(archive).tar.xz")
        try RequiredTool("tar").run(["-xf", file.string, "-C", directory.path.string, name])
        path = directory(name)
    }

    /// Where the member lies, as long as this value lives.
    package let path: FilePath

    /// The path of the file `name` below the member.
    package func file(_ name: String) -> FilePath { path.appending(name) }

    /// The bytes of the file `name` below the member, or nil where there is none.
    package func bytes(_ name: String) -> [UInt8]? {
        FileManager.default.contents(atPath: file(name).string).map { [UInt8]($0) }
    }

    /// The text of the file `name` below the member; throws where there is none.
    package func text(_ name: String) throws -> String {
        guard let bytes = bytes(name) else { throw ToolFailed(description: "\(file(name)) is missing") }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static let directory = FilePath(#filePath).removingLastComponent().removingLastComponent()
        .removingLastComponent()
        .removingLastComponent().appending(
            "Fixtures")
}
