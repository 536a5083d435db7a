internal import DiskImages
internal import Glibc
internal import TransportArchive

/// Finds what earlier layers of an archive store already, in blocks of 4 KiB at multiples of it.
///
/// Records come in the archive's order, so that what is found depends on the sources alone. A table
/// of fingerprints, which is bounded, says where to look; bytes decide. What is equal goes on to
/// both sides of what was found: of a long stretch one block in the table is enough.
final class SharedContent {
    /// Bytes of a block.
    static let block: UInt64 = 4096
    /// Bytes that are read of a layer at once to be compared.
    private static let readAhead = 16 * block
    /// Stretches of stored blocks that are kept, 24 bytes each; what is stored behind them is not
    /// found.
    private static let mostStretches = 1 << 19

    /// Blocks of a layer that are stored one behind the other.
    private struct Stretch {
        let start: UInt64
        let layer: UInt32
        /// The number of its first block among all.
        let number: UInt32
        var count: UInt64

        var end: UInt64 { start + count * SharedContent.block }
    }

    private var table: BlockTable
    private var stretches: [Stretch] = []
    private var blocks = 0
    /// Where the stretches of the layer that is packed begin: they are not referred to.
    private var earlier = 0
    private var layer = 0
    private let readers: [GuestReader]
    private let mostStretches: Int
    private let buffer: AlignedBuffer
    /// What of a layer lies in the buffer.
    private var buffered: (layer: Int, range: Range<UInt64>) = (-1, 0..<0)
    /// The block that was looked at last, where it was found.
    private var found: (start: UInt64, place: RunRecord.Place)?

    /// `sources` are the archive's layers. Throws where there is no memory.
    init(
        _ sources: [PackSource], table: consuming BlockTable = BlockTable(),
        mostStretches: Int = SharedContent.mostStretches
    ) throws {
        readers = sources.map { GuestReader($0.chain) }
        self.mostStretches = mostStretches
        self.table = table
        buffer = try AlignedBuffer(capacity: Int(SharedContent.readAhead))
    }

    /// Fingerprints of the blocks of data runs, in their order: what needs no order among records.
    static func fingerprints(_ runs: [RunRecord.Run], _ bytes: UnsafeRawBufferPointer) -> [UInt64] {
        var found: [UInt64] = []
        var offset = 0
        for run in runs where !run.isZero {
            if run.isData {
                for start in blocks(of: run) {
                    let place = offset + Int(start - run.start)
                    found.append(
                        ContentDigest.fingerprint(
                            of: UnsafeRawBufferPointer(rebasing: bytes[place..<place + Int(block)])))
                }
            }
            offset += Int(run.length)
        }
        return found
    }

    /// Where the whole blocks of a run begin.
    private static func blocks(of run: RunRecord.Run) -> StrideTo<UInt64> {
        let first = (run.start + block - 1) / block * block
        return stride(from: first, to: max(first, run.end / block * block), by: Int(block))
    }

    /// The runs of the next record of `layer`, of which what is stored already became references.
    /// `bytes` are those of its data runs, `fingerprints` those of their blocks.
    func match(
        _ layer: Int, _ runs: [RunRecord.Run], _ bytes: UnsafeRawBufferPointer, _ fingerprints: [UInt64]
    ) throws -> [RunRecord.Run] {
        begin(layer)
        guard earlier > 0 else {
            store(runs, fingerprints)
            return runs
        }
        var result: [RunRecord.Run] = []
        var (offset, number) = (0, 0)
        // Fingerprints of blocks that stay data.
        var kept: [UInt64] = []
        for run in runs {
            guard run.isData else {
                result.append(run)
                if !run.isZero { offset += Int(run.length) }
                continue
            }
            var places: [RunRecord.Place?] = []
            let starts = Array(SharedContent.blocks(of: run))
            func block(_ index: Int) -> UnsafeRawBufferPointer {
                let place = offset + Int(starts[index] - run.start)
                return UnsafeRawBufferPointer(rebasing: bytes[place..<place + Int(SharedContent.block)])
            }
            for index in starts.indices {
                // A long match goes on, behind zeros too.
                var place = try found.flatMap {
                    try same($0.place.moved(by: starts[index] - $0.start), block(index))
                }
                if place == nil {
                    place = try find(fingerprints[number + index], block(index))
                    // What lies before it may be equal too.
                    var (before, at) = (place, index - 1)
                    while let found = before, at >= 0, places[at] == nil, found.start >= SharedContent.block,
                        let equal = try same(
                            RunRecord.Place(layer: found.layer, start: found.start - SharedContent.block),
                            block(at))
                    {
                        places[at] = equal
                        (before, at) = (equal, at - 1)
                    }
                }
                places.append(place)
                found = place.map { (starts[index], $0) }
            }
            for (index, place) in places.enumerated() where place == nil {
                kept.append(fingerprints[number + index])
            }
            result.append(parts: run, starts, places)
            offset += Int(run.length)
            number += starts.count
        }
        store(result, kept)
        return result
    }

