import Linux
import SystemPackage
import TestSupport
import Testing

@testable import DiskImages

/// Journals of changes in place: which count, and what is done with them.
struct JournalTests {
    private let directory = try! TemporaryDirectory()
    private static let old = [UInt8](repeating: 0x61, count: 1024)
    private static let change = Journal.Change(
        at: 100, old: Array(repeating: 0x61, count: 8), new: [1, 2, 3, 4, 5, 6, 7, 8])

    private var file: FilePath { directory("image") }
    private var journal: FilePath { directory("image.journal") }

    /// A file with a journal that counts.
    private func begin() throws -> PatchedFile {
        try SparseFile.write(JournalTests.old, to: file, mtime: 1)
        let patched = try PatchedFile(at: file)
        let writer = try JournalWriter(of: patched, Journal.Head(.rebase, of: patched.identity()))
        try writer.append(JournalTests.change)
        try writer.seal()
        return patched
    }

    private func found(_ patched: PatchedFile) throws -> Journal? {
        try Journal(of: patched.identity(), at: patched.place)
    }

    @Test func countsOnceItIsSealedAndIsGoneWhereItNeverWas() throws {
        try SparseFile.write(JournalTests.old, to: file, mtime: 1)
        do {
            let patched = try PatchedFile(at: file)
            let writer = try JournalWriter(of: patched, Journal.Head(.commit, of: patched.identity()))
            try writer.append(JournalTests.change)
            #expect(try found(patched) == nil)
        }
        #expect(try directory.names == ["image"])
        _ = try begin()
    }

    @Test func itsChangesAreMadeOnceOrAgain() throws {
        let patched = try begin()
        for _ in 0..<2 {
            try #require(try found(patched)).apply(to: patched)
            #expect(try FileChanges.bytes(of: file)[100..<108] == [1, 2, 3, 4, 5, 6, 7, 8])
        }
        // A write that was torn.
        try FileChanges.write([0x61, 0x61], to: file, at: 104)
        try #require(try found(patched)).apply(to: patched)
        #expect(try FileChanges.bytes(of: file)[100..<109] == [1, 2, 3, 4, 5, 6, 7, 8, 0x61])
        try Journal.remove(of: patched)
        #expect(try found(patched) == nil)
    }

    @Test func whatSomebodyWroteMeanwhileIsNotWrittenOver() throws {
        let patched = try begin()
        try FileChanges.write([9], to: file, at: 103)
        let before = try FileChanges.bytes(of: file)
        let error = try diskImageError { try found(patched)?.apply(to: patched) }
        #expect(error.kind == .badData)
        #expect(try FileChanges.bytes(of: file) == before)
    }

    @Test func aDamagedOneBeganNothing() throws {
        let patched = try begin()
        let whole = try FileChanges.bytes(of: journal)
        for index in whole.indices {
            try FileChanges.flip(journal, at: index)
            // The padding between the command and the device is no part of what it says, but of
            // what the digest is over.
            #expect(try found(patched) == nil, "byte \(index)")
            try FileChanges.flip(journal, at: index)
        }
        for count in 0..<whole.count {
            try FileChanges.truncate(journal, to: count)
            #expect(try found(patched) == nil, "\(count) bytes")
            try FileChanges.write(whole, to: journal, at: 0)
        }
        #expect(try found(patched) != nil)
    }

    @Test func thatOfAnotherFileBeganNothing() throws {
        _ = try begin()
        try SparseFile.write(JournalTests.old, to: directory("other"), mtime: 1)
        try FileChanges.remove(file)
        try FileChanges.rename(directory("other"), to: file)
        #expect(try ImageChain.open(file).layers.count == 1)
    }

    @Test func nobodyElseOpensItsFile() throws {
        _ = try begin()
        try directory.cow("top.cow", over: "image", size: 1024)
        for name in ["image", "top.cow"] {
            let error = try diskImageError {
                _ = try ImageChain.open(directory(name), .usual { $0.forceShare = true })
            }
            #expect(error.kind == .unavailable)
            #expect(error.line.contains("drover rebase of \(file) goes on with it"))
        }
    }

    @Test func aLockedFileIsNotChanged() throws {
        let patched = try begin()
        let error = try diskImageError { _ = try PatchedFile(at: file) }
        #expect(error.kind == .unavailable)
        _ = patched
    }
}
