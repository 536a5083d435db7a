package import DiskImages
internal import ImageFormats
internal import Manifests
package import SystemPackage

/// A new image as it will be written, planned to the byte: what its file is, apart from the guest's
/// bytes.
package protocol TargetFormat: Sendable {
    /// What a manifest records of it.
    var description: FormatDescription { get }
    /// Length of the finished file in bytes; nil where that follows from what is stored.
    var fileLength: UInt64? { get }
    /// The digest of what the file will have before its data; nil where it has nothing.
    var metadataDigest: ContentDigest? { get throws }

    /// Writes into `file`, which is empty or holds what an earlier run wrote.
    func sink(in file: TargetFile) -> any ImageSink
    /// The digest of what `file` has before its data; nil where it has nothing. Throws `badData`
    /// where that cannot be told.
    func metadataDigest(in file: ImageFile) throws -> ContentDigest?
    /// Whether `file` is such an image, to the byte, before anything is stored in it.
    func isEmpty(_ file: ImageFile) throws -> Bool
    /// Throws `badData` where sectors that `scope` has the target hold cannot be held.
    func checkHolds(_ scope: CopyScope, of chain: ImageChain, target: FilePath) throws
}

extension TargetFormat {
    package func isEmpty(_ file: ImageFile) -> Bool { false }
}

/// A format as it is asked for, before anything is known of the disk.
package protocol FormatChoice: Sendable {
    /// Whether the image says itself which sectors it holds.
    var marks: Bool { get }
    /// Whether it can be an overlay of a backing file.
    var takesBacking: Bool { get }
    /// How long the pieces of disk are that it holds whole or not at all, in bytes.
    var unit: UInt64 { get }
    /// How its header names its backing file.
    var backingNaming: BackingNaming { get }

    /// Plans the image of `disk`. Throws `badData` naming a format that can hold it, where this one
    /// cannot.
    func format(for disk: TargetDisk) throws -> any TargetFormat
}

extension FormatChoice {
    package var unit: UInt64 { sectorSize }
}

/// How a header names its backing file.
package enum BackingNaming: Sendable {
    case absolute
    /// As it was given, where that means the same file from the target's folder; else absolute.
    case asGiven
    /// Relative where the file lies in the target's folder or below it, or both in a folder that
    /// they are moved in; else absolute.
    case relative
}

/// The disk that a new image is to hold.
package struct TargetDisk {
    /// The target's name, for messages.
    package let target: FilePath
    /// The guest disk's length in bytes, whole sectors.
    package let length: UInt64
    /// What a raw file's length is, and what a QEMU header says, where that is no whole sectors.
    package let size: UInt64
    /// The backing file that the image is to name; nil for one without.
    package let backing: BackingReference?

    package init(target: FilePath, length: UInt64, size: UInt64? = nil, over backing: BackingReference? = nil)
    {
        self.target = target
        self.length = length
        self.size = size ?? length
        self.backing = backing
    }
}
