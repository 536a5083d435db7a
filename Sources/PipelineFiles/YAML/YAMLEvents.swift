internal import CYAML

/// What a text of YAML is made of, one thing after the other, as libyaml sees it: no alias is
/// followed, no key is compared, nothing is kept.
final class YAMLEvents {
    /// One of them, with the line it stands in, from 1.
    struct Event {
        enum Kind {
            /// `isPlain`: without quotes.
            case scalar(String, isPlain: Bool)
            case alias(String)
            case sequenceStart, mappingStart
            /// Of a sequence or a mapping.
            case end
            case documentStart, streamEnd
        }

        let kind: Kind
        let line: Int
        var anchor: String? = nil
        /// As it stands for, `tag:yaml.org,2002:int` for `!!int`.
        var tag: String? = nil
    }

    /// Why the text is no YAML.
    struct Fault: Error {
        let problem: String
        let context: String?
        /// From 1; 0 where it is not known.
        let line: Int
        /// The line in which the context begins, from 1.
        let contextLine: Int
    }

    private let parser = UnsafeMutablePointer<yaml_parser_t>.allocate(capacity: 1)
    private let text: UnsafeMutableBufferPointer<UInt8>

    /// Events of `bytes`, which are UTF-8. nil where there is no memory for a parser.
    init?(_ bytes: [UInt8]) {
        guard yaml_parser_initialize(parser) == 1 else {
            parser.deallocate()
            return nil
        }
        text = .allocate(capacity: max(1, bytes.count))
        _ = text.update(fromContentsOf: bytes)
        yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING)
        yaml_parser_set_input_string(parser, text.baseAddress, bytes.count)
    }

    deinit {
        yaml_parser_delete(parser)
        parser.deallocate()
        text.deallocate()
    }

    /// The next one; not to be asked again behind the stream's end or a fault.
    func next() throws(Fault) -> Event {
        while true {
            var event = yaml_event_t()
            guard yaml_parser_parse(parser, &event) == 1 else { throw fault }
            defer { yaml_event_delete(&event) }
            if let found = YAMLEvents.event(event) { return found }
        }
    }

    /// nil for what is of no use: the stream's start, a document's end.
    private static func event(_ event: yaml_event_t) -> Event? {
        let line = event.start_mark.line + 1
        switch event.type {
        case YAML_SCALAR_EVENT:
            let scalar = event.data.scalar
            let text = String(
                decoding: UnsafeBufferPointer(start: scalar.value, count: scalar.length), as: UTF8.self)
            return Event(
                kind: .scalar(text, isPlain: scalar.style == YAML_PLAIN_SCALAR_STYLE), line: line,
                anchor: string(scalar.anchor), tag: string(scalar.tag))
        case YAML_ALIAS_EVENT:
            return Event(kind: .alias(string(event.data.alias.anchor) ?? ""), line: line)
        case YAML_SEQUENCE_START_EVENT:
            let start = event.data.sequence_start
            return Event(
                kind: .sequenceStart, line: line, anchor: string(start.anchor), tag: string(start.tag))
        case YAML_MAPPING_START_EVENT:
            let start = event.data.mapping_start
            return Event(
                kind: .mappingStart, line: line, anchor: string(start.anchor), tag: string(start.tag))
        case YAML_SEQUENCE_END_EVENT, YAML_MAPPING_END_EVENT: return Event(kind: .end, line: line)
        case YAML_DOCUMENT_START_EVENT: return Event(kind: .documentStart, line: line)
        case YAML_STREAM_END_EVENT: return Event(kind: .streamEnd, line: line)
        default: return nil
        }
    }

    private static func string(_ text: UnsafePointer<UInt8>?) -> String? {
        text.map { String(cString: $0) }
    }

    private var fault: Fault {
        let parser = parser.pointee
        let problem = parser.problem.map { String(cString: $0) } ?? "there is no memory for it"
        var line = parser.problem_mark.line + 1
        if parser.error == YAML_READER_ERROR {
            // Only how far it lies from the start is known.
            line = 1 + text.prefix(parser.problem_offset).count { $0 == 0x0a }
        }
        return Fault(
            problem: problem, context: parser.context.map { String(cString: $0) }, line: line,
            contextLine: parser.context_mark.line + 1)
    }
}
