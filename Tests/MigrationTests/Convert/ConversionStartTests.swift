import DiskImages
import SystemPackage
import TestSupport
import Testing

@testable import Linux
@testable import Manifests
@testable import Migration

/// What a start finds and does: no manifest, and a manifest of a move that is whole.
struct ConversionStartTests {
    private let directory = try! TemporaryDirectory()

    private func move() throws -> Move {
        try directory.raw("base", "ab.c")
        return try Move(directory, "base")
    }

    private var exists: String { "target: \(directory("out")): exists (--force replaces it)" }

    @Test func aMoveLeavesTheTargetAndItsManifestAndNothingElse() async throws {
        let move = try move()
        #expect(try await move.run() == .moved(resumed: 0, hasChanged: false))
        #expect(try directory.picture(of: "out") == "ab.c")
        #expect(try directory.names == ["base", "out", "out.manifest"])
        let recorded = try move.recorded
        #expect(recorded.segments.map(\.kind) == ["data", "data", "zero", "data"])
        #expect(recorded.completion?.size == 4 << 20)
        #expect(
            recorded.completion?.mtime == (try ImageFile(opening: move.target).identity.mtime.description))
        #expect(recorded.completion?.header == nil)
    }

    @Test func holesOfTheSourceTakeNoSpaceInTheTarget() async throws {
        try directory.raw("base", "...a0...")
        let move = try Move(directory, "base")
        try await move.run()
        #expect(try ImageFile(opening: move.target).identity.allocated == 1 << 20)
    }

    @Test func aDiskOfSizeZeroIsMovedToo() async throws {
        try directory.raw("base", "")
        let move = try Move(directory, "base")
        #expect(try await move.run() == .moved(resumed: 0, hasChanged: false))
        #expect(try await move.run() == .upToDate)
        #expect(try ImageFile(opening: move.target).length == 0)
    }

    @Test func aWholeTargetIsLeftAsItIs() async throws {
        let move = try move()
        try await move.run()
        let before = try ImageFile(opening: move.target).identity
        let text = try FileChanges.text(of: move.manifest)
        #expect(try await move.run() == .upToDate)
        #expect(try await move.changed { $0.policy.force = true }.run() == .upToDate)
        #expect(try ImageFile(opening: move.target).identity == before)
        #expect(try FileChanges.text(of: move.manifest) == text)
    }

    @Test(arguments: [false, true])
    func aWholeTargetUnderItsStagingNameGetsItsName(force: Bool) async throws {
        let move = try move().changed { $0.policy.force = force }
        try await move.run()
        try FileChanges.rename(move.target, to: move.partial)
        #expect(try await move.run() == .named)
        #expect(try directory.names == ["base", "out", "out.manifest"])
        #expect(try directory.picture(of: "out") == "ab.c")
        #expect(try await move.run() == .upToDate)
    }

    @Test func aWholeTargetThatIsGoneIsMadeAnew() async throws {
        let move = try move()
        try await move.run()
        try FileChanges.remove(move.target)
        #expect(try await move.run() == .moved(resumed: 0, hasChanged: false))
        #expect(try directory.picture(of: "out") == "ab.c")
    }

    @Test func aStagingFileThatIsNotTheWholeTargetIsMadeAnew() async throws {
        let move = try move()
        try await move.run()
        try FileChanges.rename(move.target, to: move.partial)
        try FileChanges.write([UInt8](repeating: 0x7a, count: 9), to: move.partial, at: 5)
        #expect(try await move.run() == .moved(resumed: 0, hasChanged: false))
        #expect(try directory.picture(of: "out") == "ab.c")
    }

    @Test func aTargetThatWasChangedSinceItWasWholeIsReplacedByForceAlone() async throws {
        let move = try move()
        try await move.run()
        try FileChanges.write([0x7a], to: move.target, at: 5)
        #expect(await move.refusal() == exists)
        #expect(try FileChanges.bytes(of: move.target)[5] == 0x7a)
        #expect(
            try await move.changed { $0.policy.force = true }.run() == .moved(resumed: 0, hasChanged: false))
        #expect(try directory.picture(of: "out") == "ab.c")
    }

    @Test func aWholeTargetOfAnotherJobIsReplacedByForceAlone() async throws {
        let move = try move()
        try await move.run()
        try directory.raw("other", "zz")
        let other = try Move(directory, "other")
        #expect(await other.refusal() == exists)
        #expect(try directory.picture(of: "out") == "ab.c")
        #expect(
            try await other.changed { $0.policy.force = true }.run() == .moved(resumed: 0, hasChanged: false))
        #expect(try directory.picture(of: "out") == "zz")
        #expect(try await other.run() == .upToDate)
    }

    @Test func aWholeTargetWhoseSourceChangedIsReplacedByForceAlone() async throws {
        let move = try move()
        try await move.run()
        try FileChanges.write([UInt8](repeating: 0x64, count: 1 << 20), to: directory("base"), at: 0)
        #expect(await move.refusal() == exists)
        #expect(
            try await move.changed { $0.policy.force = true }.run() == .moved(resumed: 0, hasChanged: false))
        #expect(try directory.picture(of: "out") == "db.c")
    }

    @Test func aWholeTargetIsMadeAgainOnlyWhereRestartMeetsForce() async throws {
        let move = try move().changed { $0.policy.restart = true }
        try await move.run()
        #expect(await move.refusal() == exists)
        #expect(
            try await move.changed { $0.policy.force = true }.run() == .moved(resumed: 0, hasChanged: false))
    }

    @Test(arguments: [false, true])
    func aFileThatHasTheTargetsNameIsReplacedByForceAlone(restart: Bool) async throws {
        let move = try move().changed { $0.policy.restart = restart }
        try directory.raw("out", "zzzz")
        #expect(await move.refusal() == exists)
        #expect(try directory.names == ["base", "out"])
        #expect(try directory.picture(of: "out") == "zzzz")
        #expect(
            try await move.changed { $0.policy.force = true }.run() == .moved(resumed: 0, hasChanged: false))
        #expect(try directory.picture(of: "out") == "ab.c")
    }

    @Test(arguments: [false, true])
    func aManifestThatIsNoneIsNeverOverwritten(force: Bool) async throws {
        let move = try move().changed { ($0.policy.force, $0.policy.restart) = (force, true) }
        try SparseFile.write(Array("shopping list\n".utf8), to: move.manifest)
        #expect(await move.refusal() == "\(move.manifest): is no manifest of Drover's (move it away)")
        #expect(try FileChanges.text(of: move.manifest) == "shopping list\n")
    }

    @Test func aDamagedManifestIsForgottenByRestartAlone() async throws {
        let move = try move()
        try SparseFile.write(
            ManifestText.bytes([ManifestText.job(), #"{"record":"sheep"}"#]), to: move.manifest)
        #expect(
            await move.refusal()
                == "\(move.manifest): line 2 is damaged: a record \"sheep\" does not belong there (--restart forgets the checkpoint)"
        )
        #expect(
            try await move.changed { $0.policy.restart = true }.run() == .moved(resumed: 0, hasChanged: false)
        )
    }

    @Test func aSecondProcessOnTheSameTargetIsRefusedAtOnce() async throws {
        let move = try move()
        let first = try ManifestFile(of: move.target)
        #expect(
            await move.refusal()
                == "locked: \(first.path): is locked by another drover that works on this target (wait for it)"
        )
        try first.checkStillLocked()
    }

    @Test func whoeverLostTheManifestStops() async throws {
        try directory.raw("base", "abcd")
        let manifest = directory("out.manifest")
        let lost = Locked(false)
        let move = try RecordedMove(directory, "base") { request in
            guard request.hasPrefix("write 1048576+"), !lost.withLock({ $0 }) else { return }
            lost.withLock { $0 = true }
            try FileChanges.rename(manifest, to: manifest.withSuffix(".old"))
        }
        let expected =
            "io: \(manifest): is no longer ours: the lock was lost or the file replaced (run the same command again)"
        do {
            _ = try await move.run()
            Issue.record("it went on")
        } catch {
            #expect(describe(error) == expected)
        }
    }
}
