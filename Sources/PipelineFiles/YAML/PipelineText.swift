internal import DiskImages
internal import SystemPackage

/// A pipeline file's bytes, not believed: what would hold the YAML parser up is refused before the
/// parser sees it.
///
/// The parser nests at most 1000 deep by itself. But it hashes every key with all that stands in
/// it. So an alias in a key costs what it stands for, which doubles with every anchor (a "billion
/// laughs"); and keys in keys (`? - ? - a`) are hashed again on each level.
enum PipelineText {
    /// The longest file, in bytes: room for ten thousand sources written out.
    static let longest = 1 << 20
    /// As many explicit keys (`? `) are handed to the parser, to be reported for what they are.
    private static let mostExplicitKeys = 16

    /// Reads `file`, whatever it is, without waiting and without reading more than `longest`.
    static func bytes(of file: FilePath) throws -> [UInt8] {
        guard let identity = try ImageFile.identity(at: file) else {
            throw DiskImageError(.unavailable, file, "cannot be opened: \(Errno.noSuchFileOrDirectory)")
        }
        guard identity.isRegular else { throw DiskImageError(.badData, file, "is no regular file") }
        let opened = try ImageFile(opening: file)
        guard opened.length <= UInt64(longest) else { throw tooLong(file, "\(opened.length)") }
        // A byte more than allowed: some file systems say 0 for files that have content.
        var bytes = [UInt8](repeating: 0, count: longest + 1)
        let count = try bytes.withUnsafeMutableBytes { try opened.readAvailable(into: $0, at: 0) }
        guard count <= longest else { throw tooLong(file, "more than \(longest)") }
        return Array(bytes[..<count])
    }

    private static func tooLong(_ file: FilePath, _ length: String) -> DiskImageError {
        DiskImageError(.badData, file, "is \(length) bytes long; expected a pipeline of at most \(longest)")
    }

    /// The text that `bytes` are; throws what keeps it from the parser.
    static func checked(_ bytes: [UInt8]) throws(PipelineFault) -> String {
        // A mark of UTF-8 at the start, which the parser would count as a column.
        let bytes = bytes.starts(with: "\u{feff}".utf8) ? Array(bytes.dropFirst(3)) : bytes
        guard let text = String(validating: bytes, as: UTF8.self) else {
            let lines = bytes.split(separator: 0x0a, omittingEmptySubsequences: false)
            let line = lines.firstIndex { String(validating: $0, as: UTF8.self) == nil }
            throw PipelineFault(line: line.map { $0 + 1 }, "is not UTF-8")
        }
        var anchors: [PipelineProblem] = []
        var aliases = 0
        var explicitKeys: [PipelineProblem] = []
        for (index, line) in bytes.split(separator: 0x0a, omittingEmptySubsequences: false).enumerated() {
            if line.contains(0) { throw PipelineFault(line: index + 1, "contains a NUL byte") }
            eachToken(of: line) { token, next in
                switch token.first {
                case UInt8(ascii: "&") where isNameByte(next):
                    let name = String(
                        decoding: token.prefix(1) + token.dropFirst().prefix { isNameByte($0) }, as: UTF8.self
                    )
                    anchors.append(
                        PipelineProblem(line: index + 1, "\(name.quoted) \(PipelineYAML.anchorFault)"))
                case UInt8(ascii: "*") where isNameByte(next): aliases += 1
                case UInt8(ascii: "?") where " \t\r[{!".utf8.contains(next):
                    explicitKeys.append(PipelineProblem(line: index + 1, PipelineYAML.keyFault))
                default: break
                }
            }
        }
        if !anchors.isEmpty, aliases > 0 { throw PipelineFault(problems: anchors) }
        if explicitKeys.count > mostExplicitKeys { throw PipelineFault(problems: explicitKeys) }
        return text
    }

    /// Hands on every `&`, `*` and `?` that the parser may take for the beginning of something,
    /// with the byte behind it. It may not, inside of quotes; but none is left out. Behind a
    /// closing quote or bracket stands nothing that the grammar lets through.
    private static func eachToken(of line: ArraySlice<UInt8>, _ body: (ArraySlice<UInt8>, UInt8) -> Void) {
        var isBehindBlank = true
        var mayBeginToken = true
        // Behind a `#` stands a comment; or the `#` is in quotes, and so is all before the next
        // quote.
        var isComment = false
        for place in line.indices {
            let byte = line[place]
            switch byte {
            case UInt8(ascii: "&"), UInt8(ascii: "*"), UInt8(ascii: "?"):
                let next = place + 1 < line.endIndex ? line[place + 1] : UInt8(ascii: " ")
                if mayBeginToken, !isComment { body(line[place...], next) }
            case UInt8(ascii: "#") where isBehindBlank: isComment = true
            case UInt8(ascii: "\""), UInt8(ascii: "'"): isComment = false
            // The last bytes of Unicode's line breaks count as breaks, whatever they belong to.
            case UInt8(ascii: "\r"), 0x85, 0xa8, 0xa9: isComment = false
            default: break
            }
            // 0xbf ends the mark that a text may begin with.
            isBehindBlank = " \t\r".utf8.contains(byte) || [0x85, 0xa8, 0xa9, 0xbf].contains(byte)
            mayBeginToken = isBehindBlank || "[{,:?".utf8.contains(byte)
        }
    }

    /// The bytes of an anchor's name.
    private static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
            UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "_"), UInt8(ascii: "-"):
            true
        default: false
        }
    }
}

/// What keeps a pipeline file from being read at all.
struct PipelineFault: Error {
    let problems: [PipelineProblem]

    init(problems: [PipelineProblem]) { self.problems = problems }

    init(line: Int?, _ text: String) { problems = [PipelineProblem(line: line, text)] }
}
