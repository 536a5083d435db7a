package import ImageFormats

/// What a user says an image is, where its content is not to decide: the value of `-f`, `-F`,
/// `--backing-format` and of the pipeline's keys for them. By its name: a format's, or that of one
/// of its layouts.
package struct ImageFormat: Hashable, Sendable {
    package let name: String

    package static let raw = ImageFormat(unlisted: "raw")
    /// A COW file of whatever layout.
    package static let cow = ImageFormat(unlisted: "cow")
    /// QEMU's format.
    package static let qcow2 = ImageFormat(unlisted: "qcow2")

    /// A COW file of `layout`, or of any where that is nil.
    package static func cow(_ layout: CowLayout?) -> ImageFormat {
        layout.map { ImageFormat(unlisted: $0.rawValue) } ?? .cow
    }

    /// Whether it is COW, of whatever layout.
    package var isCow: Bool { self == .cow || CowLayout(rawValue: name) != nil }

    /// A format that images are read in; nil where none has the name.
    package init?(name: String) {
        guard FormatList.usual.contains(where: { $0.names.contains(name) }) else { return nil }
        self.name = name
    }

    /// A format that is not on the list, or not yet.
    package init(unlisted name: String) { self.name = name }
}

/// The formats that images are opened in. A further one is a `LayerFormat` more.
package enum FormatList {
    /// In the order in which a file's content is held against them; the last takes everything.
    package static let usual: [any LayerFormat] = [CowFormat(), Qcow2Format(), RawFormat()]

    /// What `file` may say of its backing file; nothing where it is raw, or a damaged image.
    package static func references(of file: ImageFile) throws -> [BackingClause] {
        let opening = try FormatOpening(file, as: nil, ChainOptions(location: BackingLocation()), depth: 0)
        do {
            return try usual.first { $0.recognises(opening.prefix) }?.references(opening) ?? []
        } catch let error as DiskImageError where error.kind == .badData {
            return []
        }
    }

    /// Every name that a user may give an image's format.
    package static let sourceNames =
        [ImageFormat.raw, .cow, .qcow2].map(\.name) + CowLayout.allCases.map(\.rawValue)
    /// The same for what is written.
    package static let targetNames = [ImageFormat.raw, .cow, .qcow2].map(\.name)
}

/// What is recorded of an image's format: in the manifest of a target, and in the archive that it
/// is restored from.
package struct FormatDescription: Equatable, Sendable {
    /// The format's name as `-O` has it.
    package let format: String
    /// The layout's name; the format's, where that has but one.
    package let layout: String
    /// Where bitmap and data begin, in bytes: multiples of it; of qcow2 the length of a cluster.
    /// nil where the layout has no choice.
    package let alignment: UInt32?
    /// How its data is compressed; nil where it is not.
    package let compression: String?

    package init(format: String, layout: String, alignment: UInt32? = nil, compression: String? = nil) {
        self.format = format
        self.layout = layout
        self.alignment = alignment
        self.compression = compression
    }
}
