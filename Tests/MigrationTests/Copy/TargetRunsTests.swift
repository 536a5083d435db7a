import DiskImages
import ImageFormats
import SystemPackage
import TestSupport
import Testing

@testable import Migration

/// What becomes of each stretch of a source, with 4 KiB for each character of a picture.
struct HeldRunsTests {
    private let directory = try! TemporaryDirectory()
    private static let unit = 4096

    private func chain(_ name: String) throws -> ImageChain {
        try ImageChain.open(directory(name), ChainOptions(location: try BackingLocation()))
    }

    /// The runs as text: the layer's number for data, `z` for zeros that are held, `b` for what the
    /// backing file answers; one character a unit, `|` between runs.
    private func runs(_ name: String, _ holding: CopyScope) throws -> String {
        var runs = TargetRuns(try chain(name), holding)
        var pieces: [String] = []
        var position: UInt64 = 0
        while let run = try runs.next() {
            #expect(run.start == position)
            position = run.end
            let character =
                switch run.kind {
                case .data(let layer, _, _): "\(layer)"
                case .zero: "z"
                case .backing: "b"
                }
            pieces.append(String(repeating: character, count: Int(run.end - run.start) / HeldRunsTests.unit))
        }
        return pieces.joined(separator: "|")
    }

    private func overlays() throws {
        try directory.raw("base", "aaa..aaaaa", unit: HeldRunsTests.unit)
        try directory.cow("middle", over: "base", "--b-.", unit: HeldRunsTests.unit)
        try directory.cow("top", over: "middle", "c---.-----", unit: HeldRunsTests.unit)
    }

    @Test func aFlattenedTargetHoldsAllDataAndTheRestIsZeros() throws {
        try overlays()
        #expect(try runs("top", .everything(marks: false)) == "0|2|1|zzzzzzz")
        #expect(try runs("top", .everything(marks: true)) == "0|2|1|zzzzzzz")
    }

    @Test func anOverlayHoldsWhatTheLayersAboveItsBackingFileHold() throws {
        try overlays()
        #expect(try runs("top", .above(depth: 1, backingLength: 5 * 4096)) == "0|bbb|z|bbbbb")
    }

    @Test func whatAShortMiddleLayerHidesIsHeldAsZeros() throws {
        try overlays()
        #expect(try runs("top", .above(depth: 2, backingLength: 10 * 4096)) == "0|b|1|b|zzzzzz")
    }

    @Test func piecesThatAreHeldInPartAreHeldWhole() throws {
        try overlays()
        let holding = CopyScope.above(depth: 1, backingLength: 5 * 4096, unit: 4 * 4096)
        #expect(try runs("top", holding) == "0|2|1|zzzzz|bb")
        try directory.raw("flat", "aaaaaaaaa.", unit: HeldRunsTests.unit)
        try directory.cow("over", over: "flat", "-----.----", unit: HeldRunsTests.unit)
        let over = CopyScope.above(depth: 1, backingLength: 10 * 4096, unit: 4 * 4096)
        #expect(try runs("over", over) == "bbbb|1|z|11|bb")
    }

    @Test func whatIsHeldWholeIsNotCompleted() throws {
        try directory.raw("base", "aaaaaaaaaaaa", unit: HeldRunsTests.unit)
        try directory.cow("top", over: "base", "----bbbb----", unit: HeldRunsTests.unit)
        #expect(
            try runs("top", .above(depth: 1, backingLength: 12 * 4096, unit: 4 * 4096)) == "bbbb|0000|bbbb")
    }

    @Test func pastTheBackingFilesEndNothingNeedBeHeld() throws {
        try directory.raw("base", "aaa", unit: HeldRunsTests.unit)
        try directory.cow("top", over: "base", "b---.--", unit: HeldRunsTests.unit)
        #expect(try runs("top", .above(depth: 1, backingLength: 3 * 4096)) == "0|bbb|z|bb")
    }

    @Test func hiddenDataEndsWhereTheBackingFileDoes() throws {
        try directory.raw("base", "aaaa", unit: HeldRunsTests.unit)
        try directory.cow("middle", over: "base", "--", unit: HeldRunsTests.unit)
        try directory.cow("top", over: "middle", "------", unit: HeldRunsTests.unit)
        #expect(try runs("top", .above(depth: 2, backingLength: 4 * 4096)) == "bb|zz|bb")
    }

    @Test func dataAndItsOffsetsComeFromTheLayerThatHasThem() throws {
        try overlays()
        var runs = TargetRuns(try chain("top"), .everything(marks: false))
        let layers = try chain("top").layers
        let expected = [
            TargetRun(
                start: 0, end: 4096,
                kind: .data(layer: 0, offset: layers[0].header?.geometry.dataOffset ?? 0, isEncoded: false)
            ),
            TargetRun(start: 4096, end: 8192, kind: .data(layer: 2, offset: 4096, isEncoded: false)),
            TargetRun(
                start: 8192, end: 12_288,
                kind: .data(
                    layer: 1, offset: 8192 + (layers[1].header?.geometry.dataOffset ?? 0), isEncoded: false)),
        ]
        for run in expected { #expect(try runs.next() == run) }
    }

    @Test func dataIsCountedInAllAndWithinRanges() throws {
        try overlays()
        let chain = try chain("top")
        #expect(try chain.countData(.everything(marks: false), in: []) == (3 * 4096, 0))
        #expect(
            try chain.countData(.everything(marks: false), in: [0..<2048, 4096..<9000]) == (
                3 * 4096, 2048 + 4096 + 808
            ))
        #expect(
            try chain.countData(.above(depth: 1, backingLength: 5 * 4096), in: [0..<40_960]) == (4096, 4096))
    }
}

