internal import DiskImages
internal import Linux
internal import Stages
package import SystemPackage
package import TransportArchive

/// An archive read from end to end, every digest checked.
package struct ArchiveVerification: Sendable {
    /// What was found.
    package struct Finding: Equatable, Sendable {
        /// Each damage in a line, the first first.
        package let damage: [String]
        /// Guest bytes that are intact, and all of them.
        package let intact: UInt64
        package let length: UInt64
    }

    private let archive: FilePath?
    /// Where what it stands on may lie; nil where that is not looked at.
    private let ancestors: AncestorSearch?

    /// nil is standard input.
    package init(_ archive: FilePath?, with ancestors: AncestorSearch? = nil) {
        (self.archive, self.ancestors) = (archive, ancestors)
    }

    /// Reads everything, in a slot of the caller and what others there are. Damage is a finding;
    /// what cannot be read is thrown.
    package func run(_ options: MoveOptions) async throws -> Finding {
        try await check(archive.map { try ArchiveAddress.open($0) }, options).finding
    }

    /// Checks `file`, nil being standard input; returns what is lost of its layers, too.
    private func check(_ file: ImageFile?, _ options: MoveOptions) async throws -> (
        finding: Finding, losses: [ArchiveReader.Loss]
    ) {
        let name = file.map { RemoteFile.shown($0.path) } ?? "standard input"
        let reader: ArchiveReader
        do {
            reader =
                try file.map { try ArchiveReader.salvaging($0) }
                ?? ArchiveReader(ByteStream { [stop = options.stop] in stop.isRequested })
        } catch let error as ArchiveError where error.kind == .damaged {
            return (Finding(damage: ["\(name): \(error)"], intact: 0, length: 0), [])
        }
        if let file { reader.stream.expect(upTo: file.length) }
        let log = DamageLog()
        let places = RecordPlaces(layers: reader.header.layers.count)
        let scanned = file.map { ArchiveFile($0, reader, scanned: places, ancestors) }
        // First what it stands on: what is lost there is lost here.
        var below: Finding?
        if ancestors != nil, let parent = try scanned?.parent() {
            let (finding, losses) = try await check(parent.file, options)
            below = finding
            for (layer, described) in reader.header.layers.enumerated() {
                for loss in losses where loss.layer == described.same {
                    log.add(
                        ArchiveReader.Loss(layer: layer, range: loss.range), "what it stands on is damaged")
                }
            }
        }
        let length = reader.header.layers.map(\.guestLength).reduce(0) { $0 &+ $1 }
        options.progress.begin(Progress.Snapshot(name: name, length: length))
        let content = try await RecordContent(
            reader, nil, options, log: log, references: scanned, places: places)
        try await CopyPipeline(content, options).digest { _ in }
        if options.stop.isRequested { throw MigrationError(.stopped, "\(name): stopped by a signal") }
        let losses = log.losses
        let lost = losses.reduce(UInt64(0)) { $0 &+ ($1.range.upperBound - $1.range.lowerBound) }
        let finding = Finding(
            damage: (below?.damage ?? []) + losses.map { "\(name): \(reader.header.describe($0))" }
                + (losses.isEmpty ? log.reasons.map { "\(name): \($0)" } : []),
            intact: length - min(lost, length), length: length)
        return (finding, losses)
    }
}
