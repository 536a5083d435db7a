internal import DiskImages
internal import ImageFormats
internal import Linux
internal import Manifests
internal import Stages
package import SystemPackage

/// A target read again and held against its manifest.
package struct Verification: Sendable {
    /// What was found.
    package struct Finding: Equatable, Sendable {
        /// The first damage, or nil where the target is what was written.
        package let damage: String?
        /// What the target never had, because the archive it was salvaged from was damaged: a line
        /// each.
        package let notRestored: [String]
        /// Guest bytes whose digest was right, and the disk's length.
        package let intact: UInt64
        package let length: UInt64
    }

    private let path: FilePath
    private let job: ManifestJob
    private let completion: ManifestCompletion
    private let segments: [ManifestSegment]

    /// Of a target that is to have what `segments` say.
    init(path: FilePath, job: ManifestJob, completion: ManifestCompletion, segments: [ManifestSegment]) {
        self.path = path
        self.job = job
        self.completion = completion
        self.segments = segments
    }

    /// Reads the manifest of `path`; throws `badData` where there is none, or where it does not say
    /// that the target is complete.
    package init(of name: FilePath) throws {
        // The manifest stands beside the file itself.
        let path = try TargetPlace.follow(name)
        guard let found = try ManifestFile.read(of: path) else {
            _ = try ImageFile(opening: path)
            throw MigrationError(
                .badData, "\(path): there is no \(ManifestFile.path(of: path)) to verify it against")
        }
        try self.init(path, found, recordedIn: ManifestFile.path(of: path))
    }

    /// As above, of a target whose manifest lies elsewhere.
    package init(of name: FilePath, recordedIn manifest: FilePath) throws {
        guard let found = try ManifestFile.read(at: FilePlace(following: manifest)) else {
            throw DiskImageError.system(manifest, "cannot be opened", .noSuchFileOrDirectory, .unavailable)
        }
        try self.init(TargetPlace.follow(name), found, recordedIn: manifest)
    }

    private init(_ path: FilePath, _ found: ManifestContents, recordedIn file: FilePath) throws {
        // What stands there until a later job has made another is proven by the earlier one.
        let staged = try ImageFile.identity(at: TargetFile.partialPath(of: path))
        let manifest =
            try ImageFile.identity(at: path).flatMap { try found.proof(ofNamed: $0, staged: staged) } ?? found
        guard manifest.job != nil || manifest.failure != nil else {
            throw MigrationError(
                .badData, "\(file): records nothing of \(path) to verify it against")
        }
        guard let job = manifest.job, let completion = manifest.completion else {
            throw MigrationError(
                .badData, "\(file): the move is not complete (run it again first)")
        }
        guard manifest.covers(job.target.length),
            ManifestSegment.digest(of: manifest.segments).description == completion.digest
        else {
            throw MigrationError(
                .badData,
                "\(file): its records do not add up to its last one (the manifest is damaged)"
            )
        }
        self.path = path
        self.job = job
        self.completion = completion
        segments = manifest.segments
    }

    private var notRestored: [String] {
        guard job.options.salvaged == true else { return [] }
        let lost = (completion.lost ?? []).map {
            "\(path): \($0.description) could not be restored"
        }
        return lost.isEmpty
            ? ["\(path): was salvaged from an archive without an index that vouches for it"] : lost
    }

    /// Reads everything, in a slot of the caller and what others there are. Damage is a finding;
    /// what cannot be read is thrown.
    package func run(_ options: MoveOptions) async throws -> Finding {
        let file = try ImageFile(opening: path)
        try Journal.checkNone(of: file)
        guard file.length == completion.size else {
            return damaged("its length is \(file.length) bytes; expected \(completion.size)")
        }
        let layer: ImageLayer
        do {
            layer =
                file.identity.isBlockDevice
                // Behind the disk's end a device may have whatever it had.
                ? ImageLayer(file: file, content: RawContent(size: min(job.target.length, file.length)))
                : try ImageLayer(file, as: ImageFormat(name: job.options.layout) ?? .raw)
        } catch let error as DiskImageError where error.kind == .badData {
            return damaged("its header is damaged: \(error.fact.plain)")
        }
        if try layer.content.metadataDigest(in: file)?.description != completion.header {
            return damaged("its header is not the one that was written")
        }
        if let problem = try familyProblem(layer) ?? layer.content.backing.flatMap(strangeBacking) {
            return damaged(problem)
        }
        let chain = ImageChain(layers: [layer])
        guard chain.guestLength == job.target.length else {
            return damaged("its disk is \(chain.guestLength) bytes long; expected \(job.target.length)")
        }
        return try await compare(chain, options)
    }

    /// What is wrong with the backing file of an overlay that is whole itself: over another one it
    /// shows bytes that never were. One that is not there can show none.
    private func strangeBacking(_ backing: BackingClause) throws -> String? {
        guard let recorded = job.options.backing else { return nil }
        let place = place(of: backing.path)
        guard let found = try ImageFile.identity(at: place) else { return nil }
        if let mtime = backing.mtime, !backing.expects(found.mtime) {
            return
                "its backing file \(place) is not the one it was made for: it was modified \(found.mtime.date); expected \(Timestamp.date(Int(mtime)))"
        }
        guard recorded.layout != ImageFormat.raw.name || found.size == recorded.size else {
            return
                "its backing file \(place) is not the one it was made for: it is \(found.size) bytes long; expected \(recorded.size)"
        }
        return nil
    }

    private func place(of backing: FilePath) -> FilePath {
        backing.isAbsolute ? backing : path.removingLastComponent().pushing(backing)
    }

    /// What is wrong while the base's family takes its names: old and new ones stand side by side.
    private func familyProblem(_ layer: ImageLayer) throws -> String? {
        let base = try TargetPlace.follow(layer.backingPath.map(place) ?? path)
        guard let family = try ManifestFile.unnamedFamily(of: FilePlace(at: base)),
            try path == base || family.names(path)
        else {
            return nil
        }
        return
            "it was made anew with its family, and not all of them have their names (drover run of its pipeline goes on)"
    }

    private func compare(_ chain: ImageChain, _ options: MoveOptions) async throws -> Finding {
        let holding: CopyScope =
            job.options.depth == nil ? .everything(marks: false) : .above(depth: 1, backingLength: 0)
        let data = options.progress.isShown ? try chain.countData(holding, in: []).all : nil
        options.progress.begin(
            Progress.Snapshot(name: path.description, total: data, length: chain.guestLength))
        let tally = Locked((intact: UInt64(0), damaged: UInt64?.none))
        let pipeline = CopyPipeline(
            ChainContent(chain, holding, segmentLength: job.options.segment, progress: options.progress),
            options)
        let recorded = RecordedSegments(segments)
        try await pipeline.digest { whole in
            let mismatch = recorded.firstMismatch(whole.range, whole.outcome)
            tally.withLock {
                if let mismatch {
                    $0.damaged = min($0.damaged ?? .max, mismatch)
                } else {
                    $0.intact += whole.range.upperBound - whole.range.lowerBound
                }
            }
        }
        if options.stop.isRequested { throw MigrationError(.stopped, "\(path): stopped by a signal") }
        let (intact, first) = tally.withLock { $0 }
        guard let first else {
            guard intact == chain.guestLength else {
                throw MigrationError(.bug, "\(path): not all of it was read")
            }
            return Finding(damage: nil, notRestored: notRestored, intact: intact, length: chain.guestLength)
        }
        let end = min(first + job.options.segment, chain.guestLength)
        return damaged(
            "sectors \(first / sectorSize) to \(end / sectorSize - 1) are not what was written",
            intact: intact)
    }

    private func damaged(_ what: String, intact: UInt64 = 0) -> Finding {
        Finding(
            damage: "\(path): \(what)", notRestored: notRestored, intact: intact, length: job.target.length)
    }
}
