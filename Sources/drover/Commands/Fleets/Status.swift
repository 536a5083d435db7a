internal import ArgumentParser
internal import Fleets
internal import Migration
internal import PipelineFiles
internal import SystemPackage

/// `drover status`: how far a fleet is, from its manifests.
struct Status: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Say how far a pipeline's fleet is.",
        discussion: """
            Reads the manifests beside the targets and nothing else of them, also while a run goes on, here or on another machine: what is done, \
            running (with percent and rate), interrupted, failed (with the reason) and waiting.

            Environment: SLURM_ARRAY_TASK_ID, with _MIN, _STEP and _COUNT: which part of the fleet a task of a Slurm array is to do.

            For example: drover status fleet.yaml
            """)

    @OptionGroup var outputOptions: OutputOptions
    @OptionGroup var verbosity: VerbosityOptions
    @OptionGroup var fleet: FleetOptions

    private struct Report: Encodable {
        struct Item: Encodable {
            let role: String
            let name: String
            let target: String
            let state: String
            let percent: Double?
            let bytesPerSecond: UInt64?
            let reason: String?
        }

        let pipeline: String
        let items: [Item]
        let totals: [String: Int]
    }

    func run() throws {
        let plan = try fleet.plan(looks: true)
        let statuses = plan.places(in: try fleet.choice(of: plan)).map { plan.status(of: $0) }
        let counts = statuses.reduce(into: [:]) { $0[FleetWords.state(of: $1).key, default: 0] += 1 }
        var output = Output()
        switch outputOptions.output {
        case .human:
            var table = TextTable([("ROLE", .left), ("NAME", .left), ("STATE", .left)])
            for status in statuses {
                let item = plan.items[status.index]
                table.add([item.role.rawValue, item.name, FleetWords.state(of: status).text])
            }
            for line in table.lines where !verbosity.isQuiet { try output.line(line) }
            let order = ["done", "altered", "running", "held", "to-name", "interrupted", "failed", "waiting"]
            let words = order.compactMap { key in counts[key].map { "\($0) \(key)" } }
            let orphans = statuses.count { plan.items[$0.index].role == .orphan }
            let gone = orphans > 0 ? " (\(HumanText.count(orphans, "orphan")): the sources are gone)" : ""
            try output.line(
                "\(HumanText.count(statuses.count, "target")): \(words.joined(separator: ", "))\(gone)")
        case .json:
            let items = statuses.map { status in
                let item = plan.items[status.index]
                var rate: UInt64?
                if case .running(let bytes?) = status.state { rate = UInt64(min(max(bytes, 0), 1e15)) }
                var reason: String?
                if case .failed(let text) = status.state { reason = text }
                return Report.Item(
                    role: item.role.rawValue, name: item.name, target: item.target.description,
                    state: FleetWords.state(of: status).key,
                    percent: status.fraction.map { ($0 * 1000).rounded() / 10 }, bytesPerSecond: rate,
                    reason: reason)
            }
            try output.json(Report(pipeline: plan.spec.file.description, items: items, totals: counts))
        }
        try output.finish()
    }
}
