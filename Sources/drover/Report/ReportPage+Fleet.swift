internal import DiskImages

/// The fleet's tables, one for each state, and each image by itself.
extension ReportPage {
    /// Fleets that are no larger show everything at once.
    private static let mostOpen = 4

    var fleet: HTML {
        guard !report.images.isEmpty else {
            return "<section id=\"fleet\"><h2>Images</h2><p>The pipeline has none.</p></section>"
        }
        let images = report.images.enumerated().map { (number: $0, image: $1, mark: StateMark($1)) }
        let groups = StateMark.all.compactMap { mark -> HTML? in
            let all = images.filter { $0.mark.word == mark.word }
            guard !all.isEmpty else { return nil }
            return group(
                of: mark, bases: all.count { $0.image.role == .base },
                all.map { row(of: $0.image, $0.number, $0.mark) })
        }
        let note: HTML =
            isLarge
            ? " Of so many images there is no picture for each; a page of some of them has one: <code>drover report PIPELINE NAME…</code>."
            : ""
        return """
            <section aria-labelledby="fleet">
            <h2 id="fleet" tabindex="-1">Images</h2>
            <div class="tools" hidden><label>Filter <input type="search" autocomplete="off" spellcheck="false"></label> \
            <label>Order <select><option value="">as in the pipeline</option><option value="0">name</option><option value="2">guest disk</option>\
            <option value="3">data</option><option value="4">target</option><option value="5">time</option></select></label> <output></output></div>
            \(HTML.joined(groups))
            <p class="note">Data is what the image's own file holds, its bases not counted. In the map, from start to end of the disk, the base lies at \
            the bottom, changes above it; holes are empty.\(note)</p>
            </section>
            """
    }

    private var isSmall: Bool { report.images.count { $0.role != .base } <= ReportPage.mostOpen }

    /// All images in one state; folded up where nobody need do anything about them.
    private func group(of mark: StateMark, bases: Int, _ rows: [HTML]) -> HTML {
        let isOpen = mark.isOpen || isSmall
        let count: HTML =
            bases == 0
            ? "\(rows.count) \(mark.word)"
            : bases == rows.count
                ? "\(HumanText.count(bases, "base")) \(mark.word)"
                : "\(rows.count - bases) \(mark.word), and \(HumanText.count(bases, "base"))"
        return """
            <details class="group \(mark.style)"\(isOpen ? " open" : "")><summary id="\(mark.word)"><h3><span aria-hidden="true">\(mark.symbol)</span> \
            \(count)</h3></summary>
            <div class="scroll" role="region" aria-label="Images: \(mark.word)" tabindex="0"><table class="fleet" role="table">
            <caption class="unseen">Images: \(mark.word)</caption>
            <thead role="rowgroup"><tr role="row"><th role="columnheader" scope="col">Image</th><th role="columnheader" scope="col">State</th>\
            <th role="columnheader" scope="col" class="n">Guest disk</th><th role="columnheader" scope="col" class="n">Data</th>\
            <th role="columnheader" scope="col" class="n">Target</th><th role="columnheader" scope="col" class="n">Time</th>\
            <th role="columnheader" scope="col">Map</th></tr></thead>
            <tbody role="rowgroup">
            \(HTML.joined(rows))</tbody>
            </table></div></details>

            """
    }

    private func row(of image: FleetReport.Image, _ number: Int, _ mark: StateMark) -> HTML {
        func cell(_ text: String?) -> HTML {
            text.map { "<td role=\"cell\" class=\"n\">\($0)</td>" }
                ?? "<td role=\"cell\" class=\"n none\">–</td>"
        }
        let map: HTML =
            image.map.map {
                MapDrawing(picture: $0, chain: image.chain, id: "m\(number)").thumbnail(repeats: !isLarge)
            }.map { "<td role=\"cell\">\($0)</td>" } ?? "<td role=\"cell\" class=\"none\">–</td>"
        let role: HTML = image.role == .base ? " <span class=\"note\">base</span>" : ""
        let name: HTML = isLarge ? "\(image.name)" : "<a href=\"#i\(number)\">\(image.name)</a>"
        let reason: HTML = mark.reason.map { "<p class=\"why\">\($0)</p>" } ?? ""
        return """
            <tr role="row"><th role="rowheader" scope="row">\(name)\(role)\(reason)</th><td role="cell">\(mark.badge)</td>\
            \(cell(image.guestLength.map(HumanText.size)))\(cell(image.sourceBytes.map(HumanText.size)))\(cell(image.targetBytes.map(HumanText.size)))\
            \(cell(image.seconds.map(ThroughputDrawing.duration)))\(map)</tr>

            """
    }

