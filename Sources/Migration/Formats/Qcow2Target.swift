package import DiskImages
package import ImageFormats
internal import Linux
internal import Manifests
package import SystemPackage

/// A qcow2 image that will be written.
package struct Qcow2Target: TargetFormat {
    package let header: Qcow2Header
    /// How clusters are compressed; nil stores them as they are.
    package let compression: Qcow2Compression?

    package var description: FormatDescription {
        FormatDescription(
            format: ImageFormat.qcow2.name, layout: ImageFormat.qcow2.name,
            alignment: UInt32(header.clusterLength), compression: compression?.rawValue)
    }

    /// What is zeros is not stored, and what is compressed is shorter.
    package var fileLength: UInt64? { nil }

    package var metadataDigest: ContentDigest? {
        let bytes = header.serialized()
        return ContentDigest(
            of: bytes + [UInt8](repeating: 0, count: Int(header.clusterLength) - bytes.count))
    }

    package func sink(in file: TargetFile) -> any ImageSink {
        Qcow2Sink(file: file, header: header, compression: compression)
    }

    package func metadataDigest(in file: ImageFile) throws -> ContentDigest? {
        try Qcow2Content.metadataDigest(of: header, in: file)
    }

    package func isEmpty(_ file: ImageFile) throws -> Bool {
        guard file.length == header.fileLength(storing: 0, tables: 0),
            try metadataDigest(in: file) == metadataDigest
        else { return false }
        return try ImageLayer(file, as: .qcow2).allocatedBytes() == 0
    }

    package func checkHolds(_ scope: CopyScope, of chain: ImageChain, target: FilePath) {}
}

/// A qcow2 image is asked for.
package struct Qcow2Choice: FormatChoice {
    /// A cluster's length is 2 to this power bytes, 512 to 1 MiB.
    package let clusterBits: Int
    package let compression: Qcow2Compression?

    package init(
        clusterBits: Int = Qcow2Header.usualClusterBits, compression: Qcow2Compression? = nil
    ) {
        (self.clusterBits, self.compression) = (clusterBits, compression)
    }

    package var marks: Bool { true }
    package var takesBacking: Bool { true }
    package var unit: UInt64 { 1 << UInt64(clusterBits) }
    package var backingNaming: BackingNaming { .relative }

    package func format(for disk: TargetDisk) throws -> any TargetFormat {
        let backing = disk.backing
        guard backing?.format.isCow != true else {
            throw MigrationError(
                .badData,
                "\(disk.target): no QEMU of today reads \(backing!.path), a COW file, as a backing file (convert it first, and name what is made of it)"
            )
        }
        do throws(FormatError) {
            return Qcow2Target(
                header: try Qcow2Header(
                    writing: disk.length, clusterBits: clusterBits, compression: compression,
                    backingPath: backing?.name.pathBytes ?? [],
                    backingFormat: Array((backing?.format.name ?? "").utf8)),
                compression: compression)
        } catch {
            throw MigrationError(.badData, "\(disk.target): \(error)")
        }
    }
}
