internal import DiskImages
internal import ImageFormats
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
            try request.archive.map { ByteStream(try ImageFile(opening: $0)) } ?? ByteStream { stop.isRequested })
        var plan = try RestorePlan(reader, request)
        let found = try reader.stream.file.map { [reader] in try reader.readIndex(of: $0) }
        anchors = found.map { ArchiveAnchors($0.layers, end: $0.end) }
        plan.anchors = anchors
        self.plan = plan
        self.found = found?.layers
        if let found { reader.hold(to: found.layers) }
        // All of it is read from front to back, which checks the index too.
        index = plan.needed.count < reader.header.layers.count ? found?.layers : nil
    }

    /// Throws where a file is in the way of what is to be restored; nothing is changed.
    package func checkStart() throws {
        guard try ImageFile.identity(at: plan.root) != nil else { return }
        let tree = try FolderTree(at: plan.root)
        for layer in request.form == .raw ? plan.images : plan.needed {
            let path = plan.path(of: layer, in: plan.root)
            // Where neither is there, nothing is in the way, and folders would be made to find out more.
            guard try [path, ManifestFile.path(of: path)].contains(where: { try ImageFile.identity(at: $0) != nil }) else { continue }
            switch request.form {
            case .chains: try plan.move(layer, in: tree).checkStart()
            case .raw: try flattening(layer, at: tree.place(for: reader.header.layers[layer].name)).checkStart()
            }
        }
    }

    /// The move that a flattened image's own manifest speaks of.
    private func flattening(_ layer: Int, at place: FilePlace) throws -> TargetMove {
        let path = place.path
        return TargetMove(
            name: path, place: try TargetPlace(place, called: path, sources: try plan.archiveIdentity()),
            job: plan.flatteningJob(layer, at: path),
            header: nil, access: try plan.flattenedAccess(of: layer), restart: request.restart,
            replacing: Replacing(path, force: request.force))
    }

    /// Restores what is missing.
    package func run(progress: Progress, stop: StopFlag) async throws -> UnpackResult {
        if request.form != .raw, let found { try plan.checkSpace(found) }
        let tree = try FolderTree(at: request.directory)
        let total = index.map { index in plan.needed.reduce(0) { $0 &+ index[$1].stored } }
        progress.begin(
            Progress.Snapshot(
                name: request.archiveName, total: total, length: plan.needed.reduce(0) { $0 &+ reader.header.layers[$1].guestLength }))
        switch request.form {
        case .chains: return try await restore(in: tree, progress, stop)
        case .raw: return try await flatten(in: tree, progress, stop)
        }
    }

    /// Layer after layer: a backing file stands before its overlays are begun.
    private func restore(in tree: FolderTree, _ progress: Progress, _ stop: StopFlag) async throws -> UnpackResult {
        var result = UnpackResult()
        let needed = Set(plan.needed)
        let pipeline = UnpackPipeline(reader: reader, workers: request.workers, rate: request.rate, progress: progress, stop: stop)
        for layer in reader.header.layers.indices {
            if needed.contains(layer) {
                if let index { try reader.seek(to: layer, index[layer]) }
                let outcome = try await plan.move(layer, in: tree).run(
                    prepare: {},
                    write: { sink, manifest, finished in
                        try await pipeline.restore(
                            layer, plan.holding(of: layer), to: sink, recordingIn: manifest, leavingOut: finished,
                            segmentLength: request.segmentLength)
                    }, stop: stop, finish: { try checkEnd(of: layer) })
                if case .moved = outcome { result.restored += 1 } else { result.upToDate += 1 }
            }
            if index == nil { try skip(layer) }
        }
        // What follows the last layer must be the archive's own end.
        if index == nil { _ = try reader.next() }
        return result
    }

    /// Throws where the records of `layer` are not the ones that the index knows, before the file gets its name.
    private func checkEnd(of layer: Int) throws {
        guard let anchors, reader.header.layers[layer].guestLength > 0, !anchors.fit(layer, reader.previous) else { return }
        throw ArchiveError(.damaged, "\(reader.header.layers[layer].name): its records are of another archive than the index")
    }

    /// Leaves out what is still to come of `layer`.
    private func skip(_ layer: Int) throws {
        while reader.layer == layer, let run = try reader.next() { try reader.skipFrame(of: run) }
    }

    /// Restores the chains into a scratch folder, converts them from there, and removes it. An archive may come from a pipe, where an overlay's data
    /// cannot be had together with its backing file's.
    private func flatten(in tree: FolderTree, _ progress: Progress, _ stop: StopFlag) async throws -> UnpackResult {
        var result = UnpackResult()
        func file(of layer: Int) throws -> FilePlace { try tree.place(for: reader.header.layers[layer].name) }
        let missing = try plan.images.filter { layer in
            let move = try flattening(layer, at: file(of: layer))
            if try move.isUpToDate() { return false }
            // Said before all of the archive is read for it; an unfinished conversion of our own goes on.
            if try ManifestFile.place(of: move.place.file).identity() == nil { try move.replacing.check(move.place.existing) }
            return true
        }
        result.upToDate = plan.images.count - missing.count
        guard !missing.isEmpty else {
            // Whoever writes to the pipe is not to be told that it broke; and an archive that is cut short is none.
            if reader.stream.file == nil { while let run = try reader.next() { try reader.skipFrame(of: run) } }
            return result
        }
        if let found { try plan.checkSpace(found) }
        let scratch = try FolderTree(plan.scratch.lastComponent ?? ".", in: tree)
        _ = try await restore(in: scratch, progress, stop)
        for layer in missing {
            let target = try file(of: layer)
            let path = target.path
            // What each layer is says the archive, not its bytes: a raw one may look like anything.
            let chain = ImageChain(layers: try reader.header.chain(of: layer).map { try plan.restored($0, in: scratch) })
            var conversion = ConversionRequest(
                source: chain.top.path, options: ChainOptions(location: try BackingLocation()), target: path, format: .raw,
                segmentLength: request.segmentLength, workers: request.workers, restart: request.restart, force: request.force)
            conversion.place = target
            _ = try await Conversion(
                conversion, chain: chain, job: plan.flatteningJob(layer, at: path), access: plan.flattenedAccess(of: layer)
            ).run(progress: progress, stop: stop)
            result.restored += 1
        }
        let names = plan.needed.map { reader.header.layers[$0].name }
        scratch.remove(names.flatMap { [$0, $0 + ".manifest"] }, from: tree)
        return result
    }
}
