internal import DiskImages
internal import ImageFormats
package import Linux
internal import PipelineFiles
internal import SystemPackage
internal import TransportArchive

/// What a server is told as `key=value`, one after the other.
package struct ServingParameters: Sendable {
    /// A parameter that is wrong.
    package struct Problem: Error, Equatable, CustomStringConvertible {
        package let description: String

        package init(description: String) { self.description = description }
    }

    /// The parameters in the order of the manual, and what is said of each in `--help`.
    package static let help = """
        file=<FILE>            (required) The image, the archive, or ARCHIVE::NAME.
        image=<NAME>           Of an archive, the image (default: all of them, by their export names).
        cache=<SIZE>           How much of decoded frames is kept (default: 16M).
        f=<FORMAT>             What the image is (default: look at its content).
        backing-format=<FORMAT>  What its direct backing file is.
        backing-map=<OLD>=<NEW>  Look for backing files under NEW where a path begins with OLD.
        backing-search=<DIR>   Look here for backing files whose path leads nowhere.
        confine=<DIR>          Open no backing file outside of this directory.
        archives=<DIR>         Look here, too, for archives that an incremental one stands on.
        ignore-mtime=<BOOL>    Go on although a backing file's mtime differs from the header's.
        force-share=<BOOL>     Read an image although somebody may write to it.
        """

    private var file: FilePath?
    private var image: String?
    private var cache: UInt64?
    private var format: ImageFormat?
    private var backingFormat: ImageFormat?
    private var moves: [BackingLocation.Move] = []
    private var searches: [FilePath] = []
    private var confinement: [FilePath] = []
    private var archives: [FilePath] = []
    private var ignoreMtime = false
    private var forceShare = false

    package init() {}

    /// Takes in a parameter; what it names is found from the folder that is the current one now.
    /// Throws `Problem`.
    package mutating func set(_ key: String, to bytes: [UInt8]) throws {
        let text = String(decoding: bytes, as: UTF8.self)
        switch key {
        case "file":
            guard file == nil else { throw Problem(description: "file= is given twice") }
            let path = FilePath(bytes: bytes)
            file = ArchiveAddress.isRemote(path) ? path : try ServingParameters.path(bytes, key)
        case "image": image = text
        case "cache":
            guard let size = ByteSize(text: text) else {
                throw Problem(description: "cache=\(text): expected a size such as 16M")
            }
            cache = size.bytes
        case "f", "format": format = try ServingParameters.format(text, key)
        case "backing-format": backingFormat = try ServingParameters.format(text, key)
        case "backing-map":
            let parts = bytes.split(
                separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2, parts.allSatisfy({ !$0.isEmpty }) else {
                throw Problem(description: "backing-map=\(text): expected OLD=NEW, two paths")
            }
            moves.append(
                BackingLocation.Move(
                    old: FilePath(bytes: Array(parts[0])), new: FilePath(bytes: Array(parts[1])).absolute))
        case "backing-search": searches.append(try ServingParameters.path(bytes, key))
        case "confine": confinement.append(try ServingParameters.path(bytes, key))
        case "archives": archives.append(try ServingParameters.path(bytes, key))
        case "ignore-mtime": ignoreMtime = try ServingParameters.truth(text, key)
        case "force-share": forceShare = try ServingParameters.truth(text, key)
        default: throw Problem(description: "there is no parameter \(key)")
        }
    }

    /// What the parameters mean together. Throws `Problem`, or `DiskImageError` where a directory
    /// is missing.
    package func options() throws -> ServingOptions {
        guard let file else { throw Problem(description: "file=FILE is missing: what is to be served") }
        var options = ServingOptions(
            file: file,
            location: try BackingLocation(
                moves: moves, searches: searches, confinement: confinement.isEmpty ? nil : confinement))
        options.image = image
        options.format = format
        options.backingFormat = backingFormat
        options.archives = archives
        options.ignoreMtime = ignoreMtime
        options.forceShare = forceShare
        if let cache { options.cache = cache }
        return options
    }

    /// What choices are called here.
    package static func words(_ choice: Choice) -> String {
        switch choice {
        case .forceShare: ", or read it with force-share=true"
        case .ignoreMtime: "ignore-mtime=true"
        case .backingMap: "backing-map=OLD=NEW"
        case .backingSearch: "backing-search=DIRECTORY"
        case .confine: "confine"
        case .sourceFormat(0, let format, _): "f=" + (format ?? "FORMAT")
        case .sourceFormat(1, let format, _): "backing-format=" + (format ?? "FORMAT")
        case .archives: "archives=DIRECTORY"
        default: ChoiceWords.commandLine(choice)
        }
    }

    /// What `error` says, on one line.
    package static func line(of error: any Error) -> String {
        ((error as? any Advising)?.message.text(words) ?? "\(error)").onOneLine
    }

    private static func path(_ bytes: [UInt8], _ key: String) throws -> FilePath {
        guard !bytes.isEmpty else { throw Problem(description: "\(key)=: expected a path") }
        return FilePath(bytes: bytes).absolute
    }

    private static func format(_ text: String, _ key: String) throws -> ImageFormat {
        guard let format = ImageFormat(name: text) else {
            throw Problem(
                description:
                    "\(key)=\(text): expected one of \(FormatList.sourceNames.joined(separator: ", "))")
        }
        return format
    }

    private static func truth(_ text: String, _ key: String) throws -> Bool {
        switch text {
        case "true", "1", "yes", "on": true
        case "false", "0", "no", "off": false
        default: throw Problem(description: "\(key)=\(text): expected true or false")
        }
    }
}
