internal import ArgumentParser
internal import DiskImages
internal import Linux
internal import Migration
internal import PipelineFiles
internal import SystemPackage
internal import TransportArchive

/// An archive that is not what it should be, with its name; any other error stays what it is.
struct ArchiveFailure: Error, CustomStringConvertible {
    let description: String
    let code: ExitCode

    init(_ archive: FilePath, _ error: any Error) {
        if let error = error as? ArchiveError {
            description =
                "\(archive == "-" ? "standard input" : RemoteFile.shown(archive)): \(error.message.text(ChoiceWords.commandLine))"
            code = .badData
        } else if let error = error as? Shortage {
            description = archive == "-" ? error.description : "\(RemoteFile.shown(archive)): \(error)"
            code = .io
        } else {
            description = ErrorLine.text(of: error)
            code = ExitCode(for: error)
        }
    }
}
