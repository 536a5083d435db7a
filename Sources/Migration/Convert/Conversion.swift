package import DiskImages
internal import ImageFormats
package import Linux
internal import Manifests
internal import Stages
internal import SystemPackage

/// One image moved to one target, resumable at every segment.
package struct Conversion: TargetMove {
    let request: ConversionRequest
    package let chain: ImageChain
    let plan: ConversionPlan
    let target: TargetTransaction<ImageContent>
    /// What is known of the base; nil looks for a manifest beside that.
    package var known: KnownDigests? = nil

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
        let backing = try request.backing?.open().layers ?? []
        let place = try TargetPlace(
            try request.place ?? FilePlace(following: request.target), called: request.target,
            sources: (chain.layers + backing).map(\.file.identity))
        plan = try ConversionPlan(request, chain, at: place)
        // What stays in the backing file is not in the target.
        let held = chain.layers.prefix(plan.overlay?.depth ?? chain.layers.count)
        target = TargetTransaction(
            place: place, content: ImageContent(job: job ?? plan.job, format: plan.format),
            access: try access ?? TargetAccess(holding: held.map { try $0.file.access() }),
            mtime: request.asBase ? chain.top.mtime : nil, policy: request.policy)
    }

    var job: ManifestJob { target.content.job }

    package var warnings: [Message] {
        chain.warnings
    }

    package func state() throws -> TargetState { try target.state() }

    package func difference() throws -> JobDifference? { try target.difference() }

    /// A backing file's proof is left out.
    package func checkStart() throws { try target.checkStart() }

    package func run(_ options: MoveOptions, tell: (String) -> Void) async throws -> MoveResult {
        guard request.policy.reread, !request.policy.restart else { return try await move(target, options) }
        let differs = try await differsFromRecord(options)
        if differs {
            tell(
                "\(request.source): is not what was recorded of it, whatever its times say: \(request.target) is made again"
            )
        }
        return try await move(again(differs: differs), options)
    }

    private func move(_ target: TargetTransaction<ImageContent>, _ options: MoveOptions) async throws
        -> MoveResult
    {
        try target.checkSegments()
        var target = target
        if request.salvages {
            if try target.lostBefore() != nil { return .upToDate }
            target.content.salvage()
        }
        // What is refused leaves no manifest behind.
        let isFirst = try target.isFirst
        if isFirst {
            try target.checkReplaceable()
            try await plan.overlay?.prove(chain, options)
        }
        switch try target.begin() {
        case .upToDate: return .upToDate
        case .named: return .named
        case .held: return .held(resumed: job.target.length)
        case .open(let target):
            if !isFirst, target.recorded == nil { try await plan.overlay?.prove(chain, options) }
            return try await write(target, options)
        }
    }

    private func write(_ target: OpenTarget<ImageContent>, _ options: MoveOptions) async throws
        -> MoveResult
    {
        // The backing file that the header names must stay what it is, too.
        let files = ImageChain(layers: chain.layers + (plan.overlay?.chain.layers ?? []))
        // Read by force while somebody writes to it, a source may change; any other must not.
        let isConsistent = job.consistent
        let sink = try target.prepare()
        if request.sharesExtents, !request.salvages { target.file.allowSharing() }
        try beginProgress(options.progress, target.finished)
        let known =
            target.file.sharesExtents ? known ?? shareableBase.flatMap(KnownDigests.init(beside:)) : nil
        let pipeline = pipeline(options, finished: target.finished, known: known)
        let checkSources = { @Sendable in
            guard isConsistent else { return }
            try files.checkUnchanged()
            if let known, let bottom = files.layers.last { try known.checkStillAbout(bottom.file) }
        }
        let segments =
            try await target.segments
            + pipeline.copy(
                to: sink, recordingIn: target.manifest, recordsChunks: request.asBase,
                checkSources: checkSources)
        try target.checkCovered(by: segments, options.stop)
        try checkSources()
        if isConsistent { try files.checkUnused() }
        options.progress.add(shared: target.file.sharedLength)
        let lost = LostSectors.merged(segments.flatMap { $0.lost ?? [] })
        let isHeld =
            request.salvages
            ? try target.commitSalvage(segments, lost: lost.isEmpty ? nil : lost)
            : try target.commit(segments)
        return isHeld
            ? .held(resumed: target.resumed)
            : .moved(resumed: target.resumed, hasChanged: try !files.isUnchanged())
    }

    /// What the target, which is there, lacks because it could not be read: "sectors 8 to 15".
    package func lost() throws -> [String] { try target.lostBefore()?.map(\.description) ?? [] }

    /// The base, of which the target may share what it is known to hold; nil where it is none, or
    /// all is read in any case.
    package var shareableBase: ImageLayer? {
        guard plan.holding == .everything(marks: false), request.shortestZeroRun > 0, request.sharesExtents,
            let bottom = chain.layers.last, bottom.isRaw, bottom.content.archived == nil
        else { return nil }
        return bottom
    }

    /// The flow that reads the chain, but for what is `finished`.
    /// `known`: of its bottom layer.
    func pipeline(
        _ options: MoveOptions, finished: [Range<UInt64>] = [], known: KnownDigests? = nil
    ) -> CopyPipeline<ChainContent> {
        var content = ChainContent(
            chain, plan.holding, segmentLength: request.segmentLength,
            shortestZeroRun: request.shortestZeroRun, finished: finished, known: known,
            progress: options.progress)
        content.salvages = request.salvages
        return CopyPipeline(content, options)
    }

    func beginProgress(_ progress: Progress, _ finished: [Range<UInt64>]) throws {
        try chain.begin(progress, named: request.source.description, plan.holding, finished: finished)
    }
}
