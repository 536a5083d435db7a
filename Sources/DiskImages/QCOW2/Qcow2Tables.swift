internal import ImageFormats
internal import Linux
internal import SystemPackage

/// A table of 64-bit numbers in a file, big-endian, of which a window is held.
struct Qcow2Table: Sendable {
    /// Bytes that are held at a time.
    private static let windowLength: UInt64 = 32 << 10

    private let file: ImageFile
    private let name: String
    /// Where it begins in the file.
    let offset: UInt64
    /// How many numbers it has.
    let count: UInt64
    private var window: [UInt8] = []
    private var windowStart: UInt64 = 0

    /// Of `count` numbers from `offset` on; `name` is what messages call it.
    init(_ file: ImageFile, _ name: String, at offset: UInt64, count: UInt64) {
        (self.file, self.name, self.offset, self.count) = (file, name, offset, count)
    }

    /// The number at `index`, below `count`. Throws `badData` where the file ends before it.
    mutating func number(at index: UInt64) throws -> UInt64 {
        let place = index * 8
        if place < windowStart || place >= windowStart + UInt64(window.count) {
            windowStart = place / Qcow2Table.windowLength * Qcow2Table.windowLength
            var bytes = [UInt8](
                repeating: 0, count: Int(min(Qcow2Table.windowLength, count * 8 - windowStart)))
            let read = try bytes.withUnsafeMutableBytes {
                try file.readAvailable(into: $0, at: offset + windowStart)
            }
            guard read == bytes.count else {
                window = []
                throw DiskImageError(
                    .badData, file.path,
                    "the file ends at \(file.length) bytes, within its \(name) at offset \(offset); expected \(count * 8) bytes there"
                )
            }
            window = bytes
        }
        let start = Int(place - windowStart)
        return window.withUnsafeBytes {
            UInt64(bigEndian: $0.loadUnaligned(fromByteOffset: start, as: UInt64.self))
        }
    }
}

/// The tables by which a qcow2 file finds its clusters, asked forwards or anywhere.
struct Qcow2Tables: Sendable {
    let file: ImageFile
    let header: Qcow2Header
    private var l1: Qcow2Table
    private var l2: Qcow2Table?
    private var l2Index: UInt64 = 0

    init(_ file: ImageFile, _ header: Qcow2Header) {
        (self.file, self.header) = (file, header)
        l1 = Qcow2Table(file, "L1 table", at: header.l1Offset, count: header.l1Count)
    }

    /// Bytes of guest disk that one answer is of: a cluster, or its part.
    var unit: UInt64 { header.hasSubclusters ? header.clusterLength / 32 : header.clusterLength }

    /// Whether the backing file answers for all that the L2 table at `index` of the L1 table would
    /// speak of.
    mutating func isEmpty(_ index: UInt64) throws -> Bool {
        guard index < header.l1Count else { return true }
        if l2 != nil, l2Index == index { return false }
        return try table(at: index) == nil
    }

    /// What is said of the unit in which guest offset `position` lies.
    mutating func entry(at position: UInt64) throws -> Qcow2Entry {
        let index = position / header.l2Reach
        if l2 == nil || l2Index != index {
            guard index < header.l1Count, let offset = try table(at: index) else { return .unallocated }
            l2 = Qcow2Table(file, "L2 table", at: offset, count: header.clusterLength / 8)
            l2Index = index
        }
        let cluster = position % header.l2Reach / header.clusterLength
        do {
            guard header.hasSubclusters else {
                return try Qcow2Entry(l2!.number(at: cluster), header)
            }
            return try Qcow2Entry(
                l2!.number(at: cluster * 2), bits: l2!.number(at: cluster * 2 + 1),
                part: Int(position % header.clusterLength / unit), header)
        } catch let error as FormatError {
            throw wrong(error, position)
        }
    }

    private mutating func table(at index: UInt64) throws -> UInt64? {
        do {
            return try Qcow2Entry.table(l1.number(at: index), clusterBits: header.clusterBits)
        } catch let error as FormatError {
            throw wrong(error, index * header.l2Reach)
        }
    }

    private func wrong(_ error: FormatError, _ position: UInt64) -> DiskImageError {
        DiskImageError(
            .badData, file.path,
            "sector \(position / sectorSize): \(error.description) (qemu-img check tells more)")
    }
}
