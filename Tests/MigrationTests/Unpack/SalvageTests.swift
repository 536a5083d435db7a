import DiskImages
import SystemPackage
import TestSupport
import Testing

@testable import Manifests
@testable import Migration
@testable import Stages
@testable import TransportArchive

/// Damaged archives: what is lost, and what is restored in spite of it.
struct SalvageTests {
    private let directory = try! TemporaryDirectory()

    /// An archive of a base `abcd` and an overlay `-x-y` of it, without compression: six records.
    private func packed() async throws -> Archives {
        try directory.raw("base", "abcd")
        try directory.cow("top", over: directory("base").string, "-x-y")
        var archives = Archives(directory)
        archives.compression = .none
        try await archives.pack()
        return archives
    }

    @Test func aSoundArchiveIsRestoredWhole() async throws {
        let archives = try await packed()
        #expect(try await archives.salvage() == UnpackResult(restored: 2))
        #expect(try archives.picture("top") == "axcy")
        #expect(try await archives.unpack() == UnpackResult(upToDate: 2))
        let recorded = try #require(try ManifestFile.readEnds(of: directory("out/top")))
        #expect(recorded.job?.options.salvaged == nil && recorded.completion?.lost == nil)
    }

    /// The damaged record, from 0; whether its frame or the record itself; what is said, and what a
    /// guest of the overlay sees.
    @Test(arguments: [
        (0, true, "base: sectors 0 to 2047 are damaged", ".xcy"),
        (2, true, "base: sectors 4096 to 6143 are damaged", "ax.y"),
        (2, false, "base: sectors 4096 to 6143 are damaged", "ax.y"),
        (3, false, "base: sectors 6144 to 8191 are damaged", "axcy"),
        (0, false, "base: sectors 0 to 2047 are damaged", ".xcy"),
    ])
    func whatIsLostIsSaidAndTheRestIsRestored(
        record: Int, isFrame: Bool, said: String, picture: String
    ) async throws {
        let archives = try await packed()
        let place = try archives.records()[record]
        try FileChanges.flip(archives.archive, at: Int(isFrame ? place.frame + 77 : place.offset + 40))
        #expect(try await archives.verify() == [said])
        await #expect(throws: ArchiveError.self) { try await archives.unpack() }
        var fresh = archives
        fresh.policy = StartPolicy(restart: true, force: true)
        let result = try await fresh.salvage()
        #expect(result.damage == ["\(archives.archive): \(said)"])
        #expect(result.restored == 2)
        #expect(try archives.picture("top") == picture)
        let recorded = try #require(try ManifestFile.readEnds(of: directory("out/base")))
        #expect(recorded.job?.options.salvaged == true)
        #expect(recorded.completion?.lost?.count == 1)
        // The same again changes nothing and says the same.
        let again = try await archives.salvage()
        #expect(again.damage == result.damage && again.restored == 0 && again.upToDate == 2)
        let finding = try await Verification(of: directory("out/base")).run(archives.options)
        #expect(finding.damage == nil && finding.notRestored.count == 1)
    }

    @Test func anInterruptedSalvageGoesOn() async throws {
        let archives = try await packed()
        let lost = try archives.records()[1]
        try FileChanges.flip(archives.archive, at: Int(lost.frame) + 5)
        let said = try await archives.salvage().damage
        let base = directory("out/base")
        let text = try FileChanges.text(of: ManifestFile.path(of: base))
        let before = try FileChanges.bytes(of: base)
        // It died when its first two segments were done; others may have been recorded before them.
        try FileChanges.rename(base, to: TargetFile.partialPath(of: base))
        let done = text.split(separator: "\n").filter {
            $0.contains(#""record":"job""#) || $0.contains(#""start":0,"#) || $0.contains(#""start":2048,"#)
        }
        try FileChanges.replace(ManifestFile.path(of: base), with: done.joined(separator: "\n") + "\n")
        try FileChanges.write([0x7a], to: TargetFile.partialPath(of: base), at: 0)
        let result = try await archives.salvage()
        // What is recorded is not written again; what is lost in it is said all the same.
        #expect(result.damage == said && result.restored == 1)
        #expect(try FileChanges.bytes(of: base) == [0x7a] + before.dropFirst())
    }

    @Test func anOrdinaryRunTakesNoSalvageForACheckpoint() async throws {
        let archives = try await packed()
        let lost = try archives.records()[1]
        let bytes = try archives.bytes
        try FileChanges.flip(archives.archive, at: Int(lost.frame) + 5)
        try await archives.salvage()
        let base = directory("out/base")
        let text = try FileChanges.text(of: ManifestFile.path(of: base))
        try FileChanges.rename(base, to: TargetFile.partialPath(of: base))
        try FileChanges.replace(
            ManifestFile.path(of: base),
            with: text.split(separator: "\n").prefix(3).joined(separator: "\n") + "\n")
        try FileChanges.write([bytes[Int(lost.frame) + 5]], to: archives.archive, at: Int(lost.frame) + 5)
        await #expect(throws: MigrationError.self) { try await archives.unpack(names: ["base"]) }
        var restarted = archives
        restarted.policy.restart = true
        #expect(try await restarted.unpack(names: ["base"]) == UnpackResult(restored: 1))
        #expect(try archives.picture("base") == "abcd")
    }
}
