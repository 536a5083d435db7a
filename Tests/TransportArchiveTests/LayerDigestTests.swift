import DiskImages
import TestSupport
import Testing

@testable import TransportArchive

/// A layer's digest against one that is calculated from every sector of the disk.
struct LayerDigestTests {
    private static let window = Int(LayerDigest.window)

    /// A sector that is not held, zeros, or a byte 512 times.
    private typealias Disk = [UInt8?]

    private func disk(_ random: inout SplitMix64) -> Disk {
        let count = Int.random(in: 1..<6, using: &random) * 2048 + Int.random(in: 0..<2048, using: &random)
        var disk = Disk(repeating: nil, count: count)
        for _ in 0..<Int.random(in: 0..<12, using: &random) {
            let start = Int.random(in: 0..<count, using: &random)
            let length = min(count - start, [1, 8, 300, 2048, 5000].randomElement(using: &random)!)
            let value: UInt8? = [nil, 0, 0, 1, 2].randomElement(using: &random)!
            for sector in start..<start + length { disk[sector] = value }
        }
        return disk
    }

    /// As the format's page says it.
    private func expected(_ disk: Disk, isRaw: Bool) -> ContentDigest {
        var entries: [(UInt64, UInt64, ContentDigest)] = []
        for start in stride(from: 0, to: disk.count, by: 2048) {
            let window = disk[start..<min(start + 2048, disk.count)]
            let number = UInt64(start / 2048)
            let isZero = window.allSatisfy { ($0 ?? 0) == 0 }
            if isRaw {
                guard !isZero else { continue }
                let bytes = window.flatMap { [UInt8](repeating: $0 ?? 0, count: 512) }
                entries.append((number, 1, ContentDigest(of: bytes)))
            } else if isZero, window.allSatisfy({ $0 != nil }) {
                if let last = entries.last, last.0 + last.1 == number,
                    last.2 == ContentDigest(high: 0, low: 0)
                {
                    entries[entries.count - 1].1 += 1
                } else {
                    entries.append((number, 1, ContentDigest(high: 0, low: 0)))
                }
            } else if window.contains(where: { $0 != nil }) {
                var bytes = window.compactMap { $0 }.flatMap { [UInt8](repeating: $0, count: 512) }
                var bits = [UInt8](repeating: 0, count: (window.count + 7) / 8)
                for (index, sector) in window.enumerated() where sector != nil {
                    bits[index / 8] |= 1 << UInt8(index % 8)
                }
                bytes += bits
                entries.append((number, 1, ContentDigest(of: bytes)))
            }
        }
        return entries.reduce(ContentDigest(high: 0, low: 0)) { value, entry in
            var bytes = value.bytes
            for number in [entry.0, entry.1] {
                bytes += (0..<8).map { UInt8(truncatingIfNeeded: number >> (8 * UInt64($0))) }
            }
            return ContentDigest(of: bytes + entry.2.bytes)
        }
    }

    /// The same, record by record: cut anywhere at whole windows, zeros stored or left out.
    private func digest(_ disk: Disk, isRaw: Bool, _ random: inout SplitMix64) throws -> ContentDigest {
        let digester = try WindowDigester()
        var digest = LayerDigest()
        var start = 0
        while start < disk.count {
            let end = min(disk.count, start + 2048 * Int.random(in: 1..<4, using: &random))
            var runs: [RunRecord.Run] = []
            var bytes: [UInt8] = []
            for sector in start..<end {
                guard let value = disk[sector] else { continue }
                let storesZeros = isRaw ? Bool.random(using: &random) : sector / 100 % 2 == 0
                if isRaw, value == 0, !storesZeros { continue }
                let kind: RunRecord.Kind = value == 0 && !storesZeros ? .zero : .data
                let run = RunRecord.Run(
                    start: UInt64(sector) * 512, end: UInt64(sector + 1) * 512, kind: kind)
                if let last = runs.last, last.goesOn(in: run) {
                    runs[runs.count - 1] = RunRecord.Run(start: last.start, end: run.end, kind: kind)
                } else {
                    runs.append(run)
                }
                if kind == .data { bytes += [UInt8](repeating: value, count: 512) }
            }
            let record = RunRecord(
                emptyFor: 0, range: UInt64(start) * 512..<UInt64(end) * 512, runs: runs)
            let entries = bytes.withUnsafeBytes {
                digester.entries(of: record, $0, isRaw: isRaw, length: UInt64(disk.count) * 512)
            }
            for entry in entries { digest.add(entry) }
            start = end
        }
        return digest.value
    }

    @Test(arguments: [true, false]) func itDoesNotDependOnHowTheLayerIsStored(isRaw: Bool) throws {
        var random = TestSeed().generator()
        for _ in 0..<25 {
            let disk = disk(&random)
            #expect(try digest(disk, isRaw: isRaw, &random) == expected(disk, isRaw: isRaw))
        }
    }
}
