/// What a layer's name may be: components joined by `/`, each safe to create below a folder of the
/// user's choice.
package enum ArchiveName {
    /// The longest component, in bytes: room for `.partial` and `.manifest`.
    private static let longestComponent = 240
    private static let longestName = 4000
    private static let slash = UInt8(ascii: "/")
    private static let parents: [[UInt8]] = [".", ".."].map { Array($0.utf8) }
    /// Drover's own names, as bytes: what looks like one character may end in these.
    private static let endings: [[UInt8]] = [".partial", ".manifest"].map { Array($0.utf8) }

    /// What is wrong with `name`, as the end of a sentence; nil where nothing is.
    package static func fault(of name: String) -> String? {
        let bytes = Array(name.utf8)
        if bytes.isEmpty { return "is empty" }
        if bytes.contains(0) { return "contains a NUL" }
        if bytes[0] == slash { return "is absolute" }
        if bytes.count > longestName { return "is longer than \(longestName) bytes" }
        for component in bytes.split(separator: slash, omittingEmptySubsequences: false) {
            if component.isEmpty { return "has an empty component" }
            if component.count <= 2, let parent = parents.first(where: { component.elementsEqual($0) }) {
                return "has a component \(String(decoding: parent, as: UTF8.self))"
            }
            if component.count > longestComponent {
                return "has a component longer than \(longestComponent) bytes"
            }
            if component.count >= 8, endings.contains(where: { component.suffix($0.count).elementsEqual($0) })
            {
                return "has a component that ends in .partial or .manifest"
            }
        }
        return nil
    }

    /// The components of `name`, split at the byte `/`: a slash with a combining mark behind it is
    /// one character, but still a slash.
    package static func components(of name: String) -> [String] {
        name.utf8.split(separator: slash).map { String(decoding: $0, as: UTF8.self) }
    }

    /// The last component of `name`.
    package static func lastComponent(of name: String) -> [UInt8] {
        let bytes = Array(name.utf8)
        return Array(bytes[(bytes.lastIndex(of: slash).map { $0 + 1 } ?? 0)...])
    }

    /// The first of `names`, all of them different, that is a folder of another one, and that other
    /// one; nil where there is none.
    ///
    /// Every name is walked through once, whatever the number of its components: a name's folders
    /// are known by their hash, which goes on from component to component, and only what has a
    /// known hash is compared.
    static func folder(among names: [[UInt8]]) -> (folder: [UInt8], name: [UInt8])? {
        var known: [Int: [Int]] = [:]
        var wholes: [Int] = []
        for (index, name) in names.enumerated() {
            var hasher = Hasher()
            for component in name.split(separator: slash) { add(component, to: &hasher) }
            wholes.append(hasher.finalize())
            known[wholes[index], default: []].append(index)
        }
        for name in names {
            var hasher = Hasher()
            for component in name.split(separator: slash).dropLast() {
                add(component, to: &hasher)
                // A hasher is a value: what is finished is a copy.
                let hash = hasher
                for index in known[hash.finalize()] ?? []
                where name[..<component.endIndex].elementsEqual(names[index]) {
                    return (names[index], name)
                }
            }
        }
        return nil
    }

    private static func add(_ component: ArraySlice<UInt8>, to hasher: inout Hasher) {
        component.withUnsafeBytes { hasher.combine(bytes: $0) }
        hasher.combine(slash)
    }
}
