package import DiskImages
internal import Manifests
package import SystemPackage

/// A raw image that will be written: the guest's bytes and nothing else.
package struct RawTarget: TargetFormat {
    private let length: UInt64

    /// Of `fileLength` bytes; a raw file need not be whole sectors.
    package init(fileLength: UInt64) { length = fileLength }

    package var fileLength: UInt64? { length }

    package var description: FormatDescription {
        FormatDescription(format: ImageFormat.raw.name, layout: ImageFormat.raw.name)
    }

    package var metadataDigest: ContentDigest? { nil }

    package func sink(in file: TargetFile) -> any ImageSink { RawSink(file: file, length: length) }

    package func metadataDigest(in file: ImageFile) -> ContentDigest? { nil }

    package func checkHolds(_ scope: CopyScope, of chain: ImageChain, target: FilePath) {}
}

/// A raw image is asked for.
package struct RawChoice: FormatChoice {
    package init() {}

    package var marks: Bool { false }
    package var takesBacking: Bool { false }
    package var backingNaming: BackingNaming { .asGiven }

    package func format(for disk: TargetDisk) -> any TargetFormat { RawTarget(fileLength: disk.size) }
}
