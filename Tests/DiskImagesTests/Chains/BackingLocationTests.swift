import ImageFormats
import SystemPackage
import TestSupport
import Testing

@testable import DiskImages

struct BackingLocationTests {
    private let directory = try! TemporaryDirectory()

    private func locate(
        _ name: FilePath, from image: FilePath = "/srv/guests/web.cow", moves: [(FilePath, FilePath)] = []
    ) throws
        -> FilePath
    {
        try BackingLocation(moves: moves.map { BackingLocation.Move(old: $0.0, new: $0.1) }).locate(
            name, from: image)
    }

    @Test(
        arguments: [
            ("base.img", "/srv/guests/web.cow", "/srv/guests/base.img"),
            ("../base.img", "/srv/guests/web.cow", "/srv/guests/../base.img"),
            ("/b/base.img", "/srv/guests/web.cow", "/b/base.img"), ("base.img", "web.cow", "base.img"),
            ("base.img", "guests/web.cow", "guests/base.img"),
        ] as [(FilePath, FilePath, FilePath)])
    func aRelativeNameLiesInTheImagesOwnFolder(name: FilePath, image: FilePath, place: FilePath) throws {
        #expect(try locate(name, from: image) == place)
    }

    @Test(
        arguments: [
            ("/srv/uml/base.img", "/new/base.img"), ("/srv/uml/deep/base.img", "/new/deep/base.img"),
            ("/srv/uml", "/new"),
            ("/srv/umlx/base.img", "/srv/umlx/base.img"), ("/srv/um", "/srv/um"),
            ("/other/srv/uml/base.img", "/other/srv/uml/base.img"),
        ] as [(FilePath, FilePath)])
    func aMoveReplacesWholeComponentsAtTheStart(name: FilePath, place: FilePath) throws {
        #expect(try locate(name, moves: [("/srv/uml", "/new")]) == place)
    }

    @Test(arguments: [[0, 1, 2], [2, 1, 0], [1, 0, 2]])
    func theLongestMoveWinsWhateverTheOrder(order: [Int]) throws {
        let moves: [(FilePath, FilePath)] = [("/", "/root"), ("/srv", "/short"), ("/srv/uml/bases", "/long")]
        let shuffled = order.map { moves[$0] }
        #expect(try locate("/srv/uml/bases/b.img", moves: shuffled) == "/long/b.img")
        #expect(try locate("/srv/uml/b.img", moves: shuffled) == "/short/uml/b.img")
        #expect(try locate("/b.img", moves: shuffled) == "/root/b.img")
    }

    @Test func aMoveMatchesARelativeNameByItsPlaceAsWell() throws {
        #expect(try locate("../bases/b.img", moves: [("/srv/bases", "/new")]) == "/new/b.img")
    }

    @Test func aMovedBaseIsOpened() throws {
        try directory.directory("new/place")
        try directory.raw("new/place/b.raw")
        let top = try directory.cow("top.cow", .umlV3, over: "/srv/uml/bases/b.raw")
        let moves = [
            BackingLocation.Move(old: "/srv/uml", new: directory("nowhere")),
            .init(old: "/srv/uml/bases", new: directory("new/place")),
        ]
        let chain = try ImageChain.open(top, ChainOptions(location: BackingLocation(moves: moves)))
        #expect(chain.layers[1].path == directory("new/place/b.raw"))
    }
}
