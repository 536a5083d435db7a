internal import FoundationEssentials
internal import Linux

/// JSON for whoever reads it, a terminal too: in ASCII it says the same, and no control or format
/// character turns or hides the writing.
enum JSONText {
    /// `value` as a document; every character that `ErrorLine` escapes for a line stands as
    /// `\uXXXX`.
    static func of(_ value: some Encodable, _ encoder: JSONEncoder) throws -> String {
        escaped(String(decoding: try encoder.encode(value), as: UTF8.self))
    }

    /// A JSON document with nothing in it but line feeds that is no text. Outside of strings there
    /// are only characters that need no escape.
    static func escaped(_ document: String) -> String {
        guard document.unicodeScalars.contains(where: needsEscape) else { return document }
        var text = ""
        for scalar in document.unicodeScalars {
            guard needsEscape(scalar) else {
                text.unicodeScalars.append(scalar)
                continue
            }
            for unit in UTF16.encode(scalar) ?? .init() {
                text += "\\u" + HumanText.padded(String(unit, radix: 16), to: 4, with: "0", atStart: true)
            }
        }
        return text
    }

    private static func needsEscape(_ scalar: Unicode.Scalar) -> Bool {
        // The encoder escapes what else there is in ASCII; outside of strings its line feeds are
        // layout.
        scalar.isASCII ? scalar.value == 0x7f : scalar.movesWriting
    }
}
