internal import ArgumentParser
internal import DiskImages
internal import SystemPackage

/// `drover map`: the block status of a whole chain, as `qemu-img map` prints it.
struct Map: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "map",
        abstract: "Say where the guest disk's data lies.",
        discussion: """
            Prints the block status of the whole chain, in the form of qemu-img map. No data is read: bitmaps and holes are asked. Depth 0 \
            is the image itself, 1 its backing file, and so on; zero is true only where the bytes are known to be zero.

            --output picture draws the disk: a character for each part of it, with the depth of the layer that has its data, z for \
            allocated zeros, a dot for holes and + where several layers have data. It is as wide as the terminal, coloured there, \
            and plain ASCII unless the locale is UTF-8.

            Environment: COLUMNS, the width of a picture that goes to no terminal.

            Environment: NO_COLOR, set to anything for a picture without colours.

            For example: drover map --output picture guests/web-01.cow
            """)

    enum Style: String, CaseIterable, ExpressibleByArgument {
        case human, json, picture
    }

    @Option(
        help: ArgumentHelp(
            "How to print: human, json (one document on standard output) or picture.", valueName: "style"))
    var output = Style.human

    @OptionGroup var verbosity: VerbosityOptions
    @OptionGroup(title: "Image options") var imageOptions: ImageOptions
    @Argument(help: "The image.", completion: .file(), transform: FilePath.init(argument:)) var image:
        FilePath

    func run() throws {
        let chain = try imageOptions.open(image, verbosity)
        var status = BlockStatus(of: chain)
        var printed = Output()
        switch output {
        case .human: try printTable(of: &status, chain, to: &printed)
        case .json: try printJSON(of: &status, to: &printed)
        case .picture: try printPicture(of: chain, to: &printed)
        }
        try printed.finish()
    }

    /// Only what is data, and which file has it.
    private func printTable(of status: inout BlockStatus, _ chain: ImageChain, to output: inout Output) throws
    {
        let names = chain.layers.map { ErrorLine.escaped($0.path.description) }
        try output.line(Map.columns("Offset", "Length", "Mapped to") + "File")
        while let extent = try status.next() {
            guard case .data(let offset) = extent.content else { continue }
            let numbers = Map.columns(
                Map.hexadecimal(extent.start), Map.hexadecimal(extent.length), Map.hexadecimal(offset))
            try output.line(numbers + names[extent.depth])
        }
    }

    /// One array, one extent a line.
    private func printJSON(of status: inout BlockStatus, to output: inout Output) throws {
        var separator = "["
        while let extent = try status.next() {
            let offset = extent.offset.map { ", \"offset\": \($0)" } ?? ""
            // As QEMU's later versions have it; the earlier ones know no such key.
            let packed = if case .encoded = extent.content { ", \"compressed\": true" } else { "" }
            try output.write(
                """
                \(separator){ "start": \(extent.start), "length": \(extent.length), "depth": \(extent.depth), "present": \(extent.isPresent), \
                "zero": \(extent.isZero), "data": \(!extent.isZero)\(packed)\(offset)}
                """)
            separator = ",\n"
        }
        try output.line(separator == "[" ? "[]" : "]")
    }

    /// The disk in rows of characters, and what they mean.
    private func printPicture(of chain: ImageChain, to output: inout Output) throws {
        let style = TerminalStyle.ofStandardOutput
        let length = TerminalPicture.cellLength(guestLength: chain.guestLength, style)
        let layers = chain.layers.map { TerminalPicture.Layer(name: $0.path.printed, layout: $0.layoutName) }
        let picture = TerminalPicture(
            picture: try BlockPicture(of: chain, cellLength: length), layers: layers, style: style)
        for line in picture.lines { try output.line(line) }
    }

    private static func columns(_ texts: String...) -> String {
        texts.map { HumanText.padded($0, to: 16) }.joined()
    }

    private static func hexadecimal(_ number: UInt64) -> String {
        number == 0 ? "0" : "0x" + String(number, radix: 16)
    }
}
