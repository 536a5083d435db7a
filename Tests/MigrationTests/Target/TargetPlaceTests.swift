import DiskImages
import ImageFormats
import SystemPackage
import TestSupport
import Testing

@testable import Migration

/// Where a target may go, and where never.
struct TargetPlaceTests {
    private let directory = try! TemporaryDirectory()

    /// A move of a chain of three files; whatever happens, their bytes must not.
    private func chain(to target: String) throws -> Move {
        try directory.raw("base", "abc")
        try directory.cow("middle", over: "base", "-d-")
        try directory.cow("top", over: "middle", "--e")
        return try Move(directory, "top", to: target)
    }

    /// Runs the move in every way that could let it through; returns how it was refused, and checks
    /// that nothing was touched.
    private func refusal(_ move: Move) async throws -> String {
        let before = try directory.names
        let refusals = [
            await move.refusal(), await move.changed { $0.policy.force = true }.refusal(),
            await move.changed { ($0.policy.force, $0.policy.restart) = (true, true) }.refusal(),
        ]
        #expect(Set(refusals).count == 1)
        #expect(try directory.names == before)
        #expect(try directory.picture(of: "top") == "ade")
        return refusals[0]
    }

    private func isChain(_ path: FilePath) -> String {
        "target: \(path): is a file of the source's own chain (choose another target)"
    }

    @Test(arguments: ["top", "middle", "base"])
    func aLayerOfTheChainIsRefused(name: String) async throws {
        #expect(try await refusal(chain(to: name)) == isChain(directory(name)))
    }

    @Test(arguments: ["top", "middle", "base"])
    func aSymbolicLinkToALayerIsRefused(name: String) async throws {
        let move = try chain(to: "link2")
        try directory.link("link2", to: "link1")
        try directory.link("link1", to: directory(name))
        #expect(try await refusal(move) == isChain(directory(name)))
    }

    @Test(arguments: ["top", "middle", "base"])
    func anotherNameOfALayerIsRefused(name: String) async throws {
        let move = try chain(to: "out")
        try FileChanges.hardLink(directory(name), as: move.target)
        #expect(try await refusal(move) == isChain(move.target))
    }

    @Test(arguments: ["out.partial", "out.manifest"])
    func aLayerBesideTheTargetIsRefused(name: String) async throws {
        let move = try chain(to: "out")
        try FileChanges.hardLink(directory("base"), as: directory(name))
        #expect(try await refusal(move) == isChain(directory(name)))
        try FileChanges.remove(directory(name))
        try directory.link(name, to: directory("middle"))
        #expect(try await refusal(move) == isChain(directory(name)))
    }

    @Test func theBackingFileThatIsNamedIsRefused() async throws {
        let move = try chain(to: "copy").over("copy", .qemuV2)
        try directory.raw("copy", "abc")
        #expect(try await refusal(move) == isChain(directory("copy")))
    }

    @Test func aFileBelowTheBackingFileThatIsNamedIsRefused() async throws {
        // The copy of the base is a chain itself, and what it stands on is as dear as what the
        // source stands on.
        let move = try chain(to: "below").over("copy", .qemuV2)
        try directory.raw("below", "abc")
        try directory.cow("copy", over: "below", "---")
        #expect(try await refusal(move) == isChain(directory("below")))
        #expect(try directory.picture(of: "below") == "abc")
    }

