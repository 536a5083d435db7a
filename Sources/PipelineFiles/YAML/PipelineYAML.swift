internal import DiskImages
internal import Linux

/// A pipeline file's text as nodes: YAML without what no pipeline needs (anchors, aliases, tags,
/// keys that are no text, several documents), each of which is refused where it stands.
struct PipelineYAML {
    static let anchorFault =
        "is an anchor, and a pipeline has none (write out what it stands for; a text that begins with & is quoted)"
    private static let aliasFault =
        "an unquoted * begins an alias, and a pipeline has none (quote the pattern: \"*.cow\", \"web-[12]*.cow\")"
    private static let keyFault =
        "a key is a list or a mapping; expected text (a text that begins with ? is quoted)"
    private static let depthFault = "is nested deeper than anything in a pipeline"
    /// As deep as anything may be nested: `target`, `options`, a value, and one more to complain
    /// about.
    private static let deepest = 5
    /// From this depth on, what was refused is passed over no further than `mostDeepEvents`: the
    /// parser's time for each grows with the depth.
    private static let deepestSkipped = 64
    private static let mostDeepEvents = 10_000
    /// After as many keys that are no text the rest of the file is not looked at.
    private static let mostRefusedKeys = 16

    /// What was refused; the node has `refused` in its place.
    private(set) var problems: [PipelineProblem] = []
    /// The file's mapping; nil where the file holds nothing.
    private(set) var root: PipelineNode?

    private let events: YAMLEvents
    private let bytes: [UInt8]
    private var anchors: [PipelineProblem] = []
    private var aliases: [PipelineProblem] = []
    private var refusedKeys = 0
    private var deepEvents = 0

    /// Throws where `bytes`, which are UTF-8, are no YAML.
    init(_ bytes: [UInt8]) throws(PipelineFault) {
        guard let events = YAMLEvents(bytes) else {
            throw PipelineFault(problems: [
                PipelineProblem(
                    .io, line: nil, "cannot be parsed: Cannot allocate memory\(Shortage.memoryAdvice)")
            ])
        }
        (self.events, self.bytes) = (events, bytes)
        do throws(YAMLEvents.Fault) {
            try parse()
        } catch {
            // What is wrong behind an anchor may only follow from it.
            throw PipelineFault(problems: anchors.isEmpty ? [problem(error)] : anchors)
        }
        // What an alias stands for is the anchor's business.
        if !anchors.isEmpty, !aliases.isEmpty { throw PipelineFault(problems: anchors) }
        // Without what they stand for, nothing else can be said for sure.
        if !aliases.isEmpty { throw PipelineFault(problems: problems + aliases) }
        if refusedKeys > PipelineYAML.mostRefusedKeys { throw PipelineFault(problems: problems) }
    }

    private mutating func parse() throws(YAMLEvents.Fault) {
        guard case .documentStart = try events.next().kind else { return }
        root = try node(events.next(), depth: 0)
        let next = try events.next()
        if case .documentStart = next.kind {
            throw YAMLEvents.Fault(
                problem: "but found another document", context: nil, line: next.line, contextLine: 0)
        }
    }

    private mutating func refuse(_ line: Int, _ fault: String) -> PipelineNode {
        problems.append(PipelineProblem(line: line, fault))
        return PipelineNode(line: line, content: .refused)
    }

    /// The node that begins with `event`.
    private mutating func node(_ event: YAMLEvents.Event, depth: Int) throws(YAMLEvents.Fault) -> PipelineNode
    {
        if let refused = try refused(event, depth: depth) { return refused }
        switch event.kind {
        case .scalar(let text, let isPlain):
            return PipelineNode(line: event.line, content: .text(text, isPlain: isPlain))
        case .sequenceStart:
            var elements: [PipelineNode] = []
            while true {
                let next = try events.next()
                if case .end = next.kind { break }
                elements.append(try node(next, depth: depth + 1))
            }
            return PipelineNode(line: event.line, content: .list(elements))
        default:
            let entries = try entries(depth: depth)
            return PipelineNode(line: event.line, content: entries.map { .mapping($0) } ?? .refused)
        }
    }

    /// The rest of a mapping whose start is behind; nil where it says one thing twice in one line.
    private mutating func entries(depth: Int) throws(YAMLEvents.Fault) -> [PipelineNode.Entry]? {
        var entries: [PipelineNode.Entry] = []
        var isRepetitive = false
        var lines: [String: Int] = [:]
        while true {
            let event = try events.next()
            if case .end = event.kind { return isRepetitive ? nil : entries }
            guard case .scalar(let key, _) = event.kind else {
                try refuseKey(event)
                _ = try node(events.next(), depth: depth + 1)
                continue
            }
            let isRefused = try refused(event, depth: depth) != nil
            let value = try node(events.next(), depth: depth + 1)
            if let first = lines[key] {
                let fact =
                    first == event.line
                    ? "is there twice in one mapping" : "is there already, in line \(first)"
                problems.append(PipelineProblem(line: event.line, "\(key.quoted) \(fact)"))
                isRepetitive = isRepetitive || first == event.line
            } else if !isRefused {
                lines[key] = event.line
                entries.append(PipelineNode.Entry(key: key, line: event.line, value: value))
            }
        }
    }

