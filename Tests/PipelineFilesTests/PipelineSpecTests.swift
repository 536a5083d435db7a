import DiskImages
import ImageFormats
import SystemPackage
import TestSupport
import Testing

@testable import PipelineFiles
@testable import TransportArchive

/// What a pipeline file says, where it is sound.
struct PipelineSpecTests {
    private let file: PipelineFile

    init() throws { file = try PipelineFile() }

    @Test func whatIsNotWrittenHasItsDefault() throws {
        let spec = try file.load("sources: [guests/*.cow]\ntarget: {directory: out}\n")
        let folder = file.directory.path
        #expect(spec.file == file.path)
        #expect(spec.directory == folder)
        #expect(spec.operation == .convert)
        #expect(spec.sources.map(\.pattern) == ["guests/*.cow"])
        #expect(spec.sources.map(\.absolute) == [folder.appending("guests/*.cow")])
        #expect(spec.exclude.isEmpty)
        #expect(spec.sourceFormat == nil && spec.backingFormat == nil)
        #expect(spec.confine == [folder])
        #expect(spec.backingMap.isEmpty)
        #expect(!spec.ignoreMtime)
        #expect(
            spec.target
                == PipelineSpec.Target(
                    directory: folder.appending("out"), name: .usual, format: .raw, keepChain: false,
                    options: FormatOptions()))
        #expect(spec.compression == .lz4(level: 1))
        #expect(spec.jobs == nil && spec.rate == nil)
    }

    @Test func everyKeyIsTaken() throws {
        let spec = try file.load(
            """
            version: 1
            operation: convert
            sources:
              - guests/*.cow
              - /srv/more/web-[0-9].cow
            exclude: [guests/old-*.cow]
            source-format: uml-v3
            backing-format: raw
            confine: [., /srv]
            backing-map: {/srv/uml: ., relative: base}
            ignore-mtime: true
            target:
              directory: migrated
              name: "{name}-{directory}.{extension}.{format}"
              format: cow
              keep-chain: true
              options: {layout: uml-v3, alignment: 8k}
            jobs: 4
            rate: 200M
            """)
        let folder = file.directory.path
        #expect(spec.sources.map(\.line) == [4, 5])
        #expect(spec.sources.map(\.fixed) == [folder.appending("guests"), "/srv/more"])
        #expect(spec.exclude.map(\.pattern) == ["guests/old-*.cow"])
        #expect(spec.sourceFormat == .cow(.umlV3) && spec.backingFormat == .raw)
        #expect(spec.confine == [folder, "/srv"])
        #expect(
            spec.backingMap == [
                BackingLocation.Move(old: "/srv/uml", new: folder),
                BackingLocation.Move(old: "relative", new: folder.appending("base")),
            ])
        #expect(spec.ignoreMtime)
        #expect(spec.target.directory == folder.appending("migrated"))
        #expect(spec.target.name.description == "{name}-{directory}.{extension}.{format}")
        #expect(spec.target.format == .cow && spec.target.keepChain)
        #expect(spec.target.options.layout == .umlV3 && spec.target.options.alignment == 8192)
        #expect(spec.jobs == 4 && spec.rate == 200 << 20)
        #expect(
            spec.lines["rate"] == 19 && spec.lines["target.format"] == 15
                && spec.lines["options.layout"] == 17)
    }

    @Test func anArchiveIsRelativeToThePipelineFileAsEveryPathIs() throws {
        let spec = try file.load(
            "operation: pack\nsources: [a]\ntarget: {archive: out/fleet.drover}\ncompression: lz4:9\n")
        #expect(spec.operation == .pack && spec.compression == .lz4(level: 9))
        #expect(spec.target.archive == file.directory("out/fleet.drover"))
        #expect(spec.target.directory == file.directory("out"))
        #expect(spec.target.formatName(.pack) == "drover")
        let both = try file.load(
            "operation: verify\nsources: [a]\ntarget: {directory: out, archive: fleet.drover}")
        #expect(both.target.archive == file.directory("fleet.drover"))
        #expect(both.target.directory == file.directory("out"))
    }

    @Test func textIsTextWhateverItLooksLike() throws {
        let spec = try file.load(
            "sources: [123, true, \"~\", 'a b', 1.5]\ntarget: {directory: 0x10}\nrate: 5\n")
        #expect(spec.sources.map(\.pattern) == ["123", "true", "~", "a b", "1.5"])
        #expect(spec.target.directory.lastComponent == "0x10")
        #expect(spec.rate == 5)
    }

    @Test(arguments: [
        "\u{feff}sources: [a]\r\ntarget: {directory: b}\r\n",
        "{\"sources\": [\"a\"], \"target\": {\"directory\": \"b\"}}",
        "%YAML 1.1\n---\n# &a *a ? [\nsources: [\"R &D ? [x\"] # *b &c\ntarget: {directory: b}\n...",
    ])
    func yamlMayLookAsItLikes(text: String) throws {
        #expect(try file.load(text).target.directory == file.directory("b"))
    }

    @Test func aFolderIsGoneUpFromWhereALinkLeads() throws {
        try file.directory.directory("deep/inside")
        try file.directory.link("link", to: "deep/inside")
        let spec = try file.load(
            "sources: [link/../a.img]\nconfine: [link/..]\ntarget: {directory: link/../out}\n")
        #expect(spec.confine == [file.directory("deep")])
        #expect(spec.target.directory == file.directory("deep/out"))
        #expect(spec.sources.map(\.fixed) == [file.directory("deep")])
    }

    @Test(
        arguments: [
            ("4096", 4096), ("4k", 4096), ("4K", 4096), ("3M", 3 << 20), ("1G", 1 << 30), ("2T", 2 << 40),
            ("0", 0), ("", nil), ("k", nil),
            ("-1", nil), ("1.5M", nil), ("1_000", nil), ("9223372036854775807", UInt64(Int64.max)),
            ("9223372036854775808", nil),
            ("8388608T", nil), ("99999999999999999999", nil),
        ] as [(String, UInt64?)])
    func sizesHaveUnits(text: String, bytes: UInt64?) {
        #expect(ByteSize(text: text)?.bytes == bytes)
    }

    @Test(
        arguments: [
            ("sorces", "sources"), ("source", "sources"), ("SOURCES", "sources"), ("job", "jobs"),
            ("josb", "jobs"),
            ("backing_map", "backing-map"),
            ("ignore_mtimes", "ignore-mtime"), ("compress", "compression"), ("ratio", nil), ("x", nil),
            ("", nil),
        ] as [(String, String?)])
    func aSlipOfTheKeyIsRecognised(key: String, known: String?) {
        #expect(NearestKey.of(key, in: PipelinePlace.pipeline.keys) == known)
    }
}

/// The pipelines that Drover comes with.
struct ExamplePipelineTests {
    private static let folder = FilePath(#filePath).removingLastComponent().removingLastComponent()
        .removingLastComponent().appending(
            "Pipelines")

    @Test(arguments: [("convert.yaml", PipelineSpec.Operation.convert), ("archive.yaml", .pack)])
    func anExampleFindsTheGuestsBesideIt(name: String, operation: PipelineSpec.Operation) throws {
        let fleet = try Fixture("a", from: "uml-fleet")
        let file = fleet.file(name)
        try FileChanges.write(
            try FileChanges.bytes(of: ExamplePipelineTests.folder.appending(name)), to: file, at: 0)
        let spec = try PipelineSpec.load(file)
        #expect(spec.operation == operation)
        #expect(try spec.findSources().map(\.name) == ["a1-idle", "a2-small", "a3-db"])
        // What they stand on is found, too.
        let location = try BackingLocation(moves: spec.backingMap, confinement: spec.confine)
        for source in try spec.findSources() {
            #expect(try ImageChain.open(source.path, ChainOptions(location: location)).layers.count == 2)
        }
    }
}
