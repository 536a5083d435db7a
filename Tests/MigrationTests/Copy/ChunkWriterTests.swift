import DiskImages
import TestSupport
import Testing

@testable import Manifests
@testable import Migration

/// One chunk moved: what it turned out to be. 4 KiB for each character of a picture.
struct ChunkWriterTests {
    private let directory = try! TemporaryDirectory()

    /// Moves the whole of a small disk as one chunk.
    private func copy(_ name: String, _ holding: CopyScope, shortestZeroRun: Int = 4096) throws -> (
        outcome: Outcome, written: Int
    ) {
        let move = try RecordedMove(directory, name, holding)
        var planner = ChunkPlanner(
            move.chain, holding, segmentLength: 1 << 20, writesZeros: shortestZeroRun == 0)
        guard case .chunk(let chunk)? = try planner.next() else {
            throw SystemCallFailed("the disk is one span")
        }
        let content = ChainContent(
            move.chain, holding, segmentLength: 1 << 20, progress: Progress(isShown: false))
        let writer = try ChunkWriter(holding, shortestZeroRun: shortestZeroRun, sink: move.sink)
        let buffer = try AlignedBuffer(capacity: Limits.buffer)
        // Whatever an earlier chunk left in the buffer must not count.
        buffer.bytes.initializeMemory(as: UInt8.self, repeating: 0xee)
        let result = try writer.write(chunk, from: content.makeReader(), through: buffer)
        return (result.outcome, result.written)
    }

    private func digest(_ picture: String, bitmap: [UInt8] = []) -> Outcome {
        let bytes = picture.utf8.flatMap { [UInt8](repeating: $0 == UInt8(ascii: ".") ? 0 : $0, count: 4096) }
        return .data(ContentDigest(of: bytes + bitmap))
    }

    @Test func dataHasTheDigestOfTheGuestsBytes() throws {
        try directory.raw("disk", "a..b", unit: 4096)
        let (outcome, written) = try copy("disk", .everything(marks: false))
        #expect(outcome == digest("a..b"))
        #expect(written == 8192)
    }

    @Test(arguments: [0, 512, 4096, 8192])
    func howZerosAreWrittenDoesNotChangeTheDigest(shortestZeroRun: Int) throws {
        try directory.raw("disk", "a.0b0", unit: 4096)
        for holding in [CopyScope.everything(marks: false), .everything(marks: true)] {
            #expect(try copy("disk", holding, shortestZeroRun: shortestZeroRun).outcome == digest("a..b."))
        }
    }

    @Test func allocatedZerosOfAFlattenedDiskAreZeros() throws {
        try directory.raw("disk", "0.0", unit: 4096)
        let (outcome, written) = try copy("disk", .everything(marks: true))
        #expect(outcome == .zero)
        #expect(written == 0)
    }

    @Test func anOverlaysDigestCountsWhichSectorsItHolds() throws {
        try directory.raw("base", "aaa", unit: 4096)
        try directory.cow("one", over: "base", "b--", unit: 4096)
        try directory.cow("two", over: "base", "b.-", unit: 4096)
        let holding = CopyScope.above(depth: 1, backingLength: 3 * 4096)
        #expect(try copy("one", holding).outcome == digest("b..", bitmap: [255, 0, 0]))
        #expect(try copy("two", holding).outcome == digest("b..", bitmap: [255, 255, 0]))
    }

    @Test func anOverlaysZerosAreZerosOnlyWhereItHoldsAllOfThem() throws {
        try directory.raw("base", "aaa", unit: 4096)
        try directory.cow("all", over: "base", "0.0", unit: 4096)
        try directory.cow("some", over: "base", "0-0", unit: 4096)
        let holding = CopyScope.above(depth: 1, backingLength: 3 * 4096)
        #expect(try copy("all", holding).outcome == .zero)
        #expect(try copy("some", holding).outcome == digest("...", bitmap: [255, 0, 255]))
    }

    @Test func aLastChunkThatIsNoMultipleOfEightSectorsHasAWholeByteOfBitmap() throws {
        try directory.raw("base", "aaa", unit: 512)
        try directory.cow("top", over: "base", "b-b", unit: 512)
        let bytes =
            [UInt8](repeating: 0x62, count: 512) + [UInt8](repeating: 0, count: 512)
            + [UInt8](repeating: 0x62, count: 512)
        let (outcome, written) = try copy("top", .above(depth: 1, backingLength: 1536))
        #expect(outcome == .data(ContentDigest(of: bytes + [5])))
        #expect(written == 1024)
    }
}
