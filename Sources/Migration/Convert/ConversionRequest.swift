package import DiskImages
internal import ImageFormats
internal import Manifests
package import SystemPackage
internal import TransportArchive

/// A conversion as it is asked for.
package struct ConversionRequest: Sendable {
    package var source: FilePath
    package var options: ChainOptions
    package var target: FilePath
    /// The target's place, where that is known already; nil finds it by its name.
    package var place: FilePlace? = nil
    /// What the target is to be.
    package var format: any FormatChoice
    /// The backing file that the target is to be an overlay of; nil flattens.
    package var backing: BackingRequest?
    /// Whether the target is a base that overlays will name: raw, as long as the source to the
    /// byte, with its mtime to the nanosecond.
    package var asBase = false
    /// Bytes; a multiple of 512, 0 writes zeros too.
    package var shortestZeroRun = 4096
    /// Guest bytes of a checkpointed segment; a multiple of `Limits.chunk`.
    package var segmentLength = Segment.usual
    /// Whether extents may be shared with the sources instead of copied.
    package var sharesExtents = true
    /// Whether sectors that cannot be read become zeros, and are recorded, instead of ending it.
    package var salvages = false
    /// A folder in which target and backing file are moved together, where that is known.
    package var root: FilePath? = nil
    package var policy = StartPolicy()

    package init(
        source: FilePath, options: ChainOptions, target: FilePath, format: any FormatChoice,
        backing: BackingRequest? = nil
    ) {
        self.source = source
        self.options = options
        self.target = target
        self.format = format
        self.backing = backing
    }
}

/// A backing file as it is asked for.
package struct BackingRequest: Sendable {
    package let path: FilePath
    /// How it is opened.
    package let options: ChainOptions
    /// Whether the target holds just what differs from it, whatever the source's own chain is;
    /// otherwise what the source's layers above it hold.
    package var isCompared = false
    /// The file that is to have the name `path` and has another until its family is complete; nil
    /// where `path` is there.
    package var staged: FilePath? = nil

    /// A file that is opened as `options` have a source opened, but as `format`, nil looking at its
    /// content; `location` is where it may lie, nil where the source's backing files may.
    package init(
        _ path: FilePath, as format: ImageFormat? = nil, at location: BackingLocation? = nil,
        like options: ChainOptions
    ) {
        self.path = path
        var options = options
        (options.format, options.backingFormat, options.confinesImage) = (format, nil, true)
        options.isSecond = true
        // No header can name what is in an archive.
        options.archived = ArchivedImage.refuse
        if let location { options.location = location }
        self.options = options
    }

    /// As much of it as can be opened, whoever uses it.
    func examine() throws -> ImageChain {
        var options = options
        (options.forceShare, options.goesOnInPlace) = (true, true)
        return try ImageChain.examine(staged ?? path, options)
    }

    /// The file with all that it stands on.
    func open() throws -> ImageChain { try ImageChain.open(staged ?? path, options) }
}
