package import DiskImages
internal import ImageFormats
package import SystemPackage

/// What a user may say an image is. `qcow2` is a format, but none that this version reads.
package enum SourceFormat: Equatable, Sendable {
    case known(ImageFormat)
    case qcow2

    /// Every name there is.
    package static let names = ["raw", "cow", "qcow2"] + CowLayout.allCases.map(\.rawValue)

    /// Why an image that is said to be qcow2 is refused; the end of a line.
    package static let qcow2Fault =
        "qcow2 is not read by this version (qemu-img convert makes a raw image of it)"

    package init?(name: String) {
        if name == "qcow2" {
            self = .qcow2
        } else if let format = ImageFormat(name: name) {
            self = .known(format)
        } else {
            return nil
        }
    }

    /// The format to read; throws `badData` for qcow2.
    package func readable(_ image: FilePath) throws -> ImageFormat {
        guard case .known(let format) = self else {
            throw DiskImageError(.badData, image, SourceFormat.qcow2Fault)
        }
        return format
    }
}
