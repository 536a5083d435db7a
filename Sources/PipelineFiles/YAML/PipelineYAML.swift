internal import DiskImages
internal import Linux
internal import Yams

/// A pipeline file's text as nodes: YAML without what no pipeline needs (anchors, aliases, tags,
/// keys that are no text, several documents).
struct PipelineYAML {
    static let anchorFault =
        "is an anchor, and a pipeline has none (write out what it stands for; a text that begins with & is quoted)"
    static let keyFault = "a key is a list or a mapping; expected text (a text that begins with ? is quoted)"
    /// As deep as anything may be nested: `target`, `options`, a value, and one more to complain
    /// about.
    private static let deepest = 5
    /// After as many repeated keys the rest of the file is not looked at.
    private static let mostRepeatedKeys = 8

    /// What was refused; the node has `refused` in its place.
    private(set) var problems: [PipelineProblem] = []
    /// The file's mapping; nil where the file holds nothing.
    private(set) var root: PipelineNode?
    private var renamed: Set<String> = []

    /// Throws where `text` is no YAML.
    init(_ text: String) throws(PipelineFault) {
        // The parser calls itself for what is nested, up to 2000 times, and at most twice for a
        // bracket.
        let levels = min(2000, 2 * text.utf8.count)
        var result: Result<PipelineYAML, PipelineFault>?
        let isDone = DeepStack.run(levels: levels) {
            result = Result { () throws(PipelineFault) in try PipelineYAML(parsing: text) }
        }
        guard isDone, let result else {
            throw PipelineFault(problems: [
                PipelineProblem(
                    .io, line: nil, "cannot be parsed: Cannot allocate memory\(Shortage.memoryAdvice)")
            ])
        }
        self = try result.get()
    }

    private init(parsing text: String) throws(PipelineFault) {
        var text = text
        // Each round renames the repetitions of one key.
        for round in 1...PipelineYAML.mostRepeatedKeys {
            do {
                try parse(text)
                return
            } catch YamlError.duplicatedKeysInMapping(let keys, let context) {
                let repeated = RepeatedKey(
                    key: keys.first ?? "", line: context.mark.line, column: context.mark.column)
                let lines = repeated.repetitions(in: text)
                problems += lines.map {
                    PipelineProblem(
                        line: $0, "\(repeated.key.quoted) is there already, in line \(repeated.line)")
                }
                if lines.isEmpty {
                    problems.append(
                        PipelineProblem(
                            line: repeated.line, "\(repeated.key.quoted) is there twice in one mapping"))
                }
                if lines.isEmpty || round == PipelineYAML.mostRepeatedKeys {
                    throw PipelineFault(problems: problems)
                }
                text = repeated.renaming(lines, in: text) { "repeated in line \($0)" }
                for line in lines { renamed.insert("repeated in line \(line)") }
            } catch let error as YamlError {
                throw PipelineFault(problems: problems + [error.problem(in: text)])
            } catch {
                throw PipelineFault(problems: problems + [PipelineProblem(line: nil, "is no YAML: \(error)")])
            }
        }
    }

    private mutating func parse(_ text: String) throws {
        // Without rules: what is a number or a flag is not the parser's to say. Encoding has a
        // default that looks at the environment.
        let parser = try Parser(yaml: text, resolver: .basic, constructor: .default, encoding: .utf8)
        guard let node = try parser.singleRoot() else { return }
        root = convert(node, line: 1, depth: 0)
        // Nodes know their anchors as long as the parser lives.
        withExtendedLifetime(parser) {}
    }

