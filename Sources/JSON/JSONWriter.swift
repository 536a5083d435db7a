/// Writes JSON in its shortest form. Whoever writes an object names its members in the order of
/// their keys, so that the same value is always the same bytes.
package struct JSONWriter {
    private(set) var bytes: [UInt8] = []
    /// Whether a comma comes before the next member or element.
    private var isBehindAnother = false

    /// What `body` writes.
    package static func bytes(_ body: (inout JSONWriter) -> Void) -> [UInt8] {
        var writer = JSONWriter()
        body(&writer)
        return writer.bytes
    }

    /// An object, whose members `body` writes.
    package mutating func object(_ body: (inout JSONWriter) -> Void) { enclose("{", "}", body) }

    /// A member `key` of an object, whose value `body` writes.
    package mutating func member(_ key: StaticString, _ body: (inout JSONWriter) -> Void) {
        separate()
        bytes.append(UInt8(ascii: "\""))
        key.withUTF8Buffer { bytes += $0 }
        bytes.append(UInt8(ascii: "\""))
        bytes.append(UInt8(ascii: ":"))
        isBehindAnother = false
        body(&self)
        isBehindAnother = true
    }

    /// A member of an object; none where `value` is nil.
    package mutating func member(_ key: StaticString, _ value: String?) {
        if let value { member(key) { $0.string(value) } }
    }

    /// A member of an object; none where `value` is nil.
    package mutating func member(_ key: StaticString, _ value: (some BinaryInteger)?) {
        if let value { member(key) { $0.bytes += String(value).utf8 } }
    }

    /// A member of an object; none where `value` is nil. It must be finite.
    package mutating func member(_ key: StaticString, _ value: Double?) {
        guard let value else { return }
        let text = value.description
        member(key) { $0.bytes += text.utf8.dropLast(text.hasSuffix(".0") ? 2 : 0) }
    }

    /// A member of an object; none where `value` is nil.
    package mutating func member(_ key: StaticString, _ value: Bool?) {
        if let value { member(key) { $0.bytes += (value ? "true" : "false").utf8 } }
    }

    /// A member of an object, an array; `element` writes each of its values.
    package mutating func member<Element>(
        _ key: StaticString, _ values: [Element], _ element: (inout JSONWriter, Element) -> Void
    ) {
        member(key) { writer in
            writer.enclose("[", "]") { writer in
                for value in values {
                    writer.separate()
                    writer.isBehindAnother = false
                    element(&writer, value)
                    writer.isBehindAnother = true
                }
            }
        }
    }

    /// A text. A slash needs no escape, and nothing beyond ASCII does.
    package mutating func string(_ text: String) {
        var text = text
        bytes.append(UInt8(ascii: "\""))
        text.withUTF8 { text in
            if text.contains(where: JSONWriter.isEscaped) {
                for byte in text { escaped(byte) }
            } else {
                bytes += text
            }
        }
        bytes.append(UInt8(ascii: "\""))
    }

    private static func isEscaped(_ byte: UInt8) -> Bool {
        byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\")
    }

    private mutating func escaped(_ byte: UInt8) {
        switch byte {
        case UInt8(ascii: "\""): bytes += #"\""#.utf8
        case UInt8(ascii: "\\"): bytes += #"\\"#.utf8
        case 0x08: bytes += #"\b"#.utf8
        case 0x09: bytes += #"\t"#.utf8
        case 0x0a: bytes += #"\n"#.utf8
        case 0x0c: bytes += #"\f"#.utf8
        case 0x0d: bytes += #"\r"#.utf8
        case ..<0x10: bytes += (#"\u000"# + String(byte, radix: 16)).utf8
        case ..<0x20: bytes += (#"\u00"# + String(byte, radix: 16)).utf8
        default: bytes.append(byte)
        }
    }

    private mutating func enclose(
        _ first: Unicode.Scalar, _ last: Unicode.Scalar, _ body: (inout JSONWriter) -> Void
    ) {
        bytes.append(UInt8(ascii: first))
        isBehindAnother = false
        body(&self)
        bytes.append(UInt8(ascii: last))
        isBehindAnother = true
    }

    private mutating func separate() { if isBehindAnother { bytes.append(UInt8(ascii: ",")) } }
}
