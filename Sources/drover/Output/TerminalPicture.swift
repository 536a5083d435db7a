internal import DiskImages

/// The map of a chain in characters: one for each cell, several rows, and a legend. Colours only
/// repeat what the characters say.
struct TerminalPicture {
    /// One layer for the legend.
    struct Layer {
        let name: String
        let layout: String
    }

    /// What a character stands for.
    private enum Mark: Hashable {
        case source(BlockPicture.Source)
        /// Data of more than one layer.
        case several
    }

    private static let mostRows = 16
    /// By depth: as many as a chain has layers.
    private static let depthGlyphs = Array("0123456789abcdefghijklmnopqrstuvwxyABCDEFGHIJKLMNOPQRSTUVWXYZ@#%")
    /// Colours of the layers' backgrounds and of the writing on them, of the 256 that terminals
    /// have.
    private static let depthColours = [(25, 231), (172, 16), (36, 16), (97, 231), (186, 16), (168, 16)]

    let picture: BlockPicture
    let layers: [Layer]
    let style: TerminalStyle

    /// How many bytes a character stands for: the least power of two with which `guestLength` fits
    /// into the rows.
    static func cellLength(guestLength: UInt64, _ style: TerminalStyle) -> UInt64 {
        let cells = UInt64(width(style) * mostRows)
        var length: UInt64 = 512
        while length < 1 << 62, length < guestLength / cells + 1 { length *= 2 }
        return length
    }

    /// Characters in a row: what label and frame leave of the columns, in whole sixteens so that
    /// rows begin at round offsets.
    private static func width(_ style: TerminalStyle) -> Int {
        min(max((style.columns - labelWidth - 3) / 16 * 16, 16), 448)
    }

    private static let labelWidth = 8

    var lines: [String] { [heading] + rows + [""] + legend }

    private var heading: String {
        let size = HumanText.size(picture.guestLength)
        guard picture.cellCount > 0 else { return "\(layers[0].name): a disk of \(size)" }
        return "\(layers[0].name): a disk of \(size), each character \(HumanText.size(picture.cellLength))"
    }

    private var rows: [String] {
        guard picture.cellCount > 0 else { return [] }
        let width = TerminalPicture.width(style)
        let (top, side, bottom) =
            style.isUnicode
            ? (("┌", "─", "┐"), "│", ("└", "─", "┘")) : (("+", "-", "+"), "|", ("+", "-", "+"))
        func edge(_ parts: (String, String, String)) -> String {
            String(repeating: " ", count: TerminalPicture.labelWidth + 1) + parts.0
                + String(repeating: parts.1, count: width) + parts.2
        }
        let middle = stride(from: 0, to: picture.cellCount, by: width).map { first in
            let cells = first..<min(first + width, picture.cellCount)
            let label = HumanText.size(picture.range(of: first).lowerBound)
            return HumanText.padded(label, to: TerminalPicture.labelWidth, atStart: true) + " " + side
                + painted(cells.map(mark))
                + String(repeating: " ", count: width - cells.count) + side
        }
        return [edge(top)] + middle + [edge(bottom)]
    }

    /// Who has data there; where nobody has, allocated zeros before holes, so that nothing small
    /// disappears.
    private func mark(of cell: Int) -> Mark {
        let depths = (0..<picture.layerCount).filter { picture.bytes(of: .data(depth: $0), in: cell) > 0 }
        guard let depth = depths.first else {
            return .source(picture.bytes(of: .zeros, in: cell) > 0 ? .zeros : .hole)
        }
        return depths.count > 1 ? .several : .source(.data(depth: depth))
    }

    private func glyph(_ mark: Mark) -> String {
        switch mark {
        case .source(.data(let depth)):
            String(TerminalPicture.depthGlyphs[depth % TerminalPicture.depthGlyphs.count])
        case .source(.zeros): "z"
        case .source(.hole): style.isUnicode ? "·" : "."
        case .several: "+"
        }
    }

    /// The glyphs, the colour switched where the next mark is another one.
    private func painted(_ marks: [Mark]) -> String {
        var text = ""
        var last: Mark?
        for mark in marks {
            if style.hasColour, mark != last { text += colour(mark) }
            text += glyph(mark)
            last = mark
        }
        return style.hasColour ? text + "\u{1b}[0m" : text
    }

    private func colour(_ mark: Mark) -> String {
        switch mark {
        case .source(.data(let depth)):
            let (background, text) = TerminalPicture.depthColours[depth % TerminalPicture.depthColours.count]
            return "\u{1b}[0;48;5;\(background);38;5;\(text)m"
        case .source(.zeros): return "\u{1b}[0;7m"
        case .source(.hole): return "\u{1b}[0;2m"
        case .several: return "\u{1b}[0;1;48;5;250;38;5;16m"
        }
    }

    /// What the characters mean: size, share and file of every layer, then zeros and holes.
    private var legend: [String] {
        let marks = (0..<picture.cellCount).map(mark)
        let sources = picture.sources.map { source in
            let total = picture.total(of: source)
            let size = HumanText.padded(HumanText.size(total), to: TerminalPicture.labelWidth, atStart: true)
            let share = HumanText.padded(
                HumanText.percent(total, of: picture.guestLength), to: 6, atStart: true)
            return "  \(painted([.source(source)]))  \(size)  \(share)  \(meaning(of: source))"
        }
        return sources
            + (marks.contains(.several)
                ? ["  \(painted([.several]))  data of several layers within one character"] : [])
    }

    private func meaning(of source: BlockPicture.Source) -> String {
        switch source {
        case .data(let depth): "\(layers[depth].name) (\(layers[depth].layout))"
        case .zeros: "zeros that are allocated"
        case .hole: "holes"
        }
    }
}
