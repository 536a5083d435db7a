package import DiskImages
internal import ImageFormats
internal import Linux
internal import Manifests
internal import SystemPackage

/// What a raw file holds, segment by segment, as a manifest has it: of the file as it is, which is
/// known not to have changed since. So it need not be read for its digests.
package struct KnownDigests: Sendable {
    private let segments: RecordedSegments
    private let segmentLength: UInt64
    private let length: UInt64
    private let base: FileIdentity

    /// What the manifest at `place` knows of `base`, which is its target or its only source; nil
    /// where nothing is known, or there is no such manifest.
    init?(at place: FilePlace, of base: ImageLayer) {
        // Whatever is wrong with a record that need not be there, it proves nothing.
        guard let found = try? ManifestFile.read(at: place) else { return nil }
        self.init(found, of: base)
    }

    /// What the manifest beside `base` knows of it.
    package init?(beside base: ImageLayer) {
        guard base.isRaw, let file = try? FilePlace(following: base.path) else { return nil }
        self.init(at: ManifestFile.place(of: file), of: base)
    }

    init?(_ manifest: ManifestContents, of base: ImageLayer) {
        guard let job = manifest.job, let completion = manifest.completion, base.isRaw, job.consistent,
            job.options.layout == ImageFormat.raw.name, completion.lost == nil,
            job.target.length == base.guestLength, manifest.covers(job.target.length),
            ManifestSegment.digest(of: manifest.segments).description == completion.digest,
            (try? KnownDigests.proves(manifest, job, base)) == true
        else { return nil }
        segments = RecordedSegments(manifest.segments)
        (segmentLength, length, self.base) = (job.options.segment, job.target.length, base.file.identity)
    }

    private static func proves(_ manifest: ManifestContents, _ job: ManifestJob, _ base: ImageLayer) throws
        -> Bool
    {
        if try manifest.completion?.proves(base.file) == true { return true }
        guard job.sources.count == 1, let source = job.sources.first, source.layout == ImageFormat.raw.name
        else {
            return false
        }
        return try ManifestJob.Source(base).isProven(by: source)
    }

    /// Whether it is about `file` as it is now.
    func isAbout(_ file: ImageFile) throws -> Bool {
        let now = try file.currentIdentity()
        return try now.isUnchanged(since: base) && now.ctime == base.ctime && file.provingTime() == base.ctime
    }

    /// Throws where `file`, which it was about, has changed since.
    func checkStillAbout(_ file: ImageFile) throws {
        guard try !isAbout(file) else { return }
        throw MigrationError(
            .badData, "\(file.path): changed while it was shared (begin again when nothing writes to it)")
    }

    /// What the file holds in `segment`, which ends with a chunk or the disk; nil where the record
    /// is cut otherwise.
    func outcome(of segment: Segment) -> Outcome? {
        if segment.start % segmentLength == 0,
            segment.length == segmentLength || segment.end == length && segment.length < segmentLength
        {
            return segments.segment(at: segment.start)?.outcome
        }
        var digest = SegmentDigest(segment)
        for index in 0..<segment.chunkCount {
            let start = segment.start + UInt64(index * Segment.chunk)
            guard let outcome = outcome(ofChunk: start..<min(start + UInt64(Segment.chunk), segment.end))
            else { return nil }
            if let whole = digest.add(outcome, at: index) { return whole }
        }
        return nil
    }

    /// What it holds in `chunk`, which begins at a multiple of a chunk's length; nil where the
    /// record does not say.
    func outcome(ofChunk chunk: Range<UInt64>) -> Outcome? {
        guard chunk.upperBound - chunk.lowerBound == UInt64(Segment.chunk) || chunk.upperBound == length
        else { return nil }
        return segments.segment(at: chunk.lowerBound)?.outcome(ofChunkAt: chunk.lowerBound)
    }
}

/// Where a chain's bottom layer, of which it is known what it holds, alone makes up the disk.
struct KnownBottom: Sendable {
    let digests: KnownDigests
    let layer: ImageLayer
    /// What the layers above it hold; nil where there are none.
    private var above: GuestExtents?
    private let aboveDepth: Int
    /// Where the shortest of the two layers at the bottom ends.
    private let end: UInt64

    /// nil where the digests are not those of `chain`'s bottom layer.
    init?(_ chain: ImageChain, _ digests: KnownDigests) {
        guard let layer = chain.layers.last, layer.isRaw, (try? digests.isAbout(layer.file)) == true else {
            return nil
        }
        (self.digests, self.layer) = (digests, layer)
        let upper = Array(chain.layers.dropLast())
        aboveDepth = upper.count - 1
        above =
            upper.isEmpty ? nil : GuestReader(ImageChain(layers: upper)).extents(in: 0..<chain.guestLength)
        end = min(layer.guestLength, upper.last?.guestLength ?? .max)
    }

    /// Where the stretch of the bottom layer's own that begins at `position` ends: there, where it
    /// is none. Positions never go back.
    mutating func end(at position: UInt64) throws -> UInt64 {
        guard position < end else { return position }
        guard above != nil else { return end }
        guard let extent = try above?.extent(at: position, upTo: .max), extent.content == .absent,
            extent.depth == aboveDepth
        else { return position }
        return min(extent.end, end)
    }

    /// The chunks of `segment` from `start` on, up to `end` at most, as far as they are known in a
    /// row.
    func chunks(of segment: Segment, from start: UInt64, upTo end: UInt64) -> (
        finished: [Finished], end: UInt64
    ) {
        var (finished, position): ([Finished], UInt64) = ([], start)
        while position < segment.end {
            let chunk = Chunk(
                segment: segment, start: position,
                length: Int(min(UInt64(Limits.chunk), segment.end - position)))
            let next = position + UInt64(chunk.length)
            guard next <= end, let outcome = digests.outcome(ofChunk: position..<next) else { break }
            finished.append(Finished(.chunk(segment, index: chunk.index, outcome)))
            position = next
        }
        return (finished, position)
    }
}
