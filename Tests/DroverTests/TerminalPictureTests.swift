import DiskImages
import Testing

@testable import drover

/// Maps in characters.
struct TerminalPictureTests {
    /// 64 KiB in cells of 4 KiB: the overlay, both, the base, allocated zeros, holes.
    private func lines(_ style: TerminalStyle) -> [String] {
        var picture = BlockPicture(guestLength: 64 << 10, layerCount: 2, cellLength: 2048)
        picture.add(.data(depth: 0), 0..<9 * 512)
        picture.add(.data(depth: 1), 9 * 512..<20_480)
        picture.add(.zeros, 20_480..<20_992)
        picture.add(.hole, 20_992..<65_536)
        let layers = [
            TerminalPicture.Layer(name: "top.cow", layout: "uml-v3"),
            TerminalPicture.Layer(name: "b.raw", layout: "raw"),
        ]
        return TerminalPicture(picture: picture, layers: layers, style: style).lines
    }

    @Test func plainTextSaysEverything() {
        let expected = """
            top.cow: a disk of 64 KiB, each character 2 KiB
                     +----------------+
                 0 B |00+1111111z.....|
              32 KiB |................|
                     +----------------+

              0   4.5 KiB     7 %  top.cow (uml-v3)
              1  15.5 KiB    24 %  b.raw (raw)
              z     512 B    <1 %  zeros that are allocated
              .  43.5 KiB    68 %  holes
              +  data of several layers within one character
            """
        #expect(
            lines(TerminalStyle(columns: 30, hasColour: false, isUnicode: false)).joined(separator: "\n")
                == expected)
    }

    @Test func coloursAddNothingButColours() {
        let plain = lines(TerminalStyle(columns: 80, hasColour: false, isUnicode: true))
        let coloured = lines(TerminalStyle(columns: 80, hasColour: true, isUnicode: true))
        #expect(coloured != plain)
        #expect(coloured.map { $0.replacing(/\u{1b}\[[0-9;]*m/, with: "") } == plain)
        // Whatever follows a line is not coloured by it.
        #expect(coloured.allSatisfy { !$0.contains("\u{1b}[") || $0.contains("\u{1b}[0m") })
    }

    @Test(arguments: [1, 20, 79, 80, 81, 200, 100_000])
    func noRowIsWiderThanTheTerminalWhereThatIsPossible(columns: Int) throws {
        let style = TerminalStyle(columns: columns, hasColour: false, isUnicode: true)
        for length: UInt64 in [512, 1 << 20, 1_000_001 * 512, 1 << 63] {
            let cellLength = TerminalPicture.cellLength(guestLength: length, style)
            let picture = BlockPicture(guestLength: length, layerCount: 1, cellLength: cellLength)
            #expect(picture.cellLength == cellLength)
            let lines = TerminalPicture(
                picture: picture, layers: [.init(name: "x", layout: "raw")], style: style
            ).lines
            let rows = lines.filter { $0.contains("│") }
            #expect((1...16).contains(rows.count), "\(length) in \(columns)")
            #expect(rows.allSatisfy { $0.count <= max(columns, 27) })
        }
    }

    @Test func aDiskOfNoSizeIsALegendAlone() {
        let picture = BlockPicture(guestLength: 0, layerCount: 1, cellLength: 512)
        let style = TerminalStyle(columns: 80, hasColour: true, isUnicode: true)
        let lines = TerminalPicture(picture: picture, layers: [.init(name: "x", layout: "raw")], style: style)
            .lines
        #expect(lines.first == "x: a disk of 0 B")
        #expect(lines.count == 5)
    }

    @Test func everyDepthHasItsOwnCharacter() {
        var picture = BlockPicture(guestLength: 64 * 512, layerCount: 64, cellLength: 512)
        for depth in 0..<64 {
            picture.add(.data(depth: depth), UInt64(depth) * 512..<UInt64(depth + 1) * 512)
        }
        let layers = (0..<64).map { TerminalPicture.Layer(name: "layer\($0)", layout: "raw") }
        let style = TerminalStyle(columns: 80, hasColour: false, isUnicode: false)
        let lines = TerminalPicture(picture: picture, layers: layers, style: style).lines
        let row = lines.first { $0.contains("|") }?.split(separator: "|").last ?? ""
        #expect(row.count == 64 && Set(row).count == 64 && Set(row).isDisjoint(with: "z.+ "))
    }
}
