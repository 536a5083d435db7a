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
            "Options of the format. Of cow: layout=uml-v3 (the default), uml-v2 or qemu-v2; alignment=BYTES for uml-v3. Of qcow2: cluster_size=BYTES (65536); compression=zlib or zstd (none).",
            valueName: "key=value,..."),
        completion: FormatOptions.completion, transform: FormatOptions.init(argument:))
    var formatOptions = FormatOptions()

    func validate() throws {
        try formatOptions.validate(for: format)
    }
}

extension TargetFormatName: ExpressibleByArgument {
    package init?(argument: String) { self.init(name: argument) }

    package static var allValueStrings: [String] { FormatList.targetNames }

    static var defaultCompletionKind: CompletionKind { .list(allValueStrings) }

    package var defaultValueDescription: String { name }
}

extension FormatOptions {
    /// What shells offer for the value of `-o`.
    static var completion: CompletionKind {
        .list(
            CowLayout.writable.map { "layout=\($0.rawValue)" } + ["alignment=4096", "cluster_size=65536"]
                + Qcow2Compression.allCases.map { "compression=\($0.rawValue)" })
    }

    /// Throws where an option is of another format than `format`.
    func validate(for format: TargetFormatName) throws {
        do throws(Fault) {
            try check(for: format)
        } catch {
            throw ValidationError("-o \(error.description) (-O chooses it)")
        }
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
