internal import ArgumentParser
internal import DiskImages
internal import Fleets
internal import Linux
internal import Migration
internal import PipelineFiles
internal import Stages
internal import SystemPackage

/// `drover run`: a whole fleet, each base once and first.
struct Run: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run",
        abstract: "Move the fleet of a pipeline.",
        discussion: """
            A pipeline file says at least what the fleet is and where it goes: "sources: [guests/*.cow]" and "target: {directory: migrated}" are \
            one in two lines. All its keys are in Documentation/pipelines.md, installed in share/doc/drover.

            Converts, packs or verifies what the pipeline file names: each shared base once and first, several images at a time. One image that \
            fails stops no other. Run the same command again, and only what is missing, failed or changed since is done. Ends with 75 where a \
            signal came before the end, else with 1 where an image failed.

            With names, only these images are moved, and the bases they need; --force is about these alone then. A whole fleet's altered targets are \
            replaced where that is said in so many words: --force=altered.

            Environment: SLURM_ARRAY_TASK_ID, with _MIN, _STEP and _COUNT: which part of the fleet a task of a Slurm array is to do.

            Environment: MAKEFLAGS, where make names the jobserver that limits the workers, and where -n has Drover say what it would do.

            For example: drover run fleet.yaml
            """)

    @Flag(
        help: ArgumentHelp(
            "Replace the targets of the images that are named although somebody has written to them, or although they are no targets of this pipeline."
        ))
    var force = false
    @Flag(help: "The same of all images that are meant; also written --force=altered.") var forceAltered =
        false
    @Flag(
        help:
            "Take a target that nothing is recorded of for the pipeline's own where it is what the move would make: it is read and compared."
    )
    var adopt = false
    @Option(
        help: ArgumentHelp(
            "Leave this overlay as it is (repeatable), also where its base is replaced: it fits no longer then.",
            valueName: "name"),
        transform: FilePath.init(argument:))
    var without: [FilePath] = []
    @Flag(help: "Forget every checkpoint and begin what is not complete again.") var restart = false
    @Flag(
        help:
            "Trust no times: read again what is complete, and make it again where a source differs from the record."
    ) var reread = false
    @Option(
        help: ArgumentHelp(
            "How many workers move data, over all images, at most 16 (default: the pipeline file's jobs, else as for convert).",
            valueName: "n"))
    var jobs: Int?
    @Option(help: ArgumentHelp("Read at most so many bytes a second, over all images.", valueName: "bytes"))
    var rate: ByteSize?
    @Flag(help: "Go on where the file system has no locks; nothing else may run on the fleet then.")
    var noLock = false
    @Flag(help: "Only say what would be done, as plan does.") var dryRun = false
    @Flag(help: CopyOptions.noReflinkHelp) var noReflink = false
    @OptionGroup var outputOptions: OutputOptions
    @OptionGroup var cacheOptions: CacheOptions
    @OptionGroup var progressOptions: ProgressOptions
    @OptionGroup var verbosity: VerbosityOptions
    @OptionGroup var fleet: FleetOptions

    func validate() throws {
        try CopyOptions.validate(rate: rate, jobs: jobs)
        guard !force || !fleet.names.isEmpty else {
            throw ValidationError(
                "--force needs the names of the images whose targets it replaces (drover run PIPELINE NAME --force; --force=altered replaces all that "
                    + "were altered or are not the pipeline's)")
        }
    }

    /// `arguments` with `--force=altered` as the parser has it: to it, a flag has no value.
    static func spelled(_ arguments: [String]) -> [String] {
        guard arguments.first == configuration.commandName else { return arguments }
        let end = arguments.firstIndex(of: "--") ?? arguments.endIndex
        return arguments[..<end].map { $0 == "--force=altered" ? "--force-altered" : $0 } + arguments[end...]
    }

    func run() async throws {
        if MakeInvocation.isDryRun { return try await sayCommands() }
        if dryRun {
            var plan = Plan()
            (plan.outputOptions, plan.verbosity, plan.fleet) = (outputOptions, verbosity, fleet)
            return try await plan.run()
        }
        // A signal that comes while the fleet is looked at asks to stop, too.
        _ = SignalWatch.stopFlag()
        OpenFiles.allowMany()
        let plan = try fleet.plan(makes: true)
        let choice = try fleet.choice(of: plan)
        let metrics = try RunMetrics(of: plan.spec, choice.shard)
        var results: [FleetResult] = []
        var code = ExitCode.success
        defer { afterwards(code, plan, results, metrics) }
        do {
            try await move(plan, choice, metrics, &results)
        } catch {
            code = (error as? ExitCode) ?? ExitCode(for: error)
            throw error
        }
    }

    /// Tells those who are to hear how the run ended; nothing of it changes that.
    private func afterwards(
        _ code: ExitCode, _ plan: FleetPlan, _ results: [FleetResult], _ metrics: RunMetrics?
    ) {
        let report = RunReport(plan, results, code: code.rawValue)
        do {
            try metrics?.write(
                ended: code.rawValue, counts: report.totals, read: results.reduce(0) { $0 &+ $1.written })
        } catch {
            verbosity.warn(ErrorLine.text(of: error))
        }
        let hooks = RunHooks(hooks: plan.spec.hooks, verbosity: verbosity)
        hooks.run(code.rawValue, (try? Output.document(report)) ?? "{}")
    }

    private func move(
        _ plan: FleetPlan, _ choice: FleetChoice, _ metrics: RunMetrics?, _ results: inout [FleetResult]
    ) async throws {
        let session = try await Session(
            progressOptions, verbosity, jobs: jobs ?? plan.spec.jobs,
            rate: rate ?? plan.spec.rate.map(ByteSize.init), isOneJob: false,
            keepsCache: cacheOptions.keepCache)
        let fleetRun = try FleetRun(plan, choice: choice, options: try options(choice, plan))
        await fleetRun.begin(session.options)
        // Where no thread can be had for it, there are figures at the end alone.
        let ticker = try? metrics.map { metrics in
            try Ticker(every: .seconds(60)) { try? metrics.write(running: session.options.progress.snapshot) }
        }
        defer { ticker?.stop() }
        let isShown = !verbosity.isQuiet && outputOptions.output == .human
        results = try await session.during { [verbosity] options in
            try await fleetRun.run(options) { event in
                if isShown, let line = Run.notice(of: event, plan) { StandardOutput.line(line) }
                Run.tell(event, plan, verbosity)
            }
        }
        var output = Output()
        switch outputOptions.output {
        case .human:
            for line in RunReport.lines(plan, results, isQuiet: verbosity.isQuiet) { try output.line(line) }
        case .json: try output.json(RunReport(plan, results))
        }
        try output.finish()
        let notBegun = results.count { if case .notBegun = $0.outcome { true } else { false } }
        if notBegun > 0 {
            StandardError.line(
                "\(fleet.pipeline): \(HumanText.count(notBegun, "target")) not begun: the disk that they go to failed or is full (run the same command again when it works)"
            )
        }
        // First, because whoever starts it again will hear of the failed ones at the end.
        if results.contains(where: { if case .stopped = $0.outcome { true } else { false } }) {
            throw MigrationError(
                .stopped, "\(fleet.pipeline): stopped by a signal (run the same command again to go on)")
        }
        let waits = results.compactMap {
            if case .waits(_, let isHeldUp) = $0.outcome { isHeldUp } else { nil }
        }
        if waits.contains(true)
            || results.contains(where: { if case .failed = $0.outcome { true } else { false } })
        {
            throw ExitCode.differs
        }
        if !waits.isEmpty {
            throw MigrationError(
                .stopped,
                "\(fleet.pipeline): \(HumanText.count(waits.count, "target")) made that wait for others of their family (run these too)"
            )
        }
    }

    private func options(_ choice: FleetChoice, _ plan: FleetPlan) throws -> FleetRun.Options {
        var options = FleetRun.Options()
        // A base that is not named is not replaced for the sake of an image that is.
        if force || forceAltered { options.forced = choice.named ?? Set(plan.items.indices) }
        options.without = try plan.places(named: without) ?? []
        options.sharesExtents = !noReflink
        (options.adopts, options.restart, options.rereads, options.usesLocks) = (
            adopt, restart, reread, !noLock
        )
        return options
    }

    /// Under `make -n`: what is to be done, a line for each.
    private func sayCommands() async throws {
        OpenFiles.allowMany()
        let plan = try fleet.plan(makes: true)
        let choice = try fleet.choice(of: plan)
        _ = try FleetRun(plan, choice: choice)
        let outlooks = try await fleet.outlooks(of: plan.places(in: choice), in: plan)
        for outlook in outlooks {
            let item = plan.items[outlook.index]
            if let problem = outlook.problem { StandardError.line("\(item.name): \(problem)") }
            if outlook.isToDo {
                try await DryRun.say("\(plan.spec.operation.rawValue) \(item.name) to \(item.target)") {}
            }
        }
        if outlooks.contains(where: { $0.problem != nil }) { throw ExitCode.differs }
    }

    /// What a user wants to know at once of ordinary work; nil where that is nothing.
    private static func notice(of event: FleetEvent, _ plan: FleetPlan) -> String? {
        func name(_ index: Int) -> String { plan.items[index].name }
        switch event {
        case .waiting(let index): return "\(name(index)): waits for another drover that works on it"
        case .beganAnew(let index, let reason): return "\(name(index)): begins anew: \(reason)"
        case .namesFamily(let index):
            return "\(name(index)): gives it and its family the names that an earlier run left out"
        case .began, .replaces, .warned, .ended: return nil
        }
    }

    /// A line on standard error for what is wrong or will be lost, and with `-v` for everything.
    private static func tell(_ event: FleetEvent, _ plan: FleetPlan, _ verbosity: VerbosityOptions) {
        func name(_ index: Int) -> String { plan.items[index].name }
        switch event {
        case .began(let index): verbosity.tell("\(name(index)): begins")
        case .waiting, .beganAnew, .namesFamily: break
        case .replaces(let index, let state):
            let fact =
                state == .altered
                ? "was written to since it was completed" : "was not made by this move, or of another source"
            verbosity.warn(
                "\(name(index)): \(plan.items[index].target) \(fact), and will be replaced: what is in it will be lost (--force)"
            )
        case .warned(let index, let text): verbosity.warn("\(name(index)): \(text)")
        case .ended(let result):
            switch result.outcome {
            case .failed(let problem): StandardError.line("\(name(result.index)): \(problem)")
            case .waits(let reason, _):
                StandardError.line(
                    "\(name(result.index)): is made anew, and waits for \(reason) before it takes its name")
            case .leftAlone(let reason):
                // Somebody has to look at it.
                if !verbosity.isQuiet { StandardError.line("\(name(result.index)): \(reason)") }
            case .upToDate, .done, .staged, .adopted, .stopped, .notBegun:
                verbosity.tell("\(name(result.index)): \(FleetWords.outcome(result.outcome).text)")
            }
        }
    }
}
