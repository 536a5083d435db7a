/// A number of bytes as a person writes it: `4096`, `4k`, `64M`, `1G`, `2T` (powers of 1024, also
/// `64MiB`), `10MB` (powers of 1000).
package struct ByteSize: Equatable, Sendable {
    package let bytes: UInt64

    package init(bytes: UInt64) { self.bytes = bytes }

    /// The forms that are taken, for people.
    package static let forms =
        "a number of bytes, with k, M, G or T (or KiB, MiB, ...: powers of 1024), or kB, MB, GB or TB (powers of 1000)"

    /// Nil for anything but digits and one unit, and for what is past 2^63 - 1.
    package init?(text: String) {
        let digits = text.prefix { $0.isASCII && $0.isNumber }
        guard !digits.isEmpty, let number = UInt64(digits),
            let unit = ByteSize.units[text.dropFirst(digits.count).lowercased()]
        else { return nil }
        let (bytes, overflow) = number.multipliedReportingOverflow(by: unit)
        guard !overflow, bytes <= UInt64(Int64.max) else { return nil }
        self.bytes = bytes
    }

    private static let units: [String: UInt64] = {
        var units: [String: UInt64] = ["": 1, "b": 1]
        for (power, letter) in ["k", "m", "g", "t"].enumerated() {
            units[letter] = 1 << (10 * UInt64(power + 1))
            units[letter + "ib"] = units[letter]
            units[letter + "b"] = (0...power).reduce(1) { product, _ in product * 1000 }
        }
        return units
    }()

    /// The shortest text that gives this number: `64M`.
    package var text: String {
        for (unit, shift) in [("T", UInt64(40)), ("G", 30), ("M", 20), ("k", 10)]
        where bytes > 0 && bytes % (1 << shift) == 0 {
            return "\(bytes >> shift)\(unit)"
        }
        return "\(bytes)"
    }
}
