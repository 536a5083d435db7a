internal import ArgumentParser
internal import Migration
internal import SystemPackage
internal import TransportArchive

/// `drover list`: what an archive holds.
struct List: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "Say what an archive holds.",
        discussion: """
            Reads the beginning and the index, no data. Ratio is what the data takes in the archive by what it takes unpacked.

            For example: drover list fleet.drover
            """)

    @OptionGroup var outputOptions: OutputOptions
    @OptionGroup(title: "Archive options") var archiveOptions: ArchiveOptions
    @OptionGroup var verbosity: VerbosityOptions
    @Argument(help: "The archive.", completion: .file(), transform: FilePath.init(argument:)) var archive:
        FilePath
    @Argument(
        help:
            "Only these images: names as list prints them, their last components, or patterns such as 'guests/*'."
    )
    var names: [String] = []

    func run() throws { try List.list(archive, outputOptions, archiveOptions.ancestors(), names) }

    /// Says what `archive` holds.
    static func list(
        _ archive: FilePath, _ outputOptions: OutputOptions, _ ancestors: AncestorSearch = AncestorSearch(),
        _ names: [String] = []
    )
        throws
    {
        let listing: ArchiveListing
        do {
            listing = try ArchiveListing(archive, ancestors, names: names)
        } catch {
            throw ArchiveFailure(archive, error)
        }
        var output = Output()
        switch outputOptions.output {
        case .human: try printTable(of: listing, to: &output)
        case .json: try output.json(listing)
        }
        try output.finish()
    }

    private static func printTable(of listing: ArchiveListing, to output: inout Output) throws {
        func row(_ texts: [String], _ name: String) -> String {
            zip(texts, [12, 12, 12, 12, 8, 12]).map { HumanText.padded($0, to: $1) }.joined() + name
        }
        try output.line(row(["Size", "Data", "Shared", "Stored", "Ratio", "Layout"], "Name"))
        for layer in listing.layers {
            let link =
                layer.sameAs.map { " = \(ErrorLine.escaped($0))" } ?? (layer.link ?? layer.backing).map {
                    " -> \(ErrorLine.escaped($0))"
                } ?? ""
            try output.line(
                row(
                    [
                        HumanText.size(layer.virtualSize), HumanText.size(layer.data),
                        HumanText.size(layer.shared &+ layer.inherited),
                        HumanText.size(layer.stored),
                        layer.sameAs == nil ? List.ratio(layer.stored, layer.data) : "-",
                        layer.link != nil ? "link" : layer.with ? "file" : ErrorLine.escaped(layer.layout),
                    ], ErrorLine.escaped(layer.name) + link))
        }
        let counted = listing.layers.filter { $0.sameAs == nil }
        let (data, stored) = counted.reduce((UInt64(0), UInt64(0))) { ($0.0 &+ $1.data, $0.1 &+ $1.stored) }
        let images = listing.layers.count { $0.image }
        try output.line(
            "\(HumanText.count(images, "image")) in \(HumanText.count(listing.layers.count, "file")): \(HumanText.size(data)) of data in "
                + "\(HumanText.size(listing.size)), ratio \(List.ratio(stored, data)), \(ErrorLine.escaped(listing.compression))"
        )
        guard let parent = listing.parent else { return }
        let line = listing.line.map(ErrorLine.escaped).joined(separator: " -> ")
        try output.line(
            "stands on \(ErrorLine.escaped(parent.name)), state \(parent.state)\(line.isEmpty ? "" : ": \(line)")"
        )
        if let missing = listing.missing { try output.line("cannot be restored: \(missing)") }
    }

    /// `0.43`, or `-` where there is no data.
    private static func ratio(_ stored: UInt64, _ data: UInt64) -> String {
        data > 0 ? HumanText.hundredths(Double(stored) / Double(data)) : "-"
    }
}
