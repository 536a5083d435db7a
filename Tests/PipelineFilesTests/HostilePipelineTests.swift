import Glibc
import TestSupport
import Testing

@testable import PipelineFiles

/// YAML that is made to hold its reader up, to fill the memory or to end the process.
struct HostilePipelineTests {
    private static func times(_ count: Int, _ text: String) -> String {
        String(repeating: text, count: count)
    }
    private static let anchor =
        "is an anchor, and a pipeline has none (write out what it stands for; a text that begins with & is quoted)"
    private static let alias =
        "an unquoted * begins an alias, and a pipeline has none (quote the pattern: \"*.cow\", \"web-[12]*.cow\")"
    private static let tag =
        "is a tag, and a pipeline has none (leave it out; a text that begins with ! is quoted)"
    private static let deep = "is nested deeper than anything in a pipeline"
    private static let quote = "(a text with one of []{},:#&*!|>'\"%@` in it is quoted)"
    private static let key =
        "a key is a list or a mapping; expected text (a text that begins with ? is quoted)"

    @Test(arguments: [
        ("sources:\n  - *.cow\n", ["2: \(alias)"]),
        ("sources:\n  - *cow\n", ["2: \(alias)"]),
        ("sources: [guests/[ab]*.cow]\n", ["1: \(alias)"]),
        ("sources: &a [x]\ntarget: {directory: x}\n", ["1: '&a' \(anchor)"]),
        ("sources: [&a x]\ntarget: *a\n", ["1: '&a' \(anchor)"]),
        (
            "sources: !!python/object/apply:os.system [x]\ntarget: {directory: !foo x}\nversion: !!int 1\n",
            [
                "1: '!!python/object/apply:os.system' \(tag)", "2: '!foo' \(tag)", "3: '!!int' \(tag)",
            ]
        ),
        (
            soundPipeline + "---\na: b\n",
            ["3: another document begins, and a pipeline is one (remove the ---)"]
        ),
        (
            "target:\n  name: {directory}/{name}\n",
            [
                "2: is no YAML: did not find expected key, while parsing a block mapping from line 2 \(quote)"
            ]
        ),
        (
            "sources: [a\n",
            [
                "2: is no YAML: did not find expected ',' or ']', while parsing a flow sequence from line 1 \(quote)"
            ]
        ),
        ("a: 1\nb: \u{1}", ["2: is no YAML: control characters are not allowed"]),
        ("a: 1\nb: \0", ["2: contains a NUL byte"]),
        (
            "a: 1\na: 2\nb: [",
            [
                "4: is no YAML: did not find expected node content, while parsing a flow node from line 4 \(quote)"
            ]
        ),
    ])
    func whatNoPipelineUsesIsRefused(text: String, problems: [String]) {
        #expect(pipelineProblems(text) == problems)
    }

    @Test func bytesThatAreNoTextAreRefused() throws {
        let file = try PipelineFile()
        try file.write(Array("a: 1\nb: ".utf8) + [0xc3, 0x28])
        let error = #expect(throws: PipelineProblems.self) { try PipelineSpec.load(file.path) }
        #expect(error?.lines == ["\(file.path):2: is not UTF-8"])
    }

    @Test(arguments: ["[", "{a: ", "[a: ", "- ", "? ", "[? ", "{? "])
    func nestingOverflowsNoStack(opening: String) {
        let text = HostilePipelineTests.times((1 << 20) / opening.utf8.count, opening)
        let isKey = opening.contains("?")
        #expect(
            pipelineProblems(text) == ["1: \(isKey ? HostilePipelineTests.key : HostilePipelineTests.deep)"])
    }

    @Test func nestingThatTheParserAllowsNeedsNoMoreThanASmallStack() {
        // Two levels for each bracket: as deep as the parser goes.
        let text =
            "sources: " + HostilePipelineTests.times(900, "[a: ") + HostilePipelineTests.times(900, "]")
            + "\ntarget: {directory: x}\n"
        let thread = SmallStack {
            #expect(
                pipelineProblems(text) == [
                    "1: \(HostilePipelineTests.deep)",
                    "1: an element of 'sources' is a mapping; expected text",
                ])
        }
        #expect(thread.run())
    }

    @Test func aBillionLaughsAreNotLaughed() {
        var text = "a0: &a0 [x, x]\n"
        for level in 1..<60 { text += "a\(level): &a\(level) [*a\(level - 1), *a\(level - 1)]\n" }
        for use in ["? *a59\n: x\n", "*a59 : x\n", "{*a59 : x}: y\n", "sources: *a59\n"] {
            let problems = pipelineProblems(text + use)
            #expect(problems == (0..<60).map { "\($0 + 1): '&a\($0)' \(HostilePipelineTests.anchor)" })
        }
    }

    /// Every way to hide an anchor from whoever looks at the text alone.
    @Test(arguments: [
        "k: {\"a\":&a0 [x]}", "k: [ &a0 [x]]", "k:\n - &a0 [x]", "? &a0 [x]", "k: [x,&a0 [x]]",
        "{&a0 [x]: y}", "k: !!seq &a0 [x]",
        "# c\r&a0 [x]", "# c\u{85}&a0 [x]", "# c\u{2028}&a0 [x]", "k: [\"\n # \", &a0 [x]]",
        "k: ['\n # ', &a0 [x]]",
        "k: [\n # \"'\n&a0 [x]]",
        "\u{feff}&a0 [x]", "k: [?&a0 [x]]", "--- &a0 [x]", "k:\t&a0 [x]",
    ])
    func anAnchorIsFoundWhereverItStands(text: String) {
        // What is wrong behind an anchor may only follow from it.
        let problems = pipelineProblems(text + "\n *b")
        #expect(
            problems.count == 1 && problems[0].hasSuffix(": '&a0' \(HostilePipelineTests.anchor)"),
            "\(problems)")
    }

    @Test func keysInKeysAreNotHashedOnEveryLevel() {
        let wide = HostilePipelineTests.times(250_000, "a,")
        #expect(
            pipelineProblems(HostilePipelineTests.times(480, "? - ") + "[\(wide)]") == [
                "1: \(HostilePipelineTests.key)"
            ])
        let flow = HostilePipelineTests.times(240, "{? [") + wide + HostilePipelineTests.times(240, "]: 1}")
        #expect(pipelineProblems(flow) == ["1: \(HostilePipelineTests.key)"])
    }
}

/// A thread with as little stack as a system may give.
private final class SmallStack {
    private let body: () -> Void

    init(_ body: @escaping () -> Void) { self.body = body }

    func run() -> Bool {
        withUnsafeTemporaryAllocation(of: pthread_attr_t.self, capacity: 1) { attributes in
            guard let attributes = attributes.baseAddress, pthread_attr_init(attributes) == 0 else {
                return false
            }
            defer { pthread_attr_destroy(attributes) }
            var thread = pthread_t()
            guard pthread_attr_setstacksize(attributes, 256 << 10) == 0,
                pthread_create(
                    &thread, attributes,
                    { pointer in
                        if let pointer {
                            Unmanaged<SmallStack>.fromOpaque(pointer).takeUnretainedValue().body()
                        }
                        return nil
                    }, Unmanaged.passUnretained(self).toOpaque()) == 0
            else { return false }
            return pthread_join(thread, nil) == 0
        }
    }
}
