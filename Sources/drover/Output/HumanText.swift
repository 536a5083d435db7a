internal import Glibc

/// Numbers as `qemu-img` prints them for people.
enum HumanText {
    /// `1.5 MiB`: three significant digits, in the unit that leaves fewer than 1000.
    static func size(_ bytes: UInt64) -> String {
        let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]
        var unit = 0
        var value = Double(bytes)
        while value >= 1000, unit < units.count - 1 {
            value /= 1024
            unit += 1
        }
        // Three significant digits: none, one or two of them behind the point, and three where
        // nothing stands before it.
        let digits = value >= 100 ? 0 : value >= 10 ? 1 : value >= 1 || value == 0 ? 2 : 3
        let scale = [1, 10, 100, 1000][digits]
        let (whole, rest) = Int((value * Double(scale)).rounded(.toNearestOrEven)).quotientAndRemainder(
            dividingBy: scale)
        // 1.50 is written 1.5, and 1.00 is written 1.
        var fraction = rest == 0 ? "" : "." + padded(String(rest), to: digits, with: "0", atStart: true)
        while fraction.hasSuffix("0") { fraction.removeLast() }
        return "\(whole)\(fraction) \(units[unit])"
    }

    /// `1.5 MiB (1572864 bytes)`.
    static func sizeAndBytes(_ bytes: UInt64) -> String { "\(size(bytes)) (\(bytes) bytes)" }

    /// `43 %`; `<1 %` of what is not nothing, and `>99 %` of what is not all.
    static func percent(_ part: UInt64, of whole: UInt64) -> String {
        guard part > 0, whole > 0 else { return "0 %" }
        guard part < whole else { return "100 %" }
        let share = Double(part) / Double(whole) * 100
        return share < 1 ? "<1 %" : share > 99 ? ">99 %" : "\(Int(share.rounded())) %"
    }

    /// `1 target`, `2 targets`.
    static func count(_ number: Int, _ noun: String) -> String {
        "\(number) \(noun)\(number == 1 ? "" : "s")"
    }

    /// `0.43`, never negative and never longer than a number of seconds or a ratio should be.
    static func hundredths(_ number: Double) -> String {
        let hundredths = UInt64(min(max(number, 0) * 100, 1e12).rounded())
        return "\(hundredths / 100)." + padded("\(hundredths % 100)", to: 2, with: "0", atStart: true)
    }

    /// `text` with as many `filler`s as make it `width` characters long.
    static func padded(_ text: String, to width: Int, with filler: String = " ", atStart: Bool = false)
        -> String
    {
        let filling = String(repeating: filler, count: max(0, width - text.utf8.count))
        return atStart ? filling + text : text + filling
    }
}
