import DiskImages
import SystemPackage
import TestSupport
import Testing

@testable import Migration
@testable import TransportArchive

/// Which records a layer becomes: the same ones whether its zeros are holes (`.`) or were written
/// (`0`). 512 KiB for each character of a picture, so that two are a chunk.
struct PackRecordsTests {
    private let directory = try! TemporaryDirectory()

    /// The records as `START+LENGTH: RUNS`, in characters of the picture; zero runs have a `z`.
    private func records(_ chain: ImageChain, _ holding: CopyScope, zeroRun: Int, unit: UInt64 = 512 << 10)
        throws -> [String]
    {
        let source = PackSource(chain: chain, holding: holding)
        var planner = PackPlanner(source, layer: 0, keepsZeros: zeroRun == 0)
        var packer = try ChunkPacker([source], .none, shortestZeroRun: zeroRun)
        let frame = try AlignedBuffer(capacity: FrameFormat.longest)
        var joiner = RecordJoiner()
        var found: [RunRecord] = []
        while let chunk = try planner.next() {
            let content = try packer.read(chunk)
            let run = try packer.pack(content, as: content.runs, into: frame).run
            found += joiner.add(run, isLast: run.range.upperBound == chain.guestLength)
        }
        #expect(found.last?.range.upperBound == chain.guestLength)
        #expect(zip(found, found.dropFirst()).allSatisfy { $0.range.upperBound == $1.range.lowerBound })
        return found.map { record in
            let runs = record.runs.map { "\($0.isZero ? "z" : "")\($0.start / unit)-\($0.end / unit)" }
            return
                "\(record.range.lowerBound / unit)+\((record.range.upperBound - record.range.lowerBound) / unit): "
                + runs.joined(separator: " ")
        }
    }

    private func raw(_ picture: String, zeroRun: Int = 4096) throws -> [String] {
        let chain = try ImageChain.open(
            try directory.raw("disk", picture, unit: 512 << 10), ChainOptions(location: BackingLocation()))
        return try records(chain, .everything(marks: false), zeroRun: zeroRun)
    }

    private func overlay(_ picture: String, zeroRun: Int = 4096) throws -> [String] {
        try directory.raw("base", String(repeating: "x", count: picture.count), unit: 512 << 10)
        try directory.cow("top", over: "base", picture, unit: 512 << 10)
        let chain = try ImageChain.open(
            directory("top"), ChainOptions(location: BackingLocation(), ignoreMtime: true))
        return try records(
            ImageChain(layers: [chain.top]), .above(depth: 1, backingLength: 0), zeroRun: zeroRun)
    }

    @Test func aRawDisksRecordsAreItsChunksAndWhatIsBetweenThem() throws {
        #expect(try raw("........") == ["0+8: "])
        #expect(try raw("00000000") == ["0+8: "])
        #expect(try raw("a.......b.") == ["0+2: 0-1", "2+6: ", "8+2: 8-9"])
        #expect(try raw("a0000000b0") == ["0+2: 0-1", "2+6: ", "8+2: 8-9"])
        #expect(try raw("a0.0..00b.a") == ["0+2: 0-1", "2+6: ", "8+2: 8-9", "10+1: 10-11"])
    }

    @Test func zerosThatAreShorterThanAskedForAreDataHoweverTheyAreStored() throws {
        for picture in ["a...", "a0..", "a.00", "a000"] {
            #expect(try raw(picture, zeroRun: 1 << 20) == ["0+2: 0-2", "2+2: "])
            #expect(try raw(picture, zeroRun: 0) == ["0+2: 0-2", "2+2: 2-4"])
        }
    }

    @Test func anOverlaysRecordsHoldAChunkOfWhatItHolds() throws {
        #expect(try overlay("--b---c---d-") == ["0+10: 2-3 6-7", "10+2: 10-11"])
        for picture in ["..b---------", "00b---------", "0.b---------"] {
            #expect(try overlay(picture) == ["0+2: z0-2", "2+10: 2-3"])
        }
        for picture in ["--......--b-", "--000000--b-", "--.00.0.--b-"] {
            #expect(try overlay(picture) == ["0+10: z2-8", "10+2: 10-11"])
        }
        for picture in ["b-........b-", "b-0.0.0000b-"] {
            #expect(try overlay(picture) == ["0+2: 0-1", "2+8: z2-10", "10+2: 10-11"])
        }
        for picture in ["-.b.--", "-0b0--"] {
            #expect(try overlay(picture, zeroRun: 0) == ["0+2: 1-2", "2+4: 2-4"])
        }
    }

    @Test func holesAndWrittenZerosGiveTheSameRecords() throws {
        var random = TestSeed().generator()
        for _ in 0..<2 {
            let characters = (0..<14).map { _ in "a.-...".randomElement(using: &random) ?? "." }
            for zeroRun in [0, 4096, 1 << 20] {
                var expected: [String: [String]] = [:]
                for _ in 0..<2 {
                    let picture = String(
                        characters.map { $0 == "." && Bool.random(using: &random) ? "0" : $0 })
                    let flat = picture.replacing("-", with: ".")
                    for (kind, found) in [
                        ("raw", try raw(flat, zeroRun: zeroRun)),
                        ("overlay", try overlay(picture, zeroRun: zeroRun)),
                    ] {
                        #expect(expected[kind, default: found] == found, "\(picture), \(zeroRun)")
                        expected[kind] = found
                    }
                }
            }
        }
    }

    @Test func aRecordMayBeginWhereverAnotherEnds() throws {
        try directory.raw("disk", "ab.00.c.0a.b", unit: 512 << 10)
        let chain = try ImageChain.open(directory("disk"), ChainOptions(location: BackingLocation()))
        let source = PackSource(chain: chain, holding: .everything(marks: false))
        var whole = PackPlanner(source, layer: 0, keepsZeros: false)
        var ranges: [Range<UInt64>] = []
        while let chunk = try whole.next() { ranges.append(chunk.range) }
        for (index, range) in ranges.enumerated() {
            var rest = PackPlanner(source, layer: 0, from: range.lowerBound, keepsZeros: false)
            var found: [Range<UInt64>] = []
            while let chunk = try rest.next() { found.append(chunk.range) }
            #expect(found == Array(ranges[index...]))
        }
    }
}
