internal import DiskImages
internal import Linux
internal import Migration
internal import PipelineFiles
internal import SystemPackage

/// What the bases of a run hold, each read at most once, whoever asks first. That one does the
/// work, on its own thread; whoever asks meanwhile waits.
final class FleetBases: Sendable {
    private enum State {
        case making([CheckedContinuation<Void, Never>])
        case known(KnownDigests?)
    }

    private let plan: FleetPlan
    /// How many images of the fleet stand on each base.
    private let users: [FileID: Int]
    private let states = Locked([FileID: State]())

    init(_ plan: FleetPlan) {
        self.plan = plan
        users = Dictionary(
            plan.items.compactMap { $0.chain.map { (FileID($0.bottom.identity), 1) } },
            uniquingKeysWith: +)
    }

    /// What `base`, which several images may share, is known to hold; nil where nothing is, or no
    /// other image shares it. Throws `stopped` alone: whatever else is in the way is in the way of
    /// reading the base, too, and is said there.
    func digests(of base: ImageLayer, segmentLength: UInt64, _ options: MoveOptions) async throws
        -> KnownDigests?
    {
        let id = FileID(base.file.identity)
        guard users[id, default: 0] > 1 else { return nil }
        switch await next(id) {
        case .known(let known)?: return known
        case .making?, nil: break
        }
        var found: KnownDigests?
        defer { finish(id, .known(found)) }
        do {
            let place = try FilePlace(at: plan.spec.target.directory.pushing(name(of: base)))
            found = try await BaseRecord.digests(of: base, at: place, segmentLength: segmentLength, options)
        } catch let error as MigrationError where error.kind == .stopped {
            throw error
        } catch {
            return nil
        }
        return found
    }

    /// What is known, after waiting for whoever finds it out; nil where the caller is to do that.
    private func next(_ id: FileID) async -> State? {
        while true {
            let state = states.withLock { states in
                let state = states[id]
                if state == nil { states[id] = .making([]) }
                return state
            }
            switch state {
            case nil, .known: return state
            case .making:
                await withCheckedContinuation { continuation in
                    let isOver = states.withLock { states in
                        guard case .making(let waiting) = states[id] else { return true }
                        states[id] = .making(waiting + [continuation])
                        return false
                    }
                    if isOver { continuation.resume() }
                }
            }
        }
    }

    private func finish(_ id: FileID, _ state: State) {
        let before = states.withLock { states in
            defer { states[id] = state }
            return states[id]
        }
        if case .making(let waiting) = before { for continuation in waiting { continuation.resume() } }
    }

    /// The record's name in the fleet's folder: hidden, and another one for every base.
    private func name(of base: ImageLayer) -> FilePath {
        let path = ContentDigest(of: Array(base.path.absolute.string.utf8)).description.prefix(8)
        return FilePath(".base-\(base.file.identity.inode)-\(path).digests")
    }
}
