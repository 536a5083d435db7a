import DiskImages
import ImageFormats
import Linux
import SystemPackage
import TestSupport
import Testing

/// Backing files whose paths lead nowhere: found by name, size and time, or not at all.
struct BackingSearchTests {
    private let directory = try! TemporaryDirectory()

    private func options(_ folders: [String]) throws -> ChainOptions {
        ChainOptions(location: try BackingLocation(searches: folders.map { directory($0) }))
    }

    /// An overlay whose base was moved to each of `folders`, with its time.
    private func moved(_ layout: CowLayout = .umlV3, to folders: String...) throws {
        try directory.raw("base.raw", size: 65536)
        try directory.cow("top.cow", layout, over: "base.raw", size: 65536)
        let time = try #require(try ImageFile.identity(at: directory("base.raw"))).mtime
        for folder in folders {
            _ = try directory.directory(folder)
            try directory.raw("\(folder)/base.raw", size: 65536)
            try FileChanges.setMtime(of: directory("\(folder)/base.raw"), time)
        }
        try FileChanges.remove(directory("base.raw"))
    }

    @Test(arguments: [CowLayout.umlV3, .umlV2, .qemuV2])
    func theFileOfTheHeadersNameSizeAndTimeIsTaken(layout: CowLayout) throws {
        try moved(layout, to: "one")
        let chain = try ImageChain.open(directory("top.cow"), options(["nowhere", "one"]))
        #expect(chain.layers[1].path == directory("one/base.raw"))
        #expect(throws: DiskImageError.self) { _ = try ImageChain.open(directory("top.cow"), options([])) }
    }

    @Test func oneOfAnotherTimeOrSizeIsPassedOver() throws {
        try moved(to: "one", "two")
        try FileChanges.setMtime(of: directory("one/base.raw"), Timestamp(seconds: 1, nanoseconds: 0))
        try FileChanges.truncate(directory("two/base.raw"), to: 66048)
        let error = try diskImageError {
            _ = try ImageChain.open(directory("top.cow"), options(["one", "two"]))
        }
        #expect(error.kind == .unavailable)
    }

    @Test func twoThatFitAreAnErrorAndOneFileUnderTwoNamesIsNot() throws {
        try moved(to: "one", "two")
        let error = try diskImageError {
            _ = try ImageChain.open(directory("top.cow"), options(["one", "two"]))
        }
        #expect(error.kind == .badData)
        #expect(error.factLine.contains("both have its name, size and mtime"))
        try FileChanges.remove(directory("two/base.raw"))
        try FileChanges.hardLink(directory("one/base.raw"), as: directory("two/base.raw"))
        #expect(try ImageChain.open(directory("top.cow"), options(["one", "two"])).layers.count == 2)
    }

    @Test func whatLiesWhereNoneMayBeOpenedIsNotTaken() throws {
        try moved(to: "one")
        _ = try directory.directory("other")
        let location = try BackingLocation(searches: [directory("one")], confinement: [directory("other")])
        let error = try diskImageError {
            _ = try ImageChain.open(directory("top.cow"), ChainOptions(location: location))
        }
        #expect(error.kind == .confined)
    }
}
