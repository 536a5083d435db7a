import DiskImages
internal import Linux
import SystemPackage
import TestSupport
import Testing

@testable import Serving

/// What a server is told as `key=value`.
struct ServingParametersTests {
    private func options(_ parameters: (String, String)...) throws -> ServingOptions {
        var set = ServingParameters()
        for (key, value) in parameters { try set.set(key, to: Array(value.utf8)) }
        return try set.options()
    }

    private func problem(_ key: String, _ value: String) -> String {
        refusal {
            var set = ServingParameters()
            try set.set(key, to: Array(value.utf8))
        }
    }

    @Test func pathsAreAbsolute() throws {
        let options = try options(
            ("file", "a.cow"), ("archives", "nights"), ("backing-map", "/old=new"), ("cache", "3M"))
        let here = FilePath("x").absolute.removingLastComponent()
        #expect(options.file == here.appending("a.cow"))
        #expect(options.archives == [here.appending("nights")])
        #expect(
            options.location.moved("/old/b", from: "/elsewhere/a.cow") == here.appending("new").appending("b")
        )
        #expect(options.cache == 3 << 20)
    }

    @Test func namesMayHaveAnyBytes() throws {
        var set = ServingParameters()
        try set.set("file", to: [0x2f, 0x61, 0xff, 0x0a])
        #expect(try set.options().file.string.utf8.count > 3)
    }

    @Test(arguments: [
        ("cache", "much", "cache=much: expected a size such as 16M"),
        ("ignore-mtime", "perhaps", "ignore-mtime=perhaps: expected true or false"),
        ("backing-map", "old", "backing-map=old: expected OLD=NEW, two paths"),
        ("confine", "", "confine=: expected a path"),
        ("fiel", "x", "there is no parameter fiel"),
    ])
    func whatIsWrongIsNamed(_ key: String, _ value: String, _ expected: String) {
        #expect(problem(key, value) == expected)
    }

    @Test func aFormatMustBeOneThatIsRead() {
        #expect(problem("f", "vmdk").hasPrefix("f=vmdk: expected one of raw, "))
    }

    @Test func aFileIsNeeded() {
        #expect(refusal { _ = try options(("image", "x")) }.hasPrefix("file=FILE is missing"))
    }

    @Test func adviceIsGivenInParameters() {
        let error = DiskImageError(.badData, "/x\ny", "is not there (\(.backingMap), \(.ignoreMtime))")
        #expect(
            ServingParameters.line(of: error)
                == "/x\\ny: is not there (backing-map=OLD=NEW, ignore-mtime=true)")
    }
}
