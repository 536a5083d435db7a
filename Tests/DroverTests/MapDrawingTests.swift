import DiskImages
import SystemPackage
import Testing

@testable import drover

/// Block pictures as SVG.
struct MapDrawingTests {
    private func figure(_ picture: BlockPicture) -> String {
        MapDrawing(picture: picture, chain: (0..<picture.layerCount).map { FilePath("layer\($0)") }, id: "m")
            .figure.markup
    }

    @Test func theBaseLiesAtTheBottomAndChangesAboveIt() {
        var picture = BlockPicture(guestLength: 2048, layerCount: 2, cells: 2)
        picture.add(.data(depth: 1), 0..<512)
        picture.add(.data(depth: 0), 512..<1024)
        picture.add(.hole, 1024..<2048)
        let markup = figure(picture)
        #expect(
            markup.contains(
                "<path class=\"s1\" d=\"M0 72V0h384V72z\"/><path class=\"s0\" d=\"M0 72V36h384V72z\"/></g>"))
        #expect(
            markup.contains("<desc id=\"md\">25 % layer 0, layer0, 25 % layer 1, layer1, 50 % holes.</desc>"))
    }

    @Test func neighboursThatLookAlikeAreOneShape() {
        var picture = BlockPicture(guestLength: 256 * 512, layerCount: 1, cells: 256)
        picture.add(.data(depth: 0), 0..<256 * 512)
        #expect(figure(picture).contains("d=\"M0 72V0h768V72z\""))
    }

    @Test func theLeastBitOfDataIsSeen() {
        var picture = BlockPicture(guestLength: 1 << 63, layerCount: 1, cells: 256)
        picture.add(.hole, 0..<1 << 62)
        picture.add(.data(depth: 0), 1 << 62..<1 << 62 + 512)
        picture.add(.hole, 1 << 62 + 512..<1 << 63)
        #expect(figure(picture).contains("d=\"M384 72V69h3V72z\""))
    }

    @Test func theLeastChangeIsSeenInTheSmallDrawingToo() {
        var picture = BlockPicture(guestLength: 1 << 30, layerCount: 2, cells: 1)
        picture.add(.data(depth: 1), 0..<1 << 29)
        picture.add(.data(depth: 0), 1 << 29..<1 << 29 + 512)
        picture.add(.hole, 1 << 29 + 512..<1 << 30)
        #expect(figure(picture).contains("<path class=\"s1\" d=\"M0 72V24h768V72z\"/>"))
        #expect(figure(picture).contains("<path class=\"s0\" d=\"M0 72V36h768V72z\"/>"))
    }

    @Test func manyLayersShareTheHeight() {
        var picture = BlockPicture(guestLength: 64 * 512, layerCount: 64, cells: 1)
        for depth in 0..<64 {
            picture.add(.data(depth: depth), UInt64(depth) * 512..<UInt64(depth + 1) * 512)
        }
        let tops = figure(picture).matches(of: /M0 72V(-?\d+)h768/).map { Int($0.output.1) ?? -1 }
        #expect(tops.count == 64 && tops.first == 0 && tops.allSatisfy { (0..<72).contains($0) })
        #expect(zip(tops, tops.dropFirst()).allSatisfy { (1...2).contains($1 - $0) })
    }

    @Test func aDiskOfNoSizeIsAnEmptyDrawing() {
        #expect(
            figure(BlockPicture(guestLength: 0, layerCount: 1, cells: 256)).contains(
                "<desc id=\"md\">A disk of no size.</desc><g id=\"m\"></g>"))
    }
}
