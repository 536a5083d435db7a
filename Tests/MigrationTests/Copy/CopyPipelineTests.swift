import DiskImages
import TestSupport
import Testing

@testable import Linux
@testable import Manifests
@testable import Migration
@testable import Stages

/// Which requests reach the target, and how the pipeline ends; 4 KiB or 1 MiB for each character of
/// a picture.
struct PipelineTests {
    private let directory = try! TemporaryDirectory()

    private struct Fault: Error, Equatable {}

    private func requests(
        _ source: String, _ holding: CopyScope = .everything(marks: false), shortestZeroRun: Int = 4096
    ) async throws
        -> [String]
    {
        var move = try RecordedMove(directory, source, holding)
        move.shortestZeroRun = shortestZeroRun
        _ = try await move.run()
        return move.sink.requests
    }

    @Test func contiguousDataOfManyLayersIsOneWrite() async throws {
        try directory.raw("base", "aaaaaaaa", unit: 4096)
        try directory.cow("middle", over: "base", "-b-b-b-b", unit: 4096)
        try directory.cow("top", over: "middle", "--c-----", unit: 4096)
        #expect(try await requests("top") == ["write 0+32768"])
    }

    @Test func zerosAreNotWrittenWhetherTheyAreHolesOrData() async throws {
        try directory.raw("base", "a.0a", unit: 4096)
        #expect(try await requests("base") == ["write 0+4096", "write 12288+4096"])
        try directory.raw("empty", "..00..", unit: 4096)
        #expect(try await requests("empty").isEmpty)
    }

    @Test func holesAreWrittenOnlyWhereEverythingIsToBe() async throws {
        try directory.raw("base", "a.0a", unit: 4096)
        #expect(try await requests("base", shortestZeroRun: 0) == ["write 0+16384"])
    }

    @Test func aZeroRunShorterThanAskedForIsWrittenWithItsNeighbours() async throws {
        try directory.raw("base", "a0a00a", unit: 4096)
        #expect(try await requests("base", shortestZeroRun: 8192) == ["write 0+12288", "write 20480+4096"])
    }

    @Test func dataIsWrittenChunkByChunk() async throws {
        try directory.raw("base", "ab.c")
        #expect(
            try await requests("base") == [
                "write 0+1048576", "write 1048576+1048576", "write 3145728+1048576",
            ])
    }

    @Test func aFlattenedDisksBitmapMarksTheDataAlone() async throws {
        try directory.raw("base", "a.0a", unit: 4096)
        // Whether zeros were written or are a hole is for the file system to say, and it says now
        // this and now that.
        #expect(
            try await requests("base", .everything(marks: true)) == [
                "write 0+4096", "write 12288+4096", "mark 0: 255 0 0 255",
            ])
        let short = try await requests("base", .everything(marks: true), shortestZeroRun: 16384)
        #expect(short == ["write 0+16384", "mark 0: 255 255 255 255"])
    }

    @Test func anOverlaysBitmapMarksEverySectorItHolds() async throws {
        try directory.raw("base", "aaaaaaaaaaaa", unit: 512)
        try directory.cow("top", over: "base", "-b-..--0---b", unit: 512)
        let requests = try await requests(
            "top", .above(depth: 1, backingLength: 12 * 512), shortestZeroRun: 512)
        #expect(requests.last == "mark 0: 154 8")
        #expect(requests.first == "write 512+512")
    }

    @Test func anOverlaysSpansAreMarkedAndNothingElseIsDoneForThem() async throws {
        try directory.raw("base", "aaaa")
        try directory.cow("top", over: "base", "-..-")
        #expect(
            try await requests("top", .above(depth: 1, backingLength: 4 << 20)) == [
                "mark all 1048576..<3145728"
            ])
    }

    @Test func whatIsFinishedIsNotAskedForAgain() async throws {
        try directory.raw("base", "abcd")
        var move = try RecordedMove(directory, "base")
        move.finished = [0..<1 << 20, 2 << 20..<3 << 20]
        let recorded = try await move.run()
        #expect(move.sink.requests == ["write 1048576+1048576", "write 3145728+1048576"])
        #expect(recorded.map(\.start) == [2048, 6144])
    }

    @Test(arguments: [1, 4])
    func aWriteThatFailsEndsEverythingAndIsTheErrorThrown(workers: Int) async throws {
        try directory.raw("base", String(repeating: "abcdefgh", count: 5))
        var move = try RecordedMove(directory, "base") { request in
            if request.hasPrefix("write 7340032+") { throw Fault() }
        }
        move.workers = workers
        await #expect(throws: Fault()) { _ = try await move.run() }
        // Nothing is recorded that was not written, and the failed segment least of all.
        let recorded = try #require(try ManifestFile.read(of: directory("out"))).segments
        let requests = move.sink.requests
        #expect(recorded.allSatisfy { requests.contains("write \($0.start * 512)+1048576") })
        #expect(!requests.contains("write 7340032+1048576") && requests.count < 40)
    }

    @Test func aSourceThatChangedIsNoticedBeforeAnythingIsRecorded() async throws {
        try directory.raw("base", "ab")
        let move = try RecordedMove(directory, "base")
        await #expect(throws: Fault()) { _ = try await move.run { throw Fault() } }
        #expect(try move.manifest.load().segments.isEmpty)
    }

    @Test func aRequestToStopLeavesTheRestUndoneWithoutError() async throws {
        try directory.raw("base", String(repeating: "abcdefgh", count: 4))
        let stop = Locked<StopFlag?>(nil)
        let move = try RecordedMove(directory, "base") { _ in stop.withLock { $0?.request() } }
        stop.withLock { $0 = move.stop }
        let recorded = try await move.run()
        #expect(!recorded.isEmpty && recorded.count < 32)
        // What was written is recorded: stopping loses nothing.
        #expect(move.sink.requests.count == recorded.count)
    }

    @Test func whatIsFoundDoesNotDependOnTheNumberOfWorkers() async throws {
        try directory.raw("base", "ab..c0ddd.e0")
        var digests: Set<ContentDigest> = []
        for workers in [1, 2, 7] {
            var move = try RecordedMove(directory, "base")
            move.workers = workers
            digests.insert(ManifestSegment.digest(of: try await move.run()))
        }
        #expect(digests.count == 1)
    }
}
