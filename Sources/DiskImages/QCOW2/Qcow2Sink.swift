package import ImageFormats
internal import Linux

/// A qcow2 image: header, refcount table and L1 table at places that are planned, everything else
/// behind them in the order in which it is written. Refcounts are counted at the end.
///
/// It holds the L1 table, which is 8 bytes for each cluster of L2 table, and for each thread that
/// compresses what a stretch may take.
package final class Qcow2Sink: ImageSink {
    package let file: TargetFile
    private let header: Qcow2Header
    /// How clusters are compressed; nil stores them as they are.
    private let compression: Qcow2Compression?
    private let state: Locked<State>
    private let encoders = Locked([ClusterEncoder]())

    private struct State {
        var l1: [UInt64]
        var allocator: Qcow2Allocator
    }

    /// An image with `header`, one of version 3 without subclusters, in `file`.
    package init(file: TargetFile, header: Qcow2Header, compression: Qcow2Compression?) {
        (self.file, self.header, self.compression) = (file, header, compression)
        state = Locked(
            State(
                l1: [UInt64](repeating: 0, count: Int(header.l1Count)),
                allocator: Qcow2Allocator(clusterLength: header.clusterLength, end: header.plannedLength)))
    }

    private var clusterLength: Int { Int(header.clusterLength) }

    package func prepare() throws {
        try file.reset(length: header.plannedLength)
        try header.serialized().withUnsafeBytes { try file.write($0, at: 0) }
    }

    package func resume(clearing gaps: [Range<UInt64>]) throws {
        var tables = try Qcow2WrittenTables(file, header)
        try tables.clear(gaps)
        let (end, free) = try tables.references().room()
        try file.setLength(end)
        let l1 = tables.l1
        state.withLock {
            $0 = State(
                l1: l1,
                allocator: Qcow2Allocator(clusterLength: header.clusterLength, end: end, free: free))
        }
    }

    package func finish() throws {
        var tables = try Qcow2WrittenTables(file, header)
        try tables.references().write(to: file, header)
    }

    package func markAll(_ range: Range<UInt64>) throws {
        // A stretch of entries at a time.
        let most = UInt64(8192) * header.clusterLength
        var position = range.lowerBound
        while position < range.upperBound {
            let end = min(range.upperBound, position + most)
            let count = Int((end - position + header.clusterLength - 1) / header.clusterLength)
            let parts = try parts(of: [UInt64](repeating: Qcow2Entry.zeroFlag, count: count), from: position)
            try file.inOneTurn { turn in
                for part in parts { try write(part, in: turn) }
            }
            position = end
        }
    }

    package func store(_ stretch: GuestStretch) throws -> Range<UInt64>? {
        let count = (stretch.bytes.count + clusterLength - 1) / clusterLength
        var entries = [UInt64](repeating: 0, count: count)
        if let held = stretch.held {
            for index in entries.indices where isHeld(index, held) { entries[index] = Qcow2Entry.zeroFlag }
        }
        var stored: [Int] = []
        for range in stretch.data {
            let clusters =
                range.lowerBound / clusterLength..<(range.upperBound + clusterLength - 1) / clusterLength
            stored +=
                max(
                    clusters.lowerBound, (stored.last ?? -1) + 1)..<max(
                    clusters.upperBound, (stored.last ?? -1) + 1)
        }
        guard !stored.isEmpty || entries.contains(where: { $0 != 0 }) else { return nil }
        let encoder = try stored.isEmpty ? nil : compression.map(takeEncoder)
        defer { if let encoder { encoders.withLock { $0.append(encoder) } } }
        let placed = place(stored, of: stretch, encoder, &entries)
        let parts = try parts(of: entries, from: stretch.start)
        try file.inOneTurn { turn in
            if let encoder, let packed = placed.packed {
                try turn.write(encoder.bytes(packed.count), at: packed.lowerBound)
            }
            for run in placed.plain { try write(run.clusters, of: stretch, at: run.offset, in: turn) }
            for part in parts { try write(part, in: turn) }
        }
        return placed.hull
    }

    private func isHeld(_ index: Int, _ held: UnsafeRawBufferPointer) -> Bool {
        // A cluster is held whole or not at all.
        let sector = index * clusterLength / 512
        return held[sector / 8] >> UInt8(sector % 8) & 1 == 1
    }

    /// Where a stretch's clusters are to lie.
    private struct Placed {
        /// Those that the encoder has compressed, one behind the other.
        var packed: Range<UInt64>?
        /// The others, as many at a time as lie next to one another in the disk.
        var plain: [(clusters: ClosedRange<Int>, offset: UInt64)] = []
        /// From the first byte to the last.
        var hull: Range<UInt64>?

        mutating func add(_ range: Range<UInt64>) {
            hull =
                hull.map { min($0.lowerBound, range.lowerBound)..<max($0.upperBound, range.upperBound) }
                ?? range
        }
    }

    /// Gives the clusters `stored` their places, compressed where that makes them shorter, and sets
    /// their entries.
    private func place(
        _ stored: [Int], of stretch: GuestStretch, _ encoder: ClusterEncoder?, _ entries: inout [UInt64]
    ) -> Placed {
        var placed = Placed()
        var plain = stored
        if let encoder {
            plain = []
            var packed: [(index: Int, length: Int)] = []
            var total = 0
            for index in stored {
                if let length = withCluster(index, of: stretch, { encoder.compress($0, behind: total) }) {
                    packed.append((index, length))
                    total += length
                } else {
                    plain.append(index)
                }
            }
            if total > 0 {
                let room = state.withLock { $0.allocator.bytes(UInt64(total)) }
                placed.packed = room
                placed.add(room)
                var offset = room.lowerBound
                for (index, length) in packed {
                    entries[index] = Qcow2Entry.number(
                        compressedAt: offset, length: length, clusterBits: header.clusterBits)
                    offset += UInt64(length)
                }
            }
        }
        var next = 0
        while next < plain.count {
            let room = state.withLock { $0.allocator.clusters(plain.count - next) }
            placed.add(room)
            var offset = room.lowerBound
            while offset < room.upperBound {
                var last = next
                let most = Int((room.upperBound - offset) / header.clusterLength)
                while last + 1 < plain.count, last + 1 - next < most, plain[last + 1] == plain[last] + 1 {
                    last += 1
                }
                placed.plain.append((plain[next]...plain[last], offset))
                for index in next...last {
                    entries[plain[index]] = Qcow2Entry.copiedFlag | offset
                    offset += header.clusterLength
                }
                next = last + 1
            }
        }
        return placed
    }

    private func takeEncoder(_ compression: Qcow2Compression) throws -> ClusterEncoder {
        if let encoder = encoders.withLock({ $0.popLast() }) { return encoder }
        return try ClusterEncoder(
            compression, clusterLength: clusterLength, capacity: max(1 << 20, clusterLength),
            file.partial.path)
    }

    /// The bytes of the cluster at `index`, zeros behind the disk's end.
    private func withCluster<R>(
        _ index: Int, of stretch: GuestStretch, _ body: (UnsafeRawBufferPointer) throws -> R
    ) rethrows -> R {
        let start = index * clusterLength
        let bytes = UnsafeRawBufferPointer(
            rebasing: stretch.bytes[start..<min(start + clusterLength, stretch.bytes.count)])
        guard bytes.count < clusterLength else { return try body(bytes) }
        var whole = [UInt8](bytes)
        whole += [UInt8](repeating: 0, count: clusterLength - bytes.count)
        return try whole.withUnsafeBytes(body)
    }

    private func write(
        _ clusters: ClosedRange<Int>, of stretch: GuestStretch, at offset: UInt64, in turn: TargetFile.Turn
    ) throws {
        let (start, end) = (clusters.lowerBound * clusterLength, (clusters.upperBound + 1) * clusterLength)
        guard end > stretch.bytes.count else {
            return try turn.write(UnsafeRawBufferPointer(rebasing: stretch.bytes[start..<end]), at: offset)
        }
        let whole = clusters.upperBound * clusterLength
        if whole > start {
            try turn.write(UnsafeRawBufferPointer(rebasing: stretch.bytes[start..<whole]), at: offset)
        }
        try withCluster(clusters.upperBound, of: stretch) {
            try turn.write($0, at: offset + UInt64(whole - start))
        }
    }

    /// Entries that are written at one place of a table.
    private struct TablePart {
        let entries: [UInt64]
        let offset: UInt64
    }

    /// Where the entries of the clusters from guest offset `start` on are written; tables that are
    /// not there are made.
    private func parts(of entries: [UInt64], from start: UInt64) throws -> [TablePart] {
        var parts: [TablePart] = []
        var index = 0
        while index < entries.count {
            let position = start + UInt64(index) * header.clusterLength
            let first = position % header.l2Reach / header.clusterLength
            let count = min(entries.count - index, Int(header.l2Count - first))
            let part = entries[index..<index + count]
            if part.contains(where: { $0 != 0 }) {
                let table = try table(position / header.l2Reach)
                parts.append(TablePart(entries: part.map(\.bigEndian), offset: table + first * 8))
            }
            index += count
        }
        return parts
    }

    private func write(_ part: TablePart, in turn: TargetFile.Turn) throws {
        try part.entries.withUnsafeBytes { try turn.write($0, at: part.offset) }
    }

    /// Where the L2 table at `index` of the L1 table lies; it is made where there is none.
    private func table(_ index: UInt64) throws -> UInt64 {
        try state.withLock { state in
            let found = state.l1[Int(index)]
            guard found == 0 else { return found }
            let offset = state.allocator.clusters(1).lowerBound
            // What an earlier run left there must not be taken for entries.
            try [UInt8](repeating: 0, count: clusterLength).withUnsafeBytes { try file.write($0, at: offset) }
            try withUnsafeBytes(of: (Qcow2Entry.copiedFlag | offset).bigEndian) {
                try file.write($0, at: header.l1Offset + index * 8)
            }
            state.l1[Int(index)] = offset
            return offset
        }
    }
}
