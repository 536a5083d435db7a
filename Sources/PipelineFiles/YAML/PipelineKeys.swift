internal import DiskImages
internal import SystemPackage

/// The mappings of a pipeline file: which keys each has.
enum PipelinePlace: String, CaseIterable {
    case pipeline = "a pipeline"
    case target = "'target'"
    case options = "'options'"
    case hooks = "'hooks'"

    /// What the names of its keys have before them in `PipelineSpec.lines`.
    var prefix: String { self == .pipeline ? "" : "\(word)." }

    /// The key that the mapping belongs to.
    var word: String {
        switch self {
        case .pipeline: ""
        case .target: "target"
        case .options: "options"
        case .hooks: "hooks"
        }
    }

    var keys: [String] {
        switch self {
        case .pipeline:
            [
                "version", "operation", "sources", "exclude", "source-format", "backing-format", "confine",
                "backing-map", "backing-search", "ignore-mtime",
                "target",
                "compression", "jobs", "rate", "metrics", "hooks",
            ]
        case .target:
            [
                "directory", "name", "format", "keep-chain", "options", "archive", "since", "full-every",
                "with",
            ]
        case .hooks: ["after", "error"]
        case .options: ["layout", "alignment", "cluster_size", "compression"]
        }
    }
}

/// Takes values out of nodes, and notes what is wrong with them instead of giving up.
struct PipelineKeys {
    /// Of the pipeline file.
    let directory: FilePath
    private(set) var problems: [PipelineProblem]
    /// The line of each key that was found: `jobs`, `target.name`, `options.layout`.
    private(set) var lines: [String: Int] = [:]

    init(directory: FilePath, problems: [PipelineProblem]) {
        self.directory = directory
        self.problems = problems
    }

    mutating func report(_ line: Int, _ text: String) { problems.append(PipelineProblem(line: line, text)) }

    /// The values of a mapping by their keys; what is no key is reported, and so are `required`
    /// ones that nobody tried to write.
    mutating func values(of node: PipelineNode?, _ place: PipelinePlace, required: [String] = []) -> [String:
        PipelineNode]
    {
        guard let node else { return [:] }
        guard case .mapping(let entries) = node.content else {
            let name = place == .pipeline ? "the pipeline" : place.rawValue
            wrongType(node, name, "a mapping of \(place.keys.joined(separator: ", "))")
            return [:]
        }
        var values: [String: PipelineNode] = [:]
        var meant: Set<String> = []
        for entry in entries {
            if place.keys.contains(entry.key) {
                values[entry.key] = entry.value
                lines[place.prefix + entry.key] = entry.line
            } else {
                let (hint, key) = hint(for: entry.key, place)
                if let key { meant.insert(key) }
                report(entry.line, "\(entry.key.quoted) is no key of \(place.rawValue) (\(hint))")
            }
        }
        for key in required where values[key] == nil && !meant.contains(key) {
            report(
                lines[place.word] ?? node.line,
                place == .pipeline ? "'\(key)' is missing" : "'\(key)' is missing in \(place.rawValue)")
        }
        return values
    }

    /// What somebody may have meant who wrote `key` in `place`, and which of its own keys that is.
    private func hint(for key: String, _ place: PipelinePlace) -> (String, String?) {
        if key == "<<" { return ("mappings are not merged: write the keys out", nil) }
        if let near = NearestKey.of(key, in: place.keys) { return ("did you mean '\(near)'?", near) }
        if let other = PipelinePlace.allCases.first(where: { $0 != place && $0.keys.contains(key) }) {
            return (
                other == .pipeline ? "it stands at the left margin" : "it belongs under \(other.rawValue)",
                nil
            )
        }
        return ("keys: \(place.keys.joined(separator: ", "))", nil)
    }

    /// Reports that a value is of another kind than it should be.
    mutating func wrongType(_ node: PipelineNode, _ name: String, _ expected: String) {
        if node.content != .refused { report(node.line, "\(name) \(node.fact); expected \(expected)") }
    }

    /// Text: quoted, or plain and not nothing. A number is text too.
    mutating func text(_ node: PipelineNode?, _ name: String, _ expected: String = "text") -> String? {
        guard let node else { return nil }
        guard case .text(let text, _) = node.content, !node.isNothing else {
            wrongType(node, name, expected)
            return nil
        }
        return text
    }

    /// One of `names`; `make` is asked first.
    mutating func choice<Value>(
        _ node: PipelineNode?, _ name: String, _ names: [String], _ make: (String) -> Value?
    ) -> Value? {
        let expected =
            names.count > 1
            ? "\(names.dropLast().joined(separator: ", ")) or \(names[names.count - 1])" : names.joined()
        guard let node, let text = text(node, name, expected) else { return nil }
        if let value = make(text) { return value }
        report(node.line, "\(name) is \(text.quoted); expected \(expected)")
        return nil
    }

    /// `true` or `false`, without quotes.
    mutating func flag(_ node: PipelineNode?, _ name: String) -> Bool? {
        guard let node else { return nil }
        switch node.content {
        case .text("true", isPlain: true): return true
        case .text("false", isPlain: true): return false
        case .text(let text, isPlain: false):
            report(node.line, "\(name) is the text \(text.quoted); expected true or false, without quotes")
        default: wrongType(node, name, "true or false")
        }
        return nil
    }

    /// A whole number from 1 on, without quotes.
    mutating func count(_ node: PipelineNode?, _ name: String) -> Int? {
        guard let node else { return nil }
        if case .text(let text, isPlain: true) = node.content,
            text.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let number = Int(text),
            number > 0
        {
            return number
        }
        if case .text(let text, isPlain: false) = node.content {
            report(
                node.line, "\(name) is the text \(text.quoted); expected a number from 1 on, without quotes")
        } else {
            wrongType(node, name, "a number from 1 on")
        }
        return nil
    }

    /// The elements of a list, each a text; `expected` says of what.
    mutating func texts(_ node: PipelineNode?, _ name: String, _ expected: String) -> [(
        text: String, line: Int
    )]? {
        guard let node else { return nil }
        guard case .list(let elements) = node.content else {
            wrongType(node, name, expected)
            return nil
        }
        return elements.compactMap { element in
            text(element, "an element of \(name)").map { ($0, element.line) }
        }
    }

    /// A path, made absolute.
    mutating func path(_ node: PipelineNode?, _ name: String) -> FilePath? {
        guard let node, let text = text(node, name, "a path") else { return nil }
        return path(text, node.line, name)
    }

    mutating func path(_ text: String, _ line: Int, _ name: String) -> FilePath? {
        if let fault = PipelineKeys.fault(ofPath: text) {
            report(line, "\(name) \(fault)")
            return nil
        }
        return PipelineKeys.absolute(text, directory)
    }

    /// Why `text` is no path.
    static func fault(ofPath text: String) -> String? {
        if text.isEmpty { return "is empty; expected a path" }
        return text.utf8.contains(0) ? "contains a NUL" : nil
    }

    /// `text` from `directory` on, without `.` and `..`.
    static func absolute(_ text: String, _ directory: FilePath) -> FilePath {
        let path = directory.pushing(FilePath(text))
        guard path.lastComponent?.kind == .parentDirectory else { return path.absolute }
        // So that the folder itself is resolved before one goes up from it.
        return path.appending("x").absolute.removingLastComponent()
    }
}
