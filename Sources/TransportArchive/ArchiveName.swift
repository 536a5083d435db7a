/// What a layer's name may be: components joined by `/`, each safe to create below a folder of the user's choice.
package enum ArchiveName {
    /// The longest component, in bytes: room for `.partial` and `.manifest`.
    private static let longestComponent = 240
    private static let longestName = 4000

    /// What is wrong with `name`, as the end of a sentence; nil where nothing is.
    package static func fault(of name: String) -> String? {
        if name.isEmpty { return "is empty" }
        if name.utf8.contains(0) { return "contains a NUL" }
        if name.utf8.first == UInt8(ascii: "/") { return "is absolute" }
        if name.utf8.count > longestName { return "is longer than \(longestName) bytes" }
        for component in name.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false) {
            let text = String(decoding: component, as: UTF8.self)
            if component.isEmpty { return "has an empty component" }
            if text == "." || text == ".." { return "has a component \(text)" }
            if component.count > longestComponent { return "has a component longer than \(longestComponent) bytes" }
            // By bytes: what looks like one character may end in these.
            if [".partial", ".manifest"].contains(where: { component.suffix($0.utf8.count).elementsEqual($0.utf8) }) {
                return "has a component that ends in .partial or .manifest"
            }
        }
        return nil
    }

    /// The components of `name`, split at the byte `/`: a slash with a combining mark behind it is one character, but still a slash.
    package static func components(of name: String) -> [String] {
        name.utf8.split(separator: UInt8(ascii: "/")).map { String(decoding: $0, as: UTF8.self) }
    }

    /// The folders that `name` lies in, from the outermost.
    static func parents(of name: String) -> [String] {
        let components = components(of: name)
        return (1..<max(1, components.count)).map { components[..<$0].joined(separator: "/") }
    }
}
