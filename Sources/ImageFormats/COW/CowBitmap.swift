/// Runs of equal bits in a COW bitmap: one bit a sector, least significant bit first in each byte,
/// 1 = the data is in this file.
package enum CowBitmap {
    /// The length of the run of equal bits that begins at bit `start` and goes no further than bit
    /// `end`, and what the bits are.
    ///
    /// `bytes` must hold bit `end - 1`, and `start < end`. Reads 64 bits at a time: planning costs
    /// next to nothing.
    package static func run(in bytes: UnsafeRawBufferPointer, from start: Int, to end: Int) -> (
        isSet: Bool, length: Int
    ) {
        let isSet = bytes[start / 8] >> UInt8(start % 8) & 1 == 1
        // Searching for the first bit that differs is searching for the first 1 in the bits XORed
        // with the run's own value.
        let flip: UInt64 = isSet ? .max : 0
        var position = start
        while position < end {
            let index = position / 64 * 8
            let word: UInt64
            if index + 8 <= bytes.count {
                word = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self))
            } else {
                word = (index..<bytes.count).reduce(0) { $0 | UInt64(bytes[$1]) << UInt64(8 * ($1 - index)) }
            }
            let differing = (word ^ flip) >> UInt64(position % 64)
            if differing != 0 {
                return (isSet, min(position + differing.trailingZeroBitCount, end) - start)
            }
            position = (position / 64 + 1) * 64
        }
        return (isSet, end - start)
    }

    /// Sets bits `start..<end` of `bytes`, which must hold them.
    package static func set(_ range: Range<Int>, in bytes: UnsafeMutableRawBufferPointer) {
        var bit = range.lowerBound
        while bit < range.upperBound {
            if bit % 8 == 0, range.upperBound - bit >= 8 {
                let last = range.upperBound / 8
                for index in bit / 8..<last { bytes[index] = 0xff }
                bit = last * 8
            } else {
                bytes[bit / 8] |= 1 << UInt8(bit % 8)
                bit += 1
            }
        }
    }
}