    private mutating func convert(_ node: Node, line: Int, depth: Int) -> PipelineNode {
        let line = node.mark?.line ?? line
        if let fault = fault(of: node, depth) {
            problems.append(PipelineProblem(line: line, fault))
            return PipelineNode(line: line, content: .refused)
        }
        switch node {
        case .scalar(let scalar):
            return PipelineNode(line: line, content: .text(scalar.string, isPlain: scalar.style == .plain))
        case .sequence(let sequence):
            return PipelineNode(
                line: line, content: .list(sequence.map { convert($0, line: line, depth: depth + 1) }))
        case .mapping(let mapping):
            var entries: [PipelineNode.Entry] = []
            for (key, value) in mapping {
                if case .scalar(let text) = key, renamed.contains(text.string) { continue }
                let keyLine = key.mark?.line ?? line
                let converted = convert(value, line: keyLine, depth: depth + 1)
                guard case .scalar(let text) = key else {
                    problems.append(PipelineProblem(line: keyLine, PipelineYAML.keyFault))
                    continue
                }
                if let fault = fault(of: key, depth) {
                    problems.append(PipelineProblem(line: keyLine, fault))
                } else {
                    entries.append(PipelineNode.Entry(key: text.string, line: keyLine, value: converted))
                }
            }
            return PipelineNode(line: line, content: .mapping(entries))
        case .alias: return PipelineNode(line: line, content: .refused)
        }
    }

    /// Why a node is refused, whatever it means. What is refused is not looked into, and so nothing
    /// is looked at twice.
    private func fault(of node: Node, _ depth: Int) -> String? {
        if let anchor = node.anchor { return "\("&\(anchor)".quoted) \(PipelineYAML.anchorFault)" }
        let usual: Tag.Name =
            switch node {
            case .scalar: .str
            case .sequence: .seq
            default: .map
            }
        let tag = node.tag.description
        if tag != usual.rawValue {
            let name = tag.hasPrefix("tag:yaml.org,2002:") ? "!!\(tag.dropFirst(18))" : tag
            return
                "\(name.quoted) is a tag, and a pipeline has none (leave it out; a text that begins with ! is quoted)"
        }
        return depth > PipelineYAML.deepest ? "is nested deeper than anything in a pipeline" : nil
    }
}

extension YamlError {
    /// The error as a problem with its line, in Drover's words where they help.
    fileprivate func problem(in text: String) -> PipelineProblem {
        switch self {
        case .scanner(let context, let problem, let mark, _), .parser(let context, let problem, let mark, _),
            .composer(let context, let problem, let mark, _):
            PipelineProblem(
                line: mark.line,
                YamlError.isIndentedByTab(text, mark.line) ? YamlError.tab : fact(problem, context))
        case .reader(let problem, let offset, _, _):
            PipelineProblem(
                line: offset.map { offset in 1 + text.prefix(offset).utf8.count { $0 == 0x0a } },
                "is no YAML: \(problem)")
        default: PipelineProblem(line: nil, "is no YAML: \(self)")
        }
    }

    private static let tab = "is indented by a tab, which YAML does not allow (use blanks)"

    /// Whether the line that the parser stopped at is.
    private static func isIndentedByTab(_ text: String, _ line: Int) -> Bool {
        let lines = text.utf8.split(
            separator: 0x0a, maxSplits: max(0, line), omittingEmptySubsequences: false)
        guard line > 0, line <= lines.count else { return false }
        return lines[line - 1].prefix { $0 == 0x20 || $0 == 0x09 }.contains(0x09)
    }

    private func fact(_ problem: String, _ context: Context?) -> String {
        if problem.hasPrefix("Maximum nesting level") {
            return "is nested deeper than anything in a pipeline"
        }
        if problem == "but found another document" {
            return "another document begins, and a pipeline is one (remove the ---)"
        }
        if problem == "found undefined alias" || context?.text == "while scanning an alias" {
            return
                "an unquoted * begins an alias, and a pipeline has none (quote the pattern: \"*.cow\", \"web-[12]*.cow\")"
        }
        let place =
            context.map { ", \($0.text)\($0.mark.line > 0 ? " from line \($0.mark.line)" : "")" } ?? ""
        return "is no YAML: \(problem)\(place) (a text with one of []{},:#&*!|>'\"%@` in it is quoted)"
    }
}
