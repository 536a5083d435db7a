internal import ArgumentParser
internal import ImageFormats

/// What is to be written: the format and what `-o` says of it.
struct TargetOptions: ParsableArguments {
    /// The value of `-O`. `qcow2` is a format, but none that this version writes.
    enum Format: String, CaseIterable, ExpressibleByArgument {
        case raw, cow, qcow2
    }

    @Option(name: .customShort("O", allowingJoined: true), help: ArgumentHelp("The format of the target.", valueName: "format"))
    var format = Format.raw

    @Option(
        name: .customShort("o", allowingJoined: true),
        help: ArgumentHelp(
            "Options of the format, of cow: layout=uml-v3 (the default), uml-v2 or qemu-v2; alignment=BYTES for uml-v3.",
            valueName: "key=value,..."),
        completion: CowTargetOptions.completion, transform: CowTargetOptions.init(text:))
    var formatOptions = CowTargetOptions()

    func validate() throws {
        if format == .qcow2 { throw ValidationError("qcow2 is not written by this version (-O raw and -O cow are)") }
        if format == .raw, formatOptions != CowTargetOptions() {
            throw ValidationError("-o says something of a COW file, and the target is raw (add -O cow)")
        }
    }
}

/// What `-o` says of a COW file.
struct CowTargetOptions: Equatable {
    var layout: CowLayout?
    /// Where bitmap and data begin, in bytes: multiples of it. V3 alone has one.
    var alignment: UInt32?

    /// What shells offer for the value of `-o`.
    static var completion: CompletionKind { .list(CowLayout.writable.map { "layout=\($0.rawValue)" } + ["alignment=4096"]) }

    init() {}

    /// `KEY=VALUE` with commas between.
    init(text: String) throws {
        let layouts = CowLayout.writable.map(\.rawValue).joined(separator: ", ")
        for item in text.split(separator: ",", omittingEmptySubsequences: false) {
            let parts = item.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map { String($0) }
            switch (parts[0], parts.count == 2 ? parts[1] : "") {
            case ("layout", let name):
                guard let layout = CowLayout(rawValue: name), CowLayout.writable.contains(layout) else {
                    throw ValidationError("layout '\(name)' is not written (layouts that are: \(layouts))")
                }
                self.layout = layout
            case ("alignment", let size):
                guard let bytes = ByteSize(argument: size)?.bytes, let alignment = UInt32(exactly: bytes), bytes.nonzeroBitCount == 1,
                    (512...1 << 20).contains(bytes)
                else {
                    throw ValidationError("alignment '\(size)' is no power of two from 512 to 1M (4096 is usual)")
                }
                self.alignment = alignment
            default: throw ValidationError("'\(item)' is no option (there are layout=NAME and alignment=BYTES)")
            }
        }
        if alignment != nil, let layout, layout != .umlV3 { throw ValidationError("\(layout.rawValue) has no alignment (uml-v3 has one)") }
    }
}
