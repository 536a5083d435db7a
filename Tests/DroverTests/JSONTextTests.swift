import FoundationEssentials
import Testing

@testable import drover

/// JSON as it is printed, whatever files are called.
struct JSONTextTests {
    @Test(arguments: [
        ("\u{7f}", #"\u007f"#), ("\u{9b}31m", #"\u009b31m"#), ("\u{202e}gpj", #"\u202egpj"#),
        ("\u{2066}\u{2069}", #"\u2066\u2069"#),
        ("\u{200e}\u{200f}\u{61c}", #"\u200e\u200f\u061c"#), ("\u{2028}\u{2029}", #"\u2028\u2029"#),
        ("\u{feff}", #"\ufeff"#),
        ("\u{e0041}", #"\udb40\udc41"#), ("\u{1b}[2J", #"\u001b[2J"#), ("ä/漢/🐧", "ä/漢/🐧"),
    ])
    func whatWouldTurnOrHideTheWritingIsEscaped(_ name: String, _ shown: String) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.withoutEscapingSlashes]
        let document = try JSONText.of([name], encoder)
        #expect(document == #"[""# + shown + #""]"#)
        #expect(try JSONDecoder().decode([String].self, from: Data(document.utf8)) == [name])
    }
}
