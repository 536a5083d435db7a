internal import ArgumentParser
internal import DiskImages
internal import Fleets
internal import Migration
internal import PipelineFiles
internal import SystemPackage

/// `drover plan`: what a run would do.
struct Plan: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plan",
        abstract: "Say what a run of a pipeline would do.",
        discussion: """
            Prints every target with its chain, the size of its disk, the data that would be read, and what is up to date or in the way; then the \
            totals, the room there is, and which bases are shared. Nothing is written and no data is read. Ends with 1 where something is wrong.

            Environment: SLURM_ARRAY_TASK_ID, with _MIN, _STEP and _COUNT: which part of the fleet a task of a Slurm array is to do.

            For example: drover plan fleet.yaml
            """)

    @OptionGroup var outputOptions: OutputOptions
    @OptionGroup var verbosity: VerbosityOptions
    @OptionGroup var fleet: FleetOptions

    func run() async throws {
        OpenFiles.allowMany()
        let plan = try fleet.plan(makes: true)
        let places = plan.places(in: try fleet.choice(of: plan))
        let outlooks = try await fleet.outlooks(of: places, in: plan)
        let summary = try PlanSummary(plan, outlooks)
        var output = Output()
        switch outputOptions.output {
        case .human:
            for line in lines(plan, outlooks) where !verbosity.isQuiet { try output.line(line) }
            for line in summary.lines { try output.line(line) }
            if let parent = plan.spec.target.parent {
                let name = ErrorLine.escaped(plan.spec.shown(parent))
                try output.line("stands on \(name): what changed since is stored")
            }
        case .json: try output.json(PlanReport(plan, outlooks, summary))
        }
        try output.finish()
        for outlook in outlooks {
            if let problem = outlook.problem {
                StandardError.line("\(plan.items[outlook.index].name): \(problem)")
            }
        }
        if summary.lacksRoom {
            StandardError.line(
                "\(plan.spec.target.directory): there is not room for all of it (make room, or run it part by part: drover run PIPELINE NAME...)"
            )
        }
        if summary.lacksRoom || outlooks.contains(where: { $0.problem != nil }) { throw ExitCode.differs }
    }

    private func lines(_ plan: FleetPlan, _ outlooks: [FleetOutlook]) -> [String] {
        var table = TextTable([
            ("ROLE", .left), ("NAME", .left), ("CHAIN", .right), ("DISK", .right), ("TO READ", .right),
            ("STATE", .left),
        ])
        for outlook in outlooks {
            let item = plan.items[outlook.index]
            table.add([
                item.role.rawValue, item.name, item.chain.map { "\($0.layers.count)" } ?? "-",
                item.chain.map { HumanText.size($0.guestLength) } ?? "-",
                outlook.isToDo ? HumanText.size(outlook.read) : "-",
                FleetWords.state(of: outlook),
            ])
        }
        return table.lines
    }
}

/// The figures under a plan.
struct PlanSummary {
    let items: Int
    let bases: Int
    let upToDate: Int
    let toDo: Int
    /// Whole, and without their names until their families are.
    let held: Int
    let leftAlone: Int
    let wrong: Int
    /// Bytes.
    let toRead: UInt64
    let toWrite: UInt64
    /// Bytes that are free where the targets go; nil where there is no such place yet.
    let free: UInt64?
    /// Whether that is too little. What is packed gets smaller, and what can be shared takes none:
    /// of these nobody knows beforehand.
    let lacksRoom: Bool
    /// Bases and how many images of the plan stand on each.
    let shared: [(name: String, images: Int)]

    init(_ plan: FleetPlan, _ outlooks: [FleetOutlook]) throws {
        items = outlooks.count
        bases = outlooks.count { plan.items[$0.index].role == .base }
        upToDate = outlooks.count { $0.state == .upToDate && !$0.isNaming }
        toDo = outlooks.count { $0.isToDo }
        held = outlooks.count { $0.problem == nil && ($0.state == .held || $0.isNaming) }
        leftAlone = outlooks.count { $0.problem == nil && ($0.state == .altered || $0.state == .inUse) }
        wrong = outlooks.count { $0.problem != nil }
        toRead = outlooks.reduce(0) { $0 + $1.read }
        toWrite = plan.spec.operation == .verify ? 0 : toRead
        let free = try FileSystem.freeBytes(at: plan.spec.target.directory)
        self.free = free
        let isShort = if let free { free < toWrite } else { false }
        lacksRoom = try isShort && plan.spec.operation == .convert && !plan.canShare(outlooks.map(\.index))
        var users: [Int: Int] = [:]
        for outlook in outlooks {
            if let base = plan.items[outlook.index].base { users[base, default: 0] += 1 }
        }
        shared = users.filter { $0.value > 1 }.sorted { $0.key < $1.key }.map {
            (plan.items[$0.key].name, $0.value)
        }
    }

    var lines: [String] {
        let counts = [
            (upToDate, "up to date"), (toDo, "to do"), (held, "made and to be named"),
            (leftAlone, "left alone"), (wrong, "wrong"),
        ]
        let parts = counts.filter { $0.0 > 0 }.map { "\($0.0) \($0.1)" }.joined(separator: ", ")
        let ofBases = bases > 0 ? ", \(bases) of them \(bases == 1 ? "a base" : "bases")" : ""
        let room = free.map { "; free: \(HumanText.size($0))" } ?? ""
        return ["\(HumanText.count(items, "target"))\(ofBases): \(parts.isEmpty ? "nothing" : parts)"]
            + ["to read: \(HumanText.size(toRead)); to write: at most \(HumanText.size(toWrite))\(room)"]
            + (free.map { $0 < toWrite } == true ? ["there may not be room for all of it"] : [])
            + shared.map { ErrorLine.escaped("shared: \($0.name), by \($0.images) images") }
    }
}
