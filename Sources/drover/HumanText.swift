internal import Glibc

/// Numbers as `qemu-img` prints them for people.
enum HumanText {
    /// `1.5 MiB`: three significant digits, the unit with which fewer than 1000 are left.
    static func size(_ bytes: UInt64) -> String {
        let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]
        var unit = 0
        var value = Double(bytes)
        while value >= 1000, unit < units.count - 1 {
            value /= 1024
            unit += 1
        }
        let scale: Double = value >= 100 ? 1 : value >= 10 ? 10 : 100
        let rounded = UInt64((value * scale).rounded(.toNearestOrEven))
        let (whole, rest) = rounded.quotientAndRemainder(dividingBy: UInt64(scale))
        // 1.50 is written 1.5, and 1.00 is written 1.
        var fraction = scale == 1 ? "" : padded(String(rest), to: scale == 10 ? 1 : 2, with: "0", atStart: true)
        while fraction.hasSuffix("0") { fraction.removeLast() }
        return "\(whole)\(fraction.isEmpty ? "" : ".\(fraction)") \(units[unit])"
    }

    /// `1.5 MiB (1572864 bytes)`.
    static func sizeAndBytes(_ bytes: UInt64) -> String { "\(size(bytes)) (\(bytes) bytes)" }

    /// `2026-11-22 21:41:00 UTC`, of seconds since 1970.
    static func time(_ seconds: Int) -> String {
        var moment = time_t(seconds)
        var parts = tm()
        guard gmtime_r(&moment, &parts) != nil else { return "\(seconds) s since 1970" }
        func digits(_ value: CInt) -> String { padded(String(value), to: 2, with: "0", atStart: true) }
        let date = "\(Int(parts.tm_year) + 1900)-\(digits(parts.tm_mon + 1))-\(digits(parts.tm_mday))"
        return "\(date) \(digits(parts.tm_hour)):\(digits(parts.tm_min)):\(digits(parts.tm_sec)) UTC"
    }

    /// `text` with as many `filler`s as make it `width` characters long.
    static func padded(_ text: String, to width: Int, with filler: String = " ", atStart: Bool = false) -> String {
        let filling = String(repeating: filler, count: max(0, width - text.utf8.count))
        return atStart ? filling + text : text + filling
    }
}
