import DiskImages
import SystemPackage
import TestSupport
import Testing

@testable import Manifests
@testable import Migration
@testable import Stages

/// What is found beside a target, and what a fleet run may do with it.
struct TargetStateTests {
    private let directory = try! TemporaryDirectory()

    private func state(_ move: Move) throws -> TargetState { try Conversion(move.request).state() }

    private func done() async throws -> Move {
        try directory.raw("base", "ab.c")
        let move = try Move(directory, "base")
        try await move.run()
        return move
    }

    @Test func nothingIsThereBeforeTheFirstRun() throws {
        try directory.raw("base", "ab.c")
        #expect(try state(Move(directory, "base")) == .absent)
    }

    @Test func isUpToDateAfterARun() async throws { #expect(try state(await done()) == .upToDate) }

    @Test func aChangedSourceMakesItStale() async throws {
        let move = try await done()
        try directory.raw("base", "ab.de")
        #expect(try state(move) == .stale)
    }

    @Test func otherOptionsMakeItStale() async throws {
        #expect(try state(await done().changed { $0.shortestZeroRun = 0 }) == .stale)
    }

    @Test func aTargetThatWasWrittenToIsAltered() async throws {
        let move = try await done()
        try FileChanges.write([1], to: move.target, at: 7)
        #expect(try state(move) == .altered)
        try directory.raw("base", "ab.de")
        #expect(try state(move) == .altered)
    }

    @Test func aFileThatNoManifestSpeaksOfIsForeign() throws {
        try directory.raw("base", "ab.c")
        try directory.raw("out", "x")
        #expect(try state(Move(directory, "base")) == .foreign)
    }

    @Test func anInterruptedRunIsUnfinishedUntilTheSourceChanges() async throws {
        let move = try await done()
        try move.interrupt(keeping: [0])
        #expect(try state(move) == .unfinished)
        try directory.raw("base", "ab.de")
        #expect(try state(move) == .outdated)
    }

    @Test func anInterruptedReplacementKnowsWhatItReplaces() async throws {
        let move = try await done()
        try directory.raw("base", "ab.de")
        let stop = StopFlag()
        stop.request()
        let old = try #require(try ImageFile.identity(at: move.target))
        await #expect(throws: MigrationError.self) {
            try await move.changed { $0.policy.only = old }.run(stop: stop)
        }
        #expect(try state(move) == .stale)
        try FileChanges.write([1], to: move.target, at: 7)
        #expect(try state(move) == .altered)
    }

    @Test func aReplacementThatDiedBeforeItGotTheNameIsOnlyNamed() async throws {
        let move = try await done()
        let old = try #require(try ImageFile.identity(at: move.target))
        let kept = directory("kept")
        try FileChanges.hardLink(move.target, as: kept)
        try directory.raw("base", "ab.de")
        let again = move.changed { $0.policy.only = old }
        try await again.run()
        try FileChanges.rename(move.target, to: move.partial)
        try FileChanges.rename(kept, to: move.target)
        #expect(try state(move) == .unfinished)
        #expect(try await again.run() == .named)
        #expect(try state(move) == .upToDate)
        #expect(try directory.picture(of: "out") == "ab.de")
    }

    @Test func aReplacementThatDiedIsNotNamedOverATargetInUse() async throws {
        let move = try await done()
        let kept = directory("kept")
        try FileChanges.hardLink(move.target, as: kept)
        try directory.raw("base", "ab.de")
        try await move.changed { $0.policy.force = true }.run()
        try FileChanges.rename(move.target, to: move.partial)
        try FileChanges.rename(kept, to: move.target)
        try FileChanges.write([1], to: move.target, at: 7)
        #expect(try state(move) == .altered)
    }

    @Test func aTargetThatIsHeldTakesItsNameOnlyLater() async throws {
        let move = try await done()
        let old = try #require(try ImageFile.identity(at: move.target))
        try directory.raw("base", "ab.de")
        let again = move.changed { ($0.policy.only, $0.policy.naming) = (old, .withFamily) }
        #expect(try await again.run() == .held(resumed: 0))
        #expect(try state(move) == .held)
        #expect(try directory.picture(of: "out") == "ab.c")
        let finding = try await Verification(of: move.target).run(
            MoveOptions(
                workers: WorkerSlots(limit: 1), progress: Progress(isShown: false), stop: StopFlag()))
        #expect(finding.damage == nil)
        guard case .held = try await again.run() else {
            Issue.record("it is not held any more")
            return
        }
        #expect(try await move.changed { $0.policy.only = old }.run() == .named)
        #expect(try directory.picture(of: "out") == "ab.de")
        #expect(try state(move) == .upToDate)
    }

    @Test func aTargetThatIsTheSameAgainWaitsForNoFamily() async throws {
        let move = try await done().changed {
            ($0.asBase, $0.policy.force, $0.policy.naming) = (true, true, .withFamilyUnlessSame)
        }
        #expect(try await move.run() == .held(resumed: 0))
        let place = try FilePlace(at: move.target)
        try TargetFile.publish(place, try #require(try TargetFile.partial(of: place).identity())) { _ in }
        #expect(
            try await move.changed { $0.policy.restart = true }.run() == .moved(resumed: 0, hasChanged: false)
        )
        try directory.raw("base", "ab.de")
        #expect(try await move.run() == .held(resumed: 0))
        // Nobody names a base that waits for its family but who names all of it.
        #expect(await move.changed { $0.policy.naming = .atOnce }.refusal().contains("family"))
    }

    @Test func onlyTheNamedFileIsReplaced() async throws {
        let move = try await done()
        let old = try #require(try ImageFile.identity(at: move.target))
        try directory.raw("base", "ab.de")
        try FileChanges.write([1], to: move.target, at: 7)
        #expect(
            await move.changed { ($0.policy.only, $0.policy.force) = (old, true) }.refusal()
                == "target: \(move.target): exists (--force replaces it)")
        let now = try #require(try ImageFile.identity(at: move.target))
        #expect(
            try await move.changed { $0.policy.only = now }.run() == .moved(resumed: 0, hasChanged: false))
        #expect(try directory.picture(of: "out") == "ab.de")
    }

    @Test func aRecordedFailureIsTheLastWordUntilItIsDropped() async throws {
        let move = try await done()
        try ManifestFile.recordFailure("first", of: move.target)
        try ManifestFile.recordFailure("second", of: move.target)
        #expect(try move.recorded.failure?.failure == "second")
        #expect(try state(move) == .upToDate)
        try ManifestFile.dropFailure(of: move.target)
        #expect(try move.recorded.failure == nil)
        #expect(try move.recorded.completion != nil)
    }

    @Test func aFailureBeforeAnythingElseIsNoObstacle() async throws {
        try directory.raw("base", "ab.c")
        let move = try Move(directory, "base")
        try ManifestFile.recordFailure("no base", of: move.target)
        #expect(try move.recorded.failure?.failure == "no base")
        #expect(try state(move) == .absent)
        #expect(try await move.run() == .moved(resumed: 0, hasChanged: false))
        #expect(try move.recorded.failure == nil)
    }
}
