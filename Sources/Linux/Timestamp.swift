internal import Glibc

/// A moment of a file system's clock, since 1970.
package struct Timestamp: Equatable, Sendable, CustomStringConvertible {
    package let seconds: Int
    package let nanoseconds: Int

    package init(seconds: Int, nanoseconds: Int) {
        self.seconds = seconds
        self.nanoseconds = nanoseconds
    }

    /// `SECONDS.NNNNNNNNN`, exact.
    package var description: String {
        let digits = String(nanoseconds)
        return "\(seconds)." + String(repeating: "0", count: max(0, 9 - digits.count)) + digits
    }

    /// What `description` made; nil where the text is something else.
    package init?(text: String) {
        let parts = text.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard parts.count == 2, parts[1].count == 9, let nanoseconds = Timestamp.digits(parts[1]),
            nanoseconds >= 0
        else { return nil }
        guard let seconds = Timestamp.digits(parts[0]) else { return nil }
        self.init(seconds: seconds, nanoseconds: nanoseconds)
    }

    /// A minus, perhaps, and digits. The sign is part of what is parsed: -2^63 has no positive
    /// counterpart.
    private static func digits(_ text: Substring.UTF8View) -> Int? {
        let digits = text.first == UInt8(ascii: "-") ? text.dropFirst() : text
        guard !digits.isEmpty, digits.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) })
        else { return nil }
        return Int(Substring(text))
    }

    /// `2026-11-22 21:41:00 UTC`, the seconds alone.
    package var date: String { Timestamp.date(seconds) }

    /// The same of seconds since 1970.
    package static func date(_ seconds: Int) -> String {
        var moment = time_t(seconds)
        var parts = tm()
        guard gmtime_r(&moment, &parts) != nil else { return "\(seconds) s since 1970" }
        func digits(_ value: CInt) -> String { (value < 10 ? "0" : "") + String(value) }
        let date = "\(Int(parts.tm_year) + 1900)-\(digits(parts.tm_mon + 1))-\(digits(parts.tm_mday))"
        return "\(date) \(digits(parts.tm_hour)):\(digits(parts.tm_min)):\(digits(parts.tm_sec)) UTC"
    }

    /// The header's form of it: the seconds in 32 bits, or nil where they do not fit.
    package var headerSeconds: UInt32? { UInt32(exactly: seconds) }
}
