internal import DiskImages
internal import Manifests
internal import Stages
internal import SystemPackage

/// `--reread`: nothing that times say of the sources is believed.
extension Conversion {
    /// Whether the target is there as it was completed, of this very job, but its sources hold
    /// something else than the record says: read to the end.
    func differsFromRecord(_ move: TargetMove, _ progress: Progress, _ stop: StopFlag) async throws -> Bool {
        guard try move.isUpToDate(), let manifest = try ManifestFile.read(of: move.place.path) else {
            return false
        }
        try beginProgress(progress, [])
        return try await readSources(progress, stop) {
            try await $0.firstMismatch(with: RecordedSegments(manifest.segments))
        } != nil
    }

    /// Lets `read` read all that the target would be made of. Throws `stopped` where `stop` was
    /// requested before the end, `badData` where a source changed.
    func readSources<Result>(
        _ progress: Progress, _ stop: StopFlag, _ read: (CopyPipeline) async throws -> Result
    ) async throws -> Result {
        let result = try await read(pipeline(progress, stop))
        guard !stop.isRequested else {
            throw MigrationError(
                .stopped, "\(request.target): stopped by a signal (run the same command again to go on)")
        }
        try chain.checkUnchanged()
        return result
    }

    /// The move that does not believe an earlier run: what it completed is replaced where it
    /// `differs`, what it began is forgotten.
    func again(_ move: TargetMove, differs: Bool) throws -> TargetMove {
        var move = move
        if differs {
            move.restart = true
            move.replacing = ReplacementPolicy(
                request.target, force: request.force, only: move.place.existing)
        } else if try !move.isUpToDate() {
            move.restart = true
        }
        return move
    }
}
