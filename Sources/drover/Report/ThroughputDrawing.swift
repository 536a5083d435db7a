/// The throughput as an SVG chart.
struct ThroughputDrawing {
    private static let height = 200
    /// What the numbers beside and below the curve need.
    private static let (left, right, top, bottom) = (74, 8, 10, 26)

    let series: ThroughputSeries
    /// For a phone, where a wide one's numbers would be too small to read.
    let isNarrow: Bool

    private var width: Int { isNarrow ? 328 : 768 }
    private var plotWidth: Double { Double(width - ThroughputDrawing.left - ThroughputDrawing.right) }
    private var plotHeight: Double {
        Double(ThroughputDrawing.height - ThroughputDrawing.top - ThroughputDrawing.bottom)
    }
    private var base: Int { ThroughputDrawing.height - ThroughputDrawing.bottom }

    var figure: HTML {
        """
        <svg class="chart \(isNarrow ? "narrow" : "wide")" viewBox="0 0 \(width) \(ThroughputDrawing.height)" role="img" \
        aria-labelledby="\(id)t \(id)d"><title id="\(id)t">Throughput over time</title>\
        <desc id="\(id)d">\(description)</desc>\(grid)<path class="area" d="\(curve)V\(base)H\(ThroughputDrawing.left)z"/>\
        <path class="line" d="\(curve)"/>\(pauses)\(times)</svg>
        """
    }

    private var id: String { isNarrow ? "n" : "t" }

    /// What the curve shows, in words.
    var description: String {
        let mean = series.mean.map { ", \(ThroughputDrawing.rate($0)) on average" } ?? ""
        let paused =
            series.pauses.isEmpty
            ? "" : ", \(series.pauses.count) pause\(series.pauses.count == 1 ? "" : "s") left out"
        let peak =
            series.isWorthDrawing ? ", \(ThroughputDrawing.rate(series.peak)) at most" : ""
        return
            "\(HumanText.size(series.bytes)) in \(ThroughputDrawing.duration(series.seconds)) of work\(mean)\(peak)\(paused)."
    }

    /// Where the axis ends: the least round number that is not below the peak.
    private var limit: Double {
        var unit = 1.0
        while unit * 1000 < series.peak { unit *= 1024 }
        let steps: [Double] = [1, 2, 4, 8, 12, 16, 20, 40, 60, 80, 120, 160, 200, 400, 600, 800, 1000]
        return unit * (steps.first { $0 * unit >= series.peak } ?? 1024)
    }

    private var grid: HTML {
        HTML.joined(
            (0...4).map { step in
                let y = Double(base) - plotHeight * Double(step) / 4
                return """
                    <path class="grid" d="M\(ThroughputDrawing.left) \(number(y))h\(number(plotWidth))"/>\
                    <text x="\(ThroughputDrawing.left - 8)" y="\(number(y + 4))" text-anchor="end">\(ThroughputDrawing.rate(limit * Double(step) / 4))</text>
                    """
            })
    }

    /// Steps from the left to the right end; begins with a move, so that an area can be made of it.
    private var curve: String {
        let step = plotWidth / Double(max(series.rates.count, 1))
        var path = ""
        for (column, rate) in series.rates.enumerated() {
            let y = Double(base) - plotHeight * min(rate / limit, 1)
            path += (column == 0 ? "M\(ThroughputDrawing.left) " : "V") + number(y)
            path += "H" + number(Double(ThroughputDrawing.left) + step * Double(column + 1))
        }
        return path
    }

    private var pauses: HTML {
        HTML.joined(
            series.pauses.prefix(20).map { pause in
                let x = number(x(at: pause.at))
                return """
                    <path class="pause" d="M\(x) \(ThroughputDrawing.top)V\(base)"/><text x="\(x)" y="\(ThroughputDrawing.top + 10)" dx="5">pause \
                    \(ThroughputDrawing.duration(pause.length))</text>
                    """
            })
    }

    private var times: HTML {
        HTML.joined(
            stride(from: 0, through: 4, by: isNarrow ? 2 : 1).map { step in
                let seconds = series.seconds * Double(step) / 4
                let anchor = step == 0 ? "start" : step == 4 ? "end" : "middle"
                return """
                    <text x="\(number(x(at: seconds)))" y="\(ThroughputDrawing.height - 8)" text-anchor="\(anchor)">\(ThroughputDrawing.clock(seconds))</text>
                    """
            })
    }

    private func x(at seconds: Double) -> Double {
        Double(ThroughputDrawing.left) + (series.seconds > 0 ? plotWidth * seconds / series.seconds : 0)
    }

    /// One digit behind the point.
    private func number(_ value: Double) -> String {
        let tenths = Int((value * 10).rounded())
        return tenths % 10 == 0 ? "\(tenths / 10)" : "\(tenths / 10).\(abs(tenths % 10))"
    }

    static func rate(_ bytes: Double) -> String { "\(HumanText.size(UInt64(min(max(bytes, 0), 1e18))))/s" }

    /// `0:07`, `3:00:00`: a place on the time axis.
    private static func clock(_ seconds: Double) -> String { ProgressText.clock(seconds) }

    /// `42 s`, `12 min 5 s`, `3 h 20 min`, `2 d 4 h`.
    static func duration(_ seconds: Double) -> String {
        guard seconds >= 0.95 else { return seconds > 0 ? "under 1 s" : "0 s" }
        let whole = Int(min(seconds, 1e12).rounded())
        func two(_ large: (Int, String), _ small: (Int, String)) -> String {
            "\(large.0) \(large.1)" + (small.0 > 0 ? " \(small.0) \(small.1)" : "")
        }
        if whole < 60 { return "\(whole) s" }
        if whole < 3600 { return two((whole / 60, "min"), (whole % 60, "s")) }
        if whole < 86_400 { return two((whole / 3600, "h"), (whole / 60 % 60, "min")) }
        return two((whole / 86_400, "d"), (whole / 3600 % 24, "h"))
    }
}
