internal import CXXHash

/// A 128-bit XXH3 digest: finds damage, by chance or by carelessness, at memory speed. It does not
/// prove who wrote the bytes.
package struct ContentDigest: Hashable, Sendable, CustomStringConvertible {
    package let high: UInt64
    package let low: UInt64

    package init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// The digest of `bytes`.
    package init(of bytes: UnsafeRawBufferPointer) {
        let hash = drover_xxh3_128(bytes.baseAddress, bytes.count)
        self.init(high: hash.high64, low: hash.low64)
    }

    /// The digest of `first` with `second` behind it.
    package init(of first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer) {
        let hash = drover_xxh3_128_pair(first.baseAddress, first.count, second.baseAddress, second.count)
        self.init(high: hash.high64, low: hash.low64)
    }

    /// A number by which equal blocks are found: 64 bits of XXH3.
    package static func fingerprint(of bytes: UnsafeRawBufferPointer) -> UInt64 {
        drover_xxh3_64(bytes.baseAddress, bytes.count)
    }

    /// The digest of `bytes`.
    package init(of bytes: [UInt8]) {
        self = bytes.withUnsafeBytes { ContentDigest(of: $0) }
    }

    /// The digest written as 32 hexadecimal digits, most significant first.
    package init?(hex: some StringProtocol) {
        var words: (high: UInt64, low: UInt64) = (0, 0)
        var count = 0
        for byte in hex.utf8 {
            let digit: UInt8
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = byte - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = byte - UInt8(ascii: "a") + 10
            case UInt8(ascii: "A")...UInt8(ascii: "F"): digit = byte - UInt8(ascii: "A") + 10
            default: return nil
            }
            count += 1
            guard count <= 32 else { return nil }
            words = (words.high << 4 | words.low >> 60, words.low << 4 | UInt64(digit))
        }
        guard count == 32 else { return nil }
        self.init(high: words.high, low: words.low)
    }

    /// 16 bytes, most significant first: XXH3's canonical form.
    package var bytes: [UInt8] {
        [high, low].flatMap { word in (0..<8).map { UInt8(truncatingIfNeeded: word >> UInt64(56 - 8 * $0)) } }
    }

    package var description: String {
        String(unsafeUninitializedCapacity: 32) { text in
            for place in 0..<32 {
                let word = place < 16 ? high : low
                let digit = UInt8(truncatingIfNeeded: word >> UInt64(60 - 4 * (place % 16))) & 15
                text[place] = digit + (digit < 10 ? UInt8(ascii: "0") : UInt8(ascii: "a") - 10)
            }
            return 32
        }
    }
}
