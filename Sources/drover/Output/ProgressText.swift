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

    /// `43 %  310.0 MiB of 1.0 GiB  820.0 MiB/s  0:12 left`; of many `43 %  38 of 102  310.0 MiB of …  web-01.cow`.
    var line: String { Self.joined(pieces(nil).map(\.text)) }

    /// The same with a bar before it, in at most so many columns: what matters least is left out.
    func line(columns: Int) -> String {
        let room = max(0, columns - 1)
        var kept: [Piece] = []
        func length(_ pieces: [Piece]) -> Int { Self.joined(pieces.map(\.text)).count }
        for piece in pieces(max(8, room / 4)).sorted(by: { $0.rank < $1.rank })
        where length(kept + [piece]) <= room {
            kept.append(piece)
        }
        let text = Self.joined(kept.sorted { $0.place < $1.place }.map(\.text))
        let width = room - text.count - 1
        return (width >= 10 ? bar(width: min(width, 60)) + " " : "") + text
    }

    /// A part of the line: where it stands, and how soon it is left out.
    private struct Piece {
        let text: String
        let place: Int
        let rank: Int
    }

    private static func joined(_ texts: [String]) -> String { texts.joined(separator: "  ") }

    /// `longest`: of the name of what is moved, in characters; nil is as long as it is.
    private func pieces(_ longest: Int?) -> [Piece] {
        let percent = HumanText.padded("\(Int(fraction * 100))", to: 3, atStart: true)
        let amount =
            snapshot.total.map { "\(HumanText.size(snapshot.done)) of \(HumanText.size($0))" }
            ?? HumanText.size(snapshot.done)
        var pieces = [
            Piece(text: "\(percent) %", place: 0, rank: 0), Piece(text: amount, place: 2, rank: 5),
            Piece(text: "\(HumanText.size(UInt64(rate)))/s", place: 3, rank: 4),
        ]
        if snapshot.items > 1 {
            pieces.append(Piece(text: "\(snapshot.itemsDone) of \(snapshot.items)", place: 1, rank: 1))
        }
        if let remaining {
            pieces.append(Piece(text: "\(ProgressText.clock(remaining)) left", place: 4, rank: 2))
        }
        let name = ErrorLine.escaped(snapshot.item)
        if !name.isEmpty {
            let isLong = longest.map { name.count > $0 } ?? false
            let shown = isLong ? "..." + name.suffix(max(0, (longest ?? 0) - 3)) : name
            pieces.append(Piece(text: shown, place: 5, rank: 3))
        }
        return pieces.sorted { $0.place < $1.place }
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
