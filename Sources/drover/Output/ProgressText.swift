internal import Migration

/// A move's state in words.
struct ProgressText {
    let snapshot: Progress.Snapshot
    /// Seconds since this run began.
    let elapsed: Double

    /// Part of the work that is done, 0 to 1: of the data where it was counted, else of the disk.
    var fraction: Double {
        if let total = snapshot.total, total > 0 { return min(1, Double(snapshot.done) / Double(total)) }
        return snapshot.length > 0 ? min(1, Double(snapshot.covered) / Double(snapshot.length)) : 1
    }

    /// Bytes of data a second, in this run.
    var rate: Double {
        elapsed > 0 ? min(1e15, Double(snapshot.done - min(snapshot.resumed, snapshot.done)) / elapsed) : 0
    }

    /// Seconds left at this rate; nil as long as there is none, or nothing was counted.
    var remaining: Double? {
        guard let total = snapshot.total, rate > 0 else { return nil }
        return Double(total - min(snapshot.done, total)) / rate
    }

    /// `43 %  310.0 MiB of 1.0 GiB  820.0 MiB/s  0:12 left`.
    var line: String {
        let percent = HumanText.padded("\(Int(fraction * 100))", to: 3, atStart: true)
        let amount =
            snapshot.total.map { "\(HumanText.size(snapshot.done)) of \(HumanText.size($0))" }
            ?? HumanText.size(snapshot.done)
        let left = remaining.map { "  \(ProgressText.clock($0)) left" } ?? ""
        return "\(percent) %  \(amount)  \(HumanText.size(UInt64(rate)))/s\(left)"
    }

    /// `[#######.......]` of `width` characters.
    func bar(width: Int) -> String {
        let inner = max(0, width - 2)
        let filled = Int(fraction * Double(inner))
        return "[" + String(repeating: "#", count: filled) + String(repeating: ".", count: inner - filled)
            + "]"
    }

    /// `0:07`, `12:05`, `3:00:00`.
    static func clock(_ seconds: Double) -> String {
        let whole = Int(min(seconds, 359_999).rounded())
        func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
        let (hours, minutes) = (whole / 3600, whole / 60 % 60)
        return hours > 0 ? "\(hours):\(two(minutes)):\(two(whole % 60))" : "\(minutes):\(two(whole % 60))"
    }
}
