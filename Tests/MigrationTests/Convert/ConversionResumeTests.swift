import DiskImages
import ImageFormats
import Manifests
import SystemPackage
import TestSupport
import Testing

@testable import Linux
@testable import Migration
@testable import Stages

/// What a start finds and does: a manifest of a move that is not whole.
struct ConversionResumeTests {
    private let directory = try! TemporaryDirectory()

    /// A move of six segments that died when the first, the third and the run of zeros at the end
    /// were recorded.
    private func interrupted(_ format: any FormatChoice = RawChoice()) async throws -> Move {
        try directory.raw("base", "abcd..")
        let move = try Move(directory, "base", as: format)
        try await move.run()
        try move.interrupt(keeping: [0, 2, 4])
        return move
    }

    private static let resumed: UInt64 = 4 << 20

    @Test(arguments: [false, true])
    func onlyWhatIsMissingIsWritten(force: Bool) async throws {
        let move = try await interrupted().changed { $0.policy.force = force }
        // What is finished is not looked at: poison in it stays. What is not finished counts for
        // nothing.
        for segment in 0..<6 {
            try FileChanges.write(
                [UInt8](repeating: 0x7a, count: 1 << 20), to: move.partial, at: segment << 20)
        }
        let progress = Progress(isShown: true)
        #expect(
            try await move.run(progress)
                == .moved(resumed: ConversionResumeTests.resumed, hasChanged: false))
        #expect(try directory.picture(of: "out") == "zbzdzz")
        let end = progress.snapshot
        #expect(end.written == 2 << 20)
        #expect(end.done - end.resumed == 2 << 20)
        #expect(end.total == 4 << 20 && end.covered == 6 << 20 && end.length == 6 << 20)
    }

    @Test func whatADeadRunLeftInAnUnfinishedHoleIsCleared() async throws {
        try directory.raw("base", "a.b")
        let move = try Move(directory, "base")
        try await move.run()
        try move.interrupt(keeping: [0])
        try FileChanges.write([UInt8](repeating: 0x7a, count: 2 << 20), to: move.partial, at: 1 << 20)
        #expect(try await move.run() == .moved(resumed: 1 << 20, hasChanged: false))
        #expect(try directory.picture(of: "out") == "a.b")
    }

    @Test(arguments: [CowLayout.umlV3, .umlV2, .qemuV2])
    func anOverlaysBitmapIsClearedWhereItIsNotFinished(layout: CowLayout) async throws {
        try directory.raw("base", "abcd")
        try directory.cow("top", layout, over: directory("base").string, "e--f")
        let move = try Move(directory, "top").over("base", layout)
        try await move.run()
        let whole = try FileChanges.bytes(of: move.target)
        try move.interrupt(keeping: [0])
        let header = try #require(
            CowHeader.readings(of: whole, fileLength: UInt64(whole.count), layout: layout).first)
        let bitmap = Int(header.geometry.bitmapOffset)
        try FileChanges.write([UInt8](repeating: 0xff, count: 3 * 256), to: move.partial, at: bitmap + 256)
        try FileChanges.write(
            [UInt8](repeating: 0x7a, count: 3 << 20), to: move.partial,
            at: Int(header.geometry.dataOffset) + 1 << 20)
        #expect(try await move.run() == .moved(resumed: 1 << 20, hasChanged: false))
        #expect(try FileChanges.bytes(of: move.target) == whole)
    }

    @Test func theManifestEndsAsThatOfAMoveThatWasNeverInterrupted() async throws {
        let move = try await interrupted()
        try await move.run()
        let resumed = try move.recorded
        try await move.changed { ($0.policy.force, $0.policy.restart) = (true, true) }.run()
        #expect(try move.recorded.completion?.digest == resumed.completion?.digest)
        #expect(try move.recorded.segments == resumed.segments)
    }

    @Test func whatCameToTheNameMeanwhileIsReplacedByForceAlone() async throws {
        let move = try await interrupted()
        try directory.raw("out", "old")
        #expect(await move.refusal() == "target: \(move.target): exists (--force replaces it)")
        #expect(try directory.picture(of: "out") == "old")
        #expect(
            try await move.changed { $0.policy.force = true }.run()
                == .moved(resumed: ConversionResumeTests.resumed, hasChanged: false))
        #expect(try directory.picture(of: "out") == "abcd..")
    }

    @Test func aWholeTargetThatWaitsForItsNameReplacesNothingElse() async throws {
        let move = try await interrupted()
        try await move.run()
        try FileChanges.rename(move.target, to: move.partial)
        try directory.raw("out", "old")
        #expect(await move.refusal() == "target: \(move.target): exists (--force replaces it)")
        #expect(try await move.changed { $0.policy.force = true }.run() == .named)
        #expect(try directory.picture(of: "out") == "abcd..")
    }

    @Test func aTornLineIsForgottenAndItsSegmentWrittenAgain() async throws {
        let move = try await interrupted()
        let text = try FileChanges.bytes(of: move.manifest)
        let lines = text.split(separator: 0x0a, omittingEmptySubsequences: true)
        try FileChanges.truncate(move.manifest, to: text.count - (lines.last?.count ?? 0) / 2)
        #expect(try await move.run() == .moved(resumed: 2 << 20, hasChanged: false))
        #expect(try directory.picture(of: "out") == "abcd..")
        #expect(try move.recorded.completion != nil)
    }

    @Test func withoutItsStagingFileItBeginsAnew() async throws {
        let move = try await interrupted()
        try FileChanges.remove(move.partial)
        #expect(try await move.run() == .moved(resumed: 0, hasChanged: false))
    }

    @Test func withAStagingFileOfAnotherLengthItBeginsAnew() async throws {
        let move = try await interrupted()
        try FileChanges.truncate(move.partial, to: 5 << 20)
        #expect(try await move.run() == .moved(resumed: 0, hasChanged: false))
        #expect(try directory.picture(of: "out") == "abcd..")
    }

    @Test func aChangedSourceIsRefusedUntilRestart() async throws {
        let move = try await interrupted()
        try FileChanges.write([UInt8](repeating: 0x65, count: 1 << 20), to: directory("base"), at: 0)
        #expect(
            await move.refusal()
                == "badData: \(move.manifest): holds a checkpoint of this job before \(directory("base")) changed (--restart forgets it)"
        )
        #expect(await move.changed { $0.policy.force = true }.refusal().hasPrefix("badData: "))
        #expect(
            try await move.changed { $0.policy.restart = true }.run() == .moved(resumed: 0, hasChanged: false)
        )
        #expect(try directory.picture(of: "out") == "ebcd..")
    }

    @Test func aTouchedSourceIsAChangedOne() async throws {
        let move = try await interrupted()
        try FileChanges.setMtime(
            of: directory("base"), Timestamp(seconds: Int(SparseFile.usualMtime), nanoseconds: 1))
        #expect(
            await move.refusal().contains(
                "holds a checkpoint of this job before \(directory("base")) changed"))
    }

    @Test func anotherSourceIsRefusedUntilRestart() async throws {
        let move = try await interrupted()
        try directory.raw("other", "zz")
        let other = move.changed { $0.source = directory("other") }
        #expect(
            await other.refusal()
                == "badData: \(move.manifest): holds a checkpoint of another source, \(directory("base")) (--restart forgets it)"
        )
        #expect(
            try await other.changed { $0.policy.restart = true }.run()
                == .moved(resumed: 0, hasChanged: false))
        #expect(try directory.picture(of: "out") == "zz")
    }

    @Test func otherOptionsAreRefusedUntilRestart() async throws {
        let move = try await interrupted()
        func text(_ difference: String) -> String {
            "badData: \(move.manifest): holds a checkpoint of the same source with other options: \(difference) (--restart forgets it)"
        }
        #expect(
            await move.changed { $0.shortestZeroRun = 0 }.refusal()
                == text("shortest run of zeros 4096, now 0"))
        #expect(
            await move.changed { $0.segmentLength = 2 << 20 }.refusal()
                == text("segment 1048576, now 2097152"))
        #expect(
            await move.changed { $0.format = CowChoice(.qemuV2) }.refusal().contains(
                "with other options: format"))
        #expect(try await move.run() == .moved(resumed: ConversionResumeTests.resumed, hasChanged: false))
    }

    @Test func optionsThatDoNotChangeTheResultGoOn() async throws {
        var move = try await interrupted()
        move.options = MoveOptions(
            workers: WorkerSlots(limit: 5), rate: RateLimit(bytesPerSecond: 1 << 40))
        #expect(try await move.run() == .moved(resumed: ConversionResumeTests.resumed, hasChanged: false))
    }

    @Test func anotherJobIsForgottenWhereNothingIsRecordedYet() async throws {
        try directory.raw("base", "abcd")
        let move = try Move(directory, "base")
        try await move.run()
        try move.interrupt(keeping: [])
        try directory.raw("other", "zz")
        #expect(
            try await move.changed { $0.source = directory("other") }.run()
                == .moved(resumed: 0, hasChanged: false))
        #expect(try directory.picture(of: "out") == "zz")
    }

    @Test func restartForgetsTheCheckpointOfTheSameJob() async throws {
        let move = try await interrupted().changed { $0.policy.restart = true }
        try FileChanges.write([UInt8](repeating: 0x7a, count: 1 << 20), to: move.partial, at: 0)
        #expect(try await move.run() == .moved(resumed: 0, hasChanged: false))
        #expect(try directory.picture(of: "out") == "abcd..")
    }

    @Test func aRequestToStopIsAnErrorAndTheNextRunGoesOn() async throws {
        try directory.raw("base", "abcd")
        let move = try Move(directory, "base")
        let stop = StopFlag()
        stop.request()
        #expect(
            await move.refusal(stop: stop)
                == "stopped: \(move.target): stopped by a signal (run the same command again to go on)")
        #expect(try directory.names == ["base", "out.manifest", "out.partial"])
        #expect(try move.recorded.completion == nil)
        #expect(try await move.run() == .moved(resumed: 0, hasChanged: false))
        #expect(try directory.picture(of: "out") == "abcd")
    }

    @Test func theTargetsSymbolicLinkStaysAndItsFileIsWritten() async throws {
        try directory.raw("base", "ab")
        try directory.directory("elsewhere")
        try directory.link("out", to: "elsewhere/real")
        #expect(try await Move(directory, "base").run() == .moved(resumed: 0, hasChanged: false))
        #expect(try directory.picture(of: "elsewhere/real") == "ab")
        #expect(try directory.names == ["base", "elsewhere", "out"])
        #expect(try await Move(directory, "base").run() == .upToDate)
    }
}
