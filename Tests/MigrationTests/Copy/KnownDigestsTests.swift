import DiskImages
import ImageFormats
import Linux
import Stages
import SystemPackage
import TestSupport
import Testing

@testable import Manifests
@testable import Migration

/// What is taken from a base's manifest instead of being read, with 1 MiB for each character of a
/// picture.
struct KnownDigestsTests {
    private let directory = try! TemporaryDirectory()

    /// A base with its manifest, in segments of `length` MiB, and an overlay of it.
    private func chain(_ base: String, _ overlay: String, segments length: UInt64 = 2) async throws
        -> ImageChain
    {
        try directory.raw("original", base, unit: 1 << 20)
        var options = ChainOptions(location: try BackingLocation())
        options.settles = true
        try await Move(directory, "original", to: "base").changed {
            ($0.asBase, $0.segmentLength, $0.options) = (true, length << 20, options)
        }.run()
        try directory.cow("top", .umlV3, over: directory("base").string, overlay, unit: 1 << 20)
        return try ImageChain.open(directory("top"), options)
    }

    private func base(_ chain: ImageChain) throws -> KnownDigests {
        try #require(chain.layers.last.flatMap(KnownDigests.init(beside:)))
    }

    /// What all segments of `length` MiB hold, read.
    private func read(_ chain: ImageChain, segments length: UInt64) async throws -> [UInt64: Outcome] {
        let found = Locked([UInt64: Outcome]())
        let content = ChainContent(
            chain, .everything(marks: false), segmentLength: length << 20, progress: Progress(isShown: false))
        try await CopyPipeline(content, MoveOptions(workers: WorkerSlots(limit: 2))).digest { whole in
            found.withLock {
                for start in stride(
                    from: whole.range.lowerBound, to: whole.range.upperBound, by: Int(length << 20))
                {
                    $0[start] = whole.outcome
                }
            }
        }
        return found.withLock(\.self)
    }

    @Test(arguments: [
        ("aabbccdd", "--------", 1 as UInt64), ("aabbccdd", "--------", 2), ("aab.c..d", "---x----", 4),
        ("aab.c...d", "x------.-", 2), ("a..bccdde", "-x.-x----", 3),
    ])
    func whatIsKnownIsWhatReadingFinds(base: String, overlay: String, segments: UInt64) async throws {
        let chain = try await chain(base, overlay)
        let (whole, single) = (try await read(chain, segments: segments), try await read(chain, segments: 1))
        var planner = ChunkPlanner(
            chain, .everything(marks: false), segmentLength: segments << 20, known: try self.base(chain))
        var (known, position): (Int, UInt64) = (0, 0)
        for planned in try planner.all() {
            switch planned {
            case .chunk(let chunk): position = chunk.start + UInt64(chunk.length)
            case .span(let span): position = span.range.upperBound
            case .known(let stretch):
                #expect(stretch.range.lowerBound == position)
                position = stretch.range.upperBound
                known += 1
                for finished in stretch.finished {
                    switch finished.content {
                    case .whole(let range, let outcome): #expect(outcome == whole[range.lowerBound])
                    case .chunk(let segment, let index, let outcome):
                        let start = segment.start + UInt64(index) << 20
                        var digest = SegmentDigest(Segment(start: start, length: 1 << 20))
                        #expect(digest.add(outcome, at: 0) == single[start])
                    }
                }
            }
        }
        #expect(known > 0 && position == chain.guestLength)
    }

    @Test func onlyWhatIsTheBasesAloneIsShared() async throws {
        let chain = try await chain("abcdefgh", "--x-----")
        var planner = ChunkPlanner(
            chain, .everything(marks: false), segmentLength: 2 << 20, known: try base(chain))
        #expect(
            try planner.all().map { $0.description.prefix { $0 != "," } }
                == ["known 0+512", "chunk 512+256 of 512+512", "known 768+256", "known 1024+1024"])
    }

    @Test func anotherFileOrAChangedOneIsNotKnown() async throws {
        let chain = try await chain("abcd", "----")
        let known = try base(chain)
        try FileChanges.writeUnnoticed([1, 2, 3], to: directory("base"), at: 0)
        #expect(throws: MigrationError.self) { try known.checkStillAbout(chain.layers[1].file) }
        let again = try ImageChain.open(directory("top"), ChainOptions(location: try BackingLocation()))
        #expect(again.layers.last.flatMap(KnownDigests.init(beside:)) == nil)
        #expect(KnownBottom(again, known) == nil)
    }

    @Test func aTargetWithABitmapIsRead() async throws {
        let chain = try await chain("abcd", "----")
        var planner = ChunkPlanner(
            chain, .everything(marks: true), segmentLength: 2 << 20, known: try base(chain))
        #expect(try planner.all().allSatisfy { !$0.description.hasPrefix("known") })
    }
}