    private mutating func refuseKey(_ event: YAMLEvents.Event) throws(YAMLEvents.Fault) {
        if case .alias = event.kind {
            aliases.append(PipelineProblem(line: event.line, PipelineYAML.aliasFault))
            return
        }
        if try refused(event, depth: 0) != nil { return }
        refusedKeys += 1
        problems.append(PipelineProblem(line: event.line, PipelineYAML.keyFault))
        try skip()
    }

    /// Refuses what begins with `event`, where it is nothing for a pipeline, and passes over all
    /// that is in it.
    private mutating func refused(_ event: YAMLEvents.Event, depth: Int) throws(YAMLEvents.Fault)
        -> PipelineNode?
    {
        if case .alias = event.kind {
            aliases.append(PipelineProblem(line: event.line, PipelineYAML.aliasFault))
            return PipelineNode(line: event.line, content: .refused)
        }
        note(event)
        let fault: String
        if event.anchor != nil {
            fault = anchors[anchors.count - 1].text
        } else if let tag = strangeTag(of: event) {
            fault =
                "\(tag.quoted) is a tag, and a pipeline has none (leave it out; a text that begins with ! is quoted)"
        } else if depth > PipelineYAML.deepest {
            fault = PipelineYAML.depthFault
        } else {
            return nil
        }
        let node = refuse(event.line, fault)
        switch event.kind {
        case .sequenceStart, .mappingStart: try skip()
        default: break
        }
        return node
    }

    /// Remembers an anchor, wherever it stands.
    private mutating func note(_ event: YAMLEvents.Event) {
        guard let anchor = event.anchor else { return }
        anchors.append(
            PipelineProblem(line: event.line, "\("&\(anchor)".quoted) \(PipelineYAML.anchorFault)"))
    }

    /// A tag that says another thing than there is without it.
    private func strangeTag(of event: YAMLEvents.Event) -> String? {
        let usual =
            switch event.kind {
            case .sequenceStart: "seq"
            case .mappingStart: "map"
            default: "str"
            }
        let standard = "tag:yaml.org,2002:"
        guard let tag = event.tag, tag != "!", tag != standard + usual else { return nil }
        return tag.hasPrefix(standard) ? "!!\(tag.dropFirst(standard.count))" : tag
    }

    /// Passes over the rest of a list or a mapping whose start is behind; nothing is kept of it.
    private mutating func skip() throws(YAMLEvents.Fault) {
        // Of a mapping, whether a key comes next; nil of a list.
        var open: [Bool?] = [nil]
        while !open.isEmpty {
            let event = try events.next()
            if case .end = event.kind {
                open.removeLast()
                continue
            }
            if open.count > PipelineYAML.deepestSkipped {
                deepEvents += 1
                guard deepEvents <= PipelineYAML.mostDeepEvents else {
                    throw YAMLEvents.Fault(
                        problem: PipelineYAML.depthFault, context: nil, line: event.line, contextLine: 0)
                }
            }
            let isKey = open[open.count - 1] == true
            if let expectsKey = open[open.count - 1] { open[open.count - 1] = !expectsKey }
            note(event)
            switch event.kind {
            case .alias: aliases.append(PipelineProblem(line: event.line, PipelineYAML.aliasFault))
            case .sequenceStart, .mappingStart:
                if isKey { refusedKeys += 1 }
                if case .mappingStart = event.kind { open.append(true) } else { open.append(nil) }
            default: break
            }
        }
    }

    /// Why the text is no YAML, in Drover's words where they help.
    private func problem(_ fault: YAMLEvents.Fault) -> PipelineProblem {
        // Only what was refused is passed over.
        if fault.problem == PipelineYAML.depthFault, let first = problems.first { return first }
        return PipelineProblem(line: fault.line, isIndentedByTab(fault.line) ? PipelineYAML.tab : fact(fault))
    }

    private static let tab = "is indented by a tab, which YAML does not allow (use blanks)"

    /// Whether the line that the parser stopped at is.
    private func isIndentedByTab(_ line: Int) -> Bool {
        let lines = bytes.split(separator: 0x0a, maxSplits: max(0, line), omittingEmptySubsequences: false)
        guard line > 0, line <= lines.count else { return false }
        return lines[line - 1].prefix { $0 == 0x20 || $0 == 0x09 }.contains(0x09)
    }

    private func fact(_ fault: YAMLEvents.Fault) -> String {
        if fault.problem == "but found another document" {
            return "another document begins, and a pipeline is one (remove the ---)"
        }
        if fault.context == "while scanning an alias" { return PipelineYAML.aliasFault }
        let place =
            fault.context.map {
                ", \($0)\(fault.contextLine > 0 ? " from line \(fault.contextLine)" : "")"
            } ?? ""
        let quote =
            fault.context == nil && fault.problem == "control characters are not allowed"
            ? "" : " (a text with one of []{},:#&*!|>'\"%@` in it is quoted)"
        return "is no YAML: \(fault.problem)\(place)\(quote)"
    }
}
