import DiskImages
import ImageFormats
import SystemPackage
import TestSupport
import Testing

@testable import Manifests
@testable import Migration
@testable import Stages

/// A target read again and held against its manifest.
struct VerificationTests {
    private let directory = try! TemporaryDirectory()

    /// A raw target of eight segments and part of a ninth.
    private func rawTarget() async throws -> FilePath {
        try directory.raw("base", "ab..c.00d")
        try FileChanges.truncate(directory("base"), to: (8 << 20) + 5 * 512)
        let move = try Move(directory, "base")
        try await move.run()
        return move.target
    }

    /// An overlay of four segments.
    private func overlay(_ layout: CowLayout = .umlV3) async throws -> FilePath {
        try directory.raw("floor", "abcd")
        try directory.cow("top", over: "floor", "-e.-")
        let move = try Move(directory, "top", to: "overlay").over("floor", layout)
        try await move.run()
        return move.target
    }

    private func verify(_ path: FilePath) async throws -> Verification.Finding {
        try await Verification(of: path).run(
            MoveOptions(
                workers: WorkerSlots(limit: 2), progress: Progress(isShown: true), stop: StopFlag()))
    }

    private func layer(_ path: FilePath) throws -> ImageLayer {
        try ImageChain.open(path, ChainOptions(location: try BackingLocation())).top
    }

    private static let rawLength: UInt64 = (8 << 20) + 5 * 512

