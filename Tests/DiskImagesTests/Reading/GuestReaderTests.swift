import ImageFormats
import TestSupport
import Testing

@testable import DiskImages

/// A guest's disk read anywhere, against a model that asks every sector by itself.
struct GuestReaderTests {
    private func onRandomChains(
        _ count: Int, _ body: (ModelChain, GuestReader, inout SplitMix64, Comment) async throws -> Void
    ) async throws {
        let seed = TestSeed()
        for round in 0..<count {
            var generator = seed.generator(round: round)
            let directory = try TemporaryDirectory()
            let model = try ModelChain.random(in: directory.path, using: &generator)
            let chain = try ImageChain.open(model.path, ChainOptions(location: try BackingLocation()))
            try await body(model, GuestReader(chain), &generator, "\(seed), round \(round): \(model)")
        }
    }

    private func read(_ reader: GuestReader, _ range: Range<UInt64>) throws -> [UInt8] {
        let buffer = try AlignedBuffer(capacity: max(1, range.count))
        let bytes = UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[..<range.count])
        bytes.initializeMemory(as: UInt8.self, repeating: 0xee)
        try reader.read(at: range.lowerBound, into: bytes)
        return Array(bytes)
    }

    /// Whole sectors of a disk of `length` bytes, and of what is behind it.
    private func range(_ length: UInt64, using generator: inout SplitMix64) -> Range<UInt64> {
        let start = UInt64.random(in: 0...length / 512 + 20, using: &generator)
        let count = UInt64.random(in: 0...400, using: &generator)
        return start * 512..<(start + count) * 512
    }

    @Test func anyRangeIsWhatTheModelHasThere() async throws {
        try await onRandomChains(30) { model, reader, generator, comment in
            let disk = model.guestBytes + [UInt8](repeating: 0, count: 512 * 500)
            for _ in 0..<40 {
                let range = range(reader.length, using: &generator)
                let found = try read(reader, range)
                #expect(found == Array(disk[Int(range.lowerBound)..<Int(range.upperBound)]), comment)
            }
        }
    }

    @Test func manyThreadsReadAtOnce() async throws {
        try await onRandomChains(6) { model, reader, generator, comment in
            let disk = model.guestBytes + [UInt8](repeating: 0, count: 512 * 500)
            let ranges = (0..<200).map { _ in range(reader.length, using: &generator) }
            try await withThrowingTaskGroup(of: Bool.self) { group in
                for part in 0..<8 {
                    group.addTask {
                        try ranges[part * 25..<part * 25 + 25].allSatisfy {
                            try read(reader, $0) == Array(disk[Int($0.lowerBound)..<Int($0.upperBound)])
                        }
                    }
                }
                for try await isRight in group { #expect(isRight, comment) }
            }
        }
    }

    @Test func theExtentsOfARangeFollowOneAnotherAndEndWithIt() async throws {
        try await onRandomChains(30) { model, reader, generator, comment in
            for _ in 0..<20 {
                let range = range(reader.length, using: &generator)
                var extents = reader.extents(in: range)
                var position = range.lowerBound
                while let extent = try extents.next() {
                    #expect(extent.start == position && extent.length > 0, comment)
                    position = extent.end
                    guard extent.isZero else { continue }
                    #expect(try read(reader, extent.start..<extent.end).allSatisfy { $0 == 0 }, comment)
                }
                #expect(position == max(range.lowerBound, range.upperBound), comment)
            }
        }
    }
}
