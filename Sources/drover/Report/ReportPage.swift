internal import DiskImages
internal import Linux
internal import SystemPackage

/// A report as one HTML page that needs nothing else: no network, no file beside it. It is whole
/// without its script, which only sorts and filters.
struct ReportPage {
    /// How every page begins, so that a later one may replace it: nothing else begins like this.
    static let marker: HTML = "<!DOCTYPE html>\n<!-- drover report -->\n"

    let report: FleetReport

    /// Whether there are too many images to show each by itself, or to lay out what is off the
    /// screen.
    var isLarge: Bool { report.images.count > FleetReport.mostDetailed }

    /// The whole page, in the order in which it is read.
    var html: HTML {
        ReportPage.marker + """
            <html lang="en">
            <head>
            <meta charset="utf-8">
            <meta name="viewport" content="width=device-width, initial-scale=1">
            <meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-\(ReportScript.digest)'">
            <meta name="color-scheme" content="light dark">
            <meta name="generator" content="drover">
            <title>\(report.title): Drover report</title>
            <style>\(ReportStyle.sheet)</style>
            </head>
            <body class="\(isLarge ? "large" : "small")">
            \(ReportStyle.patterns)
            <a class="skip" href="#fleet">Skip to the table of images</a>
            \(header)
            <main>
            \(summary)
            \(problems)
            \(fleet)
            \(savings)
            \(throughput)
            \(details)
            </main>
            <footer><p>Made by <code>drover report</code>. The page needs no network and holds everything it shows.</p></footer>
            <script>\(ReportScript.text)</script>
            </body>
            </html>

            """
    }

    private var header: HTML {
        let time = Timestamp.date(report.createdAt)
        return """
            <header>
            <p class="brand">Drover report</p>
            <h1>\(report.title)</h1>
            <p class="facts">\(report.operation) <span aria-hidden="true">·</span> to <code>\(report.directory)</code> \
            <span aria-hidden="true">·</span> as of <time>\(time)</time></p>
            </header>
            """
    }

    /// How many images are how far.
    private var summary: HTML {
        let tiles = StateMark.all.compactMap { mark -> HTML? in
            let all = report.images.filter { StateMark($0).word == mark.word }
            guard !all.isEmpty || mark.isAlwaysCounted else { return nil }
            let bases = all.count { $0.role == .base }
            let note: HTML =
                bases > 0 ? " <span class=\"note\">and \(HumanText.count(bases, "base"))</span>" : ""
            let name: HTML = all.isEmpty ? "\(mark.word)" : "<a href=\"#\(mark.word)\">\(mark.word)</a>"
            return """
                <li class="\(mark.style)\(all.isEmpty ? " none" : "")"><strong>\(all.count - bases)</strong> \
                <span class="mark" aria-hidden="true">\(mark.symbol)</span> \(name)\(note)</li>
                """
        }
        let bases = report.images.count { $0.role == .base }
        let count = HumanText.count(report.images.count - bases, "image")
        return """
            <section aria-labelledby="summary">
            <h2 id="summary" class="quiet">\(bases > 0 ? "\(count), \(HumanText.count(bases, "base"))" : count)</h2>
            <ul class="tiles">\(HTML.joined(tiles))</ul>
            </section>
            """
    }

    /// What went wrong with the fleet as a whole; nothing where nothing did.
    private var problems: HTML {
        guard !report.problems.isEmpty else { return "" }
        let items = report.problems.map { problem -> HTML in
            "<li><b>\(problem.name)</b> \(problem.reason)</li>\n"
        }
        return """
            <section class="failures" aria-labelledby="failures">
            <h2 id="failures">Not about one image</h2>
            <ul>\(HTML.joined(items))</ul>
            </section>
            """
    }

    private var throughput: HTML {
        let series = ThroughputSeries(report.throughput)
        guard series.bytes > 0 else { return "" }
        // Times are a manifest's: any number.
        let (start, end) = (Int(min(max(series.start, 0), 1e11)), Int(min(max(series.end, 0), 1e11)))
        let drawing = ThroughputDrawing(series: series, isNarrow: false)
        let figures: HTML =
            series.isWorthDrawing
            ? drawing.figure + ThroughputDrawing(series: series, isNarrow: true).figure : ""
        return """
            <section aria-labelledby="throughput">
            <h2 id="throughput">Throughput</h2>
            <figure>\(figures)
            <figcaption>Data (of archives, bytes of the file) that became safe, by time of work: \(drawing.description) Began \(Timestamp.date(start)), last \
            checkpoint \(Timestamp.date(end)).</figcaption></figure>
            </section>
            """
    }
}
