package import PipelineFiles
package import SystemPackage

/// A pipeline file in a directory of its own, and what Drover makes of it.
package struct PipelineFile {
    package let directory: TemporaryDirectory

    package init() throws { directory = try TemporaryDirectory() }

    package var path: FilePath { directory("fleet.yaml") }

    package func write(_ bytes: [UInt8]) throws {
        try FileChanges.write(bytes, to: path, at: 0)
        try FileChanges.truncate(path, to: bytes.count)
    }

    package func load(_ text: String) throws -> PipelineSpec {
        try write(Array(text.utf8))
        return try PipelineSpec.load(path)
    }

    /// Makes empty files, and the folders they lie in.
    package func make(_ names: String...) throws {
        for name in names {
            try directory.directory(FilePath(name).removingLastComponent().string)
            try FileChanges.write([], to: directory(name), at: 0)
        }
    }

    /// What is wrong with `text`, a line each, without the file's name.
    package func problems(_ text: String) -> [String] { lines { _ = try load(text) } }

    /// What is wrong with what `text` asks for.
    package func sourceProblems(_ text: String) -> [String] { lines { _ = try load(text).findSources() } }

    private func lines(_ body: () throws -> Void) -> [String] {
        do {
            try body()
            return []
        } catch let error as PipelineProblems {
            return error.lines.map {
                $0.hasPrefix("\(error.file):") ? String($0.dropFirst("\(error.file):".count)) : "?\($0)"
            }
        } catch {
            return ["\(error)"]
        }
    }

    /// The sources of `text` as paths below the pipeline's folder.
    package func sources(_ text: String) throws -> [String] {
        let spec = try load(text)
        return try spec.findSources().map { spec.shown($0.path) }
    }
}
