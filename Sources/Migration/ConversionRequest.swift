package import DiskImages
package import ImageFormats
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
    package var format: Format
    /// The backing file that the target is to be an overlay of; nil flattens.
    package var backing: FilePath?
    package var backingFormat: ImageFormat?
    /// Bytes; a multiple of 512, 0 writes zeros too.
    package var shortestZeroRun: Int
    /// Guest bytes of a checkpointed segment; a multiple of `Bounds.chunk`.
    package var segmentLength: UInt64
    package var workers: Int
    package var rate: RateLimit?
    /// Forgets a checkpoint.
    package var restart: Bool
    /// Replaces an existing target.
    package var force: Bool
    /// The target is a base that overlays will name: exactly as long as the source, and with the source's modification time.
    package var asBase = false
    /// The one existing target that may be replaced, whatever `force` says; nil lets `force` decide alone.
    package var replacing: FileIdentity?
    /// False where the file system has no locks, and nothing else works on the target.
    package var usesLock = true

    package init(
        source: FilePath, options: ChainOptions, target: FilePath, format: Format, backing: FilePath? = nil,
        backingFormat: ImageFormat? = nil,
        shortestZeroRun: Int = 4096, segmentLength: UInt64 = Bounds.segment, workers: Int, rate: RateLimit? = nil, restart: Bool = false,
        force: Bool = false
    ) {
        self.source = source
        self.options = options
        self.target = target
        self.format = format
        self.backing = backing
        self.backingFormat = backingFormat
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
    /// The target was written; `resumed` bytes of guest disk were there from an earlier run. `hasChanged`: a source that is shared by force
    /// changed meanwhile, so that the target is of no one moment.
    case converted(resumed: UInt64, hasChanged: Bool)
}
