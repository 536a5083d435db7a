import DiskImages
import ImageFormats
import SystemPackage
import TestSupport
import Testing

@testable import Manifests
@testable import Migration

extension ChunkPlanner {
    /// Everything it plans.
    mutating func all() throws -> [Planned] {
        var all: [Planned] = []
        while let next = try next() { all.append(next) }
        return all
    }
}

extension Planned: CustomStringConvertible {
    /// In units of 4 KiB: `span 0+4 held`; `chunk 0+4 of 0+8: read 1@3→0, written 0-1, marked 0-1`.
    package var description: String {
        func list(_ ranges: [Range<Int>]) -> String {
            ranges.map { "\($0.lowerBound / 4096)-\($0.upperBound / 4096)" }.joined(separator: " ")
        }
        switch self {
        case .span(let span):
            return "span \(span.start / 4096)+\(span.length / 4096)\(span.isHeld ? " held" : "")"
        case .known(let stretch):
            return "known \(stretch.range.lowerBound / 4096)+\(stretch.range.count / 4096)"
        case .chunk(let chunk):
            let place =
                "chunk \(chunk.start / 4096)+\(chunk.length / 4096) of \(chunk.segment.start / 4096)+\(chunk.segment.length / 4096)"
            let runs = chunk.runs.map { "\($0.layer):\($0.position / 4096)+\($0.length / 4096)" }.joined(
                separator: " ")
            return
                "\(place), read [\(runs)], written [\(list(chunk.written))], marked [\(list(chunk.marked))]"
        }
    }
}

/// How a disk is cut, with 4 KiB for each character of a picture and segments of 8 of them.
struct ChunkPlannerTests {
    private let directory = try! TemporaryDirectory()
    private static let segmentLength: UInt64 = 8 * 4096

    private func plan(
        _ name: String, _ holding: CopyScope, writesZeros: Bool = false, finished: [Range<UInt64>] = []
    ) throws -> [String] {
        let chain = try ImageChain.open(directory(name), ChainOptions(location: try BackingLocation()))
        var planner = ChunkPlanner(
            chain, holding, segmentLength: ChunkPlannerTests.segmentLength, writesZeros: writesZeros,
            finished: finished.map { $0.lowerBound * 4096..<$0.upperBound * 4096 })
        return try planner.all().map(\.description)
    }

    private func overlay() throws {
        try directory.raw("base", "a......." + "........" + "........" + "aa.a....", unit: 4096)
        try directory.cow(
            "top", .umlV3, over: directory("base").string, "--b....." + "........" + "--------" + "-.c0----",
            unit: 4096)
    }

    @Test func onlyWhatIsAllocatedIsReadAndWholeSegmentsOfZerosAreOneSpan() throws {
        try overlay()
        #expect(
            try plan("top", .everything(marks: false)) == [
                "chunk 0+8 of 0+8, read [1:0+1 0:2+1], written [0-1 2-3], marked []",
                "span 8+16 held",
                "chunk 24+8 of 24+8, read [1:0+1 0:2+2], written [0-1 2-4], marked []",
            ])
    }

    @Test func aBitmapMarksTheDataOfAFlattenedDisk() throws {
        try overlay()
        #expect(
            try plan("top", .everything(marks: true))[0]
                == "chunk 0+8 of 0+8, read [1:0+1 0:2+1], written [0-1 2-3], marked [0-1 2-3]")
    }

    @Test func anOverlayMarksWhatItHoldsZerosToo() throws {
        try overlay()
        #expect(
            try plan("top", .above(depth: 1, backingLength: 32 * 4096)) == [
                "chunk 0+8 of 0+8, read [0:2+1], written [2-3], marked [2-8]",
                "span 8+8 held",
                "span 16+8",
                "chunk 24+8 of 24+8, read [0:2+2], written [2-4], marked [1-4]",
            ])
    }

    @Test func zerosAreWrittenWhereAskedForAndNothingMoreIsRead() throws {
        try overlay()
        #expect(
            try plan("top", .everything(marks: true), writesZeros: true) == [
                "chunk 0+8 of 0+8, read [1:0+1 0:2+1], written [0-8], marked [0-8]",
                "chunk 8+8 of 8+8, read [], written [0-8], marked [0-8]",
                "chunk 16+8 of 16+8, read [], written [0-8], marked [0-8]",
                "chunk 24+8 of 24+8, read [1:0+1 0:2+2], written [0-8], marked [0-8]",
            ])
        #expect(
            try plan("top", .above(depth: 1, backingLength: 32 * 4096), writesZeros: true)[1...2] == [
                "chunk 8+8 of 8+8, read [], written [0-8], marked [0-8]", "span 16+8",
            ])
    }

    @Test func whatIsFinishedIsLeftOutAndTheRestIsCutAsBefore() throws {
        try overlay()
        let holding = CopyScope.everything(marks: false)
        let whole = try plan("top", holding)
        #expect(try plan("top", holding, finished: [0..<8]) == Array(whole[1...]))
        #expect(try plan("top", holding, finished: [8..<24]) == [whole[0], whole[2]])
        #expect(try plan("top", holding, finished: [0..<32]).isEmpty)
        #expect(try plan("top", holding, finished: [16..<24]) == [whole[0], "span 8+8 held", whole[2]])
    }

    @Test func theLastSegmentEndsWhereTheDiskDoes() throws {
        try directory.raw("short", "........" + "...", unit: 4096)
        #expect(try plan("short", .everything(marks: false)) == ["span 0+11 held"])
        try directory.raw("data", "........" + "..a", unit: 4096)
        #expect(
            try plan("data", .everything(marks: false)) == [
                "span 0+8 held", "chunk 8+3 of 8+3, read [0:2+1], written [2-3], marked []",
            ])
    }

    @Test func anEmptyDiskNeedsNothing() throws {
        try directory.raw("empty", "")
        #expect(try plan("empty", .everything(marks: false)).isEmpty)
    }

    @Test func aSegmentIsCutIntoChunksOfOneMebibyte() throws {
        try directory.raw("disk", ".ab" + "..." + "c")
        let chain = try ImageChain.open(directory("disk"), ChainOptions(location: try BackingLocation()))
        var planner = ChunkPlanner(chain, .everything(marks: false), segmentLength: 3 << 20)
        #expect(
            try planner.all().map(\.description) == [
                "chunk 0+256 of 0+768, read [], written [], marked []",
                "chunk 256+256 of 0+768, read [0:0+256], written [0-256], marked []",
                "chunk 512+256 of 0+768, read [0:0+256], written [0-256], marked []",
                "span 768+768 held",
                "chunk 1536+256 of 1536+256, read [0:0+256], written [0-256], marked []",
            ])
    }

    @Test func aHugeDiskOfHolesIsOneSpan() throws {
        try SparseFile().write(to: directory("huge"), length: 1 << 43)
        let chain = try ImageChain.open(directory("huge"), ChainOptions(location: try BackingLocation()))
        var planner = ChunkPlanner(chain, .everything(marks: false), segmentLength: Segment.usual)
        #expect(try planner.all().map(\.description) == ["span 0+\(1 << 31) held"])
    }
}
