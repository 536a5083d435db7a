extension Qcow2Header {
    /// How much of a file says how long its header can be.
    package static let beginning = 24

    /// Whether a file that begins with `bytes` is a qcow2 file of some version, sound or not. The
    /// first version is another format.
    package static func isQcow2(_ bytes: [UInt8]) -> Bool {
        bytes.number(UInt32.self, at: 0, .big) == magic && bytes.number(UInt32.self, at: 4, .big) != 1
    }

    /// The length of a cluster in bytes, in which header, extensions and names end. `bytes` is the
    /// file's beginning.
    package static func clusterLength(_ bytes: [UInt8]) throws(FormatError) -> Int {
        let bits: UInt32 = try field("cluster bits", of: bytes, at: 20)
        guard clusterBits.contains(Int(bits)) else {
            throw .field(
                "cluster bits", at: 20, is: bits,
                expected: "\(clusterBits.lowerBound) to \(clusterBits.upperBound)")
        }
        return 1 << Int(bits)
    }

    /// The header of a file that begins with `bytes`: the first cluster, or all there is. Throws
    /// where it is none, or speaks of what is not read.
    package init(_ bytes: [UInt8]) throws(FormatError) {
        let found: UInt32 = try Qcow2Header.field("magic", of: bytes, at: 0)
        guard found == Qcow2Header.magic else {
            throw .field(
                "magic", at: 0, is: hex(found),
                expected: "\(hex(Qcow2Header.magic)), the magic number of qcow2 files")
        }
        let version: UInt32 = try Qcow2Header.field("version", of: bytes, at: 4)
        guard version == 2 || version == 3 else {
            throw .field("version", at: 4, is: version, expected: "2 or 3")
        }
        let cluster = UInt64(try Qcow2Header.clusterLength(bytes))
        let encryption: UInt32 = try Qcow2Header.field("encryption", of: bytes, at: 32)
        guard encryption == 0 else {
            let name = encryption == 1 ? "AES" : encryption == 2 ? "LUKS" : "\(encryption)"
            throw FormatError(.unsupported, "is encrypted (\(name)), which is not read")
        }
        self.version = version
        clusterBits = cluster.trailingZeroBitCount
        size = try Qcow2Header.field("size", of: bytes, at: 24)
        let later = try Qcow2Header.later(bytes, version: version, cluster: cluster)
        (compression, hasSubclusters, refcountOrder) = (later.compression, later.subclusters, later.order)
        guard !hasSubclusters || cluster >= 16 << 10 else {
            throw .field(
                "cluster bits", at: 20, is: clusterBits, expected: "14 or more, as clusters have parts")
        }
        snapshotCount = try Qcow2Header.field("number of snapshots", of: bytes, at: 60)

        let reach = cluster * (cluster / (later.subclusters ? 16 : 8))
        let l1: UInt32 = try Qcow2Header.field("entries of the L1 table", of: bytes, at: 36)
        let needed = size / reach + (size % reach == 0 ? 0 : 1)
        guard l1 >= needed, UInt64(l1) * 8 <= Qcow2Header.longestTable, size <= UInt64(Int64.max) - cluster
        else {
            throw .field(
                "entries of the L1 table", at: 36, is: l1,
                expected: "\(needed) to \(Qcow2Header.longestTable / 8) for a disk of \(size) bytes")
        }
        l1Count = UInt64(l1)
        l1Offset = try Qcow2Header.offset("L1 table", of: bytes, at: 40, cluster)
        refcountTableOffset = try Qcow2Header.offset("refcount table", of: bytes, at: 48, cluster)
        let clusters: UInt32 = try Qcow2Header.field("clusters of the refcount table", of: bytes, at: 56)
        // A wrong refcount table hinders nobody from reading.
        refcountTableClusters = min(UInt64(clusters), Qcow2Header.longestTable / cluster)

        let name = try Qcow2Header.backingName(bytes, cluster)
        backingPath = name.bytes
        let found2 = try Qcow2Header.extensions(bytes, from: later.length, upTo: name.offset ?? cluster)
        (backingFormat, hasBitmaps) = (found2.backingFormat, found2.bitmaps)
    }

    /// What version 3 has behind the fields of version 2.
    private static func later(_ bytes: [UInt8], version: UInt32, cluster: UInt64) throws(FormatError) -> (
        length: UInt64, compression: Qcow2Compression, subclusters: Bool, order: Int
    ) {
        guard version == 3 else { return (72, .zlib, false, 4) }
        let features: UInt64 = try field("incompatible features", of: bytes, at: 72)
        func has(_ feature: Feature) -> Bool { features >> UInt64(feature.rawValue) & 1 == 1 }
        if has(.corrupt) {
            throw FormatError(
                .invalid, "is marked corrupt (qemu-img check -r all, on a copy of it, may repair it)")
        }
        if has(.externalData) {
            throw FormatError(
                .unsupported,
                "keeps its data in an external data file, which is not read (qemu-img convert makes one file of it)"
            )
        }
        let known: UInt64 = 0b11111
        guard features & ~known == 0 else {
            throw FormatError(
                .unsupported,
                "needs the incompatible feature \((features & ~known).trailingZeroBitCount), which is not known (qemu-img convert makes an image without it)"
            )
        }
        let order: UInt32 = try field("refcount order", of: bytes, at: 96)
        guard order <= 6 else { throw .field("refcount order", at: 96, is: order, expected: "0 to 6") }
        let length: UInt32 = try field("length of the header", of: bytes, at: 100)
        guard length >= 104, length % 8 == 0, UInt64(length) <= cluster else {
            throw .field(
                "length of the header", at: 100, is: length,
                expected: "a multiple of 8 from 104 to \(cluster)")
        }
        let number: UInt8 = length > 104 ? try field("compression", of: bytes, at: 104) : 0
        guard let compression = Qcow2Compression.allCases.first(where: { $0.number == number }),
            has(.compressionType) == (compression != .zlib)
        else {
            throw .field(
                "compression", at: 104, is: number,
                expected: has(.compressionType) ? "1 (zstd)" : "0 (zlib)")
        }
        return (UInt64(length), compression, has(.subclusters), Int(order))
    }

    private static func backingName(_ bytes: [UInt8], _ cluster: UInt64) throws(FormatError) -> (
        offset: UInt64?, bytes: [UInt8]
    ) {
        let offset: UInt64 = try field("offset of the backing file's name", of: bytes, at: 8)
        guard offset != 0 else { return (nil, []) }
        let length: UInt32 = try field("length of the backing file's name", of: bytes, at: 16)
        guard length <= longestBackingPath else {
            throw .field(
                "length of the backing file's name", at: 16, is: length,
                expected: "at most \(longestBackingPath)")
        }
        guard offset >= 72, offset < cluster, UInt64(length) <= cluster - offset else {
            throw .field(
                "offset of the backing file's name", at: 8, is: offset,
                expected: "a name of \(length) bytes behind the header, within the first \(cluster) bytes")
        }
        guard Int(offset) + Int(length) <= bytes.count else {
            throw FormatError(
                .truncated,
                "the file ends at \(bytes.count) bytes; expected its backing file's name at \(offset)")
        }
        let name = Array(bytes[Int(offset)..<Int(offset) + Int(length)])
        guard !name.contains(0) else {
            throw FormatError(.invalid, "the backing file's name at offset \(offset) has a NUL byte in it")
        }
        return (offset, name)
    }

    private static func extensions(_ bytes: [UInt8], from start: UInt64, upTo end: UInt64)
        throws(FormatError) -> (backingFormat: [UInt8], bitmaps: Bool)
    {
        var (backingFormat, bitmaps): ([UInt8], Bool) = ([], false)
        let end = min(Int(end), bytes.count)
        var position = Int(start)
        while position <= end - 8, let number = bytes.number(UInt32.self, at: position, .big),
            let length = bytes.number(UInt32.self, at: position + 4, .big)
        {
            let type = ExtensionType(rawValue: number)
            if type == .end { break }
            position += 8
            guard Int(length) <= end - position else {
                throw .field(
                    "length of the header extension \(hex(number))", at: position - 4, is: length,
                    expected: "at most \(end - position)")
            }
            switch type {
            case .backingFormat: backingFormat = Array(bytes[position..<position + Int(length)])
            case .bitmaps: bitmaps = true
            case .encryption: throw FormatError(.unsupported, "is encrypted (LUKS), which is not read")
            case .externalData, .featureNames, .end, nil: break
            }
            position += (Int(length) + 7) / 8 * 8
        }
        return (backingFormat, bitmaps)
    }

    private static func offset(_ name: String, of bytes: [UInt8], at place: Int, _ cluster: UInt64)
        throws(FormatError) -> UInt64
    {
        let offset: UInt64 = try field("offset of the \(name)", of: bytes, at: place)
        guard offset % cluster == 0, offset <= UInt64(Int64.max) / 2 else {
            throw .field(
                "offset of the \(name)", at: place, is: offset,
                expected: "a multiple of the cluster size, \(cluster), below 2^62")
        }
        return offset
    }

    private static func field<T: FixedWidthInteger & UnsignedInteger>(
        _ name: String, of bytes: [UInt8], at offset: Int
    ) throws(FormatError) -> T {
        guard let value = bytes.number(T.self, at: offset, .big) else {
            throw FormatError(
                .truncated, "the file ends at \(bytes.count) bytes; expected the \(name) at offset \(offset)")
        }
        return value
    }
}
