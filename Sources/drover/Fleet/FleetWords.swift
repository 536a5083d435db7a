internal import Fleets
internal import Migration

/// The states of a fleet's items in words, the same in every command.
enum FleetWords {
    /// What a plan's table says.
    static func state(of outlook: FleetOutlook) -> String {
        let change = (outlook.change ?? .unknown).change
        if outlook.problem != nil { return "wrong" }
        if outlook.isNaming { return "to get its name: its family is whole" }
        switch outlook.state {
        case .absent: return "to do"
        case .upToDate: return "up to date"
        case .unfinished: return "to go on with"
        case .held: return "made: waits for its family"
        case .outdated: return "to begin anew: \(change) since it was interrupted"
        case .stale: return "to do again: \(change)"
        case .altered: return "left alone: altered since it was completed"
        case .inUse: return "left alone: in use"
        case .foreign, nil: return "wrong"
        }
    }

    /// The same as a key for programs.
    static func key(of outlook: FleetOutlook) -> String {
        if outlook.problem != nil { return "wrong" }
        if outlook.isNaming { return "to-name" }
        switch outlook.state {
        case .absent: return "to-do"
        case .upToDate: return "up-to-date"
        case .unfinished: return "unfinished"
        case .held: return "held"
        case .outdated: return "outdated"
        case .stale: return "stale"
        case .altered: return "altered"
        case .inUse: return "in-use"
        case .foreign, nil: return "wrong"
        }
    }

    /// What a status table says, and its key for programs.
    static func state(of status: FleetStatus) -> (text: String, key: String) {
        let percent = status.fraction.map { " \(Int($0 * 100)) %" } ?? ""
        switch status.state {
        case .done(isAltered: false): return ("done", "done")
        case .done(isAltered: true): return ("done, altered since", "altered")
        case .running(let rate):
            return (
                "running\(percent)\(rate.map { "  \(HumanText.size(UInt64(min(max($0, 0), 1e15))))/s" } ?? "")",
                "running"
            )
        case .held(isNaming: false): return ("made, waits for its family", "held")
        case .held(isNaming: true): return ("made, to get its name: its family is whole", "to-name")
        case .interrupted: return ("interrupted\(percent)", "interrupted")
        case .failed(let reason): return ("failed: \(reason)", "failed")
        case .waiting: return ("waiting", "waiting")
        }
    }

    /// How an item of a run ended, and its key for programs.
    static func outcome(_ outcome: FleetOutcome) -> (text: String, key: String) {
        switch outcome {
        case .upToDate: ("up to date", "up-to-date")
        case .done(let resumed): (resumed > 0 ? "done, resumed" : "done", "done")
        case .staged: ("made", "held")
        case .waits: ("made, waits", "held")
        case .adopted: ("adopted", "adopted")
        case .leftAlone: ("left alone", "left-alone")
        case .failed: ("failed", "failed")
        case .stopped: ("stopped", "stopped")
        case .notBegun: ("not begun", "not-begun")
        }
    }
}
