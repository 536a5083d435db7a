import DiskImages
import SystemPackage
import TestSupport
import Testing

@testable import PipelineFiles

/// What is said of pipeline files that are wrong: everything at once, each with its line.
struct PipelineProblemsTests {
    @Test func everyProblemIsReportedAtOnce() {
        let found = pipelineProblems(
            """
            sorces: [a]
            operation: move
            jobs: 0
            jobs: 3
            rate: fast
            ignore-mtime: yes
            confine: here
            backing-map: [a]
            source-format: vmdk
            backing-format: qcov
            compression: zip
            directory: x
            target:
              nmae: x
              format: qcow3
              keep-chain: "true"
              keep-chain: 1
              options: {layot: x, layout: uml-v1, alignment: 3}
              archive: x
              bits: y
            exclude: [guests/**/x, [b], ~, a/]
            version: 2
            """)
        #expect(
            found == [
                "1: 'sorces' is no key of a pipeline (did you mean 'sources'?)",
                "2: 'operation' is 'move'; expected convert, pack or verify",
                "3: 'jobs' is '0'; expected a number from 1 on",
                "4: 'jobs' is there already, in line 3",
                "5: 'rate' is 'fast'; expected bytes a second from 1 on, such as 200M",
                "6: 'ignore-mtime' is 'yes'; expected true or false",
                "7: 'confine' is 'here'; expected a list of directories such as [., /srv/base]",
                "8: 'backing-map' is a list; expected a mapping of old to new directories, such as {/srv/uml: .}",
                "9: 'source-format' is 'vmdk'; expected raw, cow, qcow2, uml-v1, uml-v2, uml-v2-64, qemu-v2, qemu-v2-32, uml-v3 or uml-v3-64",
                "10: 'backing-format' is 'qcov'; expected raw, cow, qcow2, uml-v1, uml-v2, uml-v2-64, qemu-v2, qemu-v2-32, uml-v3 or uml-v3-64",
                "11: 'compression' is of archives, and the operation is convert",
                "11: 'compression' is 'zip'; expected none, lz4, lz4:1 to lz4:12, zstd or zstd:1 to zstd:19",
                "12: 'directory' is no key of a pipeline (it belongs under 'target')",
                "14: 'nmae' is no key of 'target' (did you mean 'name'?)",
                "15: 'format' is 'qcow3'; expected raw, cow or qcow2",
                "16: 'keep-chain' is the text 'true'; expected true or false, without quotes",
                "17: 'keep-chain' is there already, in line 16",
                "18: 'layot' is no key of 'options' (did you mean 'layout'?)",
                "18: layout 'uml-v1' is not written (layouts that are: uml-v3, uml-v2, qemu-v2)",
                "18: alignment '3' is no power of two from 512 to 1M (4096 is usual)",
                "19: 'archive' is of operation pack or verify, and the operation is convert",
                "20: 'bits' is no key of 'target' (keys: directory, name, format, keep-chain, options, archive, since, full-every, with)",
                "21: an element of 'exclude' is a list; expected text",
                "21: an element of 'exclude' is nothing; expected text",
                "21: pattern 'guests/**/x' has **, and a wildcard never goes down into folders (write a pattern for each depth: guests/*/*.cow)",
                "21: pattern 'a/' names a folder; expected a pattern for files (add *)",
                "22: version '2' is not known (1 is)",
            ])
    }

    @Test(arguments: [
        ("jobs: 1", ["1: 'sources' is missing", "1: 'target' is missing"]),
        ("sources: [a]\ntarget:\n  format: raw", ["2: 'directory' is missing in 'target'"]),
        (
            "sources:\ntarget:",
            [
                "1: 'sources' is nothing; expected a list of patterns such as [guests/*.cow]",
                "2: 'target' is nothing; expected a mapping of directory, name, format, keep-chain, options, archive, since, full-every, with",
            ]
        ),
        (
            "sources: []\ntarget: {directory: ''}",
            [
                "1: 'sources' is an empty list; expected patterns such as guests/*.cow",
                "2: 'directory' is empty; expected a path",
            ]
        ),
        (
            "- a",
            [
                "1: the pipeline is a list; expected a mapping of version, operation, sources, exclude, source-format, backing-format, confine, "
                    + "backing-map, backing-search, ignore-mtime, target, compression, jobs, rate, metrics, hooks"
            ]
        ),
        ("# nothing\n", [" is empty; expected a pipeline (sources and target)"]),
        ("", [" is empty; expected a pipeline (sources and target)"]),
    ])
    func whatIsMissingIsNamed(text: String, problems: [String]) {
        #expect(pipelineProblems(text) == problems)
    }

    @Test(arguments: [
        ("jobs: -1", "'jobs' is '-1'; expected a number from 1 on"),
        ("jobs: 1.5", "'jobs' is '1.5'; expected a number from 1 on"),
        ("jobs: 99999999999999999999", "'jobs' is '99999999999999999999'; expected a number from 1 on"),
        ("jobs: '4'", "'jobs' is the text '4'; expected a number from 1 on, without quotes"),
        ("jobs: {a: b}", "'jobs' is a mapping; expected a number from 1 on"),
        ("rate: 0", "'rate' is '0'; expected bytes a second from 1 on, such as 200M"),
        ("rate: [1]", "'rate' is a list; expected bytes a second, such as 200M"),
        ("version: '1.0'", "version '1.0' is not known (1 is)"),
        ("confine: []", "'confine' is an empty list; expected directories (or leave it out)"),
        ("confine: [\"a\\0b\"]", "an element of 'confine' contains a NUL"),
        ("exclude: [\"a\\0b\"]", "pattern 'a\0b' contains a NUL"),
        ("exclude: ['*/../x']", "pattern '*/../x' goes back up (..) behind a wildcard"),
        ("exclude: ['a/..']", "pattern 'a/..' names a folder; expected a pattern for files"),
        ("exclude: ['']", "pattern '' is empty; expected a pattern such as guests/*.cow"),
        ("backing-map: {/a: x, /a/: y}", "'/a/' is there already, written another way"),
        ("backing-map: {/a: [x]}", "the new place of '/a' is a list; expected a path"),
        ("backing-map: {'': x}", "an old directory of 'backing-map' is empty; expected a path"),
        ("<<: {jobs: 1}", "'<<' is no key of a pipeline (mappings are not merged: write the keys out)"),
        ("layout: uml-v2", "'layout' is no key of a pipeline (it belongs under 'options')"),
        (
            "? [a, b]\n: c",
            "a key is a list or a mapping; expected text (a text that begins with ? is quoted)"
        ),
        (
            "? {a: b}\n: c",
            "a key is a list or a mapping; expected text (a text that begins with ? is quoted)"
        ),
        ("jobs: {a: 1, a: 2}", "'a' is there twice in one mapping"),
    ])
    func aValueThatCannotBeMeantIsRefused(line: String, problem: String) {
        #expect(pipelineProblems(soundPipeline + line) == ["3: \(problem)"])
    }

    @Test(arguments: [
        (
            "convert", "{directory: out, keep-chain: true}",
            ["'keep-chain' keeps overlays, and a raw image is none (add format: cow or qcow2)"]
        ),
        (
            "convert", "{directory: out, options: {layout: uml-v2}}",
            ["layout is an option of cow, and the target is raw ('format' chooses it)"]
        ),
        (
            "convert", "{directory: out, format: cow, options: {layout: qemu-v2, alignment: 4k}}",
            ["qemu-v2 has no alignment (uml-v3 has one)"]
        ),
        (
            "convert", "{directory: out, archive: x.drover}",
            ["'archive' is of operation pack or verify, and the operation is convert"]
        ),
        (
            "pack", "{directory: out, format: cow, keep-chain: false, options: {}}",
            [
                "'format' has no say here: an archive keeps every image and chain as it is",
                "'keep-chain' has no say here: an archive keeps every image and chain as it is",
                "'options' has no say here: an archive keeps every image and chain as it is",
            ]
        ),
        (
            "pack", "{archive: x.drover, name: '{name}'}",
            ["'name' has no say here: 'archive' is the one archive for all (remove one of them)"]
        ),
        (
            "verify", "{archive: x.drover, format: raw}",
            ["'format' has no say here: an archive keeps every image and chain as it is"]
        ),
        (
            "pack", "{archive: x.partial}",
            ["'archive' has a component that ends in .partial or .manifest; expected the name of a file"]
        ),
        ("pack", "{directory: out, name: '{name}.drover'}", []),
        ("verify", "{directory: out, format: cow, keep-chain: true, options: {alignment: 4k}}", []),
    ])
    func whatDoesNotGoTogetherIsRefused(operation: String, target: String, problems: [String]) {
        #expect(
            pipelineProblems("operation: \(operation)\nsources: [a]\ntarget: \(target)\n")
                == problems.map { "3: \($0)" })
    }

    @Test func aKeyTwiceHidesNothing() {
        let text = """
            sources: [a]
            # a comment, an empty line and a longer key do not matter

            sources-of: x
            "sources": [b]
            target:
                directory: a
                format: cow
                directory : b
            sources: [c]
            job: 1
            """
        #expect(
            pipelineProblems(text) == [
                "4: 'sources-of' is no key of a pipeline (keys: \(PipelinePlace.pipeline.keys.joined(separator: ", ")))",
                "5: 'sources' is there already, in line 1", "9: 'directory' is there already, in line 7",
                "10: 'sources' is there already, in line 1",
                "11: 'job' is no key of a pipeline (did you mean 'jobs'?)",
            ])
        #expect(pipelineProblems(text.replacing("\n", with: "\r\n")) == pipelineProblems(text))
    }

    @Test func noMoreAreShownThanOneReads() {
        let problems = pipelineProblems(soundPipeline + (1...150).map { "k\($0): 1\n" }.joined())
        #expect(problems.count == 101)
        #expect(problems.last == " has 50 more problems")
        #expect(
            pipelineProblems(soundPipeline + String(repeating: "x", count: 1000) + ": 1")[0].utf8.count < 300)
    }

    @Test func whatEndsAPipelineIsKnownByItsKind() throws {
        let file = try PipelineFile()
        func kind(_ path: FilePath) -> String {
            do throws(PipelineProblems) {
                _ = try PipelineSpec.load(path)
                return "none"
            } catch { return "\(error.kind): \(error)" }
        }
        let (missing, folder, fifo) = (
            file.directory("missing"), try file.directory.directory("folder"), try file.directory.fifo("fifo")
        )
        #expect(kind(missing) == "unavailable: \(missing): cannot be opened: No such file or directory")
        #expect(kind(folder) == "badData: \(folder): is no regular file")
        #expect(kind(fifo) == "badData: \(fifo): is no regular file")
        #expect(kind("/dev/zero") == "badData: /dev/zero: is no regular file")
        try file.write([UInt8](repeating: 0x23, count: (1 << 20) + 1))
        #expect(
            kind(file.path)
                == "badData: \(file.path): is 1048577 bytes long; expected a pipeline of at most 1048576")
        try FileChanges.truncate(file.path, to: 1 << 40)
        #expect(
            kind(file.path)
                == "badData: \(file.path): is 1099511627776 bytes long; expected a pipeline of at most 1048576"
        )
    }

    @Test func archivesThatFollowOneAnotherNeedATimeInTheirNames() {
        func problems(_ target: String) -> [String] {
            pipelineProblems(
                """
                version: 1
                operation: pack
                sources: [a]
                target: {\(target)}
                """)
        }
        #expect(problems("archive: 'n/a-{time}.drover', since: newest, full-every: 7").isEmpty)
        #expect(problems("archive: 'a-{time}.drover'").isEmpty)
        #expect(
            problems("archive: a.drover, since: newest") == [
                "4: 'since' is of operation pack and an archive for each run (put {time} into 'archive', such as fleet-{time}.drover)"
            ])
        #expect(
            problems("archive: 'a-{time}.drover', full-every: 7") == [
                "4: 'full-every' has no say here: every archive is a full one (add since: newest)"
            ])
        #expect(
            problems("archive: 'a-{time}.drover', since: oldest, full-every: 0") == [
                "4: 'since' is 'oldest'; expected newest",
                "4: 'full-every' is '0'; expected a number from 1 on",
            ])
        #expect(
            problems("archive: '{time}/a.drover'") == [
                "4: 'archive' has {time} in the name of a folder; expected it in the file's"
            ])
    }
}
