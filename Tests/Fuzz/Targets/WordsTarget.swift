internal import DiskImages
internal import ImageFormats
internal import SystemPackage

@testable internal import Fleets
@testable internal import Linux
@testable internal import Migration
@testable internal import PipelineFiles
@testable internal import Stages
@testable internal import TransportArchive

/// The input is a word as the command line, the environment, an archive or a header may have it:
/// sizes, names, times, patterns, `MAKEFLAGS`.
enum WordsTarget {
    private static let arrayVariables = ["ID", "MIN", "STEP", "COUNT", "MAX"].map { "SLURM_ARRAY_TASK_\($0)" }

    static func run(_ bytes: [UInt8]) throws {
        _ = MakeFlags(parsing: bytes.filter { $0 != 0 })
        let text = String(decoding: bytes, as: UTF8.self)
        if let size = ByteSize(text: text) {
            try Finding.unless(
                ByteSize(text: size.text) == size, "\(text) is \(size.bytes), and \(size.text) is not")
        }
        if let time = Timestamp(text: text) {
            try Finding.unless(Timestamp(text: "\(time)") == time, "\(text) is read as \(time)")
        }
        if let digest = ContentDigest(hex: text) {
            try Finding.unless("\(digest)" == text.lowercased(), "\(text) is read as \(digest)")
        }
        _ = (Compression(name: text), ImageFormat(name: text))
        try names(text)
        _ = try accepted { try Shard(text: text) }
        let numbers = text.split(separator: ",", maxSplits: 4, omittingEmptySubsequences: false).map(
            String.init)
        _ = try accepted {
            try Shard(environment: Dictionary(uniqueKeysWithValues: zip(arrayVariables, numbers)))
        }
        _ = try accepted { try SourceGlob(text, line: 1) { FilePath($0) } }
    }

    /// A name that is allowed stays below the folder that it is restored to.
    private static func names(_ text: String) throws {
        if ArchiveName.fault(of: text) == nil {
            let path = FilePath("/folder").pushing(FilePath(text)).lexicallyNormalized()
            try Finding.unless(
                path.starts(with: "/folder") && path != "/folder", "the name \(text) leads to \(path)")
        }
        _ = ArchiveName.folder(among: text.utf8.split(separator: 0x0a).map(Array.init))
        guard let template = try accepted({ try NameTemplate(text) }) else { return }
        let name = try accepted {
            try template.path(name: "web-01", extension: "cow", directory: "guests/web", format: "raw")
        }
        try Finding.unless(name?.isAbsolute != true, "\(template) gives an absolute name")
    }
}
