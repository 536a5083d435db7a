package import DiskImages
package import SystemPackage

/// One thing that is wrong with a pipeline file, or with what it asks for.
package struct PipelineProblem: Equatable, Sendable {
    /// `badData`, or `unavailable` and `io` where something could not be read.
    package var kind = DiskImageError.Kind.badData
    /// The line of the pipeline file, from 1; nil where it is the file as a whole.
    package let line: Int?
    package let text: String

    package init(_ kind: DiskImageError.Kind = .badData, line: Int?, _ text: String) {
        self.kind = kind
        self.line = line
        self.text = text
    }
}

/// Everything that is wrong with a pipeline file, in the order of its lines: nothing runs then.
package struct PipelineProblems: Error, Equatable, CustomStringConvertible {
    /// As many are kept as a person would read; `leftOut` more were found.
    private static let most = 100

    /// The file's name as it was given.
    package let file: FilePath
    package let problems: [PipelineProblem]
    package let leftOut: Int

    /// `problems` in any order, at least one.
    package init(_ file: FilePath, _ problems: [PipelineProblem]) {
        self.file = file
        let sorted = problems.enumerated().sorted {
            ($0.element.line ?? 0, $0.offset) < ($1.element.line ?? 0, $1.offset)
        }.map(\.element)
        // The same problem twice in one line is one to whoever reads it.
        let different = sorted.indices.filter { $0 == 0 || sorted[$0] != sorted[$0 - 1] }.map { sorted[$0] }
        self.problems = Array(different.prefix(PipelineProblems.most))
        leftOut = different.count - self.problems.count
    }

    /// What an exit code follows: bad data before anything else.
    package var kind: DiskImageError.Kind {
        problems.contains { $0.kind == .badData } ? .badData : problems.first?.kind ?? .badData
    }

    /// A line for each: `fleet.yaml:7: 'sorces' is no key of a pipeline (did you mean 'sources'?)`.
    package var lines: [String] {
        problems.map { problem in "\(file)\(problem.line.map { ":\($0)" } ?? ""): \(problem.text)" }
            + (leftOut > 0 ? ["\(file): has \(leftOut) more problems"] : [])
    }

    package var description: String { lines.joined(separator: "\n") }
}

extension String {
    /// `'text'`, cut where it is too long for a line.
    var quoted: String {
        unicodeScalars.count > 80
            ? "'\(String(String.UnicodeScalarView(unicodeScalars.prefix(77))))...'" : "'\(self)'"
    }
}
