internal import DiskImages
internal import FoundationEssentials
package import SystemPackage

/// What a manifest says of its last job: read from its bytes, all of them distrusted.
package struct ManifestContents: Sendable {
    /// The longest manifest that is read, in bytes: a fully allocated 8 TiB disk makes 18 MiB.
    package static let longest = 256 << 20

    /// nil where not even the first record is whole: nothing has been recorded.
    package private(set) var job: ManifestJob?
    /// In the disk's order, not overlapping.
    package private(set) var segments: [ManifestSegment] = []
    package private(set) var completion: ManifestCompletion?
    /// Why the last try failed, where nothing was recorded since.
    package private(set) var failure: ManifestFailure?
    /// The length of the sound records, and of all before them: what follows is a torn line, or what a power cut left.
    package private(set) var wholeLength = 0
    /// What was recorded before this job began.
    private var earlier: [UInt8] = []
    private let path: FilePath

    /// Parses the last job of a manifest. Throws `badData` naming the line; a torn end is left out.
    package init(parsing bytes: [UInt8], path: FilePath) throws {
        self.path = path
        let sound = try ManifestLines.parse(bytes, path) { try take($0, $1, $2) }
        (earlier, wholeLength) = (Array(bytes[..<sound.lowerBound]), sound.upperBound)
        try order(path)
    }

    /// As above, but without the segments where the last record says that the target is complete.
    init(parsingEndsOf bytes: [UInt8], path: FilePath) throws {
        self.path = path
        try ManifestLines.parseEnds(bytes, path) { try take($0, $1, $2) }
        try order(path)
    }

    /// The record of the job that made `file`, as it was when it was completed: of this job, or of one before it that is still to be replaced.
    /// nil where no job did. Throws `badData` where what was recorded before is damaged.
    func proof(of file: FileIdentity) throws -> ManifestContents? {
        if completion?.matches(file) == true { return self }
        return earlier.isEmpty ? nil : try ManifestContents(parsing: earlier, path: path).proof(of: file)
    }

    private mutating func order(_ path: FilePath) throws {
        segments.sort { $0.start < $1.start }
        for (a, b) in zip(segments, segments.dropFirst()) where a.start + a.count > b.start {
            throw MigrationError(.badData, "\(path): sector \(b.start) is recorded twice (--restart forgets the checkpoint)")
        }
    }

    private mutating func take(_ kind: String, _ line: Data, _ decoder: JSONDecoder) throws {
        failure = nil
        switch kind {
        case "job" where job == nil:
            let found = try decoder.decode(ManifestJob.self, from: line)
            guard found.manifest == ManifestJob.version else {
                throw MigrationError(.badData, "its version is \(found.manifest); expected \(ManifestJob.version)")
            }
            guard found.options.segment >= UInt64(Bounds.chunk), found.options.segment % UInt64(Bounds.chunk) == 0,
                found.options.segment <= Bounds.longestSegment,
                found.target.length <= Int64.max
            else {
                throw MigrationError(.badData, "its sizes are impossible")
            }
            job = found
        case "segment" where job != nil && completion == nil:
            let found = try decoder.decode(ManifestSegment.self, from: line)
            guard let range = found.range, let job, range.upperBound <= job.target.length, found.outcome != nil,
                range.lowerBound % job.options.segment == 0,
                range.upperBound % job.options.segment == 0 || range.upperBound == job.target.length,
                found.kind != "data" || range.upperBound - range.lowerBound <= job.options.segment
            else { throw MigrationError(.badData, "its range or digest is impossible") }
            segments.append(found)
        case "complete" where job != nil && completion == nil:
            completion = try decoder.decode(ManifestCompletion.self, from: line)
        case "failure": failure = try decoder.decode(ManifestFailure.self, from: line)
        case let other:
            throw MigrationError(.badData, "a record \"\(other.prefix(40))\" does not belong there")
        }
    }

    /// Whether the segments cover `length` bytes of disk from its start.
    func covers(_ length: UInt64) -> Bool { ManifestSegment.ranges(of: segments) == (length == 0 ? [] : [0..<length]) }
}
