import DiskImages
import TestSupport
import Testing

struct ZeroScanTests {
    private func dataRanges(_ bytes: [UInt8], _ range: Range<Int>? = nil, leavingOut shortest: Int) -> [Range<
        Int
    >] {
        bytes.withUnsafeBytes { ZeroScan.dataRanges(in: $0, range ?? 0..<bytes.count, leavingOut: shortest) }
    }

    @Test(arguments: [0, 1, 7, 8, 63, 64, 65, 127, 128, 4096, 4097])
    func oneByteThatIsNotZeroIsFoundAnywhere(count: Int) {
        var bytes = [UInt8](repeating: 0, count: count)
        #expect(bytes.withUnsafeBytes { ZeroScan.isZero($0) })
        for index in bytes.indices {
            bytes[index] = 0x80
            #expect(!bytes.withUnsafeBytes { ZeroScan.isZero($0) }, "\(index)")
            bytes[index] = 0
        }
    }

    @Test func zerosAreLeftOutAtBothEndsAndBetween() {
        let zeros = [UInt8](repeating: 0, count: 4096)
        let data = [UInt8](repeating: 1, count: 4096)
        #expect(
            dataRanges(zeros + data + zeros + data + zeros, leavingOut: 4096) == [
                4096..<8192, 12_288..<16_384,
            ])
    }

    @Test func aRunShorterThanAskedForIsWritten() {
        let bytes =
            [UInt8](repeating: 1, count: 4096) + [UInt8](repeating: 0, count: 8192)
            + [UInt8](repeating: 1, count: 4096)
        #expect(dataRanges(bytes, leavingOut: 8192) == [0..<4096, 12_288..<16_384])
        #expect(dataRanges(bytes, leavingOut: 12_288) == [0..<16_384])
    }

    @Test func nothingIsLeftOutWhereNothingIsToBe() {
        #expect(dataRanges([UInt8](repeating: 0, count: 8192), leavingOut: 0) == [0..<8192])
        #expect(dataRanges([], leavingOut: 0).isEmpty)
        #expect(dataRanges([], leavingOut: 4096).isEmpty)
    }

    @Test func theRangesAreThoseThatLookingAtEveryBlockFinds() {
        let seed = TestSeed()
        for round in 0..<1500 {
            var generator = seed.generator(round: round)
            var bytes: [UInt8] = []
            for _ in 0..<Int.random(in: 1...8, using: &generator) {
                let length = Int.random(in: 1...24, using: &generator) * 512
                bytes += [UInt8](repeating: generator.chance(1, in: 2) ? 0 : 1, count: length)
            }
            let start = Int.random(in: 0..<bytes.count / 512, using: &generator) * 512
            let range = start..<Int.random(in: start / 512 + 1...bytes.count / 512, using: &generator) * 512
            let shortest = [512, 1024, 4096, 5000, 8192, 65_536].randomElement(using: &generator) ?? 512
            let found = dataRanges(bytes, range, leavingOut: shortest)
            #expect(
                found == model(bytes, range, shortest),
                "\(seed), round \(round): \(range) leaving out \(shortest)")
        }
    }

    /// Marks the zero blocks one by one, then the runs of them that are long enough.
    private func model(_ bytes: [UInt8], _ range: Range<Int>, _ shortest: Int) -> [Range<Int>] {
        let block = min(shortest, 4096)
        var isLeftOut = [Bool](repeating: false, count: bytes.count)
        for start in stride(from: range.lowerBound / block * block, to: range.upperBound, by: block) {
            let part = max(start, range.lowerBound)..<min(start + block, range.upperBound)
            if bytes[part].allSatisfy({ $0 == 0 }) { for index in part { isLeftOut[index] = true } }
        }
        for run in runs(of: true, in: isLeftOut, range) where run.count < shortest && run != range {
            for index in run { isLeftOut[index] = false }
        }
        return runs(of: false, in: isLeftOut, range)
    }

    private func runs(of value: Bool, in marks: [Bool], _ range: Range<Int>) -> [Range<Int>] {
        var found: [Range<Int>] = []
        var start: Int? = nil
        for index in range.lowerBound...range.upperBound {
            let isIn = index < range.upperBound && marks[index] == value
            if isIn, start == nil { start = index }
            if !isIn, let first = start {
                found.append(first..<index)
                start = nil
            }
        }
        return found
    }
}
