package import SystemPackage
internal import TransportArchive

/// How targets are called: text with `{name}`, `{extension}`, `{directory}` and `{format}` in it.
package struct NameTemplate: Equatable, Sendable, CustomStringConvertible {
    /// What stands for a part of the source's name, or for the format.
    package enum Placeholder: String, CaseIterable, Sendable {
        case name, `extension`, directory, format
    }

    /// A template or a name that cannot be; the text is the end of a line.
    package struct Fault: Error, Equatable, CustomStringConvertible {
        package let description: String
    }

    private enum Part: Equatable, Sendable {
        case text(String)
        case placeholder(Placeholder)
    }

    /// `{directory}/{name}.{format}`
    package static let usual = NameTemplate([
        .placeholder(.directory), .text("/"), .placeholder(.name), .text("."), .placeholder(.format),
    ])

    private let parts: [Part]

    private init(_ parts: [Part]) { self.parts = parts }

    /// Throws where `text` has braces that are no placeholder, or gives names that no target can
    /// have.
    package init(_ text: String) throws(Fault) {
        var parts: [Part] = []
        var rest = text[...]
        while let brace = rest.firstIndex(where: { $0 == "{" || $0 == "}" }) {
            if brace > rest.startIndex { parts.append(.text(String(rest[..<brace]))) }
            let behind = rest[rest.index(after: brace)...]
            guard rest[brace] == "{", let end = behind.firstIndex(where: { $0 == "{" || $0 == "}" }),
                behind[end] == "}"
            else {
                throw Fault(
                    description:
                        "has a \(rest[brace]) without its counterpart (placeholders: \(NameTemplate.known))")
            }
            guard let placeholder = Placeholder(rawValue: String(behind[..<end])) else {
                throw Fault(
                    description:
                        "has \("{\(behind[..<end])}".quoted), which is no placeholder (there are \(NameTemplate.known))"
                )
            }
            parts.append(.placeholder(placeholder))
            rest = behind[behind.index(after: end)...]
        }
        if !rest.isEmpty { parts.append(.text(String(rest))) }
        self.parts = parts
        // What is wrong with the text between the placeholders shows with any source.
        _ = try path(name: "name", extension: "cow", directory: "", format: TargetFormatName.raw.name)
    }

    private static let known = Placeholder.allCases.map { "{\($0.rawValue)}" }.joined(separator: ", ")

    /// The target's name, relative to the directory of targets. An empty `directory` leaves no
    /// slash behind. Throws where the name is none that a target below that directory can have.
    package func path(name: String, extension: String, directory: FilePath, format: String) throws(Fault)
        -> FilePath
    {
        var text = ""
        for part in parts {
            switch part {
            case .text(let part): text += part
            case .placeholder(.name): text += name
            case .placeholder(.extension): text += `extension`
            case .placeholder(.directory): text += directory.string
            case .placeholder(.format): text += format
            }
        }
        // An empty directory leaves a slash as well.
        if text.utf8.first == UInt8(ascii: "/"), parts.first != .placeholder(.directory) {
            throw Fault(description: "gives the name \(text.quoted), which is absolute")
        }
        guard text.utf8.last != UInt8(ascii: "/") else {
            throw Fault(
                description: "gives the name \(text.quoted), which ends in /; expected the name of a file")
        }
        let components = ArchiveName.components(of: text)
        let path = components.joined(separator: "/")
        if let fault = ArchiveName.fault(of: path) {
            throw Fault(description: "gives the name \(path.quoted), which \(fault)")
        }
        return FilePath(path)
    }

    package var description: String {
        parts.map { part in
            switch part {
            case .text(let text): text
            case .placeholder(let placeholder): "{\(placeholder.rawValue)}"
            }
        }.joined()
    }
}
