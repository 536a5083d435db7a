internal import ArgumentParser
internal import Migration
internal import PipelineFiles

/// A number of bytes on the command line.
extension ByteSize: ExpressibleByArgument {
    package init?(argument: String) { self.init(text: argument) }

    package var defaultValueDescription: String { text }
}
