import DiskImages
import ImageFormats
import Linux
import SystemPackage
import TestSupport
import Testing

@testable import Manifests
@testable import Migration

/// qcow2 as a target: it shows what the source shows, also when it was interrupted, and its
/// refcounts are those of its clusters.
struct Qcow2ConversionTests {
    private let directory = try! TemporaryDirectory()

    private static let choices = [
        Qcow2Choice(), Qcow2Choice(clusterBits: 9), Qcow2Choice(clusterBits: 20),
        Qcow2Choice(compression: .zlib), Qcow2Choice(clusterBits: 12, compression: .zstd),
    ]

    private func move(_ source: String, as choice: Qcow2Choice) throws -> Move {
        try Move(directory, source, as: choice)
    }

    /// The clusters of the file that nothing refers to, and those that are counted otherwise than
    /// they are referred to.
    private func wrongRefcounts(of name: String) throws -> [Int] {
        let file = try FileChanges.bytes(of: directory(name))
        let header = try Qcow2Header(Array(file.prefix(1 << 20)))
        func number(_ offset: UInt64) -> UInt64 { file.number(UInt64.self, at: Int(offset), .big) ?? 0 }
        let cluster = header.clusterLength
        var counts = [Int](repeating: 0, count: Int((UInt64(file.count) + cluster - 1) / cluster))
        func refer(_ first: UInt64, _ length: UInt64) {
            for index in first / cluster...(first + length - 1) / cluster { counts[Int(index)] += 1 }
        }
        refer(0, cluster)
        refer(header.l1Offset, max(header.l1Count * 8, 1))
        refer(header.refcountTableOffset, header.refcountTableClusters * cluster)
        for index in 0..<header.l1Count {
            guard
                let table = try Qcow2Entry.table(
                    number(header.l1Offset + index * 8), clusterBits: header.clusterBits)
            else { continue }
            refer(table, cluster)
            for entry in 0..<header.l2Count {
                switch try Qcow2Entry(number(table + entry * 8), header) {
                case .data(let offset): refer(offset, cluster)
                case .compressed(let offset, let length): refer(offset, UInt64(length))
                case .unallocated, .zero: break
                }
            }
        }
        let perBlock = cluster / 2
        for index in 0..<(UInt64(counts.count) + perBlock - 1) / perBlock {
            refer(number(header.refcountTableOffset + index * 8), cluster)
        }
        return counts.indices.filter { index in
            let block = number(header.refcountTableOffset + UInt64(index) / perBlock * 8)
            let place = block + UInt64(index) % perBlock * 2
            return Int(file.number(UInt16.self, at: Int(place), .big) ?? 0) != counts[index]
        }
    }

    @Test(arguments: choices) func aChainIsFlattened(choice: Qcow2Choice) async throws {
        try directory.raw("base", "ab..cdef")
        try directory.cow("top", over: "base", "-x-.--y-")
        try await move("top", as: choice).run()
        #expect(try directory.picture(of: "out") == "ax..cdyf")
        #expect(try wrongRefcounts(of: "out").isEmpty)
        #expect(try await move("top", as: choice).run() == .upToDate)
    }

    @Test(arguments: choices, [[0], [1], [0, 2], [1, 3], []] as [[UInt64]])
    func goesOnWhereItWasInterrupted(choice: Qcow2Choice, kept: [UInt64]) async throws {
        try directory.raw("base", "abcdef")
        let move = try move("base", as: choice)
        try await move.run()
        let length = try FileChanges.bytes(of: directory("out")).count
        try move.interrupt(keeping: kept)
        #expect(try await move.run() == .moved(resumed: UInt64(kept.count) << 20, hasChanged: false))
        #expect(try directory.picture(of: "out") == "abcdef")
        #expect(try wrongRefcounts(of: "out").isEmpty)
        #expect(
            try FileChanges.bytes(of: directory("out")).count <= length
                + (choice.compression == nil ? 0 : 65536))
        #expect(try await Verification(of: directory("out")).run(move.options).damage == nil)
    }

    @Test(arguments: choices) func anOverlayHoldsWholeClustersAndNamesItsBackingFile(choice: Qcow2Choice)
        async throws
    {
        try directory.raw("base", "abcdefgh")
        try directory.cow("top", over: "base", "--x--.--")
        try await move("top", as: choice).changed {
            $0.backing = BackingRequest(directory("base"), like: $0.options)
        }.run()
        let chain = try ImageChain.open(directory("out"), ChainOptions(location: try BackingLocation()))
        #expect(chain.top.backingPath == "base")
        #expect(chain.layers.map(\.formatName) == ["qcow2", "raw"])
        #expect(try directory.picture(of: "out") == "abxde.gh")
        #expect(try chain.top.allocatedBytes() == 2 << 20)
        #expect(try wrongRefcounts(of: "out").isEmpty)
    }

    @Test func aDamagedStagingFileIsRefusedAndNotGoneOnWith() async throws {
        try directory.raw("base", "abcd")
        let move = try move("base", as: Qcow2Choice())
        try await move.run()
        try move.interrupt(keeping: [0, 1])
        let first = try #require(
            try FileChanges.bytes(of: move.partial).number(UInt64.self, at: 1 << 16, .big))
        let table = try #require(try Qcow2Entry.table(first, clusterBits: 16))
        try FileChanges.write([0x80, 0, 0x7f, 0, 0, 0, 0, 0], to: move.partial, at: Int(table))
        #expect(await move.refusal().contains("past its end"))
        try await move.changed { $0.policy.restart = true }.run()
        #expect(try directory.picture(of: "out") == "abcd")
    }

    @Test func aFileThatAnotherOneWroteIsAdoptedByItsHeaderAndBytes() async throws {
        try directory.raw("base", "abcd")
        let move = try move("base", as: Qcow2Choice())
        try await move.run()
        try FileChanges.remove(move.manifest)
        #expect(try await Conversion(move.request).adopt(move.options) == nil)
        let other = try self.move("base", as: Qcow2Choice(clusterBits: 12))
        #expect(try await Conversion(other.request).adopt(move.options) != nil)
    }
}
