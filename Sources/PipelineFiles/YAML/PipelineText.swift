internal import DiskImages
internal import ImageFormats
internal import Linux
internal import SystemPackage

/// A pipeline file's bytes, not believed.
enum PipelineText {
    /// The longest file, in bytes: room for ten thousand sources written out.
    static let longest = 1 << 20

    /// Reads `file`, whatever it is, without waiting and without reading more than `longest`.
    static func bytes(of file: FilePath) throws -> [UInt8] {
        guard let identity = try ImageFile.identity(at: file) else {
            throw DiskImageError(.unavailable, file, "cannot be opened: \(Errno.noSuchFileOrDirectory)")
        }
        guard identity.isRegular else { throw DiskImageError(.badData, file, "is no regular file") }
        let opened = try ImageFile(opening: file)
        if let kind = try PipelineText.kind(of: opened) {
            throw DiskImageError(.badData, file, "is \(kind), not a pipeline file")
        }
        guard opened.length <= UInt64(longest) else { throw tooLong(file, "\(opened.length)") }
        // A byte more than allowed: some file systems say 0 for files that have content.
        var bytes = [UInt8](repeating: 0, count: longest + 1)
        let count = try bytes.withUnsafeMutableBytes { try opened.readAvailable(into: $0, at: 0) }
        guard count <= longest else { throw tooLong(file, "more than \(longest)") }
        return Array(bytes[..<count])
    }

    /// What people take for a pipeline file by mistake; nil of anything else.
    private static func kind(of file: ImageFile) throws -> String? {
        let start = try file.prefix(512)
        if start.starts(with: "MOOO".utf8) || start.starts(with: "OOOM".utf8) { return "a disk image (COW)" }
        switch ForeignFormat(recognising: start) {
        case .archive?: return "an archive"
        case .manifest?: return "a manifest"
        case .qcow2?, .qcow?, .qed?, .vmdk?, .vdi?, .vhdx?, .vpc?, .parallels?, .bochs?: return "a disk image"
        default: break
        }
        // A text has no NUL, and a raw disk begins with them, or has some in its boot sector.
        return start.contains(0) && file.length > UInt64(longest) ? "a disk image (raw)" : nil
    }

    private static func tooLong(_ file: FilePath, _ length: String) -> DiskImageError {
        DiskImageError(.badData, file, "is \(length) bytes long; expected a pipeline of at most \(longest)")
    }

    /// `bytes` as the parser takes them; throws what keeps them from it.
    static func checked(_ bytes: [UInt8]) throws(PipelineFault) -> [UInt8] {
        // A mark of UTF-8 at the start, which the parser would count as a column.
        let bytes = bytes.starts(with: "\u{feff}".utf8) ? Array(bytes.dropFirst(3)) : bytes
        let isText = String(validating: bytes, as: UTF8.self) != nil
        for (index, line) in bytes.split(separator: 0x0a, omittingEmptySubsequences: false).enumerated() {
            if !isText, String(validating: line, as: UTF8.self) == nil {
                throw PipelineFault(line: index + 1, "is not UTF-8")
            }
            if isText, line.contains(0) { throw PipelineFault(line: index + 1, "contains a NUL byte") }
        }
        return bytes
    }
}

/// What keeps a pipeline file from being read at all.
struct PipelineFault: Error {
    let problems: [PipelineProblem]

    init(problems: [PipelineProblem]) { self.problems = problems }

    init(line: Int?, _ text: String) { problems = [PipelineProblem(line: line, text)] }
}
