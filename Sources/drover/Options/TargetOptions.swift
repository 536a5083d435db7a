internal import ArgumentParser
internal import DiskImages
internal import ImageFormats
internal import Migration
internal import PipelineFiles

/// What is to be written: the format and what `-o` says of it.
struct TargetOptions: ParsableArguments {
    @Option(
        name: .customShort("O", allowingJoined: true),
        help: ArgumentHelp("The format of the target.", valueName: "format"))
    var format = TargetFormatName.raw

    @Option(
        name: .customShort("o", allowingJoined: true),
        help: ArgumentHelp(
            "Options of the format, of cow: layout=uml-v3 (the default), uml-v2 or qemu-v2; alignment=BYTES for uml-v3.",
            valueName: "key=value,..."),
        completion: CowTargetOptions.completion, transform: CowTargetOptions.init(argument:))
    var formatOptions = CowTargetOptions()

    func validate() throws {
        try format.checkIsWritten()
        if format == .raw, formatOptions != CowTargetOptions() {
            throw ValidationError("-o says something of a COW file, and the target is raw (add -O cow)")
        }
    }
}

extension TargetFormatName: ExpressibleByArgument {
    package init?(argument: String) { self.init(name: argument) }

    package static var allValueStrings: [String] { FormatList.targetNames }

    static var defaultCompletionKind: CompletionKind { .list(allValueStrings) }

    package var defaultValueDescription: String { name }

    /// Throws where this version does not write it.
    func checkIsWritten() throws {
        guard isWritten else {
            throw ValidationError("\(name) is not written by this version (-O raw and -O cow are)")
        }
    }
}

extension CowTargetOptions {
    /// What shells offer for the value of `-o`.
    static var completion: CompletionKind {
        .list(CowLayout.writable.map { "layout=\($0.rawValue)" } + ["alignment=4096"])
    }

    /// What `-o` takes: `KEY=VALUE` with commas between.
    init(argument: String) throws {
        do throws(Fault) {
            try self.init(text: argument)
        } catch {
            throw ValidationError(error.description)
        }
    }
}
