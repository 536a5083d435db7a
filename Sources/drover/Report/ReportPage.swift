internal import DiskImages
internal import Linux
internal import SystemPackage

/// A report as one HTML page that needs nothing else: no script, no network, no file beside it.
struct ReportPage {
    /// How every page begins, so that a later one may replace it: nothing else begins like this.
    static let marker: HTML = "<!DOCTYPE html>\n<!-- drover report -->\n"

    let report: FleetReport

    /// Whether a browser is to leave out what is off the screen until it is scrolled to: else a
    /// thousand images take seconds to lay out.
    private var isLarge: Bool { report.images.count > 100 }

    /// The whole page, in the order in which it is read.
    var html: HTML {
        ReportPage.marker + """
            <html lang="en">
            <head>
            <meta charset="utf-8">
            <meta name="viewport" content="width=device-width, initial-scale=1">
            <meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
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
            \(failures)
            \(savings)
            \(throughput)
            \(fleet)
            \(details)
            </main>
            <footer><p>Made by <code>drover report</code>. The page needs no network and holds everything it shows.</p></footer>
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
            let count = report.images.count { StateMark($0.state).word == mark.word }
            guard count > 0 || mark.isAlwaysCounted else { return nil }
            return """
                <li class="\(mark.style)\(count == 0 ? " none" : "")"><strong>\(count)</strong> <span class="mark" aria-hidden="true">\(mark.symbol)</span> \
                \(mark.word)</li>
                """
        }
        return """
            <section aria-labelledby="summary">
            <h2 id="summary" class="quiet">\(report.images.count) \(report.images.count == 1 ? "image" : "images")</h2>
            <ul class="tiles">\(HTML.joined(tiles))</ul>
            </section>
            """
    }

    /// What went wrong, before everything else; nothing where nothing did.
    private var failures: HTML {
        let failures =
            report.problems.map { ReportPage.failure("\($0.name)", $0.reason) }
            + report.images.enumerated().compactMap { number, image -> HTML? in
                guard case .failed(let reason) = image.state else { return nil }
                return ReportPage.failure("<a href=\"#i\(number)\">\(image.name)</a>", reason)
            }
        guard !failures.isEmpty else { return "" }
        return """
            <section class="failures" aria-labelledby="failures">
            <h2 id="failures">\(failures.count) \(failures.count == 1 ? "failure" : "failures")</h2>
            <ul>\(HTML.joined(failures))</ul>
            </section>
            """
    }

    private static func failure(_ name: HTML, _ reason: String) -> HTML {
        "<li><b>\(name)</b> \(reason)</li>\n"
    }

    private var throughput: HTML {
        let series = ThroughputSeries(report.throughput)
        guard series.bytes > 0 else { return "" }
        let drawing = ThroughputDrawing(series: series)
        // Times are a manifest's: any number.
        let (start, end) = (Int(min(max(series.start, 0), 1e11)), Int(min(max(series.end, 0), 1e11)))
        return """
            <section aria-labelledby="throughput">
            <h2 id="throughput">Throughput</h2>
            <figure>\(drawing.figure)
            <figcaption>Guest disk in segments with data (of archives, bytes of the file) that became safe, by time of work: \(drawing.description) First checkpoint \(Timestamp.date(start)), last \
            \(Timestamp.date(end)).</figcaption></figure>
            </section>
            """
    }
}
