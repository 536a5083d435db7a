package import DiskImages
package import Linux
internal import PipelineFiles

extension Advising {
    /// The error as the command line says it.
    package var line: String { message.text(ChoiceWords.commandLine) }
}

extension DiskImageError {
    /// What it says of its file, as the command line does.
    package var factLine: String { fact.text(ChoiceWords.commandLine) }
}
