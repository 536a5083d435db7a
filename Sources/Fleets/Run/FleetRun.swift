internal import DiskImages
internal import Linux
internal import Manifests
package import Migration
internal import PipelineFiles
internal import Stages
internal import SystemPackage

/// A fleet moved: each base once and before its overlays, several items side by side; one that
/// fails stops no other.
package struct FleetRun: Sendable {
    package let plan: FleetPlan
    package let choice: FleetChoice
    package let options: Options

    /// What a run may do apart from what it always does.
    package struct Options: Sendable {
        /// The items whose targets are replaced although somebody has written to them, or although
        /// they are not this fleet's.
        package var forced: Set<Int> = []
        /// Overlays that stay as they are, also where their base is replaced.
        package var without: Set<Int> = []
        /// Takes a target that nothing is recorded of for this fleet's own where it is what the
        /// move would make.
        package var adopts = false
        /// Forgets every checkpoint.
        package var restart = false
        /// Believes nothing that times say of the sources.
        package var rereads = false
        /// False where the file system has no locks; then nothing else may run on the fleet.
        package var usesLocks = true
        /// Whether targets may share extents with their sources.
        package var sharesExtents = true

        package init() {}
    }

    package init(
        _ plan: FleetPlan, choice: FleetChoice = FleetChoice(), options: Options = Options()
    ) throws {
        guard choice.shard == nil || plan.spec.target.archive == nil else {
            throw MigrationError(
                .usage, "\(plan.spec.file): one archive for all is made by one process (leave \(.shard) out)")
        }
        guard !options.adopts || plan.spec.operation == .convert else {
            throw MigrationError(
                .usage, "\(plan.spec.file): only what is converted is adopted (leave \(.adopt) out)")
        }
        self.plan = plan
        self.choice = choice
        self.options = options
    }

    /// Tells the progress how much there is to do: data where somebody looks on, else only the
    /// disks' lengths, which are known already.
    package func begin(_ options: MoveOptions) async {
        let progress = options.progress
        let places = plan.places(in: choice)
        let total =
            progress.isShown
            ? await plan.outlooks(of: places, stop: options.stop).filter(\.isToDo).reduce(0) { $0 + $1.read }
            : nil
        let length = places.reduce(UInt64(0)) { $0 &+ (plan.items[$1].chain?.guestLength ?? 0) }
        var start = Progress.Snapshot(
            name: plan.spec.file.lastComponent?.string ?? "", total: total, length: length)
        start.items = places.count
        progress.begin(start)
    }

    /// Moves everything that is not up to date; returns a result for every item of the shard, in
    /// the plan's order. Throws where the system is short of something, after a last checkpoint of
    /// what is being moved. `move`'s workers are slots over all items that are moved side by side.
    package func run(_ move: MoveOptions, tell: @escaping @Sendable (FleetEvent) -> Void) async throws
        -> [FleetResult]
    {
        let places = plan.places(in: choice)
        // What may be adopted is not lost yet.
        if !options.adopts {
            for index in places where options.forced.contains(index) {
                try await tellLoss(at: index, move, tell)
            }
        }
        var queue = FleetQueue(places, plan)
        let bases = FleetBases(plan)
        let shared = SharedLayers(plan, places, keepsCache: move.keepsCache)
        var results: [FleetResult] = []
        var families = FleetFamilies(places, plan)
        // What cannot be finished is in the way of its base and of all that stands on it.
        let unfinished = try await finishFamilies(move.stop, tell)
        for (index, problem) in unfinished where !places.contains(index) {
            tell(.warned(index, "\(problem)"))
        }
        var shortage: Shortage?
        var hasDisk = true
        try await withThrowingTaskGroup(of: FleetResult.self) { group in
            var running = 0
            var most = move.workers.limit
            var alone: Set<Int> = []
            while true {
                while running < most, hasDisk, !queue.isEmpty {
                    // Fewer images side by side, where no more threads can be had.
                    let thread =
                        running == 0 ? try IOThread(named: "image") : try IOThread.ifAny(named: "image")
                    guard let thread, let next = queue.next() else { break }
                    running += 1
                    if most == 1 { alone.insert(next.index) }
                    group.addTask(executorPreference: thread) {
                        defer { thread.stop() }
                        // The first worker of an image comes before those that only help others
                        // with theirs.
                        do {
                            try await move.workers.take()
                        } catch  where error.isShortage {
                            return FleetResult(
                                index: next.index, outcome: .failed(FleetProblem(error)), written: 0,
                                seconds: 0)
                        }
                        defer { move.workers.give() }
                        if let problem = unfinished[next.index] {
                            return FleetResult(
                                index: next.index, outcome: .failed(problem), written: 0, seconds: 0)
                        }
                        move.progress.begin(item: plan.items[next.index].name)
                        let mover = FleetMover(
                            run: self, bases: bases, shared: shared, index: next.index, options: move.within,
                            tell: tell)
                        return await mover.result(base: next.base)
                    }
                }
                guard let result = try await group.next() else { break }
                running -= 1
                move.progress.endItem()
                if case .failed(let problem) = result.outcome, problem.cause.isShortage {
                    if !alone.contains(result.index) {
                        // There may be enough for it when fewer are moved side by side.
                        most = max(1, running)
                        queue.putBack(result.index)
                        continue
                    }
                    shortage = Shortage("\(plan.items[result.index].name): \(problem)")
                    break
                }
                if case .failed(let problem) = result.outcome,
                    problem.isOfDisk(under: plan.items[result.index].target)
                {
                    hasDisk = false
                }
                queue.ended(result)
                let ended = try await families.ended(result) { try await completed($0, move.stop) }
                results += ended
                for result in ended { tell(.ended(result)) }
            }
        }
        try makeNamesDurable(of: results)
        if let shortage { throw shortage }
        if !hasDisk {
            let ended = Set(results.map(\.index))
            results += places.filter { !ended.contains($0) }.map {
                FleetResult(index: $0, outcome: .notBegun, written: 0, seconds: 0)
            }
        }
        return results.sorted { $0.index < $1.index }
    }

    /// Says what will be lost, before anything is replaced.
    private func tellLoss(at index: Int, _ move: MoveOptions, _ tell: (FleetEvent) -> Void) async throws {
        let item = plan.items[index]
        guard plan.spec.operation != .verify, !item.target.isEmpty,
            try ImageFile.identity(at: item.target) != nil
        else { return }
        do {
            let state =
                try await plan.spec.operation == .pack
                ? Packing(plan.packing(at: index), move.unseen).state()
                : item.stateWithoutJob()
            if state == .altered || state == .foreign { tell(.replaces(index, state)) }
        } catch is ManifestError {
            // Its manifest cannot be read: nothing says whose it is.
            tell(.replaces(index, .foreign))
        }
    }

    /// What was found up to date may have got its name from a run that died before that was
    /// durable.
    private func makeNamesDurable(of results: [FleetResult]) throws {
        guard plan.spec.operation != .verify else { return }
        let found = results.filter { if case .upToDate = $0.outcome { true } else { false } }
        // A target may be a link: its file lies elsewhere than its neighbours.
        let folders = Set(
            try found.map { try TargetPlace.follow(plan.items[$0.index].target).removingLastComponent() })
        for folder in folders { try Folder(at: folder).synchronize() }
    }
}
