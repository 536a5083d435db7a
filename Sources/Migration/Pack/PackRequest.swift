package import DiskImages
internal import Manifests
package import Stages
package import SystemPackage
package import TransportArchive

/// An archive as it is asked for.
package struct PackRequest: Sendable {
    /// nil is standard output.
    package var archive: FilePath?
    /// The archive's place, where that is known already; nil finds it by its name.
    package var place: FilePlace? = nil
    package var images: [FilePath]
    package var options: @Sendable (FilePath) throws -> ChainOptions
    package var compression: Compression
    package var flatten: Bool
    /// Bytes; a multiple of 512.
    package var shortestZeroRun: Int
    /// Bytes of archive after which a checkpoint is made.
    package var segmentLength: UInt64
    package var workers: WorkerSlots
    package var rate: RateLimit?
    package var restart: Bool
    /// Believes nothing that times say of the sources, as in `ConversionRequest`.
    package var reread = false
    package var force: Bool
    /// The one existing archive that may be replaced, whatever `force` says; nil lets `force`
    /// decide alone.
    package var replacing: FileIdentity?
    /// False where the file system has no locks, and nothing else works on the target.
    package var usesLock = true

    package init(
        archive: FilePath?, images: [FilePath],
        options: @escaping @Sendable (FilePath) throws -> ChainOptions, compression: Compression,
        flatten: Bool = false, shortestZeroRun: Int = 4096, segmentLength: UInt64 = Segment.usual,
        workers: WorkerSlots,
        rate: RateLimit? = nil,
        restart: Bool = false, force: Bool = false
    ) {
        self.archive = archive
        self.images = images
        self.options = options
        self.compression = compression
        self.flatten = flatten
        self.shortestZeroRun = shortestZeroRun
        self.segmentLength = segmentLength
        self.workers = workers
        self.rate = rate
        self.restart = restart
        self.force = force
    }
}

/// How packing ended well.
package enum PackResult: Equatable, Sendable {
    case upToDate
    case named
    /// `length` bytes of archive, `resumed` of which were there from an earlier run.
    case packed(length: UInt64, resumed: UInt64)
}
