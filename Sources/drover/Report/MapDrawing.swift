internal import DiskImages
internal import SystemPackage

/// A block picture as SVG: from left to right the guest disk, and in each place a column whose
/// parts say how much of it comes from where. The base lies at the bottom, overlays above it, holes
/// stay empty.
struct MapDrawing {
    static let width = 768
    static let height = 72
    /// How many styles there are for layers; deeper ones begin anew.
    static let styleCount = 6
    private static let viewBox: HTML = "0 0 \(width) \(height)"

    let picture: BlockPicture
    let chain: [FilePath]
    /// Unique on the page.
    let id: String

    /// The style of a source: `s0` to `s5` for layers, `sz` for zeros, `sh` for holes.
    ///
    /// Counted from the bottom: in all chains the base looks the same.
    func style(of source: BlockPicture.Source) -> String {
        switch source {
        case .data(let depth): "s\((picture.layerCount - 1 - depth) % MapDrawing.styleCount)"
        case .zeros: "sz"
        case .hole: "sh"
        }
    }

    /// The drawing with its description.
    var figure: HTML {
        """
        <svg class="map" viewBox="\(MapDrawing.viewBox)" role="img" aria-labelledby="\(id)t \(id)d"><title id="\(id)t">Map of the guest disk</title>\
        <desc id="\(id)d">\(description)</desc><g id="\(id)">\(shapes)</g></svg>
        """
    }

    /// The same drawing, small and without words: for a table that says the rest in numbers.
    /// `repeats`: the figure is on the page, too.
    func thumbnail(repeats: Bool) -> HTML {
        """
        <svg class="strip" viewBox="\(MapDrawing.viewBox)" preserveAspectRatio="none" aria-hidden="true">\(repeats ? "<use href=\"#\(id)\"/>" : shapes)</svg>
        """
    }

    /// How much comes from where, in words.
    private var description: String {
        let parts: [String] = picture.sources.compactMap { source in
            let total = picture.total(of: source)
            return total > 0
                ? "\(HumanText.percent(total, of: picture.guestLength)) \(name(of: source))" : nil
        }
        return parts.isEmpty ? "A disk of no size." : parts.joined(separator: ", ") + "."
    }

    /// `layer 0, web-01.cow`.
    private func name(of source: BlockPicture.Source) -> String {
        switch source {
        case .data(let depth):
            "layer \(depth)" + (chain.indices.contains(depth) ? ", \(chain[depth].printed)" : "")
        case .zeros: "allocated zeros"
        case .hole: "holes"
        }
    }

    /// One path for each source, the topmost first: each covers what lies below it, too, and the
    /// next one is drawn over that.
    private var shapes: HTML {
        let columns = (0..<picture.cellCount).map(tops)
        var shapes: HTML = ""
        for (number, source) in drawn.enumerated().reversed() {
            guard columns.contains(where: { $0[number] < (number == 0 ? MapDrawing.height : $0[number - 1]) })
            else { continue }
            shapes += "<path class=\"\(style(of: source))\" d=\"\(steps(columns.map { $0[number] }))\"/>"
        }
        return shapes
    }

    /// The area below `tops`, one for each column, as steps; neighbours of the same height are one.
    private func steps(_ tops: [Int]) -> String {
        var path = ""
        var (cell, height) = (0, MapDrawing.height)
        while cell < tops.count {
            let (first, top) = (cell, tops[cell])
            while cell < tops.count, tops[cell] == top { cell += 1 }
            let (left, right) = (place(of: first), place(of: cell))
            if height == MapDrawing.height, top < height { path += "M\(left) \(height)" }
            if top != height { path += "V\(top)" }
            if top < MapDrawing.height { path += "h\(right - left)" } else if height < top { path += "z" }
            height = top
        }
        return height < MapDrawing.height ? path + "V\(MapDrawing.height)z" : path
    }

    /// What is drawn, from the bottom up.
    private var drawn: [BlockPicture.Source] {
        (0..<picture.layerCount).reversed().map { .data(depth: $0) } + [.zeros]
    }

    private func place(of cell: Int) -> Int { cell * MapDrawing.width / max(picture.cellCount, 1) }

    /// How high at least what is there at all is drawn: a change over a base so that it is seen in
    /// the small drawing, too.
    private func least(_ source: BlockPicture.Source) -> Int {
        if case .data(let depth) = source, depth < picture.layerCount - 1 { return 12 }
        return 3
    }

    /// Where the top of each of `drawn` lies in the column of `cell`, counted from the drawing's
    /// top.
    private func tops(of cell: Int) -> [Int] {
        let range = picture.range(of: cell)
        let length = Double(range.upperBound - range.lowerBound)
        var heights = drawn.map { source in
            let bytes = picture.bytes(of: source, in: cell)
            return bytes == 0
                ? 0 : max(least(source), Int((Double(bytes) / length * Double(MapDrawing.height)).rounded()))
        }
        // What the small ones got too much, the largest gives.
        while heights.reduce(0, +) > MapDrawing.height,
            let largest = heights.indices.max(by: { heights[$0] < heights[$1] })
        {
            heights[largest] -= 1
        }
        var bottom = MapDrawing.height
        return heights.map { height in
            bottom -= height
            return bottom
        }
    }
}
