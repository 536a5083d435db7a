internal import TransportArchive

/// Where the space went, as a bar and as a table.
extension ReportPage {
    /// One part of the bar: what the guests see is all of them together.
    private struct Part {
        let name: String
        let bytes: UInt64
        let style: String
        let note: String
    }

    var savings: HTML {
        guard let savings = report.savings, savings.guest > 0 || savings.result > 0 else { return "" }
        let parts = [
            Part(name: "Result", bytes: savings.result, style: "r0", note: "what the targets take"),
            Part(
                name: "Shared bases", bytes: savings.sharing, style: "r1",
                note: "saved: a base is stored once"),
            Part(name: "Compression", bytes: savings.compression, style: "r2", note: "saved"),
            Part(
                name: "Holes and zeros", bytes: savings.sparse, style: "r3", note: "saved: they take no space"
            ),
        ]
        // A target can be larger than what it shows: headers and bitmaps of small disks.
        let whole = parts.reduce(0) { $0 + Double($1.bytes) }
        let saved = savings.guest > savings.result ? savings.guest - savings.result : 0
        return """
            <section aria-labelledby="savings">
            <h2 id="savings">Space</h2>
            <p class="lead"><strong>\(HumanText.size(savings.result))</strong> instead of \(HumanText.size(savings.guest)): \
            <strong>\(HumanText.percent(saved, of: savings.guest))</strong> saved</p>
            \(bar(of: parts, whole))
            <div class="scroll" role="region" aria-label="Table: where the space went" tabindex="0"><table class="shares">
            <caption>Of what raw files without holes would take. Each image flattened by itself holds \(HumanText.size(savings.flattened)) of data in all.</caption>
            <thead><tr><th scope="col">Part</th><th scope="col" class="n">Bytes</th><th scope="col" class="n">Share</th></tr></thead>
            <tbody>\(HTML.joined(parts.map { row(of: $0, savings.guest) }))</tbody>
            <tfoot><tr><th scope="row">Raw files without holes</th><td class="n">\(HumanText.size(savings.guest))</td><td class="n">100 %</td></tr></tfoot>
            </table></div>
            </section>
            """
    }

    private func row(of part: Part, _ whole: UInt64) -> HTML {
        """
        <tr><th scope="row"><svg class="key" viewBox="0 0 16 16" aria-hidden="true"><path class="\(part.style)" d="M0 0h16v16H0z"/></svg>\
        \(part.name) <span class="note">\(part.note)</span></th><td class="n">\(HumanText.size(part.bytes))</td>\
        <td class="n">\(HumanText.percent(part.bytes, of: whole))</td></tr>

        """
    }

    /// The parts side by side; the table below says the same.
    private func bar(of parts: [Part], _ whole: Double) -> HTML {
        var left = 0
        let drawn = parts.filter { $0.bytes > 0 }
        let description = drawn.map { "\($0.name) \(HumanText.size($0.bytes))" }.joined(separator: ", ")
        let shapes = drawn.enumerated().map { number, part -> HTML in
            // What is there is seen: four units at least, as long as there is room.
            let room = MapDrawing.width - left - 4 * (drawn.count - number - 1)
            let width =
                number == drawn.count - 1
                ? room : min(room, max(4, Int(Double(part.bytes) / whole * Double(MapDrawing.width))))
            defer { left += width }
            return "<path class=\"\(part.style)\" d=\"M\(left) 0h\(width)v40h-\(width)z\"/>"
        }
        return """
            <svg class="bar" viewBox="0 0 \(MapDrawing.width) 40" role="img" aria-labelledby="st sd"><title id="st">Where the space went</title>\
            <desc id="sd">\(description).</desc>\(HTML.joined(shapes))</svg>
            """
    }
}
