import DiskImages
import ImageFormats
import SystemPackage
import TestSupport
import Testing

@testable import Migration

/// A base that overlays will name.
struct BaseConversionTests {
    private let directory = try! TemporaryDirectory()

    @Test func isAsLongAndAsOldAsItsSource() async throws {
        let bytes = [UInt8](repeating: 0x61, count: (1 << 20) + 700)
        try SparseFile.write(bytes, to: directory("base"))
        let source = try #require(try ImageFile.identity(at: directory("base")))
        let move = try Move(directory, "base").changed { $0.asBase = true }
        try await move.run()
        #expect(try FileChanges.bytes(of: move.target) == bytes)
        #expect(try ImageFile.identity(at: move.target)?.mtime == source.mtime)
        #expect(try await move.run() == .upToDate)
        let found = try await Verification(of: move.target).run(
            workers: WorkerSlots(limit: 1), rate: nil, progress: Progress(isShown: false), stop: StopFlag())
        #expect(found.damage == nil)
    }

    @Test func isAnotherJobThanAPlainConversion() async throws {
        try directory.raw("base", "ab")
        let move = try Move(directory, "base")
        try await move.run()
        #expect(await move.changed { $0.asBase = true }.refusal() == "target: \(move.target): exists (--force replaces it)")
    }

    @Test func anOverlayCanStandOnItWithoutReadingBoth() async throws {
        try directory.raw("base", "abc")
        try directory.cow("top", .umlV3, over: directory("base").string, "-x-")
        try await Move(directory, "base", to: "moved").changed { $0.asBase = true }.run()
        let move = try Move(directory, "top").over("moved")
        try await move.run()
        #expect(try directory.picture(of: "out") == "axc")
        #expect(try move.recorded.segments.map(\.kind).contains("backing"))
    }
}
