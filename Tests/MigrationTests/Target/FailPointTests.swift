import DiskImages
import ImageFormats
import SystemPackage
import TestSupport
import Testing
import TransportArchive

@testable import Linux
@testable import Manifests
@testable import Migration
@testable import Stages

/// "If it dies here": every line of that table in `Documentation/architecture.md` is made on
/// purpose, for every kind of move. What is left behind is what the table says, and the next run
/// ends as one that was never interrupted.
struct FailPointTests {
    private struct Died: Error, Equatable {}

    /// Lets a move die at the `number`th time that it reaches `point`.
    private func dying(
        at point: FailPoint, _ number: Int = 1, _ move: () async throws -> Void
    ) async throws -> Bool {
        let count = Locked(0)
        let watch = FailPoint.Watch { reached in
            guard reached == point else { return }
            let isTime = count.withLock { count in
                count += 1
                return count >= number
            }
            if isTime { throw Died() }
        }
        do {
            try await FailPoint.$watch.withValue(watch) { try await move() }
            return false
        } catch is Died {
            return true
        }
    }

    /// What is on disk when a conversion of four segments died there, and what the next run does:
    /// the table.
    @Test(
        arguments: [
            (.manifestLocked, "", .absent, "moved 0"), (.jobRecorded, "partial", .absent, "moved 0"),
            (.stagingReady, "partial", .absent, "moved 0"), (.written, "partial", .absent, "moved 0"),
            (.synced, "partial", .absent, "moved 0"), (.recorded, "partial", .unfinished, "moved"),
            (.allRecorded, "partial", .unfinished, "moved 4"), (.completed, "partial", .unfinished, "named"),
            (.renamed, "out", .upToDate, "upToDate"), (.named, "out", .upToDate, "upToDate"),
        ] as [(FailPoint, String, TargetState, String)])
    func theTableIsTrue(point: FailPoint, file: String, state: TargetState, next: String) async throws {
        let directory = try TemporaryDirectory()
        try directory.raw("base", "ab.d")
        var move = try Move(directory, "base")
        move.options = MoveOptions(workers: WorkerSlots(limit: 1))
        #expect(try await dying(at: point) { try await move.run() })
        let names = Set(try directory.names)
        #expect(names.contains("out") == (file == "out"))
        #expect(names.contains("out.partial") == (file == "partial"))
        #expect(names.contains("out.manifest"))
        #expect(try Conversion(move.request).state() == state)
        let did =
            switch try await move.run() {
            case .upToDate: "upToDate"
            case .named: "named"
            case .held: "held"
            case .moved(let resumed, _): "moved \(resumed >> 20)"
            }
        #expect(did.hasPrefix(next))
        #expect(try directory.picture(of: "out") == "ab.d")
        #expect(try directory.names == ["base", "out", "out.manifest"])
        #expect(try await move.run() == .upToDate)
    }

    /// Dies at every place, again and again, and comes out the same.
    @Test(arguments: FailPoint.allCases, ["overlay", "replacing"])
    func aConversionThatDiesAgainAndAgainEndsAsOneThatNeverDid(point: FailPoint, kind: String) async throws {
        let directory = try TemporaryDirectory()
        try directory.raw("base", "abcd")
        try directory.cow("top", over: directory("base").string, "-x.-")
        var move = try Move(directory, "top", as: RawChoice())
        if kind == "overlay" { move = move.over("base", .qemuV2) }
        if kind == "replacing" {
            try directory.raw("out", "zzzz")
            move.request.policy.only = try ImageFile.identity(at: move.target)
        }
        var deaths = 0
        for number in [1, 2] {
            if try await dying(at: point, number, { try await move.run() }) { deaths += 1 }
        }
        #expect(deaths > 0)
        try await move.run()
        let chain = try ImageChain.open(
            move.target, ChainOptions(location: BackingLocation(), ignoreMtime: true))
        #expect(Picture(of: try chain.guestBytes).text == "ax.d")
        #expect(try directory.names == ["base", "out", "out.manifest", "top"])
        let finding = try await Verification(of: move.target).run(move.options)
        #expect(finding.damage == nil)
    }

    @Test(arguments: FailPoint.allCases)
    func anArchiveThatDiesAgainAndAgainEndsAsOneThatNeverDid(point: FailPoint) async throws {
        let directory = try TemporaryDirectory()
        try directory.raw("base", "abcd")
        try directory.cow("top", over: directory("base").string, "-x.-")
        var archives = Archives(directory)
        archives.compression = .none
        try await archives.pack()
        let whole = try archives.bytes
        try FileChanges.remove(archives.archive)
        try FileChanges.remove(ManifestFile.path(of: archives.archive))
        for number in [1, 2] { _ = try await dying(at: point, number) { try await archives.pack() } }
        try await archives.pack()
        #expect(try archives.bytes == whole)
        for number in [1, 2] { _ = try await dying(at: point, number) { try await archives.unpack() } }
        try await archives.unpack()
        #expect(try archives.picture("top") == "ax.d")
        for number in [1, 2] {
            _ = try await dying(at: point, number) { try await archives.salvage(into: "saved") }
        }
        try await archives.salvage(into: "saved")
        #expect(try archives.picture("top", in: "saved") == "ax.d")
        #expect(try directory.names.filter { $0.hasSuffix(".partial") }.isEmpty)
    }
}
