import FoundationEssentials
import TestSupport
import Testing

@testable import JSON

/// Drover's JSON beside Foundation's.
struct JSONTests {
    /// Any JSON, as Foundation understands it.
    private enum Value: Decodable {
        case value

        init(from decoder: any Decoder) throws {
            if let object = try? decoder.container(keyedBy: Key.self) {
                for key in object.allKeys { _ = try object.decode(Value.self, forKey: key) }
            } else if var array = try? decoder.unkeyedContainer() {
                while !array.isAtEnd { _ = try array.decode(Value.self) }
            } else {
                let single = try decoder.singleValueContainer()
                guard !single.decodeNil() else {
                    self = .value
                    return
                }
                if (try? single.decode(Bool.self)) == nil, (try? single.decode(Double.self)) == nil {
                    _ = try single.decode(String.self)
                }
            }
            self = .value
        }
    }

    private struct Key: CodingKey {
        let stringValue: String
        let intValue: Int? = nil

        init?(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }

    private func isRead(_ text: [UInt8]) -> Bool {
        (try? JSONReader.read(text[...]) { try $0.skip() }) != nil
    }

    private func isReadByFoundation(_ text: [UInt8]) -> Bool {
        (try? JSONDecoder().decode(Value.self, from: Data(text))) != nil
    }

    private func encoded(_ value: some Encodable) throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return Array(try encoder.encode(value))
    }

    private func read(_ text: String) throws -> String {
        try JSONReader.read(Array(text.utf8)[...]) { try $0.string() }
    }

    private func number<Number: FixedWidthInteger>(_ text: String, _: Number.Type) -> Number? {
        try? JSONReader.read(Array(text.utf8)[...]) { try $0.integer() }
    }

    @Test func aTextIsWrittenAsFoundationWritesIt() throws {
        let texts = (0...0x300).compactMap(UnicodeScalar.init).map { "a\($0)b" }
        for text in texts + ["", "/\\/\"", "\u{1f600}e\u{301}", "\u{2028}\u{2029}", "\r\n"] {
            var writer = JSONWriter()
            writer.string(text)
            #expect(writer.bytes == (try encoded(text)))
            #expect(try read(String(decoding: writer.bytes, as: UTF8.self)) == text)
        }
    }

    @Test(arguments: [
        (#""\u00e9\u000A\ud83d\ude00""#, "\u{e9}\n\u{1f600}"),
        (#" "\"\\\/\b\f\n\r\t" "#, "\"\\/\u{8}\u{c}\n\r\t"),
    ])
    func escapesAreRead(_ text: String, _ meaning: String) throws { #expect(try read(text) == meaning) }

    @Test(arguments: [
        #"""#, #""\x""#, #""\u12""#, #""\u+123""#, #""\ud83d""#, #""\ud83dx""#, #""\ude00""#, "\"\n\"", "a",
        "",
        #""a" "b""#,
    ])
    func whatIsNoTextIsRefused(_ text: String) {
        #expect(throws: JSONReader.Fault.self) { try read(text) }
    }

    @Test func aTextIsUTF8() {
        for bytes: [UInt8] in [[0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xe2, 0x82]] {
            #expect(!isRead([0x22] + bytes + [0x22]))
            #expect(!isRead([0x22, 0x5c, 0x6e] + bytes + [0x22]))
        }
    }

    @Test func numbersAreWholeAndFit() {
        #expect(number("0", UInt64.self) == 0)
        #expect(number(" 18446744073709551615\n", UInt64.self) == .max)
        #expect(number("18446744073709551616", UInt64.self) == nil)
        #expect(number("-9223372036854775808", Int.self) == .min)
        #expect(number("-9223372036854775809", Int.self) == nil)
        #expect(number("9223372036854775808", Int.self) == nil)
        #expect(number("4294967296", UInt32.self) == nil)
        for text in ["-1", "01", "1.0", "1e2", "+1", "", "-", "1x", ".5", "1 1"] {
            #expect(number(text, UInt64.self) == nil, "\(text)")
        }
    }

    @Test func aNumberWithAFractionIsReadAsFoundationReadsIt() throws {
        for text in ["0", "-0.5", "1764312345.123457", "1e3", "2.5E-3", "18446744073709551616"] {
            let bytes = Array(text.utf8)
            let expected = try JSONDecoder().decode(Double.self, from: Data(bytes))
            #expect(try JSONReader.read(bytes[...]) { try $0.double() } == expected)
        }
        for text in ["", "-", "1.", "1e999", "true", "\"1\""] {
            #expect(throws: JSONReader.Fault.self) {
                try JSONReader.read(Array(text.utf8)[...]) { try $0.double() }
            }
        }
    }

    @Test func aNumberWithAFractionIsWrittenAsFoundationWritesIt() throws {
        for number in [0, 1, -2.5, 1_764_312_345, 1_764_312_345.123457, 1e-7, 1e300, .pi] {
            let text = JSONWriter.bytes { json in json.object { $0.member("a", number) } }
            #expect(text == (try encoded(["a": number])))
        }
    }

    @Test(arguments: [
        "{}", "[]", "[1,2.5,-3e7,0.1E-2,true,false,null,\"a\"]", #"{"a":{"b":[{}]},"c":null}"#, " [ ] ",
        "\t{\r\n\"a\" : 1 , \"b\" : [ ] }",
    ])
    func everyKindOfValueIsPassedOver(_ text: String) { #expect(isRead(Array(text.utf8))) }

    @Test(arguments: [
        "", "{", "[", "[1,]", "[,1]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}", "{1:1}", "[1 2]", "tru",
        "nul", "[1]]", "01", "1.", "1e", "-", "--1", "'a'", "[1}", "NaN", "\u{feff}1",
    ])
    func whatIsNoJSONIsRefused(_ text: String) {
        #expect(!isRead(Array(text.utf8)))
    }

    @Test func whatIsDeepInOneAnotherIsRefused() {
        for depth in [10, 1_000_000] {
            let text = String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
            #expect(isRead(Array(text.utf8)) == (depth == 10))
        }
    }

    @Test func whatIsReadIsJSONForFoundationToo() throws {
        var random = SplitMix64(seed: .random(in: 0...UInt64.max))
        let seed = random
        let original = Array(
            #"{"a":[{"b":false,"c\\n":-1.25,"d":null},[],{}],"e":"\u00e9\"","f":18446744073709551615,"g":true}"#
                .utf8)
        // No exponents: Foundation refuses what no Double holds.
        let marks = Array(#"{}[],:"\0123.+-ntfu "#.utf8)
        var accepted = 0
        for _ in 0..<3000 {
            var text = original
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                let place = Int.random(in: text.indices, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: text[place] = marks.randomElement(using: &random)!
                case 1: text.insert(marks.randomElement(using: &random)!, at: place)
                default: text.remove(at: place)
                }
            }
            guard isRead(text) else { continue }
            accepted += 1
            #expect(isReadByFoundation(text), "\(String(decoding: text, as: UTF8.self)) of \(seed)")
        }
        #expect(accepted > 100)
    }
}
