internal import ImageFormats
internal import Linux
internal import SystemPackage

/// The tables of a qcow2 file that Drover writes, read back from it.
struct Qcow2WrittenTables {
    private let file: TargetFile
    private let reading: ImageFile
    private let header: Qcow2Header
    /// Where the L2 tables lie; 0 where there is none.
    private(set) var l1: [UInt64] = []

    init(_ file: TargetFile, _ header: Qcow2Header) throws {
        (self.file, self.header) = (file, header)
        reading = try file.reading()
        var table = Qcow2Table(reading, "L1 table", at: header.l1Offset, count: header.l1Count)
        l1.reserveCapacity(Int(header.l1Count))
        for index in 0..<header.l1Count {
            l1.append(
                try checked { try Qcow2Entry.table(table.number(at: index), clusterBits: header.clusterBits) }
                    ?? 0)
        }
    }

    /// Bytes that one window of an L2 table has.
    private var windowLength: Int { min(Int(header.clusterLength), 64 << 10) }

    /// Forgets what is said of `gaps`, whole clusters in order.
    mutating func clear(_ gaps: [Range<UInt64>]) throws {
        for gap in gaps {
            var position = gap.lowerBound
            while position < gap.upperBound {
                let index = position / header.l2Reach
                let end = min(gap.upperBound, (index + 1) * header.l2Reach)
                try clear(position..<end, in: index)
                position = end
            }
        }
    }

    private mutating func clear(_ range: Range<UInt64>, in index: UInt64) throws {
        guard l1[Int(index)] != 0 else { return }
        let start = index * header.l2Reach
        if range.lowerBound == start, range.upperBound >= min(header.size, start + header.l2Reach) {
            l1[Int(index)] = 0
            try [UInt8](repeating: 0, count: 8).withUnsafeBytes {
                try file.write($0, at: header.l1Offset + index * 8)
            }
            return
        }
        let first = (range.lowerBound - start) / header.clusterLength
        let last = (range.upperBound - start + header.clusterLength - 1) / header.clusterLength
        try [UInt8](repeating: 0, count: Int(last - first) * 8).withUnsafeBytes {
            try file.write($0, at: l1[Int(index)] + first * 8)
        }
    }

    /// What all tables refer to, themselves counted.
    mutating func references() throws -> Qcow2References {
        let length = try file.identity().size
        var references = Qcow2References(clusterLength: header.clusterLength, fileLength: length)
        references.add(0..<header.plannedLength)
        var window = [UInt8](repeating: 0, count: windowLength)
        for table in l1 where table != 0 {
            references.add(table..<table + header.clusterLength)
            for start in stride(from: 0, to: header.clusterLength, by: windowLength) {
                try window.withUnsafeMutableBytes { try reading.read(into: $0, at: table + start) }
                try window.withUnsafeBytes { try add($0, to: &references) }
            }
        }
        guard let wrong = references.outside else { return references }
        throw DiskImageError(
            .badData, file.partial.path,
            "its tables refer to offset \(wrong), past its end at \(length) bytes (\(.restart) begins anew)")
    }

    private func add(_ entries: UnsafeRawBufferPointer, to references: inout Qcow2References) throws {
        for offset in stride(from: 0, to: entries.count, by: 8) {
            let number = UInt64(bigEndian: entries.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
            guard number != 0 else { continue }
            switch try checked({ try Qcow2Entry(number, header) }) {
            case .unallocated, .zero(nil): break
            case .data(let place), .zero(let place?):
                references.add(place..<place + header.clusterLength)
            case .compressed(let place, let length):
                // Its sectors, of which the last may be another one's as well.
                references.add(place..<place + UInt64(length), isCompressed: true)
            }
        }
    }

    private func checked<R>(_ body: () throws -> R) throws -> R {
        do {
            return try body()
        } catch let error as FormatError {
            throw DiskImageError(
                .badData, file.partial.path, "\(error.description) (\(.restart) begins anew)")
        }
    }
}

/// How often each cluster of a qcow2 file is referred to: two bytes for each.
struct Qcow2References {
    private let clusterLength: UInt64
    private var counts: [UInt16]
    /// The first place past the file's end that something refers to.
    private(set) var outside: UInt64?

    init(clusterLength: UInt64, fileLength: UInt64) {
        self.clusterLength = clusterLength
        counts = [UInt16](repeating: 0, count: Int((fileLength + clusterLength - 1) / clusterLength))
    }

    /// Counts the clusters of `range`. The last sector of what is compressed may reach past the
    /// file's end.
    mutating func add(_ range: Range<UInt64>, isCompressed: Bool = false) {
        let first = range.lowerBound / clusterLength
        let last = (range.upperBound - 1) / clusterLength
        for index in first...last {
            guard index < UInt64(counts.count) else {
                if !isCompressed || index == first { outside = outside ?? range.lowerBound }
                return
            }
            counts[Int(index)] = counts[Int(index)] == .max ? .max : counts[Int(index)] + 1
        }
    }

    /// Where what is in use ends, and what before that is not, in bytes.
    func room() -> (end: UInt64, free: [Range<UInt64>]) {
        let used = (counts.lastIndex { $0 != 0 } ?? -1) + 1
        var free: [Range<UInt64>] = []
        var index = 0
        while index < used {
            let start = index
            while counts[index] == 0 { index += 1 }
            if index > start { free.append(UInt64(start) * clusterLength..<UInt64(index) * clusterLength) }
            index += 1
        }
        return (UInt64(used) * clusterLength, free)
    }

    /// Writes the refcount blocks to the end of `file`, behind them the table that names them, and
    /// where that lies into the header.
    func write(to file: TargetFile, _ header: Qcow2Header) throws {
        let used = (counts.lastIndex { $0 != 0 } ?? -1) + 1
        let perBlock = Int(clusterLength / 2)
        let needed = Qcow2Header.refcountClusters(for: UInt64(used), clusterLength)
        let (blocks, tables) = (Int(needed.blocks), Int(needed.tables))
        guard UInt64(tables) * clusterLength <= Qcow2Header.longestTable else {
            throw DiskImageError(
                .badData, file.partial.path,
                "has \(used) clusters, and no refcount table is so long (larger clusters need less)")
        }
        let all = used + blocks + tables
        var table: [UInt64] = []
        for block in 0..<blocks {
            let offset = UInt64(used + block) * clusterLength
            let range = block * perBlock..<min((block + 1) * perBlock, all)
            var numbers = range.map { ($0 < used ? counts[$0] : 1).bigEndian }
            numbers += [UInt16](repeating: 0, count: perBlock - numbers.count)
            try numbers.withUnsafeBytes { try file.write($0, at: offset) }
            table.append(offset.bigEndian)
        }
        let offset = UInt64(used + blocks) * clusterLength
        try table.withUnsafeBytes { try file.write($0, at: offset) }
        // The table ends with the file: what is not there is zeros.
        try file.setLength(offset + UInt64(table.count) * 8)
        try Qcow2Header.refcountFields(offset: offset, clusters: UInt32(tables)).withUnsafeBytes {
            try file.write($0, at: UInt64(Qcow2Header.refcountFields.lowerBound))
        }
    }
}
