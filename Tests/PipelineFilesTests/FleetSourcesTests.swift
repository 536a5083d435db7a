import DiskImages
import Glibc
import Linux
import SystemPackage
import TestSupport
import Testing

@testable import PipelineFiles

/// Which files a pipeline's patterns mean.
struct FleetSourcesTests {
    private let file: PipelineFile

    init() throws { file = try PipelineFile() }

    private func pipeline(_ sources: String, _ more: String = "") -> String {
        "target: {directory: out}\nsources: \(sources)\n\(more)"
    }

    @Test func matchesAreSortedAndComeOnce() throws {
        try file.make("g/b.cow", "g/a.cow", "g/B.cow", "g/ä.cow", "g/c.img", "g/.hidden.cow", "g/deep/x.cow")
        #expect(
            try file.sources(pipeline("[g/*.cow, 'g/[ab].cow', g/../g/a.cow, ./g/b.cow]")) == [
                "g/B.cow", "g/a.cow", "g/b.cow", "g/ä.cow",
            ])
        #expect(try file.sources(pipeline("[g/?.*]")) == ["g/B.cow", "g/a.cow", "g/b.cow", "g/c.img"])
        #expect(try file.sources(pipeline("[g/.*.cow]")) == ["g/.hidden.cow"])
        #expect(try file.sources(pipeline("['\(file.directory.path)/g/[!ab].cow']")) == ["g/B.cow"])
    }

    @Test func aSourceKnowsItsFolderBelowTheFixedPart() throws {
        try file.make("vm/one/root.cow", "vm/one/disks/a.b.img", "vm/two/root", "vm/two/.hidden")
        func facts(_ pattern: String) throws -> [String] {
            try file.load(pipeline(pattern)).findSources().map {
                "\($0.directory)|\($0.name)|\($0.extension)|\($0.line)"
            }
        }
        #expect(try facts("[vm/*/root*]") == ["one|root|cow|2", "two|root||2"])
        #expect(try facts("[vm/*/*/*]") == ["one/disks|a.b|img|2"])
        #expect(try facts("[vm/*/disks/a*]") == ["one/disks|a.b|img|2"])
        #expect(try facts("\n  - vm/two/.h*\n  - vm/one/root.cow") == ["|root|cow|4", "|.hidden||3"])
    }

    @Test func whatLooksLikeAPatternInThePipelinesOwnFolderIsNone() throws {
        let folder = try file.directory.directory("fleet[1]*?\\x")
        try file.make("fleet[1]*?\\x/a.cow", "fleet[1]*?\\x/[b].cow", "fleet[1]*?\\x/c*.cow")
        let path = folder.appending("p.yaml")
        try FileChanges.write(
            Array("target: {directory: out}\nsources: ['*.cow']\nexclude: ['\\[b].cow', 'c\\*.cow']\n".utf8),
            to: path, at: 0)
        #expect(try PipelineSpec.load(path).findSources().map(\.path) == [folder.appending("a.cow")])
    }

    @Test func whatIsExcludedIsLeftOut() throws {
        try file.make("g/a.cow", "g/old-1.cow", "g/old/b.cow", "g/new/c.cow", "g/new/d.cow")
        let more = "exclude: [g/old-*, g/old, g/new/../new/d.cow, nothing*]\n"
        #expect(try file.sources(pipeline("[g/*.cow, g/*/*.cow]", more)) == ["g/a.cow", "g/new/c.cow"])
        #expect(
            file.sourceProblems(pipeline("[g/*.cow]", "exclude: ['*/*']\n")) == [
                "3: 'exclude' leaves no source"
            ])
    }

    @Test func droversOwnFilesAreNoImages() throws {
        try file.make("g/a", "g/a.manifest", "g/b.partial", "g/b.manifest")
        #expect(try file.sources(pipeline("[g/*]")) == ["g/a"])
        #expect(
            file.sourceProblems(pipeline("[g/b*]")) == [
                "2: pattern 'g/b*' matches nothing but files of Drover's own (.partial, .manifest)"
            ]
        )
    }

    @Test func everyPatternThatIsWrongIsReported() throws {
        try file.make("g/a.cow", "g/deep/x", "out/y")
        try file.directory.fifo("g/pipe")
        try file.directory.link("g/nowhere", to: "missing")
        let text = """
            target: {directory: out}
            sources:
              - g/*.img
              - missing/*.cow
              - g/{a,b}.cow
              - g/a.cow/x
              - g/d*
              - g/p*
              - g/n*
            """
        #expect(
            file.sourceProblems(text) == [
                "3: pattern 'g/*.img' matches no file", "4: pattern 'missing/*.cow' matches no file",
                "5: pattern 'g/{a,b}.cow' matches no file (braces stand for themselves: write a pattern for each)",
                "6: pattern 'g/a.cow/x' matches no file",
                "7: source g/deep is a folder (write g/deep/* for the files in it, or exclude it)",
                "8: source g/pipe is no regular file (exclude it)",
                "9: source g/nowhere is a link to nothing",
            ])
    }

    @Test func aSourceStaysWhereItIsConfined() throws {
        try file.make("in/a.cow", "out/b.cow")
        try file.directory.link("in/link.cow", to: "../out/b.cow")
        try file.directory.link("in/near.cow", to: "a.cow")
        let more = "confine: [in]\n"
        #expect(try file.sources(pipeline("[in/a.cow, in/near.cow]", more)) == ["in/a.cow", "in/near.cow"])
        #expect(
            file.sourceProblems(pipeline("[in/*.cow, out/*.cow, /etc/hostname]", more)) == [
                "2: source /etc/hostname lies outside of 'confine' (add its folder to confine)",
                "2: source in/link.cow lies at \(file.directory("out/b.cow")), outside of 'confine' (add its folder to confine)",
                "2: source out/b.cow lies outside of 'confine' (add its folder to confine)",
            ])
        #expect(try file.sources(pipeline("[in/*.cow]", "confine: [in, out]")).count == 3)
        #expect(
            file.sourceProblems(pipeline("[in/a.cow]", "confine:\n  - in\n  - gone\n")) == [
                "3: 'confine': gone cannot be found: No such file or directory"
            ])
    }

    @Test func thePipelinesOwnFolderMayBeReachedThroughALink() throws {
        try file.make("real/a.cow", "real/fleet.yaml")
        try file.directory.link("link", to: "real")
        let path = file.directory("link/fleet.yaml")
        try FileChanges.write(Array(pipeline("['*.cow']").utf8), to: path, at: 0)
        #expect(try PipelineSpec.load(path).findSources().map(\.path) == [file.directory("link/a.cow")])
    }

    @Test func aNameThatIsNoTextIsRefused() throws {
        try file.make("g/a.cow")
        let path = FilePath(
            bytes: file.directory("g/").pathBytes + Array("/".utf8) + [0xff] + Array(".cow".utf8))
        let descriptor = path.withPlatformString { open($0, O_WRONLY | O_CREAT | O_CLOEXEC, 0o600) }
        #expect(descriptor >= 0)
        close(descriptor)
        let problems = file.sourceProblems(pipeline("[g/*.cow]"))
        #expect(
            problems.count == 1 && problems[0].hasSuffix("has a name that is not UTF-8 (rename it)"),
            "\(problems)")
    }

    @Test func whatIsNotThereIsUnavailable() throws {
        try file.make("a")
        let spec = try file.load(pipeline("[a]", "confine: [gone]"))
        let error = #expect(throws: PipelineProblems.self) { try spec.findSources() }
        #expect(error?.kind == .unavailable)
    }
}
