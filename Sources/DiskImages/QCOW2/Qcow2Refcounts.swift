internal import ImageFormats

/// How often the clusters of a qcow2 file are referred to, as its refcount blocks say.
struct Qcow2Refcounts {
    private let file: ImageFile
    private let header: Qcow2Header

    init(_ file: ImageFile, _ header: Qcow2Header) { (self.file, self.header) = (file, header) }

    /// Whether more clusters are in use than the file has room for: they were allocated and never
    /// written. QEMU asks the same before it looks for holes in what is allocated
    /// (`qcow2_detect_metadata_preallocation`).
    func showPreallocation() throws -> Bool {
        let real = file.identity.allocated / header.clusterLength
        let threshold = max(real * 10 / 9, real + 2)
        guard file.identity.isRegular, file.length / header.clusterLength >= threshold else { return false }
        return try count(upTo: threshold) >= threshold
    }

    /// How many clusters are in use, or `most` if there are more.
    private func count(upTo most: UInt64) throws -> UInt64 {
        let blockCount = header.refcountTableClusters * header.clusterLength / 8
        var table = Qcow2Table(file, "refcount table", at: header.refcountTableOffset, count: blockCount)
        // What lies past the file's end is in no use.
        let perBlock = (header.clusterLength * 8) >> UInt64(header.refcountOrder)
        let clusters = file.length / header.clusterLength + 1
        var total: UInt64 = 0
        var index: UInt64 = 0
        while index < min(blockCount, clusters / perBlock + 1), total < most {
            let offset = (try? table.number(at: index)).map { $0 & ~511 } ?? 0
            if offset != 0, offset < file.length { total += try inUse(at: offset) }
            index += 1
        }
        return total
    }

    /// How many refcounts of the block at `offset` are not 0.
    private func inUse(at offset: UInt64) throws -> UInt64 {
        var bytes = [UInt8](repeating: 0, count: Int(header.clusterLength))
        let held = try bytes.withUnsafeMutableBytes { try file.readAvailable(into: $0, at: offset) }
        var total: UInt64 = 0
        guard header.refcountOrder >= 3 else {
            let (width, mask) = (1 << header.refcountOrder, UInt8(1 << (1 << header.refcountOrder) - 1))
            for byte in bytes[..<held] where byte != 0 {
                for shift in stride(from: 0, to: 8, by: width) where byte >> UInt8(shift) & mask != 0 {
                    total += 1
                }
            }
            return total
        }
        let width = 1 << (header.refcountOrder - 3)
        for start in stride(from: 0, to: held / width * width, by: width)
        where bytes[start..<start + width].contains(where: { $0 != 0 }) { total += 1 }
        return total
    }
}
