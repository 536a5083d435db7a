/// What a page consists of, read by a reader of its own that knows no mercy: every element that has
/// an end has its end tag, every attribute has quotes.
struct PageElements {
    private(set) var problems: [String] = []
    private(set) var names: Set<String> = []
    private(set) var ids: [String] = []
    /// Ids that links, labels and drawings refer to.
    private(set) var references: [String] = []
    /// Whatever would be loaded from somewhere.
    private(set) var addresses: [String] = []

    private static let void: Set<String> = ["meta", "br", "hr", "img", "input", "link"]

    init(_ page: String) throws {
        var open: [String] = []
        var body = page
        if let style = try /<style>[^<]*<\/style>/.firstMatch(in: body) {
            for match in style.output.matches(of: /url\(([^)]*)\)/) {
                let target = String(match.output.1)
                if target.hasPrefix("#") {
                    references.append(String(target.dropFirst()))
                } else {
                    addresses.append(target)
                }
            }
            if style.output.contains("@import") { addresses.append("@import") }
        }
        body = body.replacing(/<!DOCTYPE html>\n<!-- drover report -->\n/, with: "")
        // Between two tags there is no bare `<` and no bare `>`.
        for piece in body.split(separator: "<", omittingEmptySubsequences: false).dropFirst() {
            guard let end = piece.firstIndex(of: ">") else {
                problems.append("no end: <\(piece.prefix(60))")
                continue
            }
            let tag = String(piece[..<end])
            if piece[end...].dropFirst().contains(">"), !["style", "script"].contains(tag) {
                problems.append("bare >: \(piece.prefix(80))")
            }
            if tag.hasPrefix("/") {
                if open.popLast() != String(tag.dropFirst()) { problems.append("ends out of turn: <\(tag)>") }
                continue
            }
            try readTag(tag, &open)
        }
        if !open.isEmpty { problems.append("left open: \(open)") }
    }

    private mutating func readTag(_ tag: String, _ open: inout [String]) throws {
        guard
            let match = try /([a-z][a-z0-9]*)((?:\s+[a-zA-Z-]+(?:="[^"<>]*")?)*)\s*(\/?)/.wholeMatch(in: tag)
        else {
            problems.append("no tag: <\(tag.prefix(80))>")
            return
        }
        let name = String(match.output.1)
        names.insert(name)
        for attribute in match.output.2.matches(of: /([a-zA-Z-]+)(?:="([^"]*)")?/) {
            let value = String(attribute.output.2 ?? "")
            switch attribute.output.1 {
            case "id": ids.append(value)
            case "href":
                if value.hasPrefix("#") {
                    references.append(String(value.dropFirst()))
                } else {
                    addresses.append(value)
                }
            case "aria-labelledby": references += value.split(separator: " ").map { String($0) }
            case "src", "srcset", "data", "action": addresses.append(value)
            case let event where event.hasPrefix("on"): problems.append("a handler: \(event)")
            default: break
            }
        }
        if !PageElements.void.contains(name), match.output.3.isEmpty { open.append(name) }
    }
}
