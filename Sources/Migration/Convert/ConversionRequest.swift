package import DiskImages
package import ImageFormats
internal import Manifests
package import Stages
package import SystemPackage

/// A conversion as it is asked for.
package struct ConversionRequest: Sendable {
    /// What the target is to be.
    package enum Format: Equatable, Sendable {
        case raw
        case cow(CowLayout, alignment: UInt32)
    }

    package var source: FilePath
    package var options: ChainOptions
    package var target: FilePath
    /// The target's place, where that is known already; nil finds it by its name.
    package var place: FilePlace? = nil
    package var format: Format
    /// The backing file that the target is to be an overlay of; nil flattens.
    package var backing: FilePath?
    package var backingFormat: ImageFormat?
    /// Where the backing file may lie; nil means where the source's may.
    package var backingLocation: BackingLocation? = nil
    /// The file that is to have the name `backing` and has another until its family is complete;
    /// nil where `backing` is there.
    package var stagedBacking: FilePath? = nil
    /// When the target takes its name.
    package var naming = TargetNaming.atOnce
    /// Whether the target is a base that overlays will name: raw, as long as the source to the
    /// byte, with its mtime to the nanosecond.
    package var asBase: Bool
    /// Bytes; a multiple of 512, 0 writes zeros too.
    package var shortestZeroRun: Int
    /// Guest bytes of a checkpointed segment; a multiple of `Limits.chunk`.
    package var segmentLength: UInt64
    package var workers: WorkerSlots
    package var rate: RateLimit?
    /// Forgets a checkpoint.
    package var restart: Bool
    /// Believes nothing that times say of the sources: what is complete is held against them again,
    /// what is not begins anew.
    package var reread = false
    /// Replaces an existing target.
    package var force: Bool
    /// The one existing target that may be replaced, whatever `force` says; nil lets `force` decide
    /// alone.
    package var replacing: FileIdentity?
    /// False where the file system has no locks, and nothing else works on the target.
    package var usesLock = true

    /// How the backing file is opened.
    var backingOptions: ChainOptions {
        var options = options
        (options.format, options.backingFormat, options.confinesImage, options.formatOption) = (
            backingFormat, nil, true, "-F"
        )
        if let backingLocation { options.location = backingLocation }
        return options
    }

    package init(
        source: FilePath, options: ChainOptions, target: FilePath, format: Format, backing: FilePath? = nil,
        backingFormat: ImageFormat? = nil, asBase: Bool = false,
        shortestZeroRun: Int = 4096, segmentLength: UInt64 = Segment.usual, workers: WorkerSlots,
        rate: RateLimit? = nil,
        restart: Bool = false,
        force: Bool = false
    ) {
        self.source = source
        self.options = options
        self.target = target
        self.format = format
        self.backing = backing
        self.backingFormat = backingFormat
        self.asBase = asBase
        self.shortestZeroRun = shortestZeroRun
        self.segmentLength = segmentLength
        self.workers = workers
        self.rate = rate
        self.restart = restart
        self.force = force
    }
}

/// How a conversion ended well.
package enum ConversionResult: Equatable, Sendable {
    /// The target was there already, whole and of this very move.
    case upToDate
    /// An earlier run had written all of it and died before giving it its name.
    case named
    /// The target is whole, and takes its name with its family; `resumed` bytes of guest disk were
    /// there from an earlier run.
    case held(resumed: UInt64)
    /// The target was written; `resumed` bytes of guest disk were there from an earlier run.
    /// `hasChanged`: a source that is shared by force changed meanwhile, so that the target is of
    /// no one moment.
    case converted(resumed: UInt64, hasChanged: Bool)
}
