internal import PipelineFiles

/// Which item comes next: an overlay waits for its base.
struct FleetQueue {
    private let plan: FleetPlan
    private var ready: [(index: Int, base: FleetOutcome?)] = []
    private var waiting: [Int: [Int]] = [:]
    /// How the bases of those that began had ended.
    private var begun: [Int: FleetOutcome] = [:]

    init(_ places: [Int], _ plan: FleetPlan) {
        self.plan = plan
        for index in places {
            // What is only read needs nothing else to be there first.
            if let base = plan.items[index].base, plan.spec.operation != .verify {
                waiting[base, default: []].append(index)
            } else {
                ready.append((index, nil))
            }
        }
        ready.reverse()
    }

    var isEmpty: Bool { ready.isEmpty }

    /// One that `next` returned, to be the next again.
    mutating func putBack(_ index: Int) { ready.append((index, begun[index])) }

    /// The next item, with how its base ended.
    mutating func next() -> (index: Int, base: FleetOutcome?)? {
        let next = ready.popLast()
        if let next { begun[next.index] = next.base }
        return next
    }

    /// Lets the overlays of a base begin.
    mutating func ended(_ result: FleetResult) {
        for index in (waiting.removeValue(forKey: result.index) ?? []).reversed() {
            ready.append((index, result.outcome))
        }
    }
}
