package import DiskImages
internal import Linux
package import SystemPackage

/// What a user may say an image is: a name of the list of formats.
package struct SourceFormat: Equatable, Sendable {
    package let format: ImageFormat

    package init?(name: String) {
        guard FormatList.sourceNames.contains(name) else { return nil }
        format = ImageFormat(unlisted: name)
    }

    /// Why images of the format are refused, as the end of a line; nil where they are read.
    package var fault: String? { ImageFormat(name: format.name) == nil ? FormatList.unreadable : nil }

    /// The format to read; throws `badData` for one that is only known by name.
    package func readable(_ image: FilePath) throws -> ImageFormat {
        if let fault { throw DiskImageError(.badData, image, Message(fault)) }
        return format
    }
}

/// What a user may ask for as a target's format: a name of the list of formats.
package struct TargetFormatName: Hashable, Sendable {
    package let name: String

    package static let raw = TargetFormatName(of: .raw)
    package static let cow = TargetFormatName(of: .cow)

    private init(of format: ImageFormat) { name = format.name }

    package init?(name: String) {
        guard FormatList.targetNames.contains(name) else { return nil }
        self.name = name
    }

    /// Whether this version writes it.
    package var isWritten: Bool { self == .raw || self == .cow }
}
