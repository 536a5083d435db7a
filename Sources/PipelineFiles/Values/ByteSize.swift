/// A number of bytes as a person writes it: `4096`, `4k`, `64M`, `1G`, `2T` (powers of 1024).
package struct ByteSize: Equatable, Sendable {
    package let bytes: UInt64

    package init(bytes: UInt64) { self.bytes = bytes }

    /// Nil for anything but digits and one unit, and for what is past 2^63 - 1.
    package init?(text: String) {
        let shifts: [Character: UInt64] = [
            "k": 10, "K": 10, "m": 20, "M": 20, "g": 30, "G": 30, "t": 40, "T": 40,
        ]
        let shift = text.last.flatMap { shifts[$0] }
        let digits = shift == nil ? text[...] : text.dropLast()
        guard !digits.isEmpty, digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
            let number = UInt64(digits)
        else { return nil }
        let (bytes, overflow) = number.multipliedReportingOverflow(by: 1 << (shift ?? 0))
        guard !overflow, bytes <= UInt64(Int64.max) else { return nil }
        self.bytes = bytes
    }

    /// The shortest text that gives this number: `64M`.
    package var text: String {
        for (unit, shift) in [("T", UInt64(40)), ("G", 30), ("M", 20), ("k", 10)]
        where bytes > 0 && bytes % (1 << shift) == 0 {
            return "\(bytes >> shift)\(unit)"
        }
        return "\(bytes)"
    }
}
