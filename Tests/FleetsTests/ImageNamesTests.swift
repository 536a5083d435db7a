import SystemPackage
import Testing

@testable import Fleets
@testable import Migration

/// Which of many images a user's name means.
struct ImageNamesTests {
    private let names = ImageNames([
        "guests/web-01.cow", "guests/web-02.cow", "old/web-02.cow", "bases/debian.img", "guests/[x].cow",
    ])

    @Test(arguments: [
        ("guests/web-01.cow", [0]), ("web-01.cow", [0]), ("web-*", [0, 1, 2]), ("guests/*", [0, 1, 4]),
        ("*/debian.*", [3]),
        ("old/*", [2]), ("*", [0, 1, 2, 3, 4]), ("guests/[x].cow", [4]), ("[x].cow", [4]),
        ("[wd]*", [0, 1, 2, 3]),
    ])
    func findsByFullNameLastComponentAndGlob(name: String, places: [Int]) {
        #expect(names.meaning(of: FilePath(name)) == .places(places))
    }

    @Test func aLastComponentOfSeveralIsNone() {
        #expect(names.meaning(of: "web-02.cow") == .ambiguous([1, 2]))
    }

    @Test(arguments: [
        ("web-1.cow", "web-01.cow"), ("base/debian.img", "bases/debian.img"), ("guest*", nil), ("other", nil),
        ("bases", nil),
    ])
    func whatMeansNothingHasNearNames(name: String, near: String?) {
        #expect(names.meaning(of: FilePath(name)) == .nothing(near: near))
    }
}
