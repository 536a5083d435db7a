import ImageFormats
import TestSupport
import Testing

struct CowBitmapTests {
    private func run(_ bytes: [UInt8], _ start: Int, _ end: Int) -> (isSet: Bool, length: Int) {
        bytes.withUnsafeBytes { CowBitmap.run(in: $0, from: start, to: end) }
    }

    @Test func theLeastSignificantBitOfAByteIsItsFirstSector() {
        #expect(run([0b0000_0111], 0, 8) == (true, 3))
        #expect(run([0b0000_0111], 3, 8) == (false, 5))
    }

    @Test func aRunCrossesBytesAndWords() {
        let bytes: [UInt8] = [0xf0] + [UInt8](repeating: 0xff, count: 19) + [0x01]
        #expect(run(bytes, 0, 168) == (false, 4))
        #expect(run(bytes, 4, 168) == (true, 157))
        #expect(run(bytes, 161, 168) == (false, 7))
    }

    @Test func aRunEndsWhereItIsToldTo() {
        let bytes = [UInt8](repeating: 0xff, count: 16)
        #expect(run(bytes, 5, 6) == (true, 1))
        #expect(run(bytes, 0, 64) == (true, 64))
        #expect(run(bytes, 63, 65) == (true, 2))
        #expect(run(bytes, 0, 128) == (true, 128))
    }

    @Test(arguments: 1...20)
    func theBytesAfterTheLastWholeWordCount(count: Int) {
        var bytes = [UInt8](repeating: 0, count: count)
        #expect(run(bytes, 0, 8 * count) == (false, 8 * count))
        bytes[count - 1] = 0x80
        #expect(run(bytes, 0, 8 * count) == (false, 8 * count - 1))
        #expect(run([UInt8](repeating: 0xff, count: count), 0, 8 * count) == (true, 8 * count))
    }

    @Test func runsAreThoseThatLookingAtEveryBitFinds() {
        let seed = TestSeed()
        for round in 0..<1500 {
            var generator = seed.generator(round: round)
            var bits: [Bool] = []
            let longest = [1, 3, 70, 300].randomElement(using: &generator) ?? 1
            let count = Int.random(in: 1...600, using: &generator)
            while bits.count < count {
                bits += [Bool](
                    repeating: .random(using: &generator), count: .random(in: 1...longest, using: &generator))
            }
            var bytes = [UInt8](repeating: 0, count: (bits.count + 7) / 8)
            for (bit, isSet) in bits.enumerated() where isSet { bytes[bit / 8] |= 1 << UInt8(bit % 8) }
            let start = Int.random(in: 0..<bits.count, using: &generator)
            let end = Int.random(in: start + 1...bits.count, using: &generator)
            let length = bits[start..<end].firstIndex { $0 != bits[start] }.map { $0 - start } ?? end - start
            #expect(run(bytes, start, end) == (bits[start], length), "\(seed), round \(round)")
        }
    }

    @Test func settingBitsSetsTheRangeAndNothingElse() {
        let seed = TestSeed()
        for round in 0..<1500 {
            var generator = seed.generator(round: round)
            var bytes = (0..<Int.random(in: 1...40, using: &generator)).map { _ in
                UInt8.random(in: 0...255, using: &generator)
            }
            let before = bytes
            let start = Int.random(in: 0...bytes.count * 8, using: &generator)
            let range = start..<Int.random(in: start...bytes.count * 8, using: &generator)
            bytes.withUnsafeMutableBytes { CowBitmap.set(range, in: $0) }
            for bit in 0..<bytes.count * 8 {
                let expected = range.contains(bit) || before[bit / 8] >> UInt8(bit % 8) & 1 == 1
                #expect(
                    (bytes[bit / 8] >> UInt8(bit % 8) & 1 == 1) == expected,
                    "\(seed), round \(round), bit \(bit)")
            }
        }
    }
}
