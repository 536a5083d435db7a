internal import SystemPackage

@testable import PipelineFiles

/// What is wrong with `text`, the content of a file `fleet.yaml`.
func pipelineProblems(_ text: String) -> [String] {
    do throws(PipelineProblems) {
        _ = try PipelineSpec(parsing: Array(text.utf8), file: "fleet.yaml")
        return []
    } catch {
        return error.lines.map { $0.hasPrefix("fleet.yaml:") ? String($0.dropFirst(11)) : $0 }
    }
}

/// The top of a pipeline that is sound, for tests of other keys.
let soundPipeline = "sources: [guests/*.cow]\ntarget: {directory: out}\n"
