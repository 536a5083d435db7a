import DiskImages
import ImageFormats
import Linux
import SystemPackage
import TestSupport
import Testing

@testable import Migration
@testable import Stages

/// Random chains converted and read again.
struct RandomConversionTests {
    private func guestBytes(_ path: FilePath) throws -> [UInt8] {
        try ImageChain.open(path, ChainOptions(location: try BackingLocation())).guestBytes
    }

    @Test func aFlattenedImageShowsWhatTheChainShows() async throws {
        try await onRandomChains(25) { directory, model, _, generator, comment in
            for (name, format) in [
                ("raw", RawChoice() as any FormatChoice), ("cow", CowChoice(.qemuV2)),
            ] {
                let zeroRun = [0, 512, 4096, 65_536].randomElement(using: &generator) ?? 0
                let move = try Move(directory, "layer0", to: name, as: format).changed {
                    $0.shortestZeroRun = zeroRun
                }
                try await move.run()
                let shown = try guestBytes(move.target)
                #expect(shown == model.guestBytes, "-S \(zeroRun); \(comment)")
                try await verify(move, comment)
            }
        }
    }

    @Test func anOverlayOfAnyLayerShowsWhatTheChainShows() async throws {
        try await onRandomChains(40) { directory, model, chain, generator, comment in
            guard model.layers.count > 1 else { return }
            let depth = Int.random(in: 1..<model.layers.count, using: &generator)
            let backing = chain.layers[depth]
            let isUMLPossible = backing.header == nil && backing.guestLength == chain.guestLength
            let layout =
                (isUMLPossible ? CowLayout.writable : [.qemuV2]).randomElement(using: &generator) ?? .qemuV2
            let zeroRun = [0, 4096].randomElement(using: &generator) ?? 0
            let move = try Move(directory, "layer0").over("layer\(depth)", layout).changed {
                $0.shortestZeroRun = zeroRun
            }
            do {
                try await move.run()
            } catch let error as MigrationError where error.description.contains("has no bits for the last") {
                return
            }
            let shown = try guestBytes(move.target)
            #expect(
                shown == model.guestBytes, "\(layout.rawValue) over layer \(depth), -S \(zeroRun); \(comment)"
            )
            try await verify(move, comment)
        }
    }

    private func verify(_ move: Move, _ comment: Comment) async throws {
        let found = try await Verification(of: move.target).run(
            MoveOptions(
                workers: WorkerSlots(limit: 1), progress: Progress(isShown: false), stop: StopFlag()))
        #expect(found.damage == nil, comment)
    }
}