/// Random chains against a model that asks every sector by itself.
struct RandomHeldRunsTests {
    @Test func aFlattenedTargetTakesEverySectorFromWhereTheModelHasIt() async throws {
        try await onRandomChains(80) { _, model, chain, _, comment in
            try forEachSector(of: chain, .everything(marks: false), comment) { number, kind in
                let sector = model.sector(number)
                switch kind {
                case .data(let layer, let offset, _): return layer == sector.depth && offset == sector.offset
                case .zero: return !sector.isWritten && sector.bytes.allSatisfy { $0 == 0 }
                case .backing: return false
                }
            }
        }
    }

    @Test func anOverlayAndItsBackingFileShowWhatTheChainShows() async throws {
        try await onRandomChains(120) { _, model, chain, generator, comment in
            guard model.layers.count > 1 else { return }
            let depth = Int.random(in: 1..<model.layers.count, using: &generator)
            let backing = ModelChain(layers: Array(model.layers[depth...]))
            let holding = CopyScope.above(depth: depth, backingLength: chain.layers[depth].guestLength)
            try forEachSector(of: chain, holding, comment) { number, kind in
                let sector = model.sector(number)
                let below =
                    number < backing.sectorCount
                    ? backing.sector(number).bytes : [UInt8](repeating: 0, count: 512)
                let isHeldAbove = sector.isPresent && sector.depth < depth
                // Hidden by a short layer: the backing file must not answer, although no layer
                // above it does.
                let isHidden = !sector.isPresent && sector.depth < depth && number < backing.sectorCount
                switch kind {
                case .data(let layer, let offset, _):
                    return isHeldAbove && layer == sector.depth && offset == sector.offset
                case .zero:
                    return (isHeldAbove && !sector.isWritten || isHidden)
                        && sector.bytes.allSatisfy { $0 == 0 }
                case .backing: return !isHeldAbove && !isHidden && below == sector.bytes
                }
            }
        }
    }

    @Test func piecesAreHeldWholeOrNotAtAllAndNoSectorIsLost() async throws {
        try await onRandomChains(120) { _, model, chain, generator, comment in
            guard model.layers.count > 1 else { return }
            let depth = Int.random(in: 1..<model.layers.count, using: &generator)
            let backing = ModelChain(layers: Array(model.layers[depth...]))
            let unit = UInt64(512 << Int.random(in: 1...7, using: &generator))
            let holding = CopyScope.above(
                depth: depth, backingLength: chain.layers[depth].guestLength, unit: unit)
            var isHeld: [UInt64: Bool] = [:]
            try forEachSector(of: chain, holding, comment) { number, kind in
                let sector = model.sector(number)
                let below =
                    number < backing.sectorCount
                    ? backing.sector(number).bytes : [UInt8](repeating: 0, count: 512)
                let piece = number * 512 / unit
                defer { isHeld[piece] = kind != .backing }
                guard isHeld[piece, default: kind != .backing] == (kind != .backing) else { return false }
                switch kind {
                case .data(let layer, let offset, _):
                    return layer == sector.depth && offset == sector.offset
                case .zero: return sector.bytes.allSatisfy { $0 == 0 }
                case .backing: return below == sector.bytes
                }
            }
        }
    }

    /// Asks `isRight` about every sector: its number and what becomes of it.
    private func forEachSector(
        of chain: ImageChain, _ holding: CopyScope, _ comment: Comment,
        _ isRight: (UInt64, TargetRun.Kind) -> Bool
    ) throws {
        var runs = TargetRuns(chain, holding)
        var next: UInt64 = 0
        var last: TargetRun.Kind?
        while let run = try runs.next() {
            try #require(run.start == next && run.end > run.start, comment)
            next = run.end
            for number in run.start / 512..<run.end / 512 {
                var kind = run.kind
                if case .data(let layer, let offset, _) = kind {
                    kind = .data(layer: layer, offset: offset + number * 512 - run.start, isEncoded: false)
                }
                try #require(isRight(number, kind), "sector \(number) is \(kind); \(comment)")
            }
            if run.kind == .zero || run.kind == .backing {
                try #require(run.kind != last, "two runs for one; \(comment)")
            }
            last = run.kind
        }
        #expect(next == chain.guestLength, comment)
    }
}
