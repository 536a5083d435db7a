package import DiskImages
internal import Manifests
package import SystemPackage
package import TransportArchive

/// An archive as it is asked for.
package struct PackRequest: Sendable {
    /// nil is standard output.
    package var archive: FilePath?
    /// The archive's place, where that is known already; nil finds it by its name.
    package var place: FilePlace? = nil
    package var images: [FilePath]
    package var options: ChainOptions
    package var compression: Compression
    package var flatten: Bool
    /// Whether content that an earlier layer stores is referred to.
    package var sharesContent = true
    /// Patterns of small files and links that travel with the images, from the folder on that all
    /// of those lie in.
    package var companions: [String] = []
    /// The archive that the new one stands on: only what changed since is stored.
    package var since: FilePath? = nil
    /// Where the archives may lie that those stand on.
    package var ancestors = AncestorSearch()
    /// Bytes; a multiple of 512.
    package var shortestZeroRun = 4096
    /// Bytes of archive after which a checkpoint is made.
    package var segmentLength = Segment.usual
    package var policy = StartPolicy()

    package init(
        archive: FilePath?, images: [FilePath], options: ChainOptions, compression: Compression,
        flatten: Bool = false
    ) {
        self.archive = archive
        self.images = images
        self.options = options
        self.compression = compression
        self.flatten = flatten
    }

    /// What messages call the archive.
    var archiveName: String { archive?.description ?? "standard output" }
}
