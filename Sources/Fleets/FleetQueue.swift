internal import PipelineFiles

/// Which item comes next: an overlay waits for its base.
struct FleetQueue {
    private let plan: FleetPlan
    private var ready: [(place: Int, base: FleetOutcome?)] = []
    private var waiting: [Int: [Int]] = [:]
    /// How the bases of those that began had ended.
    private var begun: [Int: FleetOutcome] = [:]

    init(_ places: [Int], _ plan: FleetPlan) {
        self.plan = plan
        for place in places {
            // What is only read needs nothing else to be there first.
            if let base = plan.items[place].base, plan.spec.operation != .verify {
                waiting[base, default: []].append(place)
            } else {
                ready.append((place, nil))
            }
        }
        ready.reverse()
    }

    var isEmpty: Bool { ready.isEmpty }

    /// One that `next` returned, to be the next again.
    mutating func putBack(_ place: Int) { ready.append((place, begun[place])) }

    /// The next item, with how its base ended.
    mutating func next() -> (place: Int, base: FleetOutcome?)? {
        let next = ready.popLast()
        if let next { begun[next.place] = next.base }
        return next
    }

    /// Lets the overlays of a base begin.
    mutating func ended(_ result: FleetResult) {
        for place in (waiting.removeValue(forKey: result.place) ?? []).reversed() {
            ready.append((place, result.outcome))
        }
    }
}
