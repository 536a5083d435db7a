import DiskImages
import SystemPackage
import TestSupport
import Testing

@testable import Serving

/// A disk that is served, against a model that asks every sector by itself.
struct ServedDiskTests {
    private func onRandomChains(
        _ count: Int, _ body: (ModelChain, ServedDisk, inout SplitMix64, Comment) throws -> Void
    ) throws {
        let seed = TestSeed()
        for round in 0..<count {
            var generator = seed.generator(round: round)
            let directory = try TemporaryDirectory()
            let model = try ModelChain.random(in: directory.path, using: &generator)
            let file = try ServedFile(ServingOptions(file: model.path, location: try BackingLocation()))
            try body(model, file.disk(called: "any"), &generator, "\(seed), round \(round): \(model)")
        }
    }

    /// A stretch of a disk of `length` bytes, whatever its sectors.
    private func range(_ length: UInt64, using generator: inout SplitMix64) -> Range<UInt64> {
        let start = UInt64.random(in: 0..<length, using: &generator)
        let longest = min(length - start, generator.chance(1, in: 3) ? 600 : 100_000)
        return start..<start + UInt64.random(in: 1...longest, using: &generator)
    }

    @Test func anyBytesAreWhatTheModelHasThere() throws {
        try onRandomChains(20) { model, disk, generator, comment in
            let bytes = model.guestBytes
            #expect(disk.length == UInt64(bytes.count), comment)
            for _ in 0..<60 {
                let range = range(disk.length, using: &generator)
                var found = [UInt8](repeating: 0xee, count: range.count)
                try found.withUnsafeMutableBytes { try disk.read(at: range.lowerBound, into: $0) }
                #expect(found == Array(bytes[Int(range.lowerBound)..<Int(range.upperBound)]), comment)
            }
        }
    }

    @Test func extentsBeginWhereTheyAreAskedForAndCoverIt() throws {
        try onRandomChains(20) { model, disk, generator, comment in
            let bytes = model.guestBytes
            for _ in 0..<20 {
                let range = range(disk.length, using: &generator)
                var position = range.lowerBound
                try disk.extents(in: range) { extent, isZero in
                    #expect(extent.lowerBound == position && !extent.isEmpty, comment)
                    position = extent.upperBound
                    if isZero {
                        let part = bytes[Int(extent.lowerBound)..<Int(extent.upperBound)]
                        #expect(part.allSatisfy { $0 == 0 }, comment)
                    }
                    return true
                }
                #expect(position == range.upperBound, comment)
            }
        }
    }

    @Test func oneExtentIsEnoughForWhoWantsOne() throws {
        try onRandomChains(3) { _, disk, _, comment in
            var count = 0
            try disk.extents(in: 0..<disk.length) { _, _ in
                count += 1
                return false
            }
            #expect(count == 1, comment)
        }
    }

    @Test func whatChangedWhileItIsServedIsNotReadAny() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path.appending("disk.raw")
        try SparseFile.write([UInt8](repeating: 7, count: 4096), to: path)
        let disk = try ServedFile(ServingOptions(file: path, location: try BackingLocation())).disk(
            called: "")
        try SparseFile.write([UInt8](repeating: 8, count: 8192), to: path)
        var bytes = [UInt8](repeating: 0, count: 512)
        let line = refusal { try bytes.withUnsafeMutableBytes { try disk.read(at: 0, into: $0) } }
        #expect(line.contains("changed while it was read"))
    }
}