    @Test func aDirectoryIsNeverReplaced() async throws {
        let move = try chain(to: "folder")
        try directory.directory("folder")
        #expect(
            try await refusal(move)
                == "target: \(move.target): exists and is no regular file (it is never replaced)")
    }

    @Test func aFIFOIsNeverReplacedNorWaitedFor() async throws {
        let move = try chain(to: "fifo")
        try directory.fifo("fifo")
        #expect(
            try await refusal(move)
                == "target: \(move.target): exists and is no regular file (it is never replaced)")
    }

    @Test func aDeviceIsNeverReplaced() async throws {
        let move = try chain(to: "null")
        try directory.link("null", to: "/dev/null")
        #expect(
            try await refusal(move)
                == "target: \(move.target): exists and is no regular file (it is never replaced)")
    }

    @Test func linksThatGoRoundAreRefused() async throws {
        let move = try chain(to: "a")
        try directory.link("a", to: "b")
        try directory.link("b", to: "a")
        #expect(try await refusal(move) == "target: \(move.target): leads through too many symbolic links")
    }

    @Test func aNameThatOnlyAFolderHasIsRefused() async throws {
        try directory.directory("folder")
        let there = try await refusal(chain(to: "folder/."))
        #expect(
            there == "target: \(directory("folder")): \(directory("folder"))/ is a folder (name a file in it)"
        )
        try directory.raw("keep", "z")
        let file = try await refusal(chain(to: "keep/."))
        #expect(
            file
                == "target: \(directory("keep")): \(directory("keep"))/ is no folder (make it, or name a file)"
        )
        #expect(FilePath(file: Array("new/".utf8)) == "new/.")
        #expect(FilePath(file: Array("/".utf8)) == "/")
    }

    @Test func noTargetIsMadeAmongDevices() throws {
        #expect(
            MigrationTests.refusal { _ = try TargetPlace("/dev/drover-test", sources: []) }.contains(
                "lies among devices"))
        #expect(throws: Never.self) { _ = try TargetPlace("/dev/shm/drover-test", sources: []) }
    }

    @Test func aManifestWithAnotherNameIsNotWrittenTo() async throws {
        try directory.raw("disk", "a")
        let move = try Move(directory, "disk", to: "out")
        try directory.raw("other", "")
        try FileChanges.hardLink(directory("other"), as: move.manifest)
        #expect(await move.refusal().contains("has another name"))
        #expect(try ImageFile(opening: directory("other")).length == 0)
    }

    @Test(arguments: ["..", "folder/.."])
    func aNameThatIsNoFilesIsRefused(name: String) async throws {
        try directory.directory("folder")
        #expect(try await refusal(chain(to: name)) == "target: \(directory(name)): is no name for a file")
    }

    @Test func aFolderThatIsMissingIsNotMade() async throws {
        let move = try chain(to: "folder/out")
        #expect(
            try await refusal(move)
                == "target: \(move.target): cannot be created: No such file or directory")
    }

    @Test func aStagingFileOfAnotherKindIsNotReplaced() async throws {
        let move = try chain(to: "out")
        try directory.fifo("out.partial")
        #expect(await move.refusal() == "target: \(move.partial): exists and is no regular file (remove it)")
        try FileChanges.remove(move.partial)
        try directory.link("out.partial", to: "elsewhere")
        #expect(await move.refusal().hasPrefix("target: \(move.partial): cannot be created: "))
        #expect(try !directory.names.contains("elsewhere"))
    }

    @Test func aManifestOfAnotherKindIsNotReplaced() async throws {
        let move = try chain(to: "out")
        try directory.fifo("out.manifest")
        #expect(
            try await refusal(move) == "target: \(move.manifest): exists and is no regular file (remove it)")
        try FileChanges.remove(move.manifest)
        try directory.link("out.manifest", to: "elsewhere")
        #expect(try await refusal(move).hasPrefix("target: \(move.manifest): cannot be created: "))
        #expect(try !directory.names.contains("elsewhere"))
    }

    @Test func aRawTargetHasNoBackingFile() async throws {
        let move = try chain(to: "out").changed {
            $0.backing = BackingRequest(directory("base"), like: $0.options)
        }
        #expect(
            try await refusal(move)
                == "usage: \(move.target): a raw image has no backing file (-B needs -O cow or -O qcow2)")
    }

    @Test func aPathIsMadeAbsoluteWithoutDots() {
        #expect(FilePath("/a/./b/../c").absolute == "/a/c")
        #expect(FilePath("x").absolute.isAbsolute)
    }
}
