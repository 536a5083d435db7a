import SystemPackage
import TestSupport
import Testing

@testable import Migration

/// A pipeline file in a directory of its own, and what Drover makes of it.
struct PipelineFile {
    let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    var path: FilePath { directory("fleet.yaml") }

    func write(_ bytes: [UInt8]) throws {
        try FileChanges.write(bytes, to: path, at: 0)
        try FileChanges.truncate(path, to: bytes.count)
    }

    func load(_ text: String) throws -> PipelineSpec {
        try write(Array(text.utf8))
        return try PipelineSpec.load(path)
    }

    /// Makes empty files, and the folders they lie in.
    func make(_ names: String...) throws {
        for name in names {
            try directory.directory(FilePath(name).removingLastComponent().string)
            try FileChanges.write([], to: directory(name), at: 0)
        }
    }

    /// What is wrong with `text`, a line each, without the file's name.
    func problems(_ text: String) -> [String] { lines { _ = try load(text) } }

    /// What is wrong with what `text` asks for.
    func sourceProblems(_ text: String) -> [String] { lines { _ = try load(text).findSources() } }

    private func lines(_ body: () throws -> Void) -> [String] {
        do {
            try body()
            return []
        } catch let error as PipelineProblems {
            return error.lines.map { $0.hasPrefix("\(error.file):") ? String($0.dropFirst("\(error.file):".count)) : "?\($0)" }
        } catch {
            return ["\(error)"]
        }
    }

    /// The sources of `text` as paths below the pipeline's folder.
    func sources(_ text: String) throws -> [String] {
        let spec = try load(text)
        return try spec.findSources().map { spec.shown($0.path) }
    }
}

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
