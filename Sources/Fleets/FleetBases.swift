internal import DiskImages
internal import Linux
internal import Migration
internal import PipelineFiles
internal import SystemPackage

/// What the bases of a run hold, each read at most once, whoever asks first.
actor FleetBases {
    private let plan: FleetPlan
    /// How many images of the fleet stand on each base.
    private var users: [FileID: Int] = [:]
    private var known: [FileID: Task<KnownDigests?, any Error>] = [:]

    init(_ plan: FleetPlan) {
        self.plan = plan
        for item in plan.items {
            if let bottom = item.chain?.bottom { users[FileID(bottom.identity), default: 0] += 1 }
        }
    }

    /// What `base`, which several images may share, is known to hold; nil where nothing is, or no
    /// other image shares it.
    func digests(of base: ImageLayer, segmentLength: UInt64, _ options: MoveOptions) async throws
        -> KnownDigests?
    {
        let id = FileID(base.file.identity)
        guard users[id, default: 0] > 1 else { return nil }
        if let task = known[id] { return try await task.value }
        let place = try FilePlace(at: plan.spec.target.directory.pushing(name(of: base)))
        let task = Task {
            try await BaseRecord.digests(of: base, at: place, segmentLength: segmentLength, options)
        }
        known[id] = task
        return try await task.value
    }

    /// The record's name in the fleet's folder: hidden, and another one for every base.
    private func name(of base: ImageLayer) -> FilePath {
        let path = ContentDigest(of: Array(base.path.absolute.string.utf8)).description.prefix(8)
        return FilePath(".base-\(base.file.identity.inode)-\(path).digests")
    }
}
