import DiskImages
import ImageFormats
import Linux
import SystemPackage
import TestSupport
import Testing

@testable import Manifests
@testable import Migration
@testable import Stages

/// A conversion in a directory of its own, with segments of 1 MiB: what the tests ask for, and what
/// an interruption leaves behind.
struct Move {
    let directory: TemporaryDirectory
    var request: ConversionRequest
    var options = MoveOptions(workers: WorkerSlots(limit: 2))

    /// Asks to convert `source` to `target`, both names in `directory`.
    init(
        _ directory: TemporaryDirectory, _ source: String, to target: String = "out",
        as format: any FormatChoice = RawChoice()
    ) throws {
        self.directory = directory
        request = ConversionRequest(
            source: directory(source), options: ChainOptions(location: try BackingLocation()),
            target: directory(target), format: format)
        request.segmentLength = 1 << 20
    }

    /// Asks for an overlay of `backing` instead.
    func over(_ backing: String, _ layout: CowLayout = .umlV3) -> Move {
        changed {
            $0.backing = BackingRequest(directory(backing), like: $0.options)
            $0.format = CowChoice(layout)
        }
    }

    /// The same move with other options.
    func changed(_ change: (inout ConversionRequest) -> Void) -> Move {
        var move = self
        change(&move.request)
        return move
    }

    var target: FilePath { request.target }
    var partial: FilePath { TargetFile.partialPath(of: target) }
    var manifest: FilePath { ManifestFile.path(of: target) }

    /// Does it.
    @discardableResult
    func run(_ progress: Progress = Progress(isShown: false), stop: StopFlag = StopFlag()) async throws
        -> MoveResult
    {
        var options = options
        (options.progress, options.stop) = (progress, stop)
        return try await Conversion(request).run(options) { _ in }
    }

    /// Kind and text of the error that running it ends with.
    func refusal(stop: StopFlag = StopFlag()) async -> String {
        do { return "no error: \(try await run(stop: stop))" } catch { return describe(error) }
    }

    /// What the target's manifest says.
    var recorded: ManifestContents { get throws { try #require(try ManifestFile.read(of: target)) } }

    /// Turns a finished move into one that died: the target has its staging name, and the manifest
    /// says no more than that the segments that begin at `kept` segments are done.
    func interrupt(keeping kept: [UInt64]) throws {
        let manifest = try ManifestFile(of: target)
        let found = try manifest.load()
        try manifest.forget()
        try manifest.begin(try #require(found.job))
        for segment in found.segments where kept.contains(segment.start / 2048) {
            try manifest.append(segment)
        }
        try FileChanges.rename(target, to: partial)
    }
}

/// Kind and text of an error that a person would see.
func describe(_ error: any Error) -> String {
    let text = (error as? any Advising)?.line ?? "\(error)"
    return switch error {
    case let error as MigrationError: "\(error.kind): \(text)"
    case let error as DiskImageError: "\(error.kind): \(text)"
    default: text
    }
}

/// Kind and text of the error that `body` throws.
func refusal(_ body: () throws -> Void) -> String {
    do {
        try body()
        return "no error"
    } catch {
        return describe(error)
    }
}

/// Runs `body` on `count` random chains; what goes wrong in a round names the seed, the round and
/// the chain.
func onRandomChains(
    _ count: Int, test: StaticString = #function,
    _ body: (TemporaryDirectory, ModelChain, ImageChain, inout SplitMix64, Comment) async throws -> Void
) async throws {
    let seed = TestSeed(for: test)
    for round in 0..<count {
        var generator = seed.generator(round: round)
        let directory = try TemporaryDirectory()
        let model = try ModelChain.random(in: directory.path, using: &generator)
        let comment: Comment = "\(seed), round \(round): \(model)"
        do {
            let chain = try ImageChain.open(model.path, ChainOptions(location: try BackingLocation()))
            try await body(directory, model, chain, &generator, comment)
        } catch {
            Issue.record("\(error); \(comment)")
            return
        }
    }
}