    /// Every image with its chain and its map, folded up where there are more than a few; nothing
    /// where there are too many.
    var details: HTML {
        guard !report.images.isEmpty, !isLarge else { return "" }
        let isOpen = isSmall
        let items = report.images.enumerated().map { number, image -> HTML in
            """
            <details class="card"\(isOpen ? " open" : "")><summary><h3>\(image.name)</h3> \(StateMark(image).badge)</summary>
            <div id="i\(number)" class="inside">\(facts(of: image))\(map(of: image, number))</div></details>

            """
        }
        return """
            <section aria-labelledby="maps">
            <h2 id="maps">Each image</h2>
            \(HTML.joined(items))</section>
            """
    }

    private func facts(of image: FleetReport.Image) -> HTML {
        func fact(_ name: HTML, _ value: HTML?) -> HTML {
            value.map { "<div><dt>\(name)</dt><dd>\($0)</dd></div>" } ?? ""
        }
        func code(_ text: String) -> HTML { "<code>\(text)</code>" }
        let reason: HTML = StateMark(image).reason.map { "<p class=\"reason\">\($0)</p>" } ?? ""
        return reason + """
            <dl>\(fact("Source", code(image.source.printed)))\(fact("Target", image.target.map { code($0.printed) }))\
            \(fact("Guest disk", image.guestLength.map { "\(HumanText.size($0))" }))\
            \(fact("Data of its own", image.sourceBytes.map { "\(HumanText.size($0))" }))\
            \(fact("Target takes", image.targetBytes.map { "\(HumanText.size($0))" }))\
            \(fact("Time", image.seconds.map { "\(ThroughputDrawing.duration($0))" }))</dl>
            """
    }

    /// The map, and a table that says the same.
    private func map(of image: FleetReport.Image, _ number: Int) -> HTML {
        guard let picture = image.map else {
            return "<p class=\"note\">No map: the chain could not be opened.</p>"
        }
        let drawing = MapDrawing(picture: picture, chain: image.chain, id: "m\(number)")
        let rows = picture.sources.map { source -> HTML in
            let total = picture.total(of: source)
            let name: HTML =
                switch source {
                case .data(let depth):
                    "<b>\(depth)</b> <code>\(image.chain.indices.contains(depth) ? image.chain[depth].printed : "")</code>"
                case .zeros: "allocated zeros"
                case .hole: "holes"
                }
            return """
                <tr><th scope="row"><svg class="key" viewBox="0 0 16 16" aria-hidden="true"><path class="\(drawing.style(of: source))" d="M0 0h16v16H0z"/></svg>\
                \(name)</th><td class="n">\(HumanText.size(total))</td><td class="n">\(HumanText.percent(total, of: picture.guestLength))</td></tr>
                """
        }
        return """
            <figure>\(drawing.figure)
            <div class="axis" aria-hidden="true"><span>0</span><span>\(HumanText.size(picture.guestLength / 2))</span><span>\(HumanText.size(picture.guestLength))</span></div></figure>
            <div class="scroll" role="region" aria-label="Layers of \(image.name)" tabindex="0"><table class="shares">
            <caption>Where the guest's bytes come from; layer 0 is the image itself</caption>
            <thead><tr><th scope="col">Layer</th><th scope="col" class="n">Bytes</th><th scope="col" class="n">Share</th></tr></thead>
            <tbody>\(HTML.joined(rows, separator: "\n"))</tbody></table></div>
            """
    }
}
