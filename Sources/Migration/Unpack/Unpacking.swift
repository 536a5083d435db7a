internal import DiskImages
internal import ImageFormats
internal import Manifests
package import Stages
internal import SystemPackage
internal import TransportArchive

/// Images restored from an archive, each file resumable.
package struct Unpacking {
    private let request: UnpackRequest
    private let reader: ArchiveReader
    private let plan: RestorePlan
    /// What a file's index says of each layer.
    private let found: [ArchiveIndex.Layer]?
    /// Where each layer lies, where only some of them are wanted of a file.
    private let index: [ArchiveIndex.Layer]?
    /// What a file's index says of the layers' ends.
    private let anchors: ArchiveAnchors?

    /// Opens the archive and finds what is asked for; throws before anything is written.
    package init(_ request: UnpackRequest, stop: StopFlag) throws {
        self.request = request
        reader = try ArchiveReader(
            try request.archive.map { ByteStream(try ImageFile(opening: $0)) }
                ?? ByteStream { stop.isRequested })
        let found = try reader.stream.file.map { [reader] in try reader.readIndex(of: $0) }
        var plan = try RestorePlan(reader, request) { [reader] layer in
            try reader.stream.file.flatMap { file in
                try found.flatMap { try Unpacking.beginning(of: layer, $0.layers[layer], in: file) }
            }
        }
        anchors = found.map { ArchiveAnchors($0.layers, end: $0.end) }
        plan.anchors = anchors
        self.plan = plan
        self.found = found?.layers
        if let found { reader.hold(to: found.layers) }
        // All of it is read from front to back, which checks the index too.
        index = plan.needed.count < reader.header.layers.count ? found?.layers : nil
    }

    /// How a raw layer begins, of a file that can be read anywhere; nil where that is damaged,
    /// which is found in its place.
    private static func beginning(of layer: Int, _ entry: ArchiveIndex.Layer, in file: ImageFile) throws
        -> [UInt8]?
    {
        do {
            let reader = try ArchiveReader(ByteStream(file))
            try reader.seek(to: layer, entry)
            var bytes = [UInt8](repeating: 0, count: RawDisguise.prefixLength)
            guard reader.layer == layer, let run = try reader.next(), run.frameLength > 0 else {
                return bytes
            }
            let frame = try AlignedBuffer(capacity: LZ4Frame.longest)
            try reader.readFrame(of: run, into: frame.bytes)
            let opener = try FrameOpener()
            try withExtendedLifetime(opener) {
                let content = try opener.open(run, frame)
                var position = 0
                for piece in run.runs where !piece.isZero && piece.start < UInt64(bytes.count) {
                    for place in piece.start..<min(piece.end, UInt64(bytes.count)) {
                        bytes[Int(place)] = content[position + Int(place - piece.start)]
                    }
                    position += Int(piece.end - piece.start)
                }
            }
            return Array(bytes.prefix(Int(clamping: reader.header.layers[layer].size)))
        } catch is ArchiveError {
            return nil
        }
    }

    /// Throws where a file is in the way of what is to be restored; nothing is changed.
    package func checkStart() throws {
        guard try ImageFile.identity(at: plan.root) != nil else { return }
        let tree = try FolderTree(at: plan.root)
        for file in request.form == .raw ? plan.images : plan.files {
            let path = plan.root.pushing(FilePath(file.name))
            // Where neither is there, nothing is in the way, and folders would be made to find out
            // more.
            guard
                try [path, ManifestFile.path(of: path)].contains(where: {
                    try ImageFile.identity(at: $0) != nil
                })
            else { continue }
            switch request.form {
            case .chains: try plan.move(file.layer, as: file.name, in: tree).checkStart()
            case .raw: try flattening(file.layer, at: tree.place(for: file.name)).checkStart()
            }
        }
    }

    /// The move that a flattened image's own manifest speaks of.
    private func flattening(_ layer: Int, at place: FilePlace) throws -> TargetMove {
        let path = place.path
        return TargetMove(
            name: path, place: try TargetPlace(place, called: path, sources: try plan.archiveIdentity()),
            job: plan.flatteningJob(layer, at: path),
            header: nil, access: plan.flattenedAccess(of: layer), restart: request.restart,
            replacing: ReplacementPolicy(path, force: request.force))
    }

    /// Restores what is missing.
    package func run(progress: Progress, stop: StopFlag) async throws -> UnpackResult {
        if request.form != .raw, let found { try plan.checkSpace(found) }
        let tree = try FolderTree(at: request.directory)
        let total = index.map { index in plan.needed.reduce(0) { $0 &+ index[$1].stored } }
        progress.begin(
            Progress.Snapshot(
                name: request.archiveName, total: total,
                length: plan.needed.reduce(0) { $0 &+ reader.header.layers[$1].guestLength }))
        switch request.form {
        case .chains: return try await restore(in: tree, progress, stop)
        case .raw: return try await flatten(in: tree, progress, stop)
        }
    }

    /// Layer after layer: a backing file stands before its overlays are begun.
    private func restore(in tree: FolderTree, _ progress: Progress, _ stop: StopFlag) async throws
        -> UnpackResult
    {
        var result = UnpackResult()
        let needed = Set(plan.needed)
        let pipeline = UnpackPipeline(
            reader: reader, workers: request.workers, rate: request.rate, progress: progress, stop: stop)
        for layer in reader.header.layers.indices {
            if needed.contains(layer) {
                if let index { try reader.seek(to: layer, index[layer]) }
                for (number, name) in plan.names(of: layer).enumerated() {
                    let move = try plan.move(layer, as: name, in: tree)
                    let outcome =
                        number > 0
                        ? try await copy(layer, to: move, in: tree, progress, stop)
                        : try await move.run(
                            prepare: {},
                            write: { sink, manifest, finished in
                                try await pipeline.restore(
                                    layer, plan.holding(of: layer), to: sink, recordingIn: manifest,
                                    leavingOut: finished,
                                    segmentLength: request.segmentLength)
                            }, stop: stop, finish: { try checkEnd(of: layer) })
                    if case .moved = outcome { result.restored += 1 } else { result.upToDate += 1 }
                }
            }
            if index == nil { try skip(layer) }
        }
        // What follows the last layer must be the archive's own end.
        if index == nil { _ = try reader.next() }
        return result
    }

    /// A further name of `layer`, whose file has been restored: it is copied, because a pipe does
    /// not come twice.
    private func copy(
        _ layer: Int, to move: TargetMove, in tree: FolderTree, _ progress: Progress, _ stop: StopFlag
    ) async throws
        -> TargetMove.Result
    {
        let chain = ImageChain(layers: [try plan.restored(layer, in: tree)])
        let pipeline = CopyPipeline(
            chain: chain, holding: plan.holding(of: layer), segmentLength: request.segmentLength,
            workers: request.workers,
            progress: progress,
            stop: stop)
        return try await move.run(
            prepare: {},
            write: { sink, manifest, finished in
                try await pipeline.convert(
                    to: sink, recordingIn: manifest, leavingOut: finished,
                    checkSources: { try chain.checkUnchanged() })
            }, stop: stop, finish: { try chain.checkUnchanged() })
    }

    /// Throws where the records of `layer` are not the ones that the index knows, before the file
    /// gets its name.
    private func checkEnd(of layer: Int) throws {
        guard let anchors, reader.header.layers[layer].guestLength > 0, !anchors.fit(layer, reader.previous)
        else { return }
        throw ArchiveError(
            .damaged, "\(reader.header.layers[layer].name): its records are of another archive than the index"
        )
    }

    /// Leaves out what is still to come of `layer`.
    private func skip(_ layer: Int) throws {
        while reader.layer == layer, let run = try reader.next() { try reader.skipFrame(of: run) }
    }

    /// Restores the chains into a scratch folder, converts them from there, and removes it. An
    /// archive may come from a pipe, where an overlay's data cannot be had together with its
    /// backing file's.
    private func flatten(in tree: FolderTree, _ progress: Progress, _ stop: StopFlag) async throws
        -> UnpackResult
    {
        var result = UnpackResult()
        let missing = try plan.images.filter { image in
            let move = try flattening(image.layer, at: tree.place(for: image.name))
            if try move.isUpToDate() {
                // An earlier run may have died before the name was durable.
                try TargetFile.synchronizeFolder(of: move.place.path)
                return false
            }
            // Said before all of the archive is read for it; an unfinished conversion of our own
            // goes on.
            if try ManifestFile.place(of: move.place.file).identity() == nil {
                try move.replacing.check(move.place.existing)
            }
            return true
        }
        result.upToDate = plan.images.count - missing.count
        guard !missing.isEmpty else {
            // Whoever writes to the pipe is not to be told that it broke; and an archive that is
            // cut short is none.
            if reader.stream.file == nil {
                while let run = try reader.next() { try reader.skipFrame(of: run) }
            }
            try ScratchFolder.removeLeftover(of: plan, in: tree)
            return result
        }
        if let found { try plan.checkSpace(found) }
        let folder = try ScratchFolder(of: plan, in: tree)
        let scratch = folder.tree
        _ = try await restore(in: scratch, progress, stop)
        for image in missing {
            let layer = image.layer
            let target = try tree.place(for: image.name)
            let path = target.path
            // What each layer is says the archive, not its bytes: a raw one may look like anything.
            let chain = ImageChain(
                layers: try reader.header.chain(of: layer).map { try plan.restored($0, in: scratch) })
            var conversion = ConversionRequest(
                source: chain.top.path, options: ChainOptions(location: try BackingLocation()), target: path,
                format: .raw,
                segmentLength: request.segmentLength, workers: request.workers, restart: request.restart,
                force: request.force)
            conversion.place = target
            _ = try await Conversion(
                conversion, chain: chain, job: plan.flatteningJob(layer, at: path),
                access: plan.flattenedAccess(of: layer)
            ).run(progress: progress, stop: stop)
            result.restored += 1
        }
        folder.remove()
        return result
    }
}
