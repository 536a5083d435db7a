import DiskImages
import SystemPackage
import TestSupport
import Testing

@testable import Manifests
@testable import Migration
@testable import Stages
@testable import TransportArchive

/// Pictures into an archive and out again.
struct ArchiveRoundTripTests {
    private let directory = try! TemporaryDirectory()

    /// Base, overlay, and what a guest sees.
    private static let chains = [
        ("abcd", "----", "abcd"), ("abcd", "x-.-", "xb.d"), ("....", "-0--", "...."),
        ("a..b", ".--y", "...y"),
        ("ab.c....de", "----zz-.--", "ab.czz..de"), ("a", "-", "a"), ("aaaaaaaa", "bbbbbbbb", "bbbbbbbb"),
    ]

    private func chain(_ base: String, _ top: String, unit: Int = 1 << 20) throws {
        try directory.raw("base", base, unit: unit)
        try directory.cow("top", over: directory("base").string, top, unit: unit)
    }

    @Test(arguments: chains, [Compression.none, .lz4(level: 1)])
    func chainsComeBackAsTheyWere(chain: (String, String, String), compression: Compression) async throws {
        try self.chain(chain.0, chain.1, unit: 256 << 10)
        var archives = Archives(directory)
        archives.unit = 256 << 10
        archives.compression = compression
        #expect(try await archives.pack() == .moved(resumed: 0, hasChanged: false))
        #expect(try await archives.verify().isEmpty)
        #expect(try await archives.unpack() == UnpackResult(restored: 2))
        #expect(try archives.picture("top") == chain.2)
        #expect(try archives.picture("base") == chain.0)
        #expect(try await archives.unpack() == UnpackResult(upToDate: 2))
    }

    @Test(arguments: chains) func theyComeBackFlattened(chain: (String, String, String)) async throws {
        try self.chain(chain.0, chain.1, unit: 256 << 10)
        var archives = Archives(directory)
        archives.unit = 256 << 10
        try await archives.pack()
        #expect(try await archives.unpack(as: .flattened(RawChoice())) == UnpackResult(restored: 1))
        #expect(try archives.picture("top") == chain.2)
        #expect(try directory.names.filter { $0.contains("scratch") }.isEmpty)
    }

    @Test func aFlattenedArchiveHasWhatTheGuestSees() async throws {
        try chain("abcd", "x-.-")
        var archives = Archives(directory)
        archives.flatten = true
        try await archives.pack()
        #expect(try await archives.unpack() == UnpackResult(restored: 1))
        #expect(try archives.picture("top") == "xb.d")
    }

    @Test func aSharedBaseIsInItOnce() async throws {
        try chain("abcd", "x---")
        try directory.cow("other", over: directory("base").string, "---y")
        var archives = Archives(directory)
        archives.images = ["top", "other"]
        try await archives.pack()
        #expect(try archives.records().filter { $0.run.layer == 0 }.count == 4)
        #expect(try await archives.unpack() == UnpackResult(restored: 3))
        #expect(try archives.picture("other") == "abcy")
    }

    @Test func oneImageIsTakenOutAlone() async throws {
        try chain("abcd", "x---")
        try directory.cow("other", over: directory("base").string, "---y")
        var archives = Archives(directory)
        archives.images = ["top", "other"]
        try await archives.pack()
        #expect(try await archives.unpack(names: ["other"]) == UnpackResult(restored: 2))
        #expect(try archives.picture("other") == "abcy")
        await #expect(throws: MigrationError.self) { try await archives.unpack(names: ["nobody"]) }
    }

    @Test func theBytesDependOnNoWorker() async throws {
        try chain("abcdefgh..0.ij", "-x-y----0-.-zz")
        var archives = Archives(directory)
        archives.policy.force = true
        var found: Set<[UInt8]> = []
        for workers in [1, 2, 5] {
            archives.options = MoveOptions(workers: WorkerSlots(limit: workers))
            archives.policy.restart = true
            try await archives.pack()
            found.insert(try archives.bytes)
        }
        #expect(found.count == 1)
    }

    // MARK: Interrupted

    @Test func onlyWhatIsMissingIsPacked() async throws {
        try chain("abcdefgh", "-x-y----")
        var archives = Archives(directory)
        archives.compression = .none
        try await archives.pack()
        let whole = try archives.bytes
        let text = try FileChanges.text(of: ManifestFile.path(of: archives.archive))
        let lines = text.split(separator: "\n", omittingEmptySubsequences: true)
        let checkpoints = lines.filter { $0.contains("\"checkpoint\"") }.count
        try #require(checkpoints > 0)
        // It died behind its first checkpoint.
        try FileChanges.rename(archives.archive, to: TargetFile.partialPath(of: archives.archive))
        try FileChanges.replace(
            ManifestFile.path(of: archives.archive), with: lines.prefix(2).joined(separator: "\n") + "\n")
        guard case .moved(let resumed, _) = try await archives.pack() else {
            Issue.record("it is not packed")
            return
        }
        #expect(resumed > 0)
        #expect(try archives.bytes == whole)
    }

    @Test func anArchiveWhosePartsAreOthersIsPackedAnew() async throws {
        try chain("abcd", "-x--")
        var archives = Archives(directory)
        archives.compression = .none
        try await archives.pack()
        let whole = try archives.bytes
        let text = try FileChanges.text(of: ManifestFile.path(of: archives.archive))
        try FileChanges.flip(archives.archive, at: 200)
        try FileChanges.rename(archives.archive, to: TargetFile.partialPath(of: archives.archive))
        try FileChanges.replace(
            ManifestFile.path(of: archives.archive),
            with: text.split(separator: "\n").prefix(2).joined(separator: "\n") + "\n")
        #expect(try await archives.pack() == .moved(resumed: 0, hasChanged: false))
        #expect(try archives.bytes == whole)
    }

    @Test func onlyWhatIsMissingIsRestored() async throws {
        try chain("abcdef", "------")
        let archives = Archives(directory)
        try await archives.pack()
        try await archives.unpack()
        let base = directory("out/base")
        let segments = try #require(try ManifestFile.read(of: base)).segments
        try #require(segments.count == 6)
        do {
            let manifest = try ManifestFile(of: base)
            let job = try #require(try manifest.load().job)
            try manifest.forget()
            try manifest.begin(job)
            for segment in segments where segment.start < 4096 { try manifest.append(segment) }
        }
        try FileChanges.rename(base, to: TargetFile.partialPath(of: base))
        // What is recorded is not written again.
        try FileChanges.write([0x7a], to: TargetFile.partialPath(of: base), at: 0)
        try FileChanges.write([0x7a], to: TargetFile.partialPath(of: base), at: 3 << 20)
        #expect(try await archives.unpack(names: ["base"]) == UnpackResult(restored: 1))
        let bytes = try FileChanges.bytes(of: base)
        #expect(bytes[0] == 0x7a && bytes[3 << 20] == UInt8(ascii: "d"))
    }
}
