package import DiskImages
package import ImageFormats
internal import Linux
internal import Manifests
package import SystemPackage

/// A COW image that will be written.
package struct CowTarget: TargetFormat {
    package let header: CowHeader

    package init(_ header: CowHeader) { self.header = header }

    package var description: FormatDescription {
        FormatDescription(
            format: ImageFormat.cow.name, layout: header.layout.rawValue, alignment: header.alignment)
    }

    package var fileLength: UInt64? { header.fullLength }

    package var metadataDigest: ContentDigest? {
        let bytes = header.serialized()
        return ContentDigest(
            of: bytes + [UInt8](repeating: 0, count: Int(header.geometry.bitmapOffset) - bytes.count))
    }

    package func sink(in file: TargetFile) -> any ImageSink { CowSink(file: file, header: header) }

    package func metadataDigest(in file: ImageFile) throws -> ContentDigest? {
        try CowContent(header).metadataDigest(in: file)
    }

    /// The header, and zeros behind that.
    package func isEmpty(_ file: ImageFile) throws -> Bool {
        guard file.length == header.fullLength else { return false }
        let start = header.serialized()
        return try file.prefix(start.count) == start && file.isZero(from: UInt64(start.count))
    }

    package func checkHolds(_ scope: CopyScope, of chain: ImageChain, target: FilePath) throws {
        let geometry = header.geometry
        guard geometry.mappedSectorCount < geometry.sectorCount else { return }
        if try chain.holdsAnything(scope, from: geometry.mappedSectorCount * sectorSize) {
            throw MigrationError(
                .badData,
                "\(target): \(header.layout.rawValue) has no bits for the last \(geometry.sectorCount - geometry.mappedSectorCount) sectors, which are allocated (\(.layout(.umlV3)) can)"
            )
        }
    }
}

/// A COW image is asked for.
package struct CowChoice: FormatChoice {
    package let layout: CowLayout
    /// Where bitmap and data begin, in bytes: multiples of it.
    package let alignment: UInt32

    package init(_ layout: CowLayout, alignment: UInt32 = CowHeader.usualAlignment) {
        self.layout = layout
        self.alignment = alignment
    }

    package var marks: Bool { true }
    package var takesBacking: Bool { true }
    package var backingNaming: BackingNaming { layout.isUML ? .absolute : .asGiven }

    package func format(for disk: TargetDisk) throws -> any TargetFormat {
        CowTarget(
            try CowHeader(writing: layout, alignment: alignment, for: disk))
    }
}
