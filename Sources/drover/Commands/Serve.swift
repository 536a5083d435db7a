internal import ArgumentParser
internal import DiskImages
internal import Glibc
internal import Linux
internal import PipelineFiles
internal import Serving
internal import SystemPackage

/// `drover serve`: an image, or an archive's images, for whatever reads NBD.
struct Serve: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve",
        abstract: "Offer an image as a read-only network block device (NBD).",
        discussion: """
            Starts nbdkit with Drover's plugin in the foreground and prints the URI for qemu, nbdcopy, nbdfuse, guestfish and other clients; ends on \
            SIGTERM or SIGINT. IMAGE is an image with its chain, ARCHIVE::NAME, or an archive, of which a client chooses an image by its export \
            name. It listens on a Unix socket that only its owner may use, and on TCP only where -p asks for it. An image that changes while \
            it is served is not read any more.

            Environment: XDG_RUNTIME_DIR, TMPDIR, where the socket is made unless -U names it.

            For example: drover serve --run 'nbdinfo --map $uri' --backing-map /srv/uml=. guests/web-01.cow
            """)

    @Option(
        name: .customShort("U", allowingJoined: true),
        help: ArgumentHelp("Listen on this Unix socket (default: a new one).", valueName: "socket"),
        completion: .file(), transform: FilePath.init(argument:))
    var socket: FilePath?

    @Option(
        name: .customShort("p", allowingJoined: true),
        help: ArgumentHelp("Listen on this TCP port instead.", valueName: "port"))
    var port: UInt16?

    @Option(
        name: .customShort("i", allowingJoined: true),
        help: ArgumentHelp("With -p, listen on this address (default: 127.0.0.1).", valueName: "address"))
    var address: String?

    @Option(
        name: .customLong("run"),
        help: ArgumentHelp(
            "Run this shell command with $uri set, and end with it and its exit code, as nbdkit does.",
            valueName: "command"))
    var command: String?

    @Option(help: ArgumentHelp("How much of decoded frames of an archive is kept.", valueName: "size"))
    var cache = ByteSize(bytes: ServingOptions.usualCache)

    @OptionGroup var verbosity: VerbosityOptions
    @OptionGroup(title: "Image options") var imageOptions: ImageOptions
    @Argument(
        help: "The image, an archive, or ARCHIVE::NAME.", completion: .file(),
        transform: FilePath.init(argument:)) var image: FilePath

    func validate() throws {
        if socket != nil, port != nil {
            throw ValidationError("-U and -p contradict each other (give one of them)")
        }
        if address != nil, port == nil { throw ValidationError("-i needs a port (-p)") }
        if port == 0 { throw ValidationError("-p 0: expected a port between 1 and 65535") }
        if let socket, socket.absolute.pathBytes.count > NBDServer.longestSocket {
            throw ValidationError(
                "\(socket) is too long for a Unix socket (at most \(NBDServer.longestSocket) bytes)")
        }
    }

    func run() throws {
        // What is wrong with the image is said here, with our own exit code.
        let exports = try ServedFile(servingOptions()).exports
        let server = NBDServer(
            program: try NBDServer.program(), plugin: try NBDServer.plugin(), parameters: parameters)
        if let command {
            try server.become(listeningOn: listener, running: ArgumentBytes.bytes(of: command))
        }
        try server.serve(on: listener) { uri in
            var output = Output()
            try output.line(uri)
            try output.finish()
            if exports.count > 1, !verbosity.isQuiet {
                StandardError.line(
                    "\(image.printed): \(HumanText.count(exports.count, "image")), to be chosen by export name (nbdinfo --list names them)"
                )
            }
        }
    }

    private var listener: NBDServer.Listener {
        if let port { return .tcp(address ?? "127.0.0.1", port) }
        return socket.map { .unix($0.absolute) } ?? .newSocket
    }

    private func servingOptions() throws -> ServingOptions {
        let chain = try imageOptions.chainOptions()
        var options = ServingOptions(file: image, location: chain.location)
        (options.format, options.backingFormat) = (chain.format, chain.backingFormat)
        (options.ignoreMtime, options.forceShare) = (chain.ignoreMtime, chain.forceShare)
        options.archives = imageOptions.archiveOptions.archives
        return options
    }

    /// The same for the plugin.
    private var parameters: [(key: String, value: [UInt8])] {
        func paths(_ key: String, _ paths: [FilePath]) -> [(key: String, value: [UInt8])] {
            paths.map { (key, $0.pathBytes) }
        }
        func texts(_ key: String, _ text: String?) -> [(key: String, value: [UInt8])] {
            text.map { [(key, Array($0.utf8))] } ?? []
        }
        let moves = imageOptions.backingMap.map {
            (key: "backing-map", value: $0.old.pathBytes + Array("=".utf8) + $0.new.pathBytes)
        }
        return paths("file", [image]) + texts("cache", "\(cache.bytes)")
            + texts("f", imageOptions.format?.name)
            + texts("backing-format", imageOptions.backingFormat?.name) + moves
            + paths("backing-search", imageOptions.backingSearch) + paths("confine", imageOptions.confine)
            + paths("archives", imageOptions.archiveOptions.archives)
            + texts("ignore-mtime", imageOptions.ignoreMtime ? "true" : nil)
            + texts("force-share", imageOptions.forceShare ? "true" : nil)
    }
}
