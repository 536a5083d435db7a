internal import FoundationEssentials
package import SystemPackage

/// What a manifest says: read from its bytes, all of them distrusted.
package struct ManifestContents: Sendable {
    /// The longest manifest that is read, in bytes: a fully allocated 8 TiB disk makes 18 MiB.
    package static let longest = 256 << 20

    /// nil where not even the first record is whole: nothing has been recorded.
    package private(set) var job: ManifestJob?
    /// In the disk's order, not overlapping.
    package private(set) var segments: [ManifestSegment] = []
    package private(set) var completion: ManifestCompletion?
    /// The length of the whole records: what follows is a torn line.
    package private(set) var wholeLength = 0

    /// How the first record begins: keys are sorted.
    private static let beginning = Array(#"{"consistent":"#.utf8)

    private struct Kind: Decodable {
        let record: String
    }

    /// Parses the whole of a manifest. Throws `badData` naming the line; a torn last line is left out.
    package init(parsing bytes: [UInt8], path: FilePath) throws {
        guard Self.isManifest(bytes) else {
            throw MigrationError(.badData, "\(path): is no manifest of Drover's (move it away)")
        }
        let decoder = JSONDecoder()
        var line = 0
        var start = 0
        while let end = bytes[start...].firstIndex(of: 0x0a) {
            line += 1
            do {
                try take(Data(bytes[start..<end]), decoder)
            } catch {
                let reason = (error as? MigrationError)?.description ?? "it is no record"
                throw MigrationError(.badData, "\(path): line \(line) is damaged: \(reason) (--restart forgets the checkpoint)")
            }
            start = end + 1
        }
        wholeLength = start
        segments.sort { $0.start < $1.start }
        for (a, b) in zip(segments, segments.dropFirst()) where a.start + a.count > b.start {
            throw MigrationError(.badData, "\(path): sector \(b.start) is recorded twice (--restart forgets the checkpoint)")
        }
    }

    private mutating func take(_ line: Data, _ decoder: JSONDecoder) throws {
        switch try decoder.decode(Kind.self, from: line).record {
        case "job" where job == nil:
            let found = try decoder.decode(ManifestJob.self, from: line)
            guard found.manifest == ManifestJob.version else {
                throw MigrationError(.badData, "its version is \(found.manifest); expected \(ManifestJob.version)")
            }
            guard found.options.segment >= UInt64(Bounds.chunk), found.options.segment % UInt64(Bounds.chunk) == 0,
                found.target.length <= Int64.max
            else {
                throw MigrationError(.badData, "its sizes are impossible")
            }
            job = found
        case "segment" where job != nil && completion == nil:
            let found = try decoder.decode(ManifestSegment.self, from: line)
            guard let range = found.range, let job, range.upperBound <= job.target.length, found.outcome != nil,
                range.lowerBound % job.options.segment == 0
            else { throw MigrationError(.badData, "its range or digest is impossible") }
            segments.append(found)
        case "complete" where job != nil && completion == nil:
            completion = try decoder.decode(ManifestCompletion.self, from: line)
        case let other:
            throw MigrationError(.badData, "a record \"\(other.prefix(40))\" does not belong there")
        }
    }

    /// Whether the segments cover `length` bytes of disk from its start.
    func covers(_ length: UInt64) -> Bool { ManifestSegment.ranges(of: segments) == (length == 0 ? [] : [0..<length]) }

    /// Whether `bytes` begin as a manifest does: a file that begins otherwise is something else and is left alone.
    static func isManifest(_ bytes: [UInt8]) -> Bool {
        bytes.prefix(beginning.count).elementsEqual(beginning.prefix(bytes.count))
    }
}