    @Test func aSoundTargetIsFoundSound() async throws {
        let length = VerificationTests.rawLength
        #expect(
            try await verify(rawTarget())
                == Verification.Finding(damage: nil, notRestored: [], intact: length, length: length))
        #expect(
            try await verify(overlay())
                == Verification.Finding(damage: nil, notRestored: [], intact: 4 << 20, length: 4 << 20))
    }

    @Test func anEmptyTargetIsFoundSound() async throws {
        try directory.raw("base", "")
        let move = try Move(directory, "base")
        try await move.run()
        #expect(
            try await verify(move.target)
                == Verification.Finding(damage: nil, notRestored: [], intact: 0, length: 0))
    }

    @Test func aTargetThatLostItsHolesIsSound() async throws {
        for target in [try await rawTarget(), try await overlay()] {
            let bytes = try FileChanges.bytes(of: target)
            try FileChanges.write(bytes, to: target, at: 0)
            #expect(try await verify(target).damage == nil)
        }
    }

    @Test(arguments: [
        (0, 0, 2047), (1 << 20, 2048, 4095), (2 << 20, 4096, 6143), ((6 << 20) + 77, 12_288, 14_335),
        ((8 << 20) + 5 * 512 - 1, 16_384, 16_388),
    ])
    func aFlippedByteIsFoundInItsSegment(offset: Int, first: Int, last: Int) async throws {
        let target = try await rawTarget()
        try FileChanges.flip(target, at: offset)
        let found = try await verify(target)
        #expect(found.damage == "\(target): sectors \(first) to \(last) are not what was written")
        #expect(found.intact < VerificationTests.rawLength)
    }

    @Test func theFirstDamageIsTheOneThatIsNamed() async throws {
        let target = try await rawTarget()
        for offset in [8 << 20, 4 << 20, 1 << 20] { try FileChanges.flip(target, at: offset) }
        #expect(try await verify(target).damage == "\(target): sectors 2048 to 4095 are not what was written")
    }

    @Test func dataThatBecameAHoleIsFound() async throws {
        let target = try await rawTarget()
        try FileChanges.write([UInt8](repeating: 0, count: 1 << 20), to: target, at: 4 << 20)
        #expect(
            try await verify(target).damage == "\(target): sectors 8192 to 10239 are not what was written")
    }

    @Test(arguments: [0, 1, 4 << 20, (8 << 20) + 5 * 512 - 1, (8 << 20) + 6 * 512])
    func anotherLengthIsDamage(length: Int) async throws {
        let target = try await rawTarget()
        try FileChanges.truncate(target, to: length)
        #expect(
            try await verify(target).damage
                == "\(target): its length is \(length) bytes; expected \(VerificationTests.rawLength)")
    }

    @Test(arguments: CowLayout.writable)
    func anyFlippedByteOfTheHeaderIsFound(layout: CowLayout) async throws {
        let target = try await overlay(layout)
        let geometry = try #require(try layer(target).header).geometry
        let seed = TestSeed()
        var generator = seed.generator()
        let fields = Array(0..<48) + Array(1020..<1056) + Array(4090..<4128)
        for offset in fields where offset < geometry.bitmapOffset && generator.chance(1, in: 2) {
            try FileChanges.flip(target, at: offset)
            let damage = try await verify(target).damage
            #expect(
                damage?.contains("its header is") == true, "offset \(offset): \(damage ?? "sound"); \(seed)")
            try FileChanges.flip(target, at: offset)
        }
        #expect(try await verify(target).damage == nil)
    }

    @Test func aDamagedHeaderIsNamed() async throws {
        let target = try await overlay(.umlV3)
        try FileChanges.flip(target, at: 0)
        #expect(
            try await verify(target).damage
                == "\(target): its header is damaged: magic at offset 0 is 0xb04f4f4d; expected 0x4f4f4f4d, the magic number of COW files"
        )
        try FileChanges.flip(target, at: 0)
        try FileChanges.flip(target, at: 40)
        #expect(try await verify(target).damage == "\(target): its header is not the one that was written")
    }

    @Test func aFlippedBitOfAnOverlaysBitmapIsFound() async throws {
        let target = try await overlay()
        let bitmap = Int(try #require(try layer(target).header).geometry.bitmapOffset)
        for segment in 0..<4 {
            try FileChanges.flip(target, at: bitmap + segment * 256 + 3)
            #expect(
                try await verify(target).damage
                    == "\(target): sectors \(segment * 2048) to \(segment * 2048 + 2047) are not what was written"
            )
            try FileChanges.flip(target, at: bitmap + segment * 256 + 3)
        }
    }

    @Test func theBackingFileIsNotReadAndMayBeGone() async throws {
        let target = try await overlay()
        try FileChanges.remove(directory("floor"))
        #expect(try await verify(target).damage == nil)
    }

    @Test func withoutAManifestThereIsNothingToVerifyAgainst() throws {
        let target = try directory.raw("out", "a")
        #expect(
            refusal { _ = try Verification(of: target) }
                == "badData: \(target): there is no \(ManifestFile.path(of: target)) to verify it against")
    }

    @Test func aTargetThatIsGoneIsUnavailable() async throws {
        let target = try await rawTarget()
        try FileChanges.remove(target)
        do {
            let found = try await verify(target)
            Issue.record("\(found)")
        } catch {
            #expect(describe(error) == "unavailable: \(target): cannot be opened: No such file or directory")
        }
    }

    @Test func anUnfinishedMoveIsNotVerified() async throws {
        let target = try await rawTarget()
        try Move(directory, "base").interrupt(keeping: [0, 1])
        #expect(
            refusal { _ = try Verification(of: target) }
                == "badData: \(ManifestFile.path(of: target)): the move is not complete (run it again first)")
    }

    @Test func aManifestWhoseRecordsDoNotAddUpIsDamaged() async throws {
        let target = try await rawTarget()
        let manifest = ManifestFile.path(of: target)
        let text = try FileChanges.text(of: manifest)
        let lines = text.split(separator: "\n")
        let records = lines.indices.filter { lines[$0].contains(#""kind":"data""#) }
        let lost = lines.enumerated().filter { $0.offset != records[1] }.map { $0.element + "\n" }.joined()
        let digest = try #require(lines[records[1]].split(separator: #""digest":""#).last?.prefix(32))
        let changed = text.replacing(digest, with: String(digest.reversed()))
        for damaged in [lost, changed] {
            try SparseFile.write(Array(damaged.utf8), to: manifest)
            #expect(
                refusal { _ = try Verification(of: target) }
                    == "badData: \(manifest): its records do not add up to its last one (the manifest is damaged)"
            )
        }
    }

    @Test func aRequestToStopIsAnError() async throws {
        let verification = try Verification(of: try await rawTarget())
        let stop = StopFlag()
        stop.request()
        do {
            let found = try await verification.run(
                MoveOptions(
                    workers: WorkerSlots(limit: 1), progress: Progress(isShown: false), stop: stop))
            Issue.record("\(found)")
        } catch {
            #expect(describe(error) == "stopped: \(directory("out")): stopped by a signal")
        }
    }
}
