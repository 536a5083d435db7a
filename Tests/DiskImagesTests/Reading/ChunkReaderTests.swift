import SystemPackage
import TestSupport
import Testing

@testable import DiskImages

/// Runs of a chunk are read wherever they lie in their files.
struct ChunkReaderTests {
    private let directory = try! TemporaryDirectory()

    /// Files of 1 MiB in which every eight bytes are their offset.
    private func layers(_ count: Int) throws -> [ImageLayer] {
        try (0..<count).map { number in
            var bytes: [UInt8] = []
            for offset in stride(from: UInt64(0), to: 1 << 20, by: 8) {
                withUnsafeBytes(of: (offset | UInt64(number) << 32).littleEndian) { bytes += $0 }
            }
            var file = SparseFile()
            file.put(bytes, at: 0)
            try file.write(to: directory("layer\(number)"), length: 1 << 20)
            return try ImageLayer(opening: directory("layer\(number)"), as: .raw)
        }
    }

    private func check(_ runs: [ReadRun], of layers: [ImageLayer], length: Int, _ comment: Comment) throws {
        let reader = try ChunkReader(layers)
        let buffer = try AlignedBuffer(capacity: length)
        buffer.bytes.initializeMemory(as: UInt8.self, repeating: 0xee)
        try reader.read(runs, into: UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[..<length]))
        var expected = [UInt8](repeating: 0, count: length)
        for run in runs {
            for place in stride(from: 0, to: run.length, by: 8) {
                let value = (run.offset + UInt64(place)) | UInt64(run.layer) << 32
                withUnsafeBytes(of: value.littleEndian) {
                    expected.replaceSubrange(run.position + place..<run.position + place + 8, with: $0)
                }
            }
        }
        #expect(Array(buffer.bytes[..<length]) == expected, comment)
    }

    @Test func whatLiesBackwardsInTheFileIsReadToo() throws {
        let layers = try layers(1)
        let runs = (0..<16).map { index in
            ReadRun(
                layer: 0, offset: UInt64(15 - index) * 512, isEncoded: false, position: index * 512,
                length: 512)
        }
        try check(runs, of: layers, length: 8192, "backwards")
    }

    @Test func whatIsTheSameInTheFileIsReadTwice() throws {
        let layers = try layers(1)
        let runs = (0..<8).map {
            ReadRun(layer: 0, offset: 4096, isEncoded: false, position: $0 * 1024, length: 512)
        }
        try check(runs, of: layers, length: 8192, "twice")
    }

    @Test func anyOrderGivesTheSameBytes() throws {
        let layers = try layers(3)
        let seed = TestSeed()
        for round in 0..<200 {
            var generator = seed.generator(round: round)
            var runs: [ReadRun] = []
            var position = 0
            while position < 256 << 10 {
                let length = Int.random(in: 1...40, using: &generator) * 512
                guard position + length <= 256 << 10 else { break }
                if Int.random(in: 0..<4, using: &generator) > 0 {
                    let last = runs.last.map { $0.offset + UInt64($0.length) } ?? 0
                    let isNext = Bool.random(using: &generator) && last + UInt64(length) <= 1 << 20
                    let offset =
                        isNext
                        ? last
                        : UInt64.random(in: 0...(1 << 20 - UInt64(length)) / 512, using: &generator) * 512
                    runs.append(
                        ReadRun(
                            layer: isNext ? runs.last?.layer ?? 0 : Int.random(in: 0..<3, using: &generator),
                            offset: offset, isEncoded: false, position: position, length: length))
                }
                position += length
            }
            try check(runs, of: layers, length: 256 << 10, "\(seed), round \(round)")
        }
    }
}
