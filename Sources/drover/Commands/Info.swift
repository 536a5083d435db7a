internal import ArgumentParser
internal import DiskImages
internal import Migration
internal import SystemPackage
internal import TransportArchive

/// `drover info`: what an image is. Works where the backing file is missing or changed, and says
/// so.
struct Info: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "info",
        abstract: "Say what an image is.",
        discussion: """
            Prints format, layout, sizes, allocated bytes, and whether the backing file is still the one the image was made on. An image \
            whose backing file is missing or changed is described all the same. Of an archive it says what list does.

            For example: drover info --backing-chain --backing-map /srv/uml=. guests/web-01.cow
            """)

    @Flag(help: "Describe every image of the chain, the top one first.")
    var backingChain = false

    @OptionGroup var outputOptions: OutputOptions
    @OptionGroup var verbosity: VerbosityOptions
    @OptionGroup(title: "Image options") var imageOptions: ImageOptions
    @Argument(help: "The image.", completion: .file(), transform: FilePath.init(argument:)) var image:
        FilePath

    func run() throws {
        if imageOptions.format == nil, try ArchiveAddress.isArchiveFile(image) {
            return try List.list(image, outputOptions)
        }
        let chain = try ImageChain.examine(image, imageOptions.chainOptions())
        let depths = backingChain ? chain.layers.indices : 0..<1
        let facts = try depths.map { try ImageFacts(of: chain, depth: $0) }
        var output = Output()
        switch outputOptions.output {
        case .human:
            try output.write(facts.map { $0.lines.joined(separator: "\n") + "\n" }.joined(separator: "\n"))
        case .json: try backingChain ? output.json(facts) : output.json(facts[0])
        }
        try output.finish()
    }
}
