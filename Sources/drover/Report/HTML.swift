internal import SystemPackage

/// A piece of HTML. What is written in a literal is markup, what is interpolated is text and gets
/// escaped; only `HTML` stays as it is.
///
/// So whatever a file is called, it cannot become markup: there is no other way to make one.
struct HTML: ExpressibleByStringInterpolation, Sendable {
    private(set) var markup: String

    init(stringLiteral markup: String) { self.markup = markup }

    init(stringInterpolation interpolation: Interpolation) { markup = interpolation.markup }

    private init(markup: String) { self.markup = markup }

    struct Interpolation: StringInterpolationProtocol {
        fileprivate var markup = ""

        init(literalCapacity: Int, interpolationCount: Int) {
            markup.reserveCapacity(literalCapacity + 16 * interpolationCount)
        }

        mutating func appendLiteral(_ literal: String) { markup += literal }

        mutating func appendInterpolation(_ html: HTML) { markup += html.markup }

        mutating func appendInterpolation(_ text: String) { markup += HTML.escaped(text) }

        /// Any bytes are shown: what is no text as `\xff`.
        mutating func appendInterpolation(_ path: FilePath) { markup += HTML.escaped(path.printed) }

        mutating func appendInterpolation(_ number: some BinaryInteger) { markup += String(number) }
    }

    /// The pieces one after the other, `separator` between them.
    static func joined(_ pieces: some Sequence<HTML>, separator: HTML = "") -> HTML {
        HTML(markup: pieces.map(\.markup).joined(separator: separator.markup))
    }

    static func + (first: HTML, second: HTML) -> HTML { HTML(markup: first.markup + second.markup) }

    static func += (first: inout HTML, second: HTML) { first.markup += second.markup }

    /// `text` so that HTML means it literally, in an element as in an attribute with quotes;
    /// control characters are made visible.
    private static func escaped(_ text: String) -> String {
        var result = ""
        for scalar in ErrorLine.escaped(text).unicodeScalars {
            switch scalar {
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "\"": result += "&quot;"
            case "'": result += "&#39;"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}
