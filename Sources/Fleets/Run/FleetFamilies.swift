internal import DiskImages
internal import Linux
internal import Manifests
internal import PipelineFiles
internal import Stages
internal import SystemPackage

/// The families of a run: what is whole waits here until the last of its family in this run has
/// ended.
struct FleetFamilies {
    /// A base's place with the results of those that wait.
    struct Ready {
        let base: Int
        let staged: [FleetResult]
    }

    private let plan: FleetPlan
    /// Items of the run that have not ended, by their base's place.
    private var left: [Int: Int] = [:]
    private var staged: [Int: [FleetResult]] = [:]

    init(_ places: [Int], _ plan: FleetPlan) {
        self.plan = plan
        for index in places { left[base(of: index), default: 0] += 1 }
    }

    private func base(of index: Int) -> Int { plan.items[index].base ?? index }

    /// Takes a result; returns what has ended for good: it, or with the last one all of the family,
    /// as `complete` has it.
    mutating func ended(_ result: FleetResult, complete: (Ready) async throws -> [FleetResult]) async throws
        -> [FleetResult]
    {
        let base = base(of: result.index)
        left[base, default: 1] -= 1
        var ended = [result]
        if case .staged = result.outcome {
            staged[base, default: []].append(result)
            ended = []
        }
        guard left[base] == 0, let waiting = staged.removeValue(forKey: base) else { return ended }
        return ended + (try await complete(Ready(base: base, staged: waiting)))
    }
}

extension FleetRun {
    /// The results of a family's members, after an attempt to name them: all at once, or none.
    func completed(_ ready: FleetFamilies.Ready, _ stop: StopFlag) async throws -> [FleetResult] {
        let family = FleetFamily(run: self, base: ready.base)
        do {
            let staged = ready.staged.map(\.index).filter { $0 != ready.base }
            let verdict = try await whenFree(stop) { try family.complete(staged: staged) }
            return ready.staged.map { result in
                switch (verdict, result.outcome) {
                case (.named, .staged(let resumed)): result.ending(.done(resumed: resumed))
                case (.waits(let reason, let isHeldUp), _): result.ending(.waits(reason, isHeldUp: isHeldUp))
                case (nil, _): result.ending(.stopped)
                case (.named, _): result
                }
            }
        } catch {
            return ready.staged.map { $0.ending(.failed(FleetProblem(error))) }
        }
    }

    /// Finishes what earlier runs began to name; returns what is in the way, by the base's place.
    func finishFamilies(_ stop: StopFlag, _ tell: (FleetEvent) -> Void) async throws -> [Int: FleetProblem] {
        guard plan.spec.operation == .convert else { return [:] }
        var problems: [Int: FleetProblem] = [:]
        for index in plan.items.indices
        where plan.items[index].role == .base && !plan.items[index].target.isEmpty {
            do {
                guard let target = try plan.place(of: index, makes: false),
                    try ManifestFile.unnamedFamily(of: target) != nil
                else {
                    continue
                }
                _ = try await whenFree(stop) { try FleetFamily(run: self, base: index).finish(tell) }
            } catch {
                problems[index] = FleetProblem(error)
            }
        }
        return problems
    }

    /// Tries again while another process works on it; nil where a request to stop came first.
    private func whenFree<T>(_ stop: StopFlag, _ action: () throws -> T) async throws -> T? {
        while true {
            do {
                return try action()
            } catch let error as DiskImageError where error.kind == .locked {
                if stop.isRequested { return nil }
                try IOThread.pause(.milliseconds(200))
            }
        }
    }
}

extension FleetResult {
    /// The same with another end.
    fileprivate func ending(_ outcome: FleetOutcome) -> FleetResult {
        FleetResult(index: index, outcome: outcome, written: written, seconds: seconds)
    }
}