    /// Takes in a record of `layer` that is in the archive already.
    func take(_ layer: Int, _ runs: [RunRecord.Run], _ bytes: UnsafeRawBufferPointer) {
        begin(layer)
        store(runs, SharedContent.fingerprints(runs, bytes))
    }

    private func begin(_ layer: Int) {
        guard layer != self.layer else { return }
        (self.layer, earlier, found) = (layer, stretches.count, nil)
    }

    /// Notes which blocks are stored. Nothing follows the last layer that could refer to it.
    private func store(_ runs: [RunRecord.Run], _ fingerprints: [UInt64]) {
        guard layer < readers.count - 1 else { return }
        var number = 0
        for run in runs where run.isData {
            let starts = SharedContent.blocks(of: run)
            guard let first = starts.first(where: { _ in true }) else { continue }
            let count = (run.end / SharedContent.block * SharedContent.block - first) / SharedContent.block
            defer { number += Int(count) }
            if let last = stretches.last, last.layer == layer, last.end == first {
                stretches[stretches.count - 1].count += count
            } else {
                guard stretches.count < mostStretches, blocks < BlockTable.mostBlocks else { return }
                stretches.append(
                    Stretch(start: first, layer: UInt32(layer), number: UInt32(blocks), count: count))
            }
            for index in 0..<Int(count) {
                table.insert(fingerprints[number + index], blocks)
                blocks += 1
            }
        }
    }

    /// Where a block of these bytes is stored by an earlier layer.
    private func find(_ fingerprint: UInt64, _ bytes: UnsafeRawBufferPointer) throws -> RunRecord.Place? {
        guard let number = table.candidate(fingerprint),
            let stretch = stretch(last: { Int($0.number) <= number }),
            case let index = UInt64(number) - UInt64(stretch.number), index < stretch.count
        else { return nil }
        return try same(
            RunRecord.Place(layer: Int(stretch.layer), start: stretch.start + index * SharedContent.block),
            bytes)
    }

    /// The last stretch of earlier layers for which `isBefore` holds, as it does for all before it.
    private func stretch(last isBefore: (Stretch) -> Bool) -> Stretch? {
        var (low, high) = (0, earlier)
        while low < high {
            let middle = (low + high) / 2
            if isBefore(stretches[middle]) { low = middle + 1 } else { high = middle }
        }
        return low > 0 ? stretches[low - 1] : nil
    }

    /// `place`, where an earlier layer stores these very bytes there.
    private func same(_ place: RunRecord.Place, _ bytes: UnsafeRawBufferPointer) throws -> RunRecord.Place? {
        if buffered.layer != place.layer || !buffered.range.contains(place.start) {
            let found = stretch { (Int($0.layer), $0.start) <= (place.layer, place.start) }
            guard let stretch = found, stretch.layer == place.layer, place.start < stretch.end else {
                return nil
            }
            let range = place.start..<min(place.start + SharedContent.readAhead, stretch.end)
            try readers[place.layer].read(
                at: range.lowerBound,
                into: UnsafeMutableRawBufferPointer(
                    rebasing: buffer.bytes[..<Int(range.upperBound - range.lowerBound)]))
            buffered = (place.layer, range)
        }
        let found = buffer.bytes.baseAddress! + Int(place.start - buffered.range.lowerBound)
        return memcmp(found, bytes.baseAddress!, bytes.count) == 0 ? place : nil
    }
}

extension [RunRecord.Run] {
    /// Adds a run of data whose blocks begin at `starts`, of which those with a place are there
    /// already.
    fileprivate mutating func append(
        parts run: RunRecord.Run, _ starts: [UInt64], _ places: [RunRecord.Place?]
    ) {
        var position = run.start
        for (start, place) in zip(starts, places) {
            guard let place else { continue }
            if start > position { append(seamless: RunRecord.Run(start: position, end: start, kind: .data)) }
            position = start + SharedContent.block
            append(seamless: RunRecord.Run(start: start, end: position, kind: .reference(place)))
        }
        if position < run.end { append(seamless: RunRecord.Run(start: position, end: run.end, kind: .data)) }
    }
}
