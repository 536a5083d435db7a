import DiskImages
import SystemPackage
import TestSupport
import Testing

@testable import Migration
@testable import TransportArchive

/// References among random disks that share blocks, held against the disks.
struct SharedContentTests {
    private let directory = try! TemporaryDirectory()
    private static let block = Int(SharedContent.block)

    /// Disks of blocks of which many are in several of them, alone and in rows.
    private func disks(_ random: inout SplitMix64) -> [[UInt8]] {
        let pool = (0..<300).map { _ in
            (0..<Self.block).map { _ in UInt8.random(in: 0...255, using: &random) }
        }
        return (0..<4).map { _ in
            var bytes: [UInt8] = []
            while bytes.count < 300 * Self.block {
                let first = Int.random(in: 0..<300, using: &random)
                let count = Int.random(in: 1..<40, using: &random)
                switch Int.random(in: 0..<4, using: &random) {
                case 0: bytes += [UInt8](repeating: 0, count: count * Self.block)
                case 1: bytes += (0..<Self.block).map { _ in UInt8.random(in: 0...255, using: &random) }
                default: bytes += pool[first..<min(300, first + count)].joined()
                }
            }
            return bytes
        }
    }

    /// Packs the disks' records and returns them, each with what it holds as data.
    private func records(_ disks: [[UInt8]], _ table: consuming BlockTable, stretches: Int = 1 << 19) throws
        -> [(layer: Int, runs: [RunRecord.Run])]
    {
        let sources = try disks.enumerated().map { number, bytes in
            let path = directory("disk\(number)")
            try SparseFile.write(bytes, to: path)
            return PackSource(
                chain: try ImageChain.open(path, ChainOptions(location: BackingLocation())),
                holding: .everything(marks: false))
        }
        let shared = try SharedContent(sources, table: table, mostStretches: stretches)
        var packer = try ChunkPacker(sources, .none, shortestZeroRun: 4096)
        var found: [(Int, [RunRecord.Run])] = []
        for (layer, source) in sources.enumerated() {
            var planner = PackPlanner(source, layer: layer, keepsZeros: false)
            while let chunk = try planner.next() {
                let content = try packer.read(chunk)
                let bytes = UnsafeRawBufferPointer(content.bytes)
                let runs = try shared.match(
                    layer, content.runs, bytes, SharedContent.fingerprints(content.runs, bytes))
                found.append((layer, runs))
            }
        }
        return found
    }

    /// Throws where a reference leads to anything but stored bytes that are the same; returns how
    /// many blocks are stored.
    private func check(_ records: [(layer: Int, runs: [RunRecord.Run])], _ disks: [[UInt8]]) throws -> Int {
        var stored: [Set<Int>] = disks.map { _ in [] }
        for (layer, runs) in records {
            for run in runs {
                let range = Int(run.start)..<Int(run.end)
                switch run.kind {
                case .data: stored[layer].formUnion(range.lowerBound / 512..<range.upperBound / 512)
                case .reference(let place):
                    try #require(place.layer < layer)
                    let there = Int(place.start)..<Int(place.start) + range.count
                    try #require(
                        stored[place.layer].isSuperset(of: there.lowerBound / 512..<there.upperBound / 512))
                    try #require(disks[layer][range] == disks[place.layer][there])
                case .zero, .inherited: Issue.record("\(run)")
                }
            }
        }
        return stored.reduce(0) { $0 + $1.count } * 512 / Self.block
    }

    @Test func whatIsReferredToIsStoredAndTheSame() throws {
        var random = TestSeed().generator()
        let disks = disks(&random)
        let all = disks.reduce(0) { $0 + $1.count } / Self.block
        let distinct = Set(
            disks.flatMap { disk in
                stride(from: 0, to: disk.count, by: Self.block).map { Array(disk[$0..<$0 + Self.block]) }
            }
        ).count
        let whole = try check(try records(disks, BlockTable()), disks)
        // What a layer has twice in itself is stored twice.
        #expect(whole < all / 2 && whole >= distinct - 1, "\(whole) of \(all), \(distinct) distinct")
        // With a table of next to nothing long matches are still found, and all that is found is
        // true.
        let sampled = try check(try records(disks, BlockTable(mostEntries: 64)), disks)
        #expect(sampled >= whole && sampled < all)
        _ = try check(try records(disks, BlockTable(), stretches: 3), disks)
    }

    @Test func aCopyOfADiskIsNotStoredWhereTheTableHoldsFewOfItsBlocks() throws {
        var random = TestSeed().generator()
        let disk = (0..<400 * Self.block).map { _ in UInt8.random(in: 0...255, using: &random) }
        let moved = (0..<7 * Self.block).map { _ in UInt8.random(in: 0...255, using: &random) } + disk
        let stored = try check(try records([disk, moved], BlockTable(mostEntries: 256)), [disk, moved])
        #expect(stored <= 407 + 16, "\(stored)")
    }
}
