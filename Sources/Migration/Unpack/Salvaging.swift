internal import DiskImages
package import Stages
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

    /// Opens the archive, if need be by the copy of its header in the index. Throws where neither
    /// is left.
    package init(_ request: UnpackRequest) throws {
        guard let archive = request.archive else {
            throw MigrationError(
                .usage,
                "standard input: --salvage looks for what is behind the damage, which a pipe cannot (give a file)"
            )
        }
        guard request.form != .raw else {
            throw MigrationError(
                .usage, "\(archive): --salvage restores the chains as they were (convert them afterwards)")
        }
        self.request = request
        reader = try ArchiveReader.salvaging(try ImageFile(opening: archive))
        plan = try RestorePlan(reader, request)
        anchors = reader.stream.file.flatMap { [reader] in reader.anchors(of: $0) }
    }

    /// Restores what can be restored; a file that an earlier run restored whole is left alone.
    package func run(progress: Progress, stop: StopFlag) async throws -> UnpackResult {
        var result = UnpackResult()
        let tree = try FolderTree(at: request.directory)
        let needed = Set(plan.needed)
        progress.begin(
            Progress.Snapshot(
                name: request.archiveName,
                length: plan.needed.reduce(0) { $0 &+ reader.header.layers[$1].guestLength }))
        let opener = try FrameOpener()
        let frame = try AlignedBuffer(capacity: LZ4Frame.longest)
        var losses: [ArchiveReader.Loss] = []
        var reasons: [String] = []
        // Layers in or before which something was damaged: only the index can know then that their
        // records belong here.
        var doubted: Set<Int> = []
        var next = try reader.nextSalvaging { stop.isRequested }
        for layer in reader.header.layers.indices {
            let targets =
                needed.contains(layer)
                ? try plan.names(of: layer).map { try SalvageTarget(layer, as: $0, of: plan, in: tree) } : []
            var isWhole = true
            var lastDigest: ContentDigest?
            reading: while true {
                switch next {
                case .end: break reading
                case .lost(let lost, let error):
                    losses += lost.filter { needed.contains($0.layer) }
                    reasons.append(error.description)
                    doubted.formUnion(lost.map(\.layer) + [layer, reader.layer])
                    if lost.contains(where: { $0.layer == layer }) { isWhole = false }
                case .run(let run):
                    if run.layer != layer { break reading }
                    lastDigest = reader.previous
                    if stop.isRequested {
                        throw MigrationError(
                            .stopped,
                            "\(request.archiveName): stopped by a signal (run the same command again)")
                    }
                    try request.rate?.wait(for: run.frameLength, stop)
                    do {
                        try restore(run, to: targets, opener, frame, progress)
                    } catch let error as ArchiveError {
                        if !targets.isEmpty {
                            losses.append(ArchiveReader.Loss(layer: layer, range: run.range))
                        }
                        reasons.append(error.description)
                    }
                }
                next = try reader.nextSalvaging { stop.isRequested }
            }
            // Records of another archive of the same fleet may fit together; the index knows that
            // they do not belong here.
            if !targets.isEmpty, isWhole, let anchors, let lastDigest, !anchors.fit(layer, lastDigest) {
                for target in targets { try target.reset() }
                losses.removeAll { $0.layer == layer }
                losses.append(
                    ArchiveReader.Loss(layer: layer, range: 0..<reader.header.layers[layer].guestLength))
            }
            for target in targets {
                let isVouchedFor = anchors == nil ? reasons.isEmpty : !doubted.contains(layer)
                let isNew = try target.finish(losses.filter { $0.layer == layer }, isVouchedFor: isVouchedFor)
                if isNew { result.restored += 1 } else { result.upToDate += 1 }
            }
        }
        while next != .end {
            if case .lost(let lost, let error) = next {
                losses += lost.filter { needed.contains($0.layer) }
                reasons.append(error.description)
            }
            next = try reader.nextSalvaging { stop.isRequested }
        }
        result.damage =
            losses.isEmpty
            ? reasons.map { "\(request.archiveName): \($0)" }
            : losses.map { "\(request.archiveName): \(reader.header.describe($0))" }
        return result
    }

    private func restore(
        _ run: RunRecord, to targets: [SalvageTarget], _ opener: FrameOpener, _ frame: AlignedBuffer,
        _ progress: Progress
    ) throws {
        guard run.frameLength > 0 else {
            for target in targets { try target.write(run, UnsafeRawBufferPointer(start: nil, count: 0)) }
            return
        }
        try reader.readFrame(of: run, into: frame.bytes)
        if !targets.isEmpty {
            let content = try opener.open(run, frame)
            for target in targets { try target.write(run, content) }
        }
        progress.add(covered: run.range.upperBound - run.range.lowerBound, read: run.frameLength)
    }
}
