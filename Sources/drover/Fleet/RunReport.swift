internal import Fleets
internal import Migration
internal import PipelineFiles
internal import SystemPackage

/// How a fleet run ended: `run --output json`, and the table for people.
struct RunReport: Encodable {
    struct Item: Encodable {
        let role: String
        let name: String
        let target: String
        let outcome: String
        let bytesWritten: UInt64
        let seconds: Double
        let reason: String?
    }

    let pipeline: String
    let items: [Item]
    let totals: [String: Int]
    /// What the run ended with, for its hooks.
    let exitCode: Int32?

    init(_ plan: FleetPlan, _ results: [FleetResult], code: Int32? = nil) {
        exitCode = code
        pipeline = plan.spec.file.description
        items = results.map { result in
            let item = plan.items[result.index]
            var reason: String?
            switch result.outcome {
            case .failed(let problem): reason = problem.description
            case .leftAlone(let text): reason = text
            case .waits(let text, _): reason = "waits for \(text)"
            case .upToDate, .done, .staged, .adopted, .stopped, .notBegun: break
            }
            return Item(
                role: item.role.rawValue, name: item.name, target: item.target.description,
                outcome: FleetWords.outcome(result.outcome).key, bytesWritten: result.written,
                seconds: (result.seconds * 1000).rounded() / 1000, reason: reason)
        }
        totals = RunReport.counts(results)
    }

    /// The table, without what was up to date, and a line of counts; reasons were said when they
    /// came up. Nothing where nothing but errors is wanted.
    static func lines(_ plan: FleetPlan, _ results: [FleetResult], isQuiet: Bool) -> [String] {
        var table = TextTable([
            ("ROLE", .left), ("NAME", .left), ("WRITTEN", .right), ("SECONDS", .right), ("OUTCOME", .left),
        ])
        let shown = results.filter {
            switch $0.outcome {
            case .upToDate, .notBegun: false
            default: true
            }
        }
        for result in shown {
            let item = plan.items[result.index]
            table.add([
                item.role.rawValue, item.name, HumanText.size(result.written),
                HumanText.hundredths(result.seconds),
                FleetWords.outcome(result.outcome).text,
            ])
        }
        let counts = counts(results)
        let order = ["done", "adopted", "up-to-date", "held", "left-alone", "failed", "not-begun", "stopped"]
        let words = order.compactMap { key in counts[key].map { "\($0) \(key.replacing("-", with: " "))" } }
        let total =
            "\(HumanText.count(results.count, "target")): \(words.isEmpty ? "nothing" : words.joined(separator: ", "))"
        return isQuiet ? [] : (shown.isEmpty ? [] : table.lines) + [total]
    }

    private static func counts(_ results: [FleetResult]) -> [String: Int] {
        results.reduce(into: [:]) { $0[FleetWords.outcome($1.outcome).key, default: 0] += 1 }
    }
}
