import DiskImages
import ImageFormats
import SystemPackage
import TestSupport
import Testing

@testable import Linux
@testable import Migration
@testable import Stages

/// A base that overlays will name: what they find in their headers is what it was before.
struct BaseConversionTests {
    private let directory = try! TemporaryDirectory()
    private let time = Timestamp(seconds: 1_400_000_000, nanoseconds: 123_456_789)

    private func base(_ source: String = "base") throws -> Move {
        try Move(directory, source, to: "copy").changed { $0.asBase = true }
    }

    private func identity(_ name: String) throws -> FileIdentity {
        try #require(try ImageFile.identity(at: directory(name)))
    }

    @Test(arguments: [2 << 20, (2 << 20) - 1, (1 << 20) + 513, 100])
    func hasTheSourcesLengthToTheByteAndItsTimeToTheNanosecond(length: Int) async throws {
        try directory.raw("base", "ab")
        try FileChanges.truncate(directory("base"), to: length)
        try FileChanges.setMtime(of: directory("base"), time)
        #expect(try await base().run() == .moved(resumed: 0, hasChanged: false))
        #expect(try identity("copy").size == UInt64(length) && identity("copy").mtime == time)
        #expect(try FileChanges.bytes(of: directory("copy")) == FileChanges.bytes(of: directory("base")))
        let found = try await Verification(of: directory("copy"))
            .run(
                MoveOptions(
                    workers: WorkerSlots(limit: 2), progress: Progress(isShown: false), stop: StopFlag()))
        #expect(found.damage == nil)
        #expect(try await base().run() == .upToDate)
    }

    @Test func aChainIsFlattenedAndHasTheTimeOfItsTopLayer() async throws {
        try directory.raw("base", "abcd")
        try directory.cow("top", over: "base", "-e--")
        try FileChanges.setMtime(of: directory("top"), time)
        try await base("top").run()
        #expect(try directory.picture(of: "copy") == "aecd")
        #expect(try identity("copy").mtime == time)
    }

    @Test func goesOnWhereItWasInterrupted() async throws {
        try directory.raw("base", "abcd")
        try FileChanges.truncate(directory("base"), to: (4 << 20) - 100)
        let move = try base()
        try await move.run()
        try move.interrupt(keeping: [0, 2])
        #expect(try await move.run() == .moved(resumed: 2 << 20, hasChanged: false))
        #expect(try FileChanges.bytes(of: directory("copy")) == FileChanges.bytes(of: directory("base")))
        #expect(try identity("copy").mtime == identity("base").mtime)
    }

    @Test func isAnotherMoveThanAPlainConversion() async throws {
        try directory.raw("base", "ab")
        try await base().run()
        let plain = try base().changed { $0.asBase = false }
        #expect(await plain.refusal() == "target: \(directory("copy")): exists (--force replaces it)")
        try base().interrupt(keeping: [0])
        #expect(await plain.refusal().contains("holds a checkpoint of the same source with other options"))
    }

    @Test func isProvenByItsManifestWithoutBeingRead() async throws {
        try directory.raw("base", "abcd")
        try directory.cow("top", over: "base", "--.f")
        // A file that has just been written proves nothing.
        try await base().changed { $0.options.settles = true }.run()
        try FileChanges.writeUnnoticed(
            [UInt8](repeating: 0x7a, count: 1 << 20), to: directory("copy"), at: 1 << 20)
        try await Move(directory, "top").over("copy").run()
        #expect(try directory.picture(of: "out") == "az.f")
        let header = try #require(
            try ImageChain.open(directory("out"), ChainOptions(location: try BackingLocation())).top.header)
        #expect(try header.mtime == identity("base").mtime.headerSeconds)
    }

    @Test func isRaw() async throws {
        try directory.raw("base", "ab")
        let move = try base().over("base")
        #expect(
            await move.refusal()
                == "usage: \(directory("copy")): a base that overlays will name is raw (--as-base needs -O raw)"
        )
    }

    @Test func whatWouldKeepAMoveFromBeginningIsSeenWithoutChangingAnything() async throws {
        try directory.raw("base", "ab")
        let move = try base()
        try Conversion(move.request).checkStart()
        #expect(try directory.names == ["base"])
        try await move.run()
        try Conversion(move.request).checkStart()
        try move.interrupt(keeping: [0])
        try Conversion(move.request).checkStart()
        let other = move.changed { $0.asBase = false }
        #expect(refusal { try Conversion(other.request).checkStart() }.contains("(--restart forgets it)"))
        try Conversion(other.changed { $0.policy.restart = true }.request).checkStart()
        try FileChanges.rename(move.partial, to: move.target)
        try FileChanges.remove(move.manifest)
        #expect(
            refusal { try Conversion(other.request).checkStart() }.contains("exists (--force replaces it)"))
        #expect(try directory.names == ["base", "copy"])
    }
}
