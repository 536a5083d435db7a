import Testing

@testable import TransportArchive

/// Names in an archive are relative, and lead nowhere else.
struct ArchiveNameTests {
    @Test(arguments: [
        "a", "a/b.cow", "..a", "a..b", "...", " ", "a b", "-n", "a\nb", "x\u{1b}[31m", "back\\slash", "~",
        "partial", "x.partial.img", String(repeating: "x", count: 240), String(repeating: "ä", count: 120),
    ])
    func aNameIsOne(name: String) { #expect(ArchiveName.fault(of: name) == nil) }

    @Test(arguments: [
        "", "/", "/a", "//x", "a/", "a//b", ".", "..", "../x", "a/..", "a/../b", "./a", "a/.", "a/./b",
        "a\0b",
        "\0", ".partial", ".manifest", "a.partial", "a.manifest", "x.partial/y", "vm/x.manifest",
        "a\u{301}.partial", "/\u{301}a", String(repeating: "x", count: 241),
        String(repeating: "ä", count: 121),
        Array(repeating: String(repeating: "n", count: 200), count: 21).joined(separator: "/"),
    ])
    func aNameIsNone(name: String) { #expect(ArchiveName.fault(of: name) != nil) }

    @Test(arguments: [
        (["a", "b", "ab", "a.b"], nil), ([], nil), (["a/b", "a/c", "ab/c", "a.c"], nil),
        (["a", "a/b"], "a a/b"), (["a/b", "a"], "a a/b"), (["a/b/c", "x", "a/b"], "a/b a/b/c"),
        (["a/b/c/d", "b", "a/bc", "a"], "a a/b/c/d"),
        // What looks alike is not the same.
        (["\u{e9}", "e\u{301}/a"], nil),
    ])
    func aNameThatIsAFolderOfAnotherIsFound(names: [String], expected: String?) {
        let found = ArchiveName.folder(among: names.map { Array($0.utf8) })
        #expect(
            found.map { String(decoding: $0.folder + [0x20] + $0.name, as: UTF8.self) } == expected)
    }

    @Test(arguments: [
        ("a", ["a"]), ("a/b.cow", ["a", "b.cow"]), ("a/\u{301}b", ["a", "\u{301}b"]),
        ("a/b/c", ["a", "b", "c"]),
    ])
    func aNameIsSplitAtItsSlashes(name: String, components: [String]) {
        #expect(ArchiveName.components(of: name) == components)
        #expect(ArchiveName.lastComponent(of: name) == components.last.map { Array($0.utf8) })
    }
}
