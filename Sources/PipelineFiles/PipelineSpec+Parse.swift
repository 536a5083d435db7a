internal import DiskImages
internal import Linux
package import SystemPackage
internal import TransportArchive

extension PipelineSpec {
    /// Reads and checks `file`. Throws everything that is wrong with it, `unavailable` where it
    /// cannot be read. Looks at no other file.
    package static func load(_ file: FilePath) throws(PipelineProblems) -> PipelineSpec {
        let bytes: [UInt8]
        do {
            bytes = try PipelineText.bytes(of: file)
        } catch let error as DiskImageError {
            throw PipelineProblems(
                file, [PipelineProblem(error.kind, line: nil, error.fact.text(ChoiceWords.pipelineFile))])
        } catch {
            throw PipelineProblems(file, [PipelineProblem(.io, line: nil, "\(error)")])
        }
        return try PipelineSpec(parsing: bytes, file: file)
    }

    /// Checks `bytes`, the content of `file`.
    init(parsing bytes: [UInt8], file: FilePath) throws(PipelineProblems) {
        do throws(PipelineFault) {
            let yaml = try PipelineYAML(try PipelineText.checked(bytes))
            guard let root = yaml.root, !root.isNothing else {
                throw PipelineFault(
                    problems: yaml.problems + [
                        PipelineProblem(line: nil, "is empty; expected a pipeline (sources and target)")
                    ])
            }
            try self.init(root, file: file, yaml.problems)
        } catch {
            throw PipelineProblems(file, error.problems)
        }
    }

    private init(_ root: PipelineNode, file: FilePath, _ problems: [PipelineProblem]) throws(PipelineFault) {
        let path = file.absolute
        let folder = path.removingLastComponent()
        var keys = PipelineKeys(directory: folder, problems: problems)
        let values = keys.values(of: root, .pipeline, required: ["sources", "target"])
        let version = keys.text(values["version"], "'version'", "1")
        if let version, version != "1" {
            keys.report(root.line, "version \(version.quoted) is not known (1 is)", at: "version")
        }

        self.file = path
        givenName = file
        directory = folder
        operation =
            keys.choice(
                values["operation"], "'operation'", Operation.allCases.map(\.rawValue),
                Operation.init(rawValue:)) ?? .convert
        sources = keys.globs(values["sources"], "'sources'", isRequired: true)
        exclude = keys.globs(values["exclude"], "'exclude'", isRequired: false)
        sourceFormat = keys.sourceFormat(values["source-format"], "'source-format'")
        backingFormat = keys.sourceFormat(values["backing-format"], "'backing-format'")
        confine = keys.folders(values["confine"], "'confine'") ?? [folder]
        backingMap = keys.moves(values["backing-map"])
        backingSearch = keys.folders(values["backing-search"], "'backing-search'") ?? []
        ignoreMtime = keys.flag(values["ignore-mtime"], "'ignore-mtime'") ?? false
        target = keys.target(values["target"], operation)
        compression = keys.compression(values["compression"], operation) ?? .lz4(level: 1)
        jobs = keys.count(values["jobs"], "'jobs'")
        rate = keys.rate(values["rate"])
        metrics = keys.path(values["metrics"], "'metrics'")
        hooks = keys.hooks(values["hooks"])
        lines = keys.lines
        guard keys.problems.isEmpty else { throw PipelineFault(problems: keys.problems) }
    }
}

extension PipelineKeys {
    /// Reports `text` in the line of `key`.
    fileprivate mutating func report(_ line: Int, _ text: String, at key: String) {
        report(lines[key] ?? line, text)
    }

    fileprivate mutating func globs(_ node: PipelineNode?, _ name: String, isRequired: Bool) -> [SourceGlob] {
        guard let node, let texts = texts(node, name, "a list of patterns such as [guests/*.cow]") else {
            return []
        }
        if isRequired, node.content == .list([]) {
            report(node.line, "\(name) is an empty list; expected patterns such as guests/*.cow")
        }
        var globs: [SourceGlob] = []
        for (text, line) in texts {
            do throws(SourceGlob.Fault) {
                globs.append(try SourceGlob(text, line: line) { PipelineKeys.absolute($0, directory) })
            } catch {
                report(line, "pattern \(text.quoted) \(error.description)")
            }
        }
        return globs
    }

    fileprivate mutating func sourceFormat(_ node: PipelineNode?, _ name: String) -> ImageFormat? {
        node.flatMap { choice($0, name, FormatList.sourceNames, ImageFormat.init(name:)) }
    }

    fileprivate mutating func folders(_ node: PipelineNode?, _ name: String) -> [FilePath]? {
        guard let node, let texts = texts(node, name, "a list of directories such as [., /srv/base]") else {
            return nil
        }
        if node.content == .list([]) {
            report(node.line, "\(name) is an empty list; expected directories (or leave it out)")
        }
        return texts.compactMap { path($0.text, $0.line, "an element of \(name)") }
    }

    fileprivate mutating func hooks(_ node: PipelineNode?) -> PipelineSpec.Hooks {
        guard let node else { return PipelineSpec.Hooks() }
        let values = values(of: node, .hooks)
        func paths(_ key: String, _ keys: inout PipelineKeys) -> [FilePath] {
            let texts = keys.texts(values[key], "'\(key)'", "a list of programs such as [./notify.sh]") ?? []
            return texts.compactMap { keys.path($0.text, $0.line, "an element of '\(key)'") }
        }
        return PipelineSpec.Hooks(after: paths("after", &self), error: paths("error", &self))
    }

    fileprivate mutating func moves(_ node: PipelineNode?) -> [BackingLocation.Move] {
        guard let node else { return [] }
        guard case .mapping(let entries) = node.content else {
            wrongType(node, "'backing-map'", "a mapping of old to new directories, such as {/srv/uml: .}")
            return []
        }
        var moves: [BackingLocation.Move] = []
        for entry in entries {
            if let fault = PipelineKeys.fault(ofPath: entry.key) {
                report(entry.line, "an old directory of 'backing-map' \(fault)")
            }
            guard let new = path(entry.value, "the new place of \(entry.key.quoted)"),
                PipelineKeys.fault(ofPath: entry.key) == nil
            else {
                continue
            }
            let old = FilePath(entry.key)
            if moves.contains(where: { $0.old == old }) {
                report(entry.line, "\(entry.key.quoted) is there already, written another way")
            }
            moves.append(BackingLocation.Move(old: old, new: new))
        }
        return moves
    }

    fileprivate mutating func compression(_ node: PipelineNode?, _ operation: PipelineSpec.Operation)
        -> Compression?
    {
        guard let node else { return nil }
        if operation != .pack {
            report(
                node.line, "'compression' is of archives, and the operation is \(operation.rawValue)",
                at: "compression")
        }
        return choice(
            node, "'compression'",
            [
                "none", "lz4", "lz4:1 to lz4:\(Compression.highestLevel)", "zstd",
                "zstd:1 to zstd:\(Compression.highestZstdLevel)",
            ],
            Compression.init(name:))
    }

    fileprivate mutating func rate(_ node: PipelineNode?) -> UInt64? {
        guard let node, let text = text(node, "'rate'", "bytes a second, such as 200M") else { return nil }
        guard let size = ByteSize(text: text), size.bytes > 0 else {
            report(node.line, "'rate' is \(text.quoted); expected bytes a second from 1 on, such as 200M")
            return nil
        }
        return size.bytes
    }
}
