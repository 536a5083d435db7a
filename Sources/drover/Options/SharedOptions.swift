internal import ArgumentParser
internal import DiskImages
internal import Migration
internal import PipelineFiles
internal import SystemPackage
internal import TransportArchive

/// How an image and its backing files are found and read.
struct ImageOptions: ParsableArguments {
    @Option(
        name: .customShort("f", allowingJoined: true),
        help: ArgumentHelp("What IMAGE is (default: look at its content).", valueName: "format"))
    var format: ImageFormat?

    @Option(
        help: ArgumentHelp(
            "What the image's direct backing file is (default: look at its content).", valueName: "format"))
    var backingFormat: ImageFormat?

    @Option(
        help: ArgumentHelp(
            "Look for backing files under NEW where a header's path begins with OLD; the longest OLD wins. May be repeated.",
            valueName: "old=new"),
        completion: .directory, transform: BackingLocation.Move.init(option:))
    var backingMap: [BackingLocation.Move] = []

    @Option(
        help: ArgumentHelp(
            "Where a header's path leads nowhere, look in this directory for a file of the same name whose size and mtime are the header's. May be repeated.",
            valueName: "directory"),
        completion: .directory, transform: FilePath.init(argument:))
    var backingSearch: [FilePath] = []

    @Option(
        help: ArgumentHelp(
            "Open no backing file outside this directory, symbolic links resolved. May be repeated.",
            valueName: "directory"),
        completion: .directory, transform: FilePath.init(argument:))
    var confine: [FilePath] = []

    @OptionGroup var archiveOptions: ArchiveOptions

    @Flag(help: "Go on although a backing file's mtime differs from the header's.")
    var ignoreMtime = false

    @Flag(help: "Read an image although somebody may write to it.")
    var forceShare = false

    /// How images are opened. Throws `unavailable` where a directory of `--confine` is missing.
    /// `changes`: they are changed, or a header will name them; what is in an archive is only read.
    func chainOptions(changes: Bool = false) throws -> ChainOptions {
        var options = ChainOptions(
            format: format, backingFormat: backingFormat,
            location: try BackingLocation(
                moves: backingMap, searches: backingSearch, confinement: confine.isEmpty ? nil : confine),
            ignoreMtime: ignoreMtime,
            forceShare: forceShare)
        let (location, ancestors) = (options.location, archiveOptions.ancestors(allowedBy: options.location))
        options.archived = { path in
            try changes ? ArchivedImage.refuse(path) : ArchivedImage.open(path, ancestors, location)
        }
        return options
    }

    /// Where archives may lie that others stand on.
    func ancestors() throws -> AncestorSearch {
        archiveOptions.ancestors(
            allowedBy: try BackingLocation(confinement: confine.isEmpty ? nil : confine))
    }
}

/// Where archives lie.
struct ArchiveOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Look in this directory, too, for an archive that an incremental one stands on. May be repeated.",
            valueName: "directory"),
        completion: .directory, transform: FilePath.init(argument:))
    var archives: [FilePath] = []

    /// Where archives may lie that others stand on, as far as `location` allows it.
    func ancestors(allowedBy location: BackingLocation? = nil) -> AncestorSearch {
        AncestorSearch(in: archives, allowedBy: location)
    }

    func validate() throws {
        for folder in archives where try ImageFile.identity(at: folder)?.isDirectory != true {
            throw ValidationError("\(folder) is no directory (--archives)")
        }
    }
}

extension BackingLocation.Move {
    /// `OLD=NEW`, split at the first `=`.
    init(option text: String) throws {
        let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, parts.allSatisfy({ !$0.isEmpty }) else {
            throw ValidationError("expected OLD=NEW, two paths")
        }
        try self.init(old: FilePath(argument: String(parts[0])), new: FilePath(argument: String(parts[1])))
    }
}

extension ImageFormat: ExpressibleByArgument {
    package init?(argument: String) { self.init(name: argument) }

    package static var allValueStrings: [String] { FormatList.sourceNames }

    static var defaultCompletionKind: CompletionKind { .list(allValueStrings) }
}

/// How a command that reports something does so.
struct OutputOptions: ParsableArguments {
    enum Style: String, CaseIterable, ExpressibleByArgument {
        case human, json
    }

    @Option(
        help: ArgumentHelp(
            "How to print: human or json, one document on standard output.", valueName: "style"))
    var output = Style.human
}

/// How much a command says.
struct VerbosityOptions: ParsableArguments {
    @Flag(name: [.customShort("q"), .customLong("quiet")], help: "Say nothing but errors.")
    var isQuiet = false

    @Flag(name: [.customShort("v"), .customLong("verbose")], help: "Say more.")
    var isVerbose = false

    func validate() throws {
        if isQuiet, isVerbose { throw ValidationError("-q and -v contradict each other (give one of them)") }
    }

    /// A line on standard error where `-v` was given.
    func tell(_ text: String) {
        if isVerbose { StandardError.line(text) }
    }

    /// A line on standard error, unless `-q` was given.
    func warn(_ text: String) {
        if !isQuiet { StandardError.line("warning: \(text)") }
    }
}
