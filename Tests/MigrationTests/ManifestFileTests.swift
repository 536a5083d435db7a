import DiskImages
import TestSupport
import Testing

@testable import Migration

/// `TARGET.manifest` among processes: locks of different opens count against one another in one process too.
struct ManifestFileTests {
    private let directory = try! TemporaryDirectory()

    @Test func oneHolderAtATime() throws {
        let first = try ManifestFile(of: directory("out"))
        let refused = refusal { _ = try ManifestFile(of: directory("out")) }
        #expect(refused == "locked: \(first.path): is locked by another drover that works on this target (wait for it)")
        #expect(try ManifestFile.read(of: directory("out"))?.job == nil)
        try first.checkStillLocked()
    }

    @Test func theLockIsFreeWhenItsHolderIsGone() throws {
        _ = try ManifestFile(of: directory("out"))
        _ = try ManifestFile(of: directory("out"))
        #expect(try directory.names == ["out.manifest"])
    }

    @Test func aReaderNeedsNoLockAndFindsNothingWhereThereIsNoManifest() throws {
        #expect(try ManifestFile.read(of: directory("out"))?.wholeLength == nil)
        #expect(try directory.names.isEmpty)
    }

    @Test func beginningForgetsWhatWasRecorded() throws {
        let manifest = try ManifestFile(of: directory("out"))
        let found = try ManifestText.parse(ManifestText.whole)
        let job = try #require(found.job)
        try manifest.begin(job)
        for segment in found.segments { try manifest.append(segment) }
        try manifest.begin(job)
        #expect(try FileChanges.bytes(of: manifest.path) == ManifestText.bytes([ManifestText.job()]))
    }

    @Test func somebodyWhoWritesToItIsNoticed() throws {
        let manifest = try ManifestFile(of: directory("out"))
        try manifest.begin(try #require(try ManifestText.parse([ManifestText.job()]).job))
        try FileChanges.write([0x0a], to: manifest.path, at: ManifestText.job().utf8.count + 1)
        let refused = refusal { try manifest.append(ManifestSegment(0..<1 << 20, .zero)) }
        #expect(refused == "io: \(manifest.path): is no longer ours: the lock was lost or the file replaced (run the same command again)")
    }

    @Test func whoeverGetsTheLockSeesAllThatWasWrittenBefore() async throws {
        let path = directory("out.manifest")
        let written = Locked(0)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<4 {
                group.addTask {
                    for _ in 0..<5000 {
                        guard let file = try? LockedFile(path) else { continue }
                        let count = try file.contents(limit: 1 << 20).count
                        try #require(count == written.withLock { $0 })
                        written.withLock { $0 += 1 }
                        try file.append([0x0a])
                    }
                }
            }
            for try await _ in group {}
        }
    }
}
