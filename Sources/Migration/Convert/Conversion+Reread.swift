internal import DiskImages
internal import Linux
internal import Manifests
internal import Stages
internal import SystemPackage

/// `--reread`: nothing that times say of the sources is believed.
extension Conversion {
    /// Whether the target is there as it was completed, of this very job, but its sources hold
    /// something else than the record says: read to the end.
    func differsFromRecord(_ options: MoveOptions) async throws -> Bool {
        guard try target.isUpToDate(), let manifest = try ManifestFile.read(of: target.place.path) else {
            return false
        }
        try beginProgress(options.progress, [])
        return try await readSources(options) {
            try await $0.firstMismatch(with: RecordedSegments(manifest.segments))
        } != nil
    }

    /// Lets `read` read all that the target would be made of. Throws `stopped` where a stop was
    /// requested before the end, `badData` where a source changed.
    func readSources<Result>(
        _ options: MoveOptions, _ read: (CopyPipeline<ChainContent>) async throws -> Result
    ) async throws -> Result {
        let result = try await read(pipeline(options))
        guard !options.stop.isRequested else {
            throw MigrationError(
                .stopped, "\(request.target): stopped by a signal (run the same command again to go on)")
        }
        try chain.checkUnchanged()
        return result
    }

    /// The move that does not believe an earlier run: what it completed is replaced where it
    /// `differs`, what it began is forgotten.
    func again(differs: Bool) throws -> TargetTransaction<ImageContent> {
        var again = target
        if differs {
            (again.policy.restart, again.policy.only) = (true, target.place.existing)
        } else if try !target.isUpToDate() {
            again.policy.restart = true
        }
        return again
    }
}
