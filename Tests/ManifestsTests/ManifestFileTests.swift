import DiskImages
import TestSupport
import Testing

@testable import Linux
@testable import Manifests

/// `TARGET.manifest` among processes: locks of different opens count against one another in one
/// process too.
struct ManifestFileTests {
    private let directory = try! TemporaryDirectory()

    @Test func oneHolderAtATime() throws {
        let first = try ManifestFile(of: directory("out"))
        let refused = refusal { _ = try ManifestFile(of: directory("out")) }
        #expect(
            refused
                == "locked: \(first.path): is locked by another drover that works on this target (wait for it)"
        )
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

    @Test func beginningForgetsAMoveThatWasNotCompleted() throws {
        let manifest = try ManifestFile(of: directory("out"))
        let found = try ManifestText.parse(ManifestText.whole)
        let job = try #require(found.job)
        try manifest.begin(job)
        for segment in found.segments { try manifest.append(segment) }
        try manifest.begin(job)
        #expect(try FileChanges.bytes(of: manifest.path) == ManifestText.bytes([ManifestText.job()]))
    }

    @Test func beginningKeepsWhatProvesTheOldTargetUntilTheNewOneIsComplete() throws {
        let old = ManifestText.bytes(ManifestText.whole)
        try SparseFile.write(
            old + ManifestText.bytes([ManifestText.job(length: 4 << 20), ManifestText.segment(0, 2048)]),
            to: directory("out.manifest"))
        let manifest = try ManifestFile(of: directory("out"))
        let job = try #require(try ManifestText.parse([ManifestText.job(length: 2 << 20)]).job)
        try manifest.begin(job)
        #expect(
            try FileChanges.bytes(of: manifest.path) == old
                + ManifestText.bytes([ManifestText.job(length: 2 << 20)]))
        #expect(try manifest.load().job == job)
        try manifest.append(ManifestSegment(0..<2 << 20, .zero))
        try manifest.append(try #require(try ManifestText.parse(ManifestText.whole).completion))
        let new = try FileChanges.bytes(of: manifest.path).dropFirst(old.count)
        manifest.forgetEarlierJobsIfPossible()
        #expect(try FileChanges.bytes(of: manifest.path) == Array(new))
    }

    /// Whatever part of the copy reached the disk, in blocks of any length: the last job is read,
    /// whole.
    @Test(arguments: [1, 7, 64, 512, 4096])
    func forgettingEarlierJobsMayDieAtAnyMoment(block: Int) throws {
        let older = ManifestText.bytes([
            ManifestText.job(length: 3 << 20), ManifestText.segment(0, 6144, "zero"), ManifestText.completion,
        ])
        let new = ManifestText.bytes(ManifestText.whole)
        for old in [older, older + older + older] {
            let before = old + new + (new.count > old.count ? new : [])
            for end in stride(from: 0, through: new.count, by: block) {
                for overwritten in [0..<end, end..<min(end + block, new.count), end..<new.count] {
                    var bytes = before
                    bytes.replaceSubrange(overwritten, with: new[overwritten])
                    let found = try ManifestContents(parsing: bytes, path: ManifestText.path)
                    #expect(
                        found.job?.target.length == 8 << 20 && found.segments.count == 4
                            && found.completion != nil)
                }
            }
        }
    }

    /// A copy of the last job, torn anywhere or with a block behind its first line that never
    /// reached the disk: the last job is read, whole.
    @Test func aTornCopyOfTheLastJobIsPassedOver() throws {
        let new = ManifestText.bytes(ManifestText.whole)
        let line = ManifestText.job().utf8.count + 1
        for old in [[], ManifestText.bytes([ManifestText.job(length: 3 << 20), ManifestText.completion])] {
            for length in 0...new.count {
                for lost in [line..<line, line..<line + 7, line..<line + 512, line + 100..<line + 109].map({
                    $0.clamped(to: 0..<length)
                }) {
                    var copy = Array(new[..<length])
                    copy.replaceSubrange(lost, with: [UInt8](repeating: 0, count: lost.count))
                    let found = try ManifestContents(parsing: old + new + copy, path: ManifestText.path)
                    #expect(
                        found.job?.target.length == 8 << 20 && found.segments.count == 4
                            && found.completion != nil)
                }
            }
        }
    }

    /// What is read of a manifest is read of its sound part alone, too: a copy is passed over for a
    /// whole job, not for another torn one.
    @Test func theSoundPartOfCopiesIsReadAsTheSame() throws {
        let parts = (0...ManifestText.whole.count).map {
            ManifestText.bytes(Array(ManifestText.whole[..<$0]))
        }
        for first in parts {
            for (second, third) in parts.flatMap({ second in parts.map { (second, $0) } }) {
                let bytes = first + second + third
                let found = try ManifestContents(parsing: bytes, path: ManifestText.path)
                let again = try ManifestContents(
                    parsing: Array(bytes[..<found.wholeLength]), path: ManifestText.path)
                #expect(again.job == found.job && again.segments == found.segments)
            }
        }
    }

    /// Looking for the job that made a file takes neither the stack nor time that grows with the
    /// square of the jobs.
    @Test func anyNumberOfEarlierJobsIsLookedThrough() throws {
        let first = ManifestText.bytes([ManifestText.job(length: 0), ManifestText.completion])
        let bytes =
            first + Array(repeatElement(ManifestText.bytes([ManifestText.job()]), count: 5000).joined())
        let last = try ManifestContents(parsing: bytes, path: ManifestText.path)
        #expect(try last.completion == nil && last.lastNamed != nil)
    }

    @Test func somebodyWhoWritesToItIsNoticed() throws {
        let manifest = try ManifestFile(of: directory("out"))
        try manifest.begin(try #require(try ManifestText.parse([ManifestText.job()]).job))
        try FileChanges.write([0x0a], to: manifest.path, at: ManifestText.job().utf8.count + 1)
        let refused = refusal { try manifest.append(ManifestSegment(0..<1 << 20, .zero)) }
        #expect(
            refused
                == "io: \(manifest.path): is no longer ours: the lock was lost or the file replaced (run the same command again)"
        )
    }

    @Test func whoeverGetsTheLockSeesAllThatWasWrittenBefore() async throws {
        let path = directory("out.manifest")
        let written = Locked(0)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<4 {
                group.addTask {
                    for _ in 0..<1000 {
                        guard let file = try? LockedFile(FilePlace(at: path)) else { continue }
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
