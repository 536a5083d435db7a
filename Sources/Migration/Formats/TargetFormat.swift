package import DiskImages
internal import Manifests
package import SystemPackage

/// A new image as it will be written, planned to the byte: what its file is, apart from the guest's
/// bytes.
package protocol TargetFormat: Sendable {
    /// What a manifest records of it.
    var description: FormatDescription { get }
    /// Length of the finished file in bytes.
    var fileLength: UInt64 { get }
    /// The digest of what the file will have before its data; nil where it has nothing.
    var metadataDigest: ContentDigest? { get throws }

    /// Writes into `file`, which is empty or holds what an earlier run wrote.
    func sink(in file: TargetFile) -> any ImageSink
    /// The digest of what `file` has before its data; nil where it has nothing. Throws `badData`
    /// where that cannot be told.
    func metadataDigest(in file: ImageFile) throws -> ContentDigest?
    /// Throws `badData` where sectors that `scope` has the target hold cannot be held.
    func checkHolds(_ scope: CopyScope, of chain: ImageChain, target: FilePath) throws
}

/// A format as it is asked for, before anything is known of the disk.
package protocol FormatChoice: Sendable {
    /// Whether the image says itself which sectors it holds.
    var marks: Bool { get }
    /// Whether it can be an overlay of a backing file.
    var takesBacking: Bool { get }
    /// Whether its backing file must have an absolute name.
    var namesBackingAbsolutely: Bool { get }

    /// Plans the image of `disk`. Throws `badData` naming a format that can hold it, where this one
    /// cannot.
    func format(for disk: TargetDisk) throws -> any TargetFormat
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
