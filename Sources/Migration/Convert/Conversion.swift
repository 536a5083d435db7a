internal import DiskImages
internal import ImageFormats
internal import Manifests
package import Stages
internal import SystemPackage

/// One image moved to one target, resumable at every segment.
package struct Conversion {
    let request: ConversionRequest
    let chain: ImageChain
    let place: TargetPlace
    let plan: ConversionPlan
    let job: ManifestJob
    private let access: TargetAccess

    /// Opens the chain and decides everything that can be decided without writing.
    package init(_ request: ConversionRequest) throws {
        try self.init(request, chain: try ImageChain.open(request.source, request.options))
    }

    /// As above, of a chain that is open. Where its files only stand for something else, `job` is
    /// what the manifest is to say of that, and `access` who may read it.
    init(
        _ request: ConversionRequest, chain: ImageChain, job: ManifestJob? = nil, access: TargetAccess? = nil
    ) throws {
        self.request = request
        self.chain = chain
        var files = chain.layers.map(\.file.identity)
        if let backing = request.backing {
            files += try ImageChain.open(request.stagedBacking ?? backing, request.backingOptions).layers.map(
                \.file.identity)
        }
        place = try TargetPlace(
            try request.place ?? FilePlace(following: request.target), called: request.target, sources: files)
        plan = try ConversionPlan(request, chain, at: place)
        self.job = job ?? plan.job
        // What stays in the backing file is not in the target.
        let held = chain.layers.prefix(plan.overlay?.depth ?? chain.layers.count)
        self.access = try access ?? TargetAccess(holding: held.map { try $0.file.access() })
    }

    /// What a user should know although the conversion can begin.
    package var warnings: [String] {
        chain.layers.compactMap {
            $0.header?.isPastUMLLimit == true ? "\($0.path): \(CowHeader.pastUMLLimit)" : nil
        }
    }

    /// What is there already, and what it means for this very conversion.
    package func state() throws -> TargetState { try move.state() }

    var move: TargetMove {
        TargetMove(
            name: request.target, place: place, job: job, header: plan.header, access: access,
            mtime: request.asBase ? chain.top.file.identity.mtime : nil, restart: request.restart,
            replacing: ReplacementPolicy(request.target, force: request.force, only: request.replacing),
            usesLock: request.usesLock,
            naming: request.naming)
    }

    /// Throws what `run` would throw before it begins to write; nothing is changed. A backing
    /// file's proof is left out.
    package func checkStart() throws { try move.checkStart() }

    /// Does what is left to do; safe to repeat after any interruption. Throws `stopped` when `stop`
    /// was requested before the end; everything up to the last checkpoint is kept. `tell` hears
    /// what a user wants to know at once.
    package func run(progress: Progress, stop: StopFlag, tell: (String) -> Void = { _ in }) async throws
        -> ConversionResult
    {
        var move = move
        if request.reread, !request.restart {
            let differs = try await differsFromRecord(move, progress, stop)
            if differs {
                tell(
                    "\(request.source): is not what was recorded of it, whatever its times say: \(request.target) is made again"
                )
            }
            move = try again(move, differs: differs)
        }
        // The backing file that the header names must stay what it is, too.
        let files = ImageChain(layers: chain.layers + (plan.overlay.map { [$0.backing] } ?? []))
        // Read by force while somebody writes to it, a source may change; any other must not.
        let checkSources = { @Sendable [files, job] in if job.consistent { try files.checkUnchanged() } }
        let result = try await move.run(
            prepare: { try plan.overlay?.prove(chain, stop: stop) },
            write: { sink, manifest, finished in
                try beginProgress(progress, finished)
                return try await pipeline(progress, stop).convert(
                    to: sink, recordingIn: manifest, leavingOut: finished, checkSources: checkSources)
            },
            stop: stop,
            finish: {
                try checkSources()
                if job.consistent { try files.checkUnused() }
            })
        switch result {
        case .upToDate: return .upToDate
        case .named: return .named
        case .held(let resumed): return .held(resumed: resumed)
        case .moved(let resumed): return .converted(resumed: resumed, hasChanged: try !files.isUnchanged())
        }
    }

    /// The flow that reads the chain.
    func pipeline(_ progress: Progress, _ stop: StopFlag) -> CopyPipeline {
        CopyPipeline(
            chain: chain, holding: plan.holding, segmentLength: request.segmentLength,
            shortestZeroRun: request.shortestZeroRun,
            workers: request.workers, rate: request.rate, progress: progress, stop: stop)
    }

    func beginProgress(_ progress: Progress, _ finished: [Range<UInt64>]) throws {
        let data = progress.isShown ? try chain.countData(plan.holding, in: finished) : nil
        let covered = finished.reduce(0) { $0 + ($1.upperBound - $1.lowerBound) }
        progress.begin(
            Progress.Snapshot(
                name: request.source.description, total: data?.all, done: data?.within ?? 0,
                resumed: data?.within ?? 0,
                length: chain.guestLength,
                covered: covered))
    }
}
