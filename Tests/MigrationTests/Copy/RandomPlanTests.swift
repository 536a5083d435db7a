import DiskImages
import Manifests
import TestSupport
import Testing

@testable import Migration

/// The cut of random chains: what every plan must keep to.
struct RandomPlanTests {
    /// A random way to move a chain.
    private func holding(_ chain: ImageChain, _ generator: inout SplitMix64) -> CopyScope {
        let depth = Int.random(in: 0..<chain.layers.count, using: &generator)
        return depth == 0
            ? .everything(marks: generator.chance(1, in: 2))
            : .above(depth: depth, backingLength: chain.layers[depth].guestLength)
    }

    /// Spans segment by segment, so that plans that cut them differently can be compared.
    private func bySegment(_ plan: [Planned], _ segmentLength: UInt64) -> [String] {
        plan.flatMap { planned in
            guard case .span(let span) = planned else { return ["\(planned)"] }
            return stride(from: span.start, to: span.start + span.length, by: UInt64.Stride(segmentLength))
                .map { start in
                    "span \(start)+\(min(segmentLength, span.start + span.length - start))\(span.isHeld ? " held" : "")"
                }
        }
    }

    @Test func piecesFollowOneAnotherWithoutGapsAndStayInTheirSegments() async throws {
        try await onRandomChains(60) { _, _, chain, generator, comment in
            let segmentLength: UInt64 = [4096, 16_384, 1 << 20].randomElement(using: &generator) ?? 4096
            var planner = ChunkPlanner(
                chain, holding(chain, &generator), segmentLength: segmentLength,
                writesZeros: generator.chance(1, in: 3))
            var position: UInt64 = 0
            while let planned = try planner.next() {
                switch planned {
                case .known: Issue.record(comment)
                case .span(let span):
                    try #require(span.start == position && span.start % segmentLength == 0, comment)
                    position += span.length
                    try #require(position % segmentLength == 0 || position == chain.guestLength, comment)
                case .chunk(let chunk):
                    try #require(
                        chunk.start == position && chunk.length > 0 && chunk.length <= Limits.chunk, comment)
                    position += UInt64(chunk.length)
                    try #require(chunk.segment.start % segmentLength == 0, comment)
                    try #require(chunk.segment.start <= chunk.start && position <= chunk.segment.end, comment)
                    try #require(
                        chunk.segment.end == min(chunk.segment.start + segmentLength, chain.guestLength),
                        comment)
                    // What is read is written, what is written by a bitmap's owner is marked, and
                    // all lies within the chunk.
                    for run in chunk.runs {
                        let range = run.position..<run.position + run.length
                        try #require(
                            chunk.written.contains {
                                $0.lowerBound <= range.lowerBound && range.upperBound <= $0.upperBound
                            }, comment)
                    }
                    for ranges in [chunk.written, chunk.marked] {
                        for (first, second) in zip(ranges, ranges.dropFirst()) {
                            try #require(first.upperBound < second.lowerBound, comment)
                        }
                        try #require(
                            ranges.allSatisfy { !$0.isEmpty && $0.upperBound <= chunk.length }, comment)
                    }
                }
            }
            #expect(position == chain.guestLength, comment)
        }
    }

    @Test func theCutDoesNotDependOnWhatIsFinished() async throws {
        try await onRandomChains(80) { _, _, chain, generator, comment in
            let segmentLength: UInt64 = [4096, 16_384, 65_536].randomElement(using: &generator) ?? 4096
            let holding = holding(chain, &generator)
            let writesZeros = generator.chance(1, in: 3)
            var planner = ChunkPlanner(chain, holding, segmentLength: segmentLength, writesZeros: writesZeros)
            let whole = bySegment(try planner.all(), segmentLength)
            // Any segments may be finished already, and neighbours are told as one range.
            var left: [String] = []
            var finished: [Range<UInt64>] = []
            for (index, piece) in whole.enumerated() {
                let range =
                    UInt64(index) * segmentLength..<min(UInt64(index + 1) * segmentLength, chain.guestLength)
                guard generator.chance(1, in: 2) else {
                    left.append(piece)
                    continue
                }
                if let last = finished.last, last.upperBound == range.lowerBound {
                    finished[finished.count - 1] = last.lowerBound..<range.upperBound
                } else {
                    finished.append(range)
                }
            }
            planner = ChunkPlanner(
                chain, holding, segmentLength: segmentLength, writesZeros: writesZeros, finished: finished)
            #expect(bySegment(try planner.all(), segmentLength) == left, "\(finished); \(comment)")
        }
    }

    @Test func holesAreNeverRead() async throws {
        try await onRandomChains(60) { _, model, chain, generator, comment in
            var planner = ChunkPlanner(
                chain, holding(chain, &generator), segmentLength: 16_384,
                writesZeros: generator.chance(1, in: 2))
            for case .chunk(let chunk) in try planner.all() {
                for run in chunk.runs {
                    // A file system keeps whole blocks, and a small alignment lets a sector lie in
                    // two of them.
                    for sector in stride(from: Int(run.offset), to: Int(run.offset) + run.length, by: 512) {
                        let path = model.layers[run.layer].path
                        let isHole =
                            try FileChanges.isHole(path, at: sector)
                            && FileChanges.isHole(path, at: sector + 511)
                        try #require(!isHole, "layer \(run.layer) offset \(sector); \(comment)")
                    }
                }
            }
        }
    }
}
