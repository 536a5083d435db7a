import DiskImages
import ImageFormats
import Linux
import SystemPackage
import TestSupport
import Testing

struct ConfinementTests {
    private let directory = try! TemporaryDirectory()

    private func open(_ path: FilePath, within confinement: [FilePath], moves: [BackingLocation.Move] = [])
        throws -> ImageChain
    {
        try ImageChain.open(
            path, ChainOptions(location: BackingLocation(moves: moves, confinement: confinement)))
    }

    @Test func aBackingFileInsideIsOpened() throws {
        try directory.directory("in/deep")
        try directory.raw("in/deep/b.raw")
        #expect(
            try open(directory.cow("top.cow", over: "in/deep/b.raw"), within: [directory("in")]).layers.count
                == 2)
    }

    @Test func aBackingFileOutsideIsRefused() throws {
        try directory.directory("in")
        let base = try directory.raw("b.raw")
        let top = try directory.cow("in/top.cow", over: "../b.raw")
        let error = try diskImageError { _ = try open(top, within: [directory("in")]) }
        #expect(error.kind == .confined)
        #expect(
            error.line
                == "\(top): backing file \(directory("in/../b.raw")) lies at \(base), outside of \(directory("in")) (--confine)"
        )
    }

    @Test func aNeighbourWhoseNameBeginsAlikeIsOutside() throws {
        try directory.directory("in")
        try directory.directory("in2")
        try directory.raw("in2/b.raw")
        let top = try directory.cow("in/top.cow", over: directory("in2/b.raw").string)
        #expect(try diskImageError { _ = try open(top, within: [directory("in")]) }.kind == .confined)
    }

    @Test func aSymbolicLinkThatLeavesIsRefused() throws {
        try directory.directory("in")
        try directory.raw("b.raw")
        try directory.link("in/link.raw", to: "../b.raw")
        let top = try directory.cow("in/top.cow", over: "link.raw")
        let error = try diskImageError { _ = try open(top, within: [directory("in")]) }
        #expect(
            error.factLine
                == "backing file \(directory("in/link.raw")) lies at \(directory("b.raw")), outside of \(directory("in")) (--confine)"
        )
    }

    @Test func aDirectoryThatIsReachedByALinkIsItself() throws {
        try directory.directory("real")
        try directory.raw("real/b.raw")
        try directory.link("link", to: "real")
        let top = try directory.cow("top.cow", over: "link/b.raw")
        #expect(try open(top, within: [directory("link")]).layers.count == 2)
        #expect(try open(top, within: [directory("real")]).layers.count == 2)
    }

    @Test func oneOfSeveralDirectoriesIsEnough() throws {
        try directory.directory("a")
        try directory.directory("b")
        try directory.raw("b/b.raw")
        let top = try directory.cow("top.cow", over: "b/b.raw")
        #expect(try open(top, within: [directory("a"), directory("b")]).layers.count == 2)
        #expect(throws: DiskImageError.self) { try open(top, within: [directory("a")]) }
    }

    @Test func everyLayerOfTheChainIsConfined() throws {
        try directory.directory("in")
        try directory.raw("b.raw")
        try directory.cow("in/middle.cow", over: "../b.raw")
        let top = try directory.cow("in/top.cow", over: "middle.cow")
        let error = try diskImageError { _ = try open(top, within: [directory("in")]) }
        #expect(error.path == directory("in/middle.cow"))
    }

    @Test func movesComeBeforeConfinement() throws {
        try directory.directory("in")
        try directory.raw("in/b.raw")
        let top = try directory.cow("top.cow", .umlV3, over: "/srv/uml/b.raw")
        #expect(
            try open(top, within: [directory("in")], moves: [.init(old: "/srv/uml", new: directory("in"))])
                .layers.count == 2)
    }

    @Test func aMissingBackingFileIsUnavailableAndNotOutside() throws {
        let top = try directory.cow("top.cow", over: "nothere.raw")
        let error = try diskImageError { _ = try open(top, within: [directory.path]) }
        #expect(error.kind == .unavailable)
        #expect(
            error.factLine
                == "backing file \(directory("nothere.raw")) cannot be found: No such file or directory "
                + "(where bases have moved, --backing-map OLD=NEW or --backing-search DIRECTORY finds them)")
    }

    @Test func aMissingDirectoryIsNoConfinement() throws {
        #expect(
            try diskImageError { _ = try BackingLocation(confinement: [directory("nothere")]) }.kind
                == .unavailable)
    }
}
