import DiskImages
import SystemPackage
import TestSupport
import Testing

@testable import Migration
@testable import Stages

/// The first sector in which two disks differ, with any number of workers.
struct DiskComparisonTests {
    private let directory = try! TemporaryDirectory()

    private func chain(_ name: String) throws -> ImageChain {
        try ImageChain.open(directory(name), ChainOptions(location: try BackingLocation()))
    }

    private func difference(
        _ a: String, _ b: String, workers: Int = 2, _ progress: Progress = Progress(isShown: true)
    ) async throws -> UInt64? {
        let (a, b) = (try chain(a), try chain(b))
        return try await DiskComparison(a, b, length: max(a.guestLength, b.guestLength)).firstDifference(
            named: "a", MoveOptions(workers: WorkerSlots(limit: workers), progress: progress))
    }

    @Test(
        arguments: [
            ("abcd", "abcd", nil), ("abcd", "abce", 3), ("....", "0000", nil), ("a..b", "a.cb", 2),
            ("ab", "ab..", nil), ("ab", "ab.c", 3), ("", "", nil), ("", "a", 0),
        ] as [(String, String, UInt64?)])
    func whatDiffersFirstIsFound(a: String, b: String, place: UInt64?) async throws {
        try directory.raw("a", a)
        try directory.raw("b", b)
        for workers in [1, 2, 4] {
            let progress = Progress(isShown: true)
            #expect(try await difference("a", "b", workers: workers, progress) == place.map { $0 << 20 })
            guard place == nil else { continue }
            #expect(progress.snapshot.covered == progress.snapshot.length)
        }
    }

    @Test func anOverlayIsComparedWithWhatItsGuestSees() async throws {
        try directory.raw("base", "abcd")
        try directory.cow("top", over: "base", "-x--")
        try directory.raw("flat", "axcd")
        #expect(try await difference("top", "flat") == nil)
        #expect(try await difference("top", "base") == 1 << 20)
    }

    @Test func whatBothHaveFromOneFileIsNotRead() async throws {
        try directory.raw("base", "abcd")
        try directory.cow("one", over: "base", "-x--")
        try directory.cow("two", over: "base", "-x--")
        let progress = Progress(isShown: true)
        #expect(try await difference("one", "two", progress) == nil)
        #expect(progress.snapshot.done == 2 << 20)
    }

    @Test func theFirstOfManyDifferencesIsTheOneFound() async throws {
        let seed = TestSeed()
        for round in 0..<40 {
            var generator = seed.generator(round: round)
            var bytes = [UInt8](repeating: 7, count: 3 << 20)
            var file = SparseFile()
            file.put(bytes, at: 0)
            try file.write(to: directory("a"), length: UInt64(bytes.count))
            let places = (0..<Int.random(in: 1...6, using: &generator)).map { _ in
                Int.random(in: 0..<bytes.count, using: &generator)
            }
            for place in places { bytes[place] ^= 1 }
            file = SparseFile()
            file.put(bytes, at: 0)
            try file.write(to: directory("b"), length: UInt64(bytes.count))
            let first = places.filter { place in places.count { $0 == place } % 2 == 1 }.min()
            for workers in [1, 4] {
                let found = try await difference("a", "b", workers: workers)
                #expect(found == first.map { UInt64($0) / 512 * 512 }, "\(seed), round \(round)")
            }
        }
    }

    @Test func aStopIsNoVerdict() async throws {
        try directory.raw("a", "abcd")
        try directory.raw("b", "abcd")
        let stop = StopFlag()
        stop.request()
        let comparison = DiskComparison(try chain("a"), try chain("b"), length: 4 << 20)
        await #expect(throws: MigrationError.self) {
            try await comparison.firstDifference(
                named: "a", MoveOptions(workers: WorkerSlots(limit: 2), stop: stop))
        }
    }
}
