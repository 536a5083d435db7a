/// What an entry of an L2 table says of a cluster. Source: QEMU's `docs/interop/qcow2.txt`.
///
///     bit 63      the cluster's refcount is exactly one
///     bit 62      compressed
///     else        bits 9 to 55 the cluster's offset in the file, 0 where it has none;
///                 bit 0 (version 3) it reads as zeros
///     compressed  bits 0 to 61 - (cluster bits - 8) the offset of the first byte; the rest how many
///                 sectors of 512 bytes there are behind the one that it begins in
///
/// With subclusters 64 more bits follow: for each of 32 parts of the cluster, from the lowest bit,
/// one that it is allocated, and 32 bits higher one that it reads as zeros.
package enum Qcow2Entry: Equatable, Sendable {
    /// The backing file answers.
    case unallocated
    /// It reads as zeros; `offset` is where a cluster is kept for it.
    case zero(offset: UInt64?)
    case data(offset: UInt64)
    /// Compressed bytes begin at `offset` and take at most `length`.
    case compressed(offset: UInt64, length: Int)

    private static let offsetMask: UInt64 = 0x00ff_ffff_ffff_fe00
    private static let compressedFlag: UInt64 = 1 << 62
    package static let copiedFlag: UInt64 = 1 << 63
    package static let zeroFlag: UInt64 = 1

    /// Where the L2 table lies that the entry `number` of an L1 table names; nil where there is
    /// none.
    package static func table(_ number: UInt64, clusterBits: Int) throws(FormatError) -> UInt64? {
        let offset = number & offsetMask
        guard offset % (1 << UInt64(clusterBits)) == 0 else {
            throw FormatError(
                .invalid, "an entry of the L1 table is \(hex(number)); expected the offset of a whole cluster"
            )
        }
        return offset == 0 ? nil : offset
    }

    /// What `number`, an entry without subclusters, says in a file with `header`.
    package init(_ number: UInt64, _ header: Qcow2Header) throws(FormatError) {
        if number & Qcow2Entry.compressedFlag != 0 {
            self = Qcow2Entry.compressed(number, header.clusterBits)
            return
        }
        let offset = try Qcow2Entry.offset(number, header)
        guard number & Qcow2Entry.zeroFlag != 0 else {
            self = offset.map { .data(offset: $0) } ?? .unallocated
            return
        }
        guard header.version >= 3 else {
            throw FormatError(
                .invalid, "an entry of an L2 table is \(hex(number)), a zero cluster, which version 2 has not"
            )
        }
        self = .zero(offset: offset)
    }

    /// What an entry with subclusters, `number` and its `bits`, says of the part at `index`, 0 to
    /// 31. The offset is that of the part.
    package init(_ number: UInt64, bits: UInt64, part index: Int, _ header: Qcow2Header) throws(FormatError) {
        if number & Qcow2Entry.compressedFlag != 0 {
            self = Qcow2Entry.compressed(number, header.clusterBits)
            return
        }
        let offset = try Qcow2Entry.offset(number, header)
        let isAllocated = bits >> UInt64(index) & 1 == 1
        let isZero = bits >> UInt64(index + 32) & 1 == 1
        guard bits >> 32 & bits & 0xffff_ffff == 0, offset != nil || bits & 0xffff_ffff == 0 else {
            throw FormatError(
                .invalid,
                "the parts of a cluster are \(hex(bits)); expected none that is both allocated and zero, or allocated nowhere"
            )
        }
        let place = offset.map { $0 + UInt64(index) * (header.clusterLength / 32) }
        if isZero {
            self = .zero(offset: place)
        } else if isAllocated, let place {
            self = .data(offset: place)
        } else {
            self = .unallocated
        }
    }

    private static func compressed(_ number: UInt64, _ clusterBits: Int) -> Qcow2Entry {
        let split = UInt64(62 - (clusterBits - 8))
        let offset = number & ((1 << split) - 1)
        let sectors = (number & (compressedFlag - 1)) >> split
        return .compressed(offset: offset, length: Int(sectors + 1) * 512 - Int(offset % 512))
    }

    private static func offset(_ number: UInt64, _ header: Qcow2Header) throws(FormatError) -> UInt64? {
        let offset = number & offsetMask
        guard offset % header.clusterLength == 0 else {
            throw FormatError(
                .invalid, "an entry of an L2 table is \(hex(number)); expected the offset of a whole cluster")
        }
        return offset == 0 ? nil : offset
    }

    /// The entry of a compressed cluster of `length` bytes at `offset`.
    package static func number(compressedAt offset: UInt64, length: Int, clusterBits: Int) -> UInt64 {
        let split = UInt64(62 - (clusterBits - 8))
        let sectors = (offset + UInt64(length) - 1) / 512 - offset / 512
        return compressedFlag | sectors << split | offset
    }
}
