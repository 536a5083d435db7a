package import Linux
package import SystemPackage

/// An image with all the files it stands on, the top layer first.
package struct ImageChain: Sendable {
    /// The deepest chain that is opened.
    package static let deepest = 64

    package let layers: [ImageLayer]
    /// What is wrong between layers; empty unless the chain was opened to be examined.
    package let problems: [ChainProblem]

    /// A chain of layers that were opened already, top first; at least one.
    package init(layers: [ImageLayer], problems: [ChainProblem] = []) {
        self.layers = layers
        self.problems = problems
    }

    package var top: ImageLayer { layers[0] }

    /// The guest disk's length in bytes, whole sectors.
    package var guestLength: UInt64 { top.guestLength }

    /// What a user should know of its layers although they can be read, each with its path.
    package var warnings: [Message] {
        layers.compactMap { layer in layer.content.warning.map { "\(layer.path): \($0)" } }
    }

    /// Throws where a file of the chain is no longer what it was when it was opened.
    package func checkUnchanged() throws {
        guard let layer = try firstChanged() else { return }
        throw DiskImageError(
            .badData, layer.path, "changed while it was read (begin again when nothing writes to it)")
    }

    /// Throws where somebody may write to a file of the chain by now.
    package func checkUnused() throws { for layer in layers { try layer.file.checkUnused() } }

    /// Whether every file of the chain is what it was when it was opened.
    package func isUnchanged() throws -> Bool { try firstChanged() == nil }

    private func firstChanged() throws -> ImageLayer? {
        try layers.first { layer in
            let now = try layer.file.currentIdentity()
            return now.size != layer.file.identity.size || now.mtime != layer.file.identity.mtime
        }
    }
}

/// Something wrong with one layer of a chain that does not keep the others from being looked at.
package struct ChainProblem: Sendable {
    /// What kind of problem it is.
    package enum Kind: Equatable, Sendable {
        case mtime, size, truncated, missing, unreadable, invalid, confined, locked
    }

    package let kind: Kind
    /// Index of the layer that refers to the trouble.
    package let depth: Int
    package let error: DiskImageError
}

/// How a chain is opened.
package struct ChainOptions: Sendable {
    /// What the image is; nil looks at its content.
    package var format: ImageFormat?
    /// What the image's direct backing file is; nil looks at its content.
    package var backingFormat: ImageFormat?
    package var location: BackingLocation
    /// Goes on although a backing file's mtime differs from its overlay's header.
    package var ignoreMtime: Bool
    /// Reads files that somebody may write to.
    package var forceShare: Bool
    /// Whether the image itself, too, must lie where its backing files may: one that nobody named,
    /// or that others will stand on.
    package var confinesImage = false
    /// Opens files whose changes in place were interrupted, to go on with them.
    package var goesOnInPlace = false
    /// Opens files that are to be moved: what was written to them is on the disk before they are
    /// looked at, and one that changed in this very moment is waited for.
    package var settles = false
    /// What else than a file a path may mean: the chain of an image in an archive. nil where it
    /// means a file.
    package var archived: @Sendable (FilePath) throws -> ImageChain? = { _ in nil }
    /// Whether the image is the second of two that a user named, as messages must know.
    package var isSecond = false
    /// The formats that images are opened in, in the order in which their content is held against
    /// them.
    package var formats = FormatList.usual

    package init(
        format: ImageFormat? = nil, backingFormat: ImageFormat? = nil, location: BackingLocation,
        ignoreMtime: Bool = false,
        forceShare: Bool = false
    ) {
        self.format = format
        self.backingFormat = backingFormat
        self.location = location
        self.ignoreMtime = ignoreMtime
        self.forceShare = forceShare
    }
}
