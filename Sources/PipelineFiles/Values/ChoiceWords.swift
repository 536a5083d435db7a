package import Linux

/// What choices are called, by whom.
package enum ChoiceWords {
    /// The options of the command line.
    package static func commandLine(_ choice: Choice) -> String {
        switch choice {
        case .force: "--force"
        case .restart: "--restart"
        case .forceShare: ", or read it with --force-share"
        case .ignoreMtime: "--ignore-mtime"
        case .repairMtime: "drover check -r mtime"
        case .backingMap: "--backing-map OLD=NEW"
        case .backingSearch: "--backing-search DIRECTORY"
        case .confine: "--confine"
        case .sourceFormat(let depth, let format, let isB):
            option(depth, isB: isB) + (format.map { " \($0)" } ?? "")
        case .targetFormat(let name): "-O \(name)"
        case .layout(let name): "-o layout=\(name)"
        case .backing: "-B"
        case .asBase: "--as-base"
        case .onDevice: "--onto-device"
        case .manifest: "--manifest"
        case .segment: "--segment"
        case .headerOnly: "-u"
        case .known: "--known FILE"
        case .archives: "--archives DIRECTORY"
        case .flatten: "--flatten"
        case .salvage: "--salvage"
        case .adopt: "--adopt"
        case .without: "--without"
        case .shard: "--shard"
        }
    }

    private static func option(_ depth: Int, isB: Bool) -> String {
        switch depth {
        case 0: isB ? "-F" : "-f"
        case 1: "--backing-format"
        default: "-f, on that image itself,"
        }
    }

    /// The keys of a pipeline file; what has none is called like the option of `run`.
    package static func pipelineFile(_ choice: Choice) -> String {
        switch choice {
        case .forceShare: ""
        case .ignoreMtime: "ignore-mtime: true"
        case .backingMap: "backing-map"
        case .backingSearch: "backing-search"
        case .confine: "confine"
        case .sourceFormat(0, let format?, _): "source-format: \(format)"
        case .sourceFormat(0, nil, _): "source-format"
        case .sourceFormat(1, let format?, _): "backing-format: \(format)"
        case .sourceFormat(1, nil, _): "backing-format"
        case .targetFormat(let name): "format: \(name)"
        case .layout(let name): "layout: \(name)"
        default: commandLine(choice)
        }
    }
}
