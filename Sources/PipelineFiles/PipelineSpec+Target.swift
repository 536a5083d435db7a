internal import DiskImages
internal import SystemPackage
internal import TransportArchive

extension PipelineKeys {
    /// What stands under `target`, and whether it goes together with `operation` and with itself.
    mutating func target(_ node: PipelineNode?, _ operation: PipelineSpec.Operation) -> PipelineSpec.Target {
        let values = values(of: node, .target, required: node?.hasKey("archive") == true ? [] : ["directory"])
        let archive = path(values["archive"], "'archive'")
        let format =
            choice(values["format"], "'format'", FormatList.targetNames, TargetFormatName.init(name:)) ?? .raw
        let keepsChain = flag(values["keep-chain"], "'keep-chain'") ?? false
        let options = options(values["options"])
        checkFit(values, operation, format, keepsChain: keepsChain, options)
        if let node = values["archive"], let name = archive?.lastComponent?.string,
            let fault = ArchiveName.fault(of: name)
        {
            report(node.line, "'archive' \(fault); expected the name of a file")
        }
        if let node = values["archive"], case .text(let text, _) = node.content, text.hasSuffix("/") {
            report(
                node.line, "'archive' ends in /, as the name of a folder does; expected the name of a file")
        }
        let isIncremental =
            choice(values["since"], "'since'", ["newest"], { $0 == "newest" ? true : nil }) ?? false
        let companions = texts(values["with"], "'with'", "a list of patterns such as [\"*.conf\"]")?.map(
            \.text)
        if let node = values["with"], operation != .pack {
            report(node.line, "'with' is of operation pack: files that travel in an archive")
        }
        checkSeries(values, operation, archive)
        return PipelineSpec.Target(
            directory: path(values["directory"], "'directory'") ?? archive?.removingLastComponent()
                ?? directory,
            name: template(values["name"]) ?? .usual, format: format,
            keepChain: keepsChain, options: options, archive: archive,
            companions: companions ?? [], sinceNewest: isIncremental,
            fullEvery: count(values["full-every"], "'full-every'"))
    }

    /// What is said of archives that follow one another goes together.
    private mutating func checkSeries(
        _ values: [String: PipelineNode], _ operation: PipelineSpec.Operation, _ archive: FilePath?
    ) {
        let hasTime = archive?.lastComponent?.string.contains(PipelineSpec.time) == true
        if let node = values["archive"],
            archive?.removingLastComponent().string.contains(PipelineSpec.time) == true
        {
            report(node.line, "'archive' has {time} in the name of a folder; expected it in the file's")
        }
        if let node = values["since"], !hasTime || operation != .pack {
            report(
                node.line,
                "'since' is of operation pack and an archive for each run (put {time} into 'archive', such as fleet-{time}.drover)"
            )
        }
        if let node = values["full-every"], values["since"] == nil {
            report(node.line, "'full-every' has no say here: every archive is a full one (add since: newest)")
        }
    }

    /// Keys that are there and have no say are refused: somebody expects something of them.
    private mutating func checkFit(
        _ values: [String: PipelineNode], _ operation: PipelineSpec.Operation, _ format: TargetFormatName,
        keepsChain: Bool, _ options: FormatOptions
    ) {
        func line(_ key: String) -> Int { lines["target.\(key)"] ?? 0 }
        if operation == .convert, values["archive"] != nil {
            report(line("archive"), "'archive' is of operation pack or verify, and the operation is convert")
        }
        if operation == .pack || values["archive"] != nil, operation != .convert {
            for key in ["format", "keep-chain", "options"] where values[key] != nil {
                report(line(key), "'\(key)' has no say here: an archive keeps every image and chain as it is")
            }
            if values["archive"] != nil, values["name"] != nil {
                report(
                    line("name"),
                    "'name' has no say here: 'archive' is the one archive for all (remove one of them)")
            }
        } else {
            if format == .raw, keepsChain {
                report(
                    line("keep-chain"),
                    "'keep-chain' keeps overlays, and a raw image is none (add format: cow or qcow2)")
            }
            do throws(FormatOptions.Fault) {
                try options.check(for: format)
            } catch {
                report(line("options"), "\(error.description) ('format' chooses it)")
            }
        }
    }

    /// Calls `set` with the text of the option at `key`.
    private mutating func option(
        _ key: String, _ expected: String, _ values: [String: PipelineNode],
        _ set: (String) throws(FormatOptions.Fault) -> Void
    ) {
        guard let text = text(values[key], "'\(key)'", expected) else { return }
        do throws(FormatOptions.Fault) {
            try set(text)
        } catch {
            report(lines["options.\(key)"] ?? 0, error.description)
        }
    }

    private mutating func options(_ node: PipelineNode?) -> FormatOptions {
        var options = FormatOptions()
        let values = values(of: node, .options)
        option("layout", "the name of a layout", values) { name throws(FormatOptions.Fault) in
            try options.setLayout(name)
        }
        option("alignment", "a number of bytes", values) { size throws(FormatOptions.Fault) in
            try options.setAlignment(size)
            try options.check()
        }
        option("cluster_size", "a number of bytes", values) { size throws(FormatOptions.Fault) in
            try options.setClusterSize(size)
        }
        option("compression", "zlib or zstd", values) { name throws(FormatOptions.Fault) in
            try options.setCompression(name)
        }
        return options
    }

    private mutating func template(_ node: PipelineNode?) -> NameTemplate? {
        guard let node,
            let text = text(node, "'name'", "a template such as \"\(NameTemplate.usual)\", in quotes")
        else { return nil }
        do throws(NameTemplate.Fault) {
            return try NameTemplate(text)
        } catch {
            report(node.line, "'name' \(error)")
            return nil
        }
    }
}

extension PipelineNode {
    /// Whether it is a mapping that has `key`.
    fileprivate func hasKey(_ key: String) -> Bool {
        guard case .mapping(let entries) = content else { return false }
        return entries.contains { $0.key == key }
    }
}
