internal import DiskImages
internal import SystemPackage

@testable internal import Manifests
@testable internal import Migration

/// The input is a manifest, of an image or of an archive.
enum ManifestTarget {
    static func run(_ bytes: [UInt8]) throws {
        let path: FilePath = "disk.raw.manifest"
        let proof = ManifestLines.lengthOfProof(bytes)
        let end = ManifestLines.lengthBeforeFailure(bytes)
        try Finding.unless(proof <= bytes.count && end <= bytes.count, "there is more of it than it is long")
        _ = (
            ManifestLines.endsWithFailure(bytes), ManifestLines.isOfArchive(bytes),
            ManifestLines.completion(bytes)
        )
        _ = try accepted { try ManifestContents(parsingEndsOf: bytes, path: path) }
        if let archive = try accepted({ try ArchiveManifest(parsing: bytes, path: path) }) {
            let again = try ArchiveManifest(parsing: Array(bytes[..<archive.wholeLength]), path: path)
            try Finding.unless(
                again.job == archive.job && again.checkpoints == archive.checkpoints,
                "its sound part is another")
        }
        guard let contents = try accepted({ try ManifestContents(parsing: bytes, path: path) }) else {
            return
        }
        try Finding.unless(
            contents.wholeLength <= bytes.count, "\(contents.wholeLength) bytes are sound, of \(bytes.count)")
        let again = try ManifestContents(parsing: Array(bytes[..<contents.wholeLength]), path: path)
        try Finding.unless(
            again.job == contents.job && again.segments == contents.segments, "its sound part is another")
        _ = try accepted { try ImageFile.identity(at: Scratch.folder).flatMap { try contents.proof(of: $0) } }
        _ = ManifestSegment.digest(of: contents.segments)
        let ranges = ManifestSegment.ranges(of: contents.segments)
        try Finding.unless(
            zip(ranges, ranges.dropFirst()).allSatisfy { $0.upperBound < $1.lowerBound }, "segments overlap")
        if let job = contents.job {
            _ = contents.covers(job.target.length)
            try Finding.unless(
                ranges.last?.upperBound ?? 0 <= job.target.length, "a segment passes the disk's end")
        }
    }
}
