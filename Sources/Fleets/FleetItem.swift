package import DiskImages
internal import ImageFormats
package import SystemPackage

/// One target of a fleet, and what it is made from.
package struct FleetItem: Sendable {
    /// What the target is to the fleet.
    package enum Role: String, Sendable {
        /// A backing file that overlays of the fleet will stand on: it comes before them.
        case base
        /// A guest's image.
        case image
        /// An archive of one image or of all.
        case archive
        /// A target of an earlier run whose source is gone: it is looked at, and never made again.
        case orphan
    }

    package let role: Role
    /// What tables call it: its source as the pipeline file would write it, or the archive's name.
    package let name: String
    /// The images it is made from; one, but for an archive of all.
    package let sources: [FilePath]
    package let target: FilePath
    /// The index in the fleet of the base that it stays an overlay of; nil where it stands alone.
    package let base: Int?
    /// The source's chain, top first; nil where it cannot be opened, or for an archive of all.
    package let chain: ChainFacts?
    /// Why it cannot be done; nil where nothing is known to be in the way.
    package var problem: FleetProblem?

    /// Whether it is made from a block device: never is it up to date then.
    package var readsDevice: Bool { chain?.layers.contains { $0.identity.isBlockDevice } == true }
}
