internal import ArgumentParser
internal import DiskImages
internal import Fleets
internal import Migration
internal import SystemPackage

/// `drover report`: a fleet's state as a page to look at.
struct Report: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "report",
        abstract: "Write a page that shows a pipeline's fleet.",
        discussion: """
            One HTML file that needs no network: how far every target is, which files each image's data comes from, where the space went, when \
            it was moved, and what failed, with the reasons. An earlier report is replaced; any other file only with --force.

            Environment: SLURM_ARRAY_TASK_ID, with _MIN, _STEP and _COUNT: which part of the fleet a task of a Slurm array is to do.

            Environment: MAKEFLAGS, where make's -n has Drover say what it would do.

            For example: drover report fleet.yaml --html fleet.html
            """)

    @Option(
        help: ArgumentHelp("The page to write.", valueName: "file"), completion: .file(extensions: ["html"]),
        transform: FilePath.init(target:))
    var html: FilePath
    @Flag(help: "Replace a file that is no report.") var force = false
    @OptionGroup var verbosity: VerbosityOptions
    @OptionGroup var fleet: FleetOptions

    func run() async throws {
        OpenFiles.allowMany()
        let plan = try fleet.plan(looks: true)
        let places = plan.places(in: try fleet.choice(of: plan))
        let sources = plan.items.flatMap { $0.chain?.layers.map(\.identity) ?? [] }
        let targets = try plan.items.compactMap {
            $0.target.isEmpty ? nil : try ImageFile.identity(at: $0.target)
        }
        let file = try ReportFile(html, sources: sources + targets, force: force)
        let report = try await FleetReport(of: plan, at: places)
        if MakeInvocation.isDryRun { return try await DryRun.say("write \(html)") {} }
        try file.write(ReportPage(report: report).html)
        verbosity.tell("\(html): shows \(HumanText.count(report.images.count, "image"))")
    }
}
