internal import ArgumentParser
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

    /// Reads the pipeline file and opens every chain once. `makes`: of archives that follow one another the
    /// next is meant, not the last. Throws everything that is wrong with the
    /// file itself, or what the system is short of.
    func plan(makes: Bool = false) throws -> FleetPlan {
        let spec = try PipelineSpec.load(pipeline).choosingArchive(makes: makes)
        let plan = try FleetPlan(spec, try spec.findSources())
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
