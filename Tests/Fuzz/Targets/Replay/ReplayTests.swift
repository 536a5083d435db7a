import Foundation
import Testing

/// Every seed and every find of the fuzzer, without its instrumentation: what was mended once stays
/// mended. One after the other: the targets share their files in memory.
@Suite(.serialized)
struct ReplayTests {
    private static let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../..")
        .standardized

    /// The inputs kept for `target`.
    private static func inputs(_ target: FuzzTarget) throws -> [URL] {
        try ["Corpus", "Finds"].flatMap { kind in
            let place = folder.appending(path: "\(kind)/\(target.rawValue)")
            guard FileManager.default.fileExists(atPath: place.path()) else { return [URL]() }
            return try FileManager.default.contentsOfDirectory(at: place, includingPropertiesForKeys: nil)
        }
    }

    @Test func replaysEverySeedAndEveryFind() async throws {
        for target in FuzzTarget.allCases {
            let inputs = try Self.inputs(target)
            #expect(!inputs.isEmpty, "there are no seeds for \(target)")
            for input in inputs {
                let bytes = try [UInt8](Data(contentsOf: input))
                await #expect(throws: Never.self, "\(target): \(input.lastPathComponent)") {
                    try await Self.run(target, bytes)
                }
            }
        }
    }

    /// In a thread of its own, as libFuzzer does it: a target may wait for tasks, which need those
    /// of the pool.
    private static func run(_ target: FuzzTarget, _ bytes: [UInt8]) async throws {
        try await withCheckedThrowingContinuation { (done: CheckedContinuation<Void, any Error>) in
            Thread { done.resume(with: Result { try target.run(bytes) }) }.start()
        }
    }

    /// A surgery that changes nothing leaves an archive as it was; otherwise the mutator would
    /// never get behind a digest.
    @Test func putsASoundArchiveTogetherAgainByteForByte() throws {
        for input in try Self.inputs(.archive) where input.path().contains("/Corpus/") {
            let bytes = try [UInt8](Data(contentsOf: input))
            let surgery = try #require(ArchiveSurgery(bytes))
            #expect(surgery.mended() == bytes)
            #expect(surgery.parts.last?.kind == UInt8(ascii: "T"))
        }
    }

    /// With digests made right again, another name in the header is another name, and no damage.
    @Test func makesAChangedArchiveSoundAgain() throws {
        let bytes = try [UInt8](Data(contentsOf: Self.folder.appending(path: "Corpus/archive/chains")))
        var surgery = try #require(ArchiveSurgery(bytes))
        let changed = String(decoding: surgery.parts[0].body, as: UTF8.self).replacingOccurrences(
            of: "web/01", with: "web/02")
        surgery.parts[0].body = Array(changed.utf8)
        #expect(try ArchiveTarget.isSound(surgery.mendedWithIndex()))
        #expect(try !ArchiveTarget.isSound(surgery.mended()), "the index has a copy of the header")
    }

    /// Records of other kinds than they were written as are of other lengths, too.
    @Test(arguments: Array("HRXIT\0".utf8))
    func putsAnArchiveTogetherWhateverItsRecordsClaimToBe(kind: UInt8) throws {
        let surgery = try #require(
            ArchiveSurgery([UInt8](Data(contentsOf: Self.folder.appending(path: "Corpus/archive/chains")))))
        for place in surgery.parts.indices {
            var changed = surgery
            changed.parts[place].kind = kind
            let again = try #require(ArchiveSurgery(changed.mendedWithIndex()))
            // Tables are made anew.
            let (found, expected) = (again.parts.map(\.kind), changed.parts.map(\.kind))
            let table = UInt8(ascii: "X")
            #expect(found.filter { $0 != table } == expected.filter { $0 != table })
        }
    }
}
