internal import ArgumentParser
internal import DiskImages
internal import Fleets
internal import FoundationEssentials
internal import Migration
internal import PipelineFiles
internal import Stages
internal import SystemPackage

/// The pipeline file, and which part of its fleet is meant.
struct FleetOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Only the I-th of N parts of the images, and the bases they stand on (default: that of the Slurm array task this runs in).",
            valueName: "i/n"))
    var shard: String?

    @Argument(
        help: "The pipeline file.", completion: .file(extensions: ["yaml", "yml"]),
        transform: FilePath.init(argument:))
    var pipeline: FilePath

    @Argument(
        help: ArgumentHelp(
            "Only these images, and the bases they stand on: names as plan prints them, last components that are unique, or globs.",
            valueName: "name"), transform: FilePath.init(argument:))
    var names: [FilePath] = []

    func validate() throws { _ = try shard.map(Shard.init(text:)) }

    /// Reads the pipeline file and opens every chain once. `makes`: of archives that follow one
    /// another the next is meant, not the last. Throws everything that is wrong with the file
    /// itself, or what the system is short of. `looks`: nothing is made, and what earlier runs made
    /// of sources that are gone belongs to it; so it does to a verification.
    func plan(makes: Bool = false, looks: Bool = false) throws -> FleetPlan {
        let spec = try PipelineSpec.load(pipeline).choosingArchive(makes: makes)
        let looks = looks || spec.operation == .verify
        let sources = try spec.findSources(mayBeNone: looks)
        let plan = try FleetPlan(spec, sources, withOrphans: looks)
        // Neither sources nor anything that came of them: what is wrong with the patterns is said.
        let isThere =
            try plan.spec.target.archive.map { try ImageFile.identity(at: $0) != nil } ?? !plan.items.isEmpty
        if sources.isEmpty, !isThere { _ = try spec.findSources() }
        try FleetOptions.checkShortage(plan.items.map(\.problem))
        return plan
    }

    /// What a run would do with the items at `indices`. Throws what the system is short of: then
    /// nothing is known.
    func outlooks(of places: [Int], in plan: FleetPlan) async throws -> [FleetOutlook] {
        let outlooks = await plan.outlooks(of: places, stop: StopFlag())
        try FleetOptions.checkShortage(outlooks.map(\.problem))
        return outlooks
    }

    private static func checkShortage(_ problems: [FleetProblem?]) throws {
        if let shortage = problems.lazy.compactMap(\.?.cause).first(where: \.isShortage) { throw shortage }
    }

    /// The part of `plan` that is meant. Throws where a name is none of its images.
    func choice(of plan: FleetPlan) throws -> FleetChoice {
        FleetChoice(
            shard: try shard.map(Shard.init(text:))
                ?? Shard(environment: ProcessInfo.processInfo.environment),
            named: try plan.places(named: names))
    }
}
