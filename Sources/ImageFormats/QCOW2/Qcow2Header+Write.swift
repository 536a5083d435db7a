extension Qcow2Header {
    /// What is taken for an image's cluster length where nobody asks for another: 64 KiB.
    package static let usualClusterBits = 16
    /// Refcounts that are written have 16 bits.
    private static let writtenRefcountOrder = 4

    /// The header of a new file of version 3 for a disk of `size` bytes. Its L1 table follows it;
    /// where the refcount table will lie is known only when all is written.
    ///
    /// `backingFormat` is the name that QEMU has for the format of the file at `backingPath`.
    /// Throws where the format cannot hold it.
    package init(
        writing size: UInt64, clusterBits: Int, compression: Qcow2Compression?, backingPath: [UInt8] = [],
        backingFormat: [UInt8] = []
    ) throws(FormatError) {
        let cluster = UInt64(1) << UInt64(clusterBits)
        let reach = cluster * (cluster / 8)
        let l1Count = size / reach + (size % reach == 0 ? 0 : 1)
        guard l1Count * 8 <= Qcow2Header.longestTable, size <= UInt64(Int64.max) - cluster else {
            throw FormatError(
                .unsupported,
                "qcow2 with clusters of \(cluster) bytes holds disks up to \(reach * (Qcow2Header.longestTable / 8)) bytes; this one has \(size)"
            )
        }
        guard backingPath.count <= Qcow2Header.longestBackingPath else {
            throw FormatError(
                .unsupported,
                "qcow2 holds a backing path of at most \(Qcow2Header.longestBackingPath) bytes; this one has \(backingPath.count)"
            )
        }
        version = 3
        self.clusterBits = clusterBits
        self.size = size
        self.backingPath = backingPath
        self.backingFormat = backingFormat
        self.l1Count = l1Count
        refcountOrder = Qcow2Header.writtenRefcountOrder
        self.compression = compression ?? .zlib
        (hasSubclusters, snapshotCount, hasBitmaps) = (false, 0, false)
        (refcountTableOffset, refcountTableClusters) = (0, 0)
        l1Offset = cluster
        let length = serialized().count
        guard length <= Int(cluster) else {
            throw FormatError(
                .unsupported,
                "qcow2 with clusters of \(cluster) bytes has no room for a backing path of \(backingPath.count) bytes"
            )
        }
    }

    /// Where the part of a written file begins that is not planned beforehand.
    package var plannedLength: UInt64 {
        l1Offset + (l1Count * 8 + clusterLength - 1) / clusterLength * clusterLength
    }

    /// The length in bytes of a written file in which `clusters` are stored, not compressed, and
    /// which has as many L2 tables as `tables`.
    package func fileLength(storing clusters: UInt64, tables: UInt64) -> UInt64 {
        let used = plannedLength / clusterLength + tables + clusters
        let counts = Qcow2Header.refcountClusters(for: used, clusterLength)
        return (used + counts.blocks) * clusterLength + counts.blocks * 8
    }

    /// How many refcount blocks, and clusters of the table that names them, a file needs in which
    /// `used` clusters are in use without these.
    package static func refcountClusters(for used: UInt64, _ clusterLength: UInt64) -> (
        blocks: UInt64, tables: UInt64
    ) {
        let (perBlock, perTable) = (clusterLength / 2, clusterLength / 8)
        var (blocks, tables): (UInt64, UInt64) = (1, 1)
        while blocks * perBlock < used + blocks + tables || tables * perTable < blocks {
            let missing = (used + blocks + tables + perBlock - 1) / perBlock
            blocks = max(blocks, missing)
            tables = (blocks + perTable - 1) / perTable
        }
        return (blocks, tables)
    }

    /// Where the fields of the refcount table lie in the header, and what they are.
    package static let refcountFields = 48..<60

    package static func refcountFields(offset: UInt64, clusters: UInt32) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: refcountFields.count)
        bytes.store(offset, at: 0, .big)
        bytes.store(clusters, at: 8, .big)
        return bytes
    }

    /// The header's bytes, with extensions and the backing file's name; what follows in its cluster
    /// is zeros.
    package func serialized() -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 112)
        bytes.store(Qcow2Header.magic, at: 0, .big)
        bytes.store(version, at: 4, .big)
        bytes.store(UInt32(clusterBits), at: 20, .big)
        bytes.store(size, at: 24, .big)
        bytes.store(UInt32(l1Count), at: 36, .big)
        bytes.store(l1Offset, at: 40, .big)
        bytes.store(
            compression == .zlib ? UInt64(0) : 1 << UInt64(Feature.compressionType.rawValue), at: 72, .big)
        bytes.store(UInt32(refcountOrder), at: 96, .big)
        bytes.store(UInt32(bytes.count), at: 100, .big)
        bytes[104] = compression.number
        if !backingFormat.isEmpty {
            bytes += Qcow2Header.encoded(ExtensionType.backingFormat.rawValue, UInt32(backingFormat.count))
            bytes += backingFormat + [UInt8](repeating: 0, count: (8 - backingFormat.count % 8) % 8)
        }
        bytes += Qcow2Header.encoded(ExtensionType.end.rawValue, 0)
        if !backingPath.isEmpty {
            bytes.store(UInt64(bytes.count), at: 8, .big)
            bytes.store(UInt32(backingPath.count), at: 16, .big)
            bytes += backingPath
        }
        return bytes
    }

    private static func encoded(_ type: UInt32, _ length: UInt32) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 8)
        bytes.store(type, at: 0, .big)
        bytes.store(length, at: 4, .big)
        return bytes
    }
}
