/// Reads JSON (RFC 8259) value by value, as it stands in the text: whoever knows what comes asks
/// for it. What an archive or a manifest says of many images is millions of bytes, of which a
/// general decoder makes a tree first.
package struct JSONReader {
    /// What is no JSON, or not what was asked for.
    package struct Fault: Error {
        package init() {}
    }

    /// Objects and arrays in one another that are passed over.
    private static let deepest = 64

    private let text: UnsafeRawBufferPointer
    private var position = 0

    /// Hands a reader of `text` to `body`, which reads all of its one value. Throws `Fault` where
    /// something is left then.
    package static func read<Value>(
        _ text: ArraySlice<UInt8>, _ body: (inout JSONReader) throws -> Value
    ) throws -> Value {
        try text.withUnsafeBytes { bytes in
            var reader = JSONReader(bytes)
            let value = try body(&reader)
            guard reader.next() == nil else { throw Fault() }
            return value
        }
    }

    private init(_ text: UnsafeRawBufferPointer) { self.text = text }

    /// An object: each member but those that are null is handed to `member` by its key, which reads
    /// or skips its value.
    package mutating func object(_ member: (String, inout JSONReader) throws -> Void) throws {
        try list(from: "{", to: "}") { reader in
            let key = try reader.string()
            try reader.take(":")
            guard reader.next() != UInt8(ascii: "n") else { return try reader.word("null") }
            try member(key, &reader)
        }
    }

    /// An array, of which `element` reads each value.
    package mutating func array<Element>(_ element: (inout JSONReader) throws -> Element) throws -> [Element]
    {
        var elements: [Element] = []
        try list(from: "[", to: "]") { elements.append(try element(&$0)) }
        return elements
    }

    /// true or false.
    package mutating func bool() throws -> Bool {
        let isTrue = next() == UInt8(ascii: "t")
        try word(isTrue ? "true" : "false")
        return isTrue
    }

    /// A whole number that `Number` holds, written without fraction and exponent.
    package mutating func integer<Number: FixedWidthInteger>() throws -> Number {
        let found = try number()
        guard found.isWhole, let magnitude = found.magnitude,
            let value = Number(exactly: found.isNegative ? -Int128(magnitude) : Int128(magnitude))
        else { throw Fault() }
        return value
    }

    /// A number, as near as a `Double` comes to it; one that is too large is a fault.
    package mutating func double() throws -> Double {
        guard next() != nil else { throw Fault() }
        let start = position
        _ = try number()
        let digits = String(decoding: text[start..<position], as: UTF8.self)
        guard let value = Double(digits), value.isFinite else { throw Fault() }
        return value
    }

    /// A text, which must be UTF-8.
    package mutating func string() throws -> String {
        try take("\"")
        let start = position
        while position < text.count, text[position] >= 0x20, text[position] != UInt8(ascii: "\\") {
            if text[position] == UInt8(ascii: "\"") {
                defer { position += 1 }
                return try utf8(UnsafeRawBufferPointer(rebasing: text[start..<position]))
            }
            position += 1
        }
        var bytes = Array(text[start..<position])
        while let byte = byte() {
            switch byte {
            case UInt8(ascii: "\""): return try bytes.withUnsafeBytes(utf8)
            case UInt8(ascii: "\\"): try appendEscaped(to: &bytes)
            case 0x20...: bytes.append(byte)
            default: throw Fault()
            }
        }
        throw Fault()
    }

    /// Passes a value over, whatever it is.
    package mutating func skip() throws { try skip(0) }

    private mutating func skip(_ depth: Int) throws {
        guard depth < JSONReader.deepest else { throw Fault() }
        switch next() {
        case UInt8(ascii: "{"):
            try list(from: "{", to: "}") { reader in
                try reader.skipText()
                try reader.take(":")
                try reader.skip(depth + 1)
            }
        case UInt8(ascii: "["): try list(from: "[", to: "]") { try $0.skip(depth + 1) }
        case UInt8(ascii: "\""): try skipText()
        case UInt8(ascii: "t"), UInt8(ascii: "f"): _ = try bool()
        case UInt8(ascii: "n"): try word("null")
        default: _ = try number()
        }
    }

    private mutating func skipText() throws {
        let start = position
        try take("\"")
        while let byte = byte() {
            switch byte {
            case UInt8(ascii: "\""): return
            // What is not plain is looked at more closely.
            case ..<0x20, UInt8(ascii: "\\"), 0x80...:
                position = start
                _ = try string()
                return
            default: break
            }
        }
        throw Fault()
    }

    private mutating func list(
        from first: Unicode.Scalar, to last: Unicode.Scalar, _ item: (inout JSONReader) throws -> Void
    ) throws {
        try take(first)
        guard next() != UInt8(ascii: last) else { return try take(last) }
        while true {
            try item(&self)
            guard next() == UInt8(ascii: ",") else { return try take(last) }
            position += 1
        }
    }

    /// What comes next that is no blank; nil at the end.
    private mutating func next() -> UInt8? {
        while position < text.count {
            switch text[position] {
            case 0x20, 0x09, 0x0a, 0x0d: position += 1
            default: return text[position]
            }
        }
        return nil
    }

    private mutating func byte() -> UInt8? {
        guard position < text.count else { return nil }
        defer { position += 1 }
        return text[position]
    }

    private mutating func take(_ mark: Unicode.Scalar) throws {
        guard next() == UInt8(ascii: mark) else { throw Fault() }
        position += 1
    }

    private mutating func word(_ word: StaticString) throws {
        guard word.withUTF8Buffer({ text[position...].starts(with: $0) }) else { throw Fault() }
        position += word.utf8CodeUnitCount
    }

    /// A number's digits before its fraction, nil where they are too many, and whether there is
    /// none.
    private mutating func number() throws -> (isNegative: Bool, magnitude: UInt64?, isWhole: Bool) {
        let isNegative = next() == UInt8(ascii: "-")
        if isNegative { position += 1 }
        let start = position
        let magnitude = try digits()
        guard text[start] != UInt8(ascii: "0") || position == start + 1 else { throw Fault() }
        var isWhole = true
        if follows(".") {
            isWhole = false
            _ = try digits()
        }
        if follows("e") || follows("E") {
            isWhole = false
            if !follows("+") { _ = follows("-") }
            _ = try digits()
        }
        return (isNegative, magnitude, isWhole)
    }

    /// What one or more digits come to; nil where that does not fit.
    private mutating func digits() throws -> UInt64? {
        let start = position
        var value: UInt64? = 0
        while position < text.count, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(text[position]) {
            let digit = UInt64(text[position] - UInt8(ascii: "0"))
            value = value.flatMap {
                let (tens, isTooMuch) = $0.multipliedReportingOverflow(by: 10)
                let (sum, isMore) = tens.addingReportingOverflow(digit)
                return isTooMuch || isMore ? nil : sum
            }
            position += 1
        }
        guard position > start else { throw Fault() }
        return value
    }

    /// Takes `mark` where it comes next, without a blank.
    private mutating func follows(_ mark: Unicode.Scalar) -> Bool {
        guard position < text.count, text[position] == UInt8(ascii: mark) else { return false }
        position += 1
        return true
    }

    /// What follows a backslash: one of eight marks, or a code unit of UTF-16, or two that are one
    /// character.
    private mutating func appendEscaped(to bytes: inout [UInt8]) throws {
        switch byte() {
        case UInt8(ascii: "\""): bytes.append(UInt8(ascii: "\""))
        case UInt8(ascii: "\\"): bytes.append(UInt8(ascii: "\\"))
        case UInt8(ascii: "/"): bytes.append(UInt8(ascii: "/"))
        case UInt8(ascii: "b"): bytes.append(0x08)
        case UInt8(ascii: "f"): bytes.append(0x0c)
        case UInt8(ascii: "n"): bytes.append(0x0a)
        case UInt8(ascii: "r"): bytes.append(0x0d)
        case UInt8(ascii: "t"): bytes.append(0x09)
        case UInt8(ascii: "u"):
            var units = [try codeUnit()]
            if UTF16.isLeadSurrogate(units[0]) {
                guard follows("\\"), follows("u") else { throw Fault() }
                units.append(try codeUnit())
            }
            guard let text = String(validating: units, as: UTF16.self) else { throw Fault() }
            bytes += text.utf8
        default: throw Fault()
        }
    }

    /// Four hexadecimal digits.
    private mutating func codeUnit() throws -> UInt16 {
        guard position + 4 <= text.count else { throw Fault() }
        defer { position += 4 }
        let digits = text[position..<position + 4]
        guard let unit = UInt16(String(decoding: digits, as: UTF8.self), radix: 16),
            digits.first != UInt8(ascii: "+")
        else { throw Fault() }
        return unit
    }

    private func utf8(_ bytes: UnsafeRawBufferPointer) throws -> String {
        guard let string = String(validating: bytes, as: UTF8.self) else { throw Fault() }
        return string
    }
}
