package import DiskImages
internal import Linux
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
    /// Of a base that was made together with its overlays: all are whole, and names are being given
    /// or were.
    package private(set) var family: ManifestFamily?
    /// Why the last try failed, where nothing was recorded since.
    package private(set) var failure: ManifestFailure?
    /// The length of the sound records, and of all before them: what follows is a torn line, or
    /// what a power cut left.
    package private(set) var wholeLength = 0
    /// What was recorded before this job began.
    private var earlier: ArraySlice<UInt8> = []
    private let path: FilePath

    /// Parses the last job of a manifest. Throws `badData` naming the line; a torn end is left out.
    package init(parsing bytes: [UInt8], path: FilePath) throws {
        try self.init(parsing: bytes[...], path)
        earlier = Array(earlier)[...]
    }

    private init(parsing bytes: ArraySlice<UInt8>, _ path: FilePath) throws {
        self.path = path
        let sound = try ManifestLines.parse(bytes, path) { try take($0, $1) }
        (earlier, wholeLength) = (bytes[..<sound.lowerBound], sound.upperBound)
        try order(path)
    }

    /// As above, but without the segments where the last record says that the target is complete.
    package init(parsingEndsOf bytes: [UInt8], path: FilePath) throws {
        self.path = path
        try ManifestLines.parseEnds(bytes, path) { try take($0, $1) }
        try order(path)
    }

    /// The record of the job that made `file`, as it was when it was completed: of this job, or of
    /// one before it that is still to be replaced. nil where no job did. Throws `badData` where
    /// what was recorded before is damaged.
    package func proof(of file: FileIdentity) throws -> ManifestContents? {
        try latest { $0.completion?.matches(file) == true }
    }

    /// The record of the file that has the target's name, `named`, while `staged` has the staging
    /// name. The staged one may look like it by size and time: what is recorded last is of that
    /// one, as long as it has that name.
    package func proof(ofNamed named: FileIdentity, staged: FileIdentity?) throws -> ManifestContents? {
        isWaiting(staged) ? try before?.proof(of: named) : try proof(of: named)
    }

    /// The record of the last job before this one that is there.
    private var before: ManifestContents? {
        get throws { earlier.isEmpty ? nil : try ManifestContents(parsing: earlier, path) }
    }

    /// The last of this job and those before it that `isMeant`; there may be any number of them.
    private func latest(_ isMeant: (ManifestContents) -> Bool) throws -> ManifestContents? {
        var job: ManifestContents? = self
        while let candidate = job, !isMeant(candidate) { job = try candidate.before }
        return job
    }

    /// Whether the target is whole and has no name yet but the staging one.
    package func isWaiting(_ staged: FileIdentity?) -> Bool {
        staged.map { completion?.matches($0) == true } ?? false
    }

    /// Whether the target is held for its family, which is to be named together.
    package func isHeld(_ staged: FileIdentity?) -> Bool { completion?.held == true && isWaiting(staged) }

    /// The last completion that is recorded, of this job or one before it, and that was named.
    package var lastNamed: ManifestCompletion? {
        get throws {
            try latest { $0.completion.map { $0.held != true } == true || $0.family != nil }?.completion
        }
    }

    private mutating func order(_ path: FilePath) throws {
        segments.sort { $0.start < $1.start }
        for (a, b) in zip(segments, segments.dropFirst()) where a.start + a.count > b.start {
            throw ManifestError(
                "\(path): sector \(b.start) is recorded twice (\(.restart) forgets the checkpoint)")
        }
    }

    private mutating func take(_ kind: String, _ line: ArraySlice<UInt8>) throws {
        failure = nil
        switch kind {
        case "job" where job == nil:
            let found = try ManifestJob(line)
            guard found.manifest == ManifestJob.version else {
                throw ManifestError("its version is \(found.manifest); expected \(ManifestJob.version)")
            }
            guard found.options.segment >= UInt64(Segment.chunk),
                found.options.segment % UInt64(Segment.chunk) == 0,
                found.options.segment <= Segment.longest,
                found.target.length <= Int64.max
            else {
                throw ManifestError("its sizes are impossible")
            }
            job = found
        case "segment" where job != nil && completion == nil:
            let found = try ManifestSegment(line)
            guard let range = found.range, let job, range.upperBound <= job.target.length,
                found.outcome != nil,
                range.lowerBound % job.options.segment == 0,
                range.upperBound % job.options.segment == 0 || range.upperBound == job.target.length,
                found.kind != "data" || range.upperBound - range.lowerBound <= job.options.segment
            else { throw ManifestError("its range or digest is impossible") }
            segments.append(found)
        case "complete" where job != nil && completion == nil:
            completion = try ManifestCompletion(line)
        case "complete" where family == nil:
            let again = try ManifestCompletion(line)
            guard again.named != nil, completion?.named == nil, completion?.isSameTarget(as: again) == true
            else {
                throw ManifestError("a record \"complete\" does not belong there")
            }
            completion = again
        case "family" where completion != nil: family = try ManifestFamily(line)
        case "failure": failure = try ManifestFailure(line)
        case let other:
            throw ManifestError("a record \"\(other.prefix(40))\" does not belong there")
        }
    }

    /// Whether the segments cover `length` bytes of disk from its start.
    package func covers(_ length: UInt64) -> Bool { ManifestSegment.cover(segments, length) }
}
