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
        guard hex.utf8.count == 32,
            hex.utf8.allSatisfy({ $0 < 0x80 && Character(UnicodeScalar($0)).isHexDigit }),
            let high = UInt64(hex.prefix(16), radix: 16), let low = UInt64(hex.suffix(16), radix: 16)
        else { return nil }
        self.init(high: high, low: low)
    }

    /// 16 bytes, most significant first: XXH3's canonical form.
    package var bytes: [UInt8] {
        [high, low].flatMap { word in (0..<8).map { UInt8(truncatingIfNeeded: word >> UInt64(56 - 8 * $0)) } }
    }

    package var description: String {
        [high, low].map { word in
            let digits = String(word, radix: 16)
            return String(repeating: "0", count: 16 - digits.count) + digits
        }.joined()
    }
}
