internal import DiskImages
internal import Linux
internal import Manifests
internal import Stages
internal import SystemPackage
internal import TransportArchive

/// What is intact of a damaged archive, restored; what is lost, listed. It is holes (raw) or not
/// allocated (COW) in the files, whose manifests say so: they are records of a salvage, and no
/// other run takes them for whole.
package struct Salvaging {
    private let request: UnpackRequest
    private let reader: ArchiveReader
    private let plan: RestorePlan
    /// What the index says of the layers' ends, where it is left.
    private let anchors: ArchiveAnchors?
    /// Where the records lie that were come upon, and what reads them again for references.
    private let places: RecordPlaces
    private let scanned: ArchiveFile?

    /// Opens the archive, if need be by the copy of its header in the index. Throws where neither
    /// is left.
    package init(_ request: UnpackRequest) throws {
        guard let archive = request.archive else {
            throw MigrationError(
                .usage,
                "standard input: \(.salvage) looks for what is behind the damage, which a pipe cannot (give a file)"
            )
        }
        guard !request.isFlattened else {
            throw MigrationError(
                .usage, "\(archive): \(.salvage) restores the chains as they were (convert them afterwards)")
        }
        self.request = request
        reader = try ArchiveReader.salvaging(try ArchiveAddress.open(archive))
        plan = try RestorePlan(reader, request)
        anchors = reader.stream.file.flatMap { [reader] in reader.anchors(of: $0) }
        places = RecordPlaces(layers: reader.header.layers.count)
        scanned = reader.stream.file.map { [reader, places] in
            ArchiveFile($0, reader, scanned: places, request.ancestors)
        }
    }

    /// Restores what can be restored; a file that an earlier run restored whole is left alone, one
    /// that it had begun is gone on with.
    package func run(_ options: MoveOptions) async throws -> UnpackResult {
        var result = UnpackResult()
        let tree = try FolderTree(at: request.directory)
        let needed = Set(plan.needed)
        options.progress.begin(
            Progress.Snapshot(
                name: request.archiveName,
                length: plan.needed.reduce(0) { $0 &+ reader.header.layers[$1].guestLength }))
        let log = DamageLog()
        for layer in reader.header.layers.indices {
            if needed.contains(layer) {
                try await restore(layer, in: tree, log, options, &result)
            } else {
                var content = try await RecordContent(
                    reader, plan.content(of: layer, nil), options, log: log, places: places)
                try content.pass()
                try checkGoesOn(options)
            }
        }
        for link in plan.links {
            if try plan.restore(link, in: tree) { result.restored += 1 } else { result.upToDate += 1 }
        }
        // Index and trailer, and what follows them.
        let rest = try await RecordContent(
            reader, nil, options, log: log, references: scanned, places: places)
        try await CopyPipeline(rest, options).digest { _ in }
        let losses = log.losses.filter { needed.contains($0.layer) }
        result.damage =
            losses.isEmpty
            ? log.reasons.map { "\(request.archiveName): \($0)" }
            : losses.map { "\(request.archiveName): \(reader.header.describe($0))" }
        return result
    }

    private func restore(
        _ layer: Int, in tree: FolderTree, _ log: DamageLog, _ options: MoveOptions,
        _ result: inout UnpackResult
    ) async throws {
        let scope = plan.holding(of: layer)
        let names = plan.names(of: layer)
        let file = try SalvageTarget(plan.target(layer, as: names[0], in: tree).target)
        // What is finished is read again all the same: what is lost of it must be said.
        var segments: [ManifestSegment]
        if reader.header.layers[layer].same != nil, let scanned {
            segments = try await restore(layer, from: scanned, to: file, log, options)
        } else {
            let content = try await RecordContent(
                reader, plan.content(of: layer, file.target), options, log: log, references: scanned,
                places: places)
            segments = try await file.fill(by: CopyPipeline(content, options))
        }
        try checkGoesOn(options)
        let length = reader.header.layers[layer].recordedLength
        // Records of another archive of the same fleet may fit together; the index knows that they
        // do not belong here.
        if length > 0, !log.hasGap(in: layer), let anchors, !anchors.fit(layer, reader.previous) {
            segments = try file.reset(scope)
            log.addAll(of: layer, length: length)
        }
        let losses = log.losses(of: layer)
        let isVouchedFor = anchors == nil ? log.reasons.isEmpty : !log.doubted.contains(layer)
        func count(_ isNew: Bool) { if isNew { result.restored += 1 } else { result.upToDate += 1 } }
        count(try file.finish(segments, losses, isVouchedFor: isVouchedFor, options.stop))
        for name in names.dropFirst() {
            let chain = ImageChain(layers: [try plan.restored(layer, in: tree)])
            let copy = try SalvageTarget(plan.target(layer, as: name, in: tree).target)
            let segments = try await copy.fill(
                by: CopyPipeline(
                    plan.copy(of: chain, layer, finished: copy.target?.finished ?? [], options), options))
            try chain.checkUnchanged()
            count(try copy.finish(segments, losses, isVouchedFor: isVouchedFor, options.stop))
        }
    }

    /// Restores what is intact of a layer whose records an archive has that this one stands on.
    /// Returns the segments recorded.
    private func restore(
        _ layer: Int, from scanned: ArchiveFile, to file: SalvageTarget, _ log: DamageLog,
        _ options: MoveOptions
    ) async throws -> [ManifestSegment] {
        let (archive, index) = try scanned.stored(layer)
        let there = try ArchiveReader(ByteStream(archive.file))
        try there.seek(to: index, archive.index.layers[index])
        var part = plan.content(of: layer, file.target)
        part.index = index
        let damage = DamageLog()
        let segments = try await file.fill(
            by: CopyPipeline(
                RecordContent(there, part, options, log: damage, references: archive), options))
        for (loss, reason) in zip(damage.losses, damage.reasons) {
            log.add(ArchiveReader.Loss(layer: layer, range: loss.range), reason)
        }
        return segments
    }

    /// Throws `stopped` where a stop was requested.
    private func checkGoesOn(_ options: MoveOptions) throws {
        guard options.stop.isRequested else { return }
        throw MigrationError(
            .stopped, "\(request.archiveName): stopped by a signal (run the same command again)")
    }
}
