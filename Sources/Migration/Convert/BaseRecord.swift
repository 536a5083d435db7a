package import DiskImages
internal import ImageFormats
internal import Linux
internal import Manifests
internal import Stages
internal import SystemPackage

/// A record of what a base holds, made once for all who share its extents: a manifest whose target
/// is its source.
package enum BaseRecord {
    /// What is known of `base`: by the manifest beside it, by the record at `place`, or by reading
    /// it, which is recorded there. nil where a target in the folder of `place` could share
    /// nothing, and where nothing would tell that the base has changed. `segmentLength` is that of
    /// the targets, in bytes.
    package static func digests(
        of base: ImageLayer, at place: FilePlace, segmentLength: UInt64, _ options: MoveOptions
    ) async throws -> KnownDigests? {
        if let known = KnownDigests(beside: base) ?? KnownDigests(at: place, of: base) { return known }
        guard try base.file.provingTime() != nil, try base.file.canBeShared(in: place.folder) else {
            return nil
        }
        let chain = ImageChain(layers: [base])
        let content = ChainContent(
            chain, .everything(marks: false), segmentLength: segmentLength, progress: Progress(isShown: false)
        )
        let segments = try await CopyPipeline(content, options).digest(recordsChunks: true)
        guard !options.stop.isRequested else {
            throw MigrationError(.stopped, "\(base.path): stopped by a signal (run the same command again)")
        }
        try chain.checkUnchanged()
        let job = ManifestJob(
            sources: [try ManifestJob.Source(base)],
            options: ManifestJob.Options(
                format: ImageFormat.raw.name, layout: ImageFormat.raw.name, zeroRun: 0, segment: segmentLength
            ),
            target: ManifestJob.Target(
                path: base.path.absolute.description, length: base.guestLength, size: base.file.length),
            consistent: true)
        let completion = ManifestCompletion(
            digest: ManifestSegment.digest(of: segments).description, header: nil, size: base.file.length,
            mtime: base.file.identity.mtime.description)
        let bytes = job.line + segments.flatMap(\.line) + completion.line
        // Whoever cannot keep it reads the base again the next time.
        try? write(bytes, to: place)
        return KnownDigests(try ManifestContents(parsing: bytes, path: place.path), of: base)
    }

    private static func write(_ bytes: [UInt8], to place: FilePlace) throws {
        let file = try TargetFile(passing: place)
        try file.reset(length: 0)
        try bytes.withUnsafeBytes { try file.write($0, at: 0) }
        try file.synchronizeWithTimes()
        try file.publish { _ in }
    }
}
