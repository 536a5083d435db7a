package import DiskImages
internal import ImageFormats
package import SystemPackage
package import TransportArchive

/// A pipeline file, checked: which images become what. Every path is absolute.
package struct PipelineSpec: Equatable, Sendable {
    /// What becomes of the sources.
    package enum Operation: String, CaseIterable, Sendable {
        case convert, pack, verify
    }

    /// What is written, where, and how it is called.
    package struct Target: Equatable, Sendable {
        /// The folder of the targets; where one archive is all there is and no folder is given, the
        /// archive's.
        package var directory: FilePath
        /// How they are called below it. With `archive` it has no say.
        package var name: NameTemplate
        /// With `convert`, and with `verify` what was converted.
        package var format: TargetFormatName
        /// Overlays stay overlays of one converted base.
        package var keepChain: Bool
        package var options: FormatOptions
        /// One archive for the whole fleet; with `PipelineSpec.time` in its name, one for each run.
        package var archive: FilePath?
        /// Patterns of files that travel with the images of an archive.
        package var companions: [String] = []
        /// Whether it stands on the newest archive of that name.
        package var sinceNewest = false
        /// After so many that stand on one another, one that stands alone.
        package var fullEvery: Int?
        /// The archive that it is to stand on, where that was found.
        package var parent: FilePath?

        /// What `{format}` stands for with `operation`.
        package func formatName(_ operation: Operation) -> String {
            operation == .pack ? "drover" : format.name
        }
    }

    /// Programs, by their absolute paths, in the order in which they are run.
    package struct Hooks: Equatable, Sendable {
        /// After every run that came to its end.
        package var after: [FilePath] = []
        /// After every run that did not do all that it should.
        package var error: [FilePath] = []
    }

    /// What stands for the part of a fleet in the name of a file of figures.
    package static let shard = "{shard}"
    /// What stands for the time of a run in the name of an archive.
    package static let time = "{time}"

    /// The pipeline file.
    package var file: FilePath
    /// Its name as it was given, with which messages begin.
    package var givenName: FilePath
    /// The folder that it lies in: its relative paths start here.
    package var directory: FilePath
    package var operation: Operation
    package var sources: [SourceGlob]
    package var exclude: [SourceGlob]
    package var sourceFormat: ImageFormat?
    package var backingFormat: ImageFormat?
    /// Sources and backing files outside of these folders are refused.
    package var confine: [FilePath]
    /// `old` as headers have it.
    package var backingMap: [BackingLocation.Move]
    /// Where backing files are looked for whose paths lead nowhere.
    package var backingSearch: [FilePath]
    package var ignoreMtime: Bool
    package var target: Target
    package var compression: Compression
    /// How many images at once, at least 1.
    package var jobs: Int?
    /// Bytes read a second, more than 0.
    package var rate: UInt64?
    /// Where the figures of a run are written; `PipelineSpec.shard` in it stands for the part of
    /// the fleet.
    package var metrics: FilePath?
    /// Programs that hear how a run ended.
    package var hooks: Hooks
    /// The line of each key that is there: `jobs`, `target.name`, `options.layout`.
    package var lines: [String: Int]

    /// `path` as a message has it: from the pipeline's folder where it lies in it.
    package func shown(_ path: FilePath) -> String {
        var rest = path
        return rest.removePrefix(directory) && !rest.isEmpty ? rest.description : path.description
    }
}
