import DiskImages
import ImageFormats
import Linux
import SystemPackage
import TestSupport
import Testing

@testable import Migration

/// A target that is to be an overlay: which layers it holds, and what its backing file has to
/// prove.
struct OverlayPlanTests {
    private let directory = try! TemporaryDirectory()

    /// A chain of three files.
    private func chain() throws {
        try directory.raw("base", "abcd")
        try directory.cow("middle", over: "base", "e---")
        try directory.cow("top", over: "middle", "--.f")
    }

    private func header(_ name: String = "out") throws -> CowHeader {
        try #require(
            try ImageChain.open(directory(name), ChainOptions(location: try BackingLocation())).top.header)
    }

    private func backingName(_ name: String = "out") throws -> FilePath {
        FilePath(bytes: try header(name).backingPath)
    }

    /// Which MiB the overlay `out` holds itself.
    private func held() throws -> String {
        let top = try ImageChain.open(directory("out"), ChainOptions(location: try BackingLocation())).top
        var held = [Character](repeating: "-", count: Int(top.guestLength >> 20))
        var runs = TargetRuns(ImageChain(layers: [top]), .above(depth: 1, backingLength: 0))
        while let run = try runs.next() {
            guard run.kind != .backing else { continue }
            for index in run.start >> 20...(run.end - 1) >> 20 { held[Int(index)] = "x" }
        }
        return String(held)
    }

    @Test func allLayersAboveItsBackingFileAreMerged() async throws {
        try chain()
        #expect(
            try await Move(directory, "top").over("base").run() == .moved(resumed: 0, hasChanged: false))
        #expect(try held() == "x-xx")
        #expect(try directory.picture(of: "out") == "eb.f")
        #expect(try backingName() == directory("base"))
    }

    @Test func aMiddleLayerMayBeTheBackingFile() async throws {
        try chain()
        try await Move(directory, "top").over("middle", .qemuV2).run()
        #expect(try held() == "--xx")
        #expect(try directory.picture(of: "out") == "eb.f")
        #expect(try backingName() == directory("middle"))
    }

    @Test(arguments: [true, false])
    func aLayerIsKnownByAnyOfItsNames(isSymbolic: Bool) async throws {
        try chain()
        if isSymbolic {
            try directory.link("alias", to: "base")
        } else {
            try FileChanges.hardLink(directory("base"), as: directory("alias"))
        }
        try await Move(directory, "top").over("alias").run()
        #expect(try held() == "x-xx")
        #expect(try backingName() == directory("alias"))
    }

    @Test func theSourceItselfIsNoBackingFile() async throws {
        try chain()
        #expect(
            await (try Move(directory, "top").over("top", .qemuV2)).refusal()
                == "badData: \(directory("top")): is the source itself; expected a backing file (-B)")
    }

    @Test func aMissingBackingFileIsUnavailable() async throws {
        try chain()
        #expect(
            await (try Move(directory, "top").over("none")).refusal()
                == "unavailable: \(directory("none")): cannot be opened: No such file or directory")
    }

    @Test func aCopyStandsForTheBottomLayer() async throws {
        try chain()
        try directory.raw("copy", "abcd")
        try await Move(directory, "top").over("copy").run()
        #expect(try held() == "x-xx")
        #expect(try directory.picture(of: "out") == "eb.f")
        #expect(try backingName() == directory("copy"))
    }

    @Test(arguments: [("zbcd", 0), ("abzd", 4096), ("abc.", 6144)])
    func aBackingFileWithOtherBytesIsRefused(picture: String, sector: Int) async throws {
        try chain()
        try directory.raw("copy", picture)
        let move = try Move(directory, "top").over("copy")
        let text =
            "badData: \(directory("copy")): differs from \(directory("base")) at sector \(sector); expected a backing file with the same bytes (-B)"
        #expect(await move.refusal() == text)
        #expect(try directory.names == ["base", "copy", "middle", "top"])
        #expect(await move.changed { ($0.policy.force, $0.policy.restart) = (true, true) }.refusal() == text)
    }

    @Test func aShorterBackingFileIsTheSameWhereOnlyZerosAreMissing() async throws {
        try directory.raw("base", "ab..")
        try directory.cow("top", over: "base", "-c--")
        try directory.raw("copy", "ab")
        try await Move(directory, "top").over("copy", .qemuV2).run()
        #expect(try directory.picture(of: "out") == "ac..")
    }

    @Test func aCopyThatDroverMadeIsProvenByItsManifestWithoutBeingRead() async throws {
        try chain()
        // What was written a moment ago proves nothing.
        try await Move(directory, "base", to: "copy").changed { $0.options.settles = true }.run()
        // Somebody who reads would find this.
        try FileChanges.writeUnnoticed(
            [UInt8](repeating: 0x7a, count: 1 << 20), to: directory("copy"), at: 1 << 20)
        try await Move(directory, "top").over("copy").run()
        #expect(try directory.picture(of: "out") == "ez.f")
    }

    @Test func aManifestIsNoProofOnceTheCopyOrItsSourceChanged() async throws {
        try chain()
        try directory.cow("flat", over: "base", "----")
        try await Move(directory, "base", to: "copy").run()
        try FileChanges.write([UInt8](repeating: 0x7a, count: 1 << 20), to: directory("copy"), at: 1 << 20)
        #expect(
            await (try Move(directory, "top").over("copy")).refusal().contains("at sector 2048; expected"))
        // A base that was written to after it was copied: its overlays are told to go on although
        // its time changed.
        try await Move(directory, "base", to: "copy").changed { $0.policy.force = true }.run()
        try FileChanges.write([UInt8](repeating: 0x79, count: 1 << 20), to: directory("base"), at: 2 << 20)
        let move = try Move(directory, "flat").over("copy", .qemuV2).changed { $0.options.ignoreMtime = true }
        #expect(await move.refusal().contains("at sector 4096; expected"))
    }

    @Test func aManifestOfAnotherSourceIsNoProof() async throws {
        try chain()
        try directory.raw("other", "abzd")
        try await Move(directory, "other", to: "copy").run()
        #expect(
            await (try Move(directory, "top").over("copy")).refusal().contains("at sector 4096; expected"))
    }

    @Test func anUnfinishedManifestIsNoProof() async throws {
        try chain()
        let copy = try Move(directory, "base", to: "copy")
        try await copy.run()
        try copy.interrupt(keeping: [0, 1, 2, 3])
        try FileChanges.rename(copy.partial, to: copy.target)
        try FileChanges.writeUnnoticed([UInt8](repeating: 0x7a, count: 1 << 20), to: copy.target, at: 1 << 20)
        #expect(
            await (try Move(directory, "top").over("copy")).refusal().contains("at sector 2048; expected"))
    }

    @Test func whatTheOptionsSayOfTheSourceIsNotSaidOfTheBackingFile() async throws {
        try directory.raw("base", "abcd")
        try directory.cow("top", .qemuV2, over: "base", "--e-")
        try directory.raw("floor", "a.cd")
        try directory.cow("copy", .umlV3, over: directory("floor").string, "-b--")
        let move = try Move(directory, "top").over("copy", .qemuV2).changed {
            $0.options.format = .cow(.qemuV2)
        }
        #expect(try await move.run() == .moved(resumed: 0, hasChanged: false))
        #expect(try directory.picture(of: "out") == "abed")
    }

    @Test func theFormatOfTheSourcesBackingFileIsNotThatOfTheNamedOnes() async throws {
        try chain()
        // --backing-format says what `middle` is, and nothing of what `middle` stands on.
        let move = try Move(directory, "top").over("middle", .qemuV2).changed {
            $0.options.backingFormat = .cow(nil)
        }
        #expect(try await move.run() == .moved(resumed: 0, hasChanged: false))
        #expect(try directory.picture(of: "out") == "eb.f")
    }

    @Test func qemuLayoutsKeepARelativeNameThatMeansTheSameFileFromTheTarget() throws {
        try directory.raw("base", "a")
        #expect(OverlayPlan.name(of: "nowhere/base", from: directory("out"), .asGiven).isAbsolute)
        #expect(
            OverlayPlan.name(of: directory("base"), from: directory("out"), .asGiven)
                == directory("base"))
        #expect(OverlayPlan.name(of: "base", from: directory("out"), .absolute).isAbsolute)
    }

    @Test func anImageWithoutABackingFileMayBecomeAnOverlayOfItsCopy() async throws {
        try directory.raw("base", "ab")
        try directory.raw("copy", "ab")
        try await Move(directory, "base").over("copy").run()
        #expect(try held() == "--")
        #expect(try directory.picture(of: "out") == "ab")
    }
}
