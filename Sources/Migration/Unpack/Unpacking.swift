internal import DiskImages
internal import ImageFormats
internal import Linux
internal import Manifests
package import Stages
internal import SystemPackage
internal import TransportArchive

/// Images restored from an archive, each file resumable.
package struct Unpacking {
    private let request: UnpackRequest
    private let reader: ArchiveReader
    private let plan: RestorePlan
    /// The archive where it can be read anywhere; nil of a pipe.
    private let archive: ArchiveFile?
    /// Where each layer lies, where only some of them are wanted of a file.
    private let index: [ArchiveIndex.Layer]?

    /// Opens the archive and finds what is asked for; throws before anything is written.
    package init(_ request: UnpackRequest, stop: StopFlag) throws {
        try self.init(
            request,
            ArchiveReader(
                request.archive.map { ByteStream(try ArchiveAddress.open($0)) }
                    ?? ByteStream { stop.isRequested }))
    }

    private init(_ request: UnpackRequest, _ reader: ArchiveReader) throws {
        (self.request, self.reader) = (request, reader)
        let archive = try reader.stream.file.map {
            ArchiveFile($0, reader, try reader.readIndex(of: $0), request.ancestors)
        }
        var plan = try RestorePlan(reader, request) { layer in
            try archive.flatMap { try Unpacking.beginning(of: layer, in: $0) }
        }
        plan.anchors = archive?.anchors
        (self.plan, self.archive) = (plan, archive)
        try archive?.openAncestors(of: plan.needed)
        if let archive { reader.hold(to: archive.index.layers) }
        // All of it is read from front to back, which checks the index too.
        index = plan.needed.count < reader.header.layers.count ? archive?.index.layers : nil
        if index == nil { reader.stream.expect(upTo: archive?.file.length) }
    }

    /// How a raw layer begins, of a file that can be read anywhere; nil where that is damaged,
    /// which is found in its place.
    private static func beginning(of layer: Int, in archive: ArchiveFile) throws -> [UInt8]? {
        do {
            let raw = try archive.chain(of: layer).top
            return try raw.content.beginning(of: raw.file, RawDisguise.prefixLength)
        } catch let error as DiskImageError where error.kind == .badData {
            return nil
        }
    }

    /// Throws where a file is in the way of what is to be restored; nothing is changed.
    package func checkStart() throws {
        guard try ImageFile.identity(at: plan.root) != nil else { return }
        let tree = try FolderTree(at: plan.root)
        for file in request.isFlattened ? plan.images : plan.files {
            let path = plan.root.pushing(FilePath(file.name))
            // Where neither is there, nothing is in the way, and folders would be made to find out
            // more.
            guard
                try [path, ManifestFile.path(of: path)].contains(where: {
                    try ImageFile.identity(at: $0) != nil
                })
            else { continue }
            switch request.form {
            case .chains: try plan.target(file.layer, as: file.name, in: tree).target.checkStart()
            case .flattened:
                try plan.flattened(file.layer, at: tree.place(for: file.name)).target.checkStart()
            }
        }
    }

    /// Restores what is missing.
    package func run(_ options: MoveOptions) async throws -> UnpackResult {
        guard archive == nil, needsSpool else { return try await restore(options) }
        return try await spooled(options)
    }

    /// Whether what comes through a pipe has to be read again: data of an overlay together with its
    /// backing file's, or of layers that are not restored.
    private var needsSpool: Bool {
        let header = reader.header
        return request.isFlattened || header.parent != nil
            || header.options.sharesContent && plan.needed.count < header.layers.count
    }

    private func restore(_ options: MoveOptions) async throws -> UnpackResult {
        if !request.isFlattened, let archive { try plan.checkSpace(archive.index.layers) }
        let tree = try FolderTree(at: request.directory)
        let total = index.map { index in plan.needed.reduce(0) { $0 &+ index[$1].stored } }
        options.progress.begin(
            Progress.Snapshot(
                name: request.archiveName, total: total,
                length: plan.needed.reduce(0) { $0 &+ reader.header.layers[$1].guestLength }))
        switch request.form {
        case .chains:
            return try await restore(in: tree, options)
        case .flattened:
            let result = try await flatten(in: tree, options)
            try ScratchFolder.removeLeftover(of: plan, in: tree)
            return result
        }
    }

    /// Layer after layer: a backing file stands before its overlays are begun.
    private func restore(in tree: FolderTree, _ options: MoveOptions) async throws -> UnpackResult {
        var result = UnpackResult()
        let references: any ReferenceSource =
            archive ?? RestoredLayers { [plan] in try plan.restored($0, in: tree) }
        let needed = Set(plan.needed)
        for layer in reader.header.layers.indices {
            if needed.contains(layer) {
                if let index { try reader.seek(to: layer, index[layer]) }
                for (number, name) in plan.names(of: layer).enumerated() {
                    let isMade = try await restore(
                        layer, to: plan.target(layer, as: name, in: tree), in: tree, isCopy: number > 0,
                        references, options)
                    if isMade { result.restored += 1 } else { result.upToDate += 1 }
                }
            }
            if index == nil {
                var rest = try await RecordContent(reader, plan.content(of: layer, nil), options)
                try rest.pass()
            }
        }
        for link in plan.links {
            if try plan.restore(link, in: tree) { result.restored += 1 } else { result.upToDate += 1 }
        }
        // What follows the last layer must be the archive's own end.
        if index == nil { _ = try reader.next() }
        return result
    }

    /// Restores one file of `layer`; false where it was there. `isCopy`: it is a further name, and
    /// the first one's file has been restored: it is copied, because a pipe does not come twice.
    private func restore(
        _ layer: Int, to file: PlannedFile, in tree: FolderTree, isCopy: Bool,
        _ references: any ReferenceSource, _ options: MoveOptions
    ) async throws -> Bool {
        let (target, earlier) = (file.target, file.earlier)
        try target.checkSegments()
        let source = try source(of: layer, in: tree, isCopy: isCopy)
        // What comes through a pipe is read once, to be written.
        let known = try source ?? archive.map { ImageChain(layers: [try $0.chain(of: layer).top]) }
        var same: [ManifestSegment] = []
        if let known, !request.policy.restart {
            let pipeline = CopyPipeline(plan.copy(of: known, layer, options.unseen), options.unseen)
            if let earlier {
                same = try await earlier.same(as: pipeline, for: target.content.job, options.stop)
                if try target.takesOver(earlier, holding: same) { return false }
            } else if try await isThere(target, options, { try await pipeline.digest() }) {
                return false
            }
        }
        guard case .open(let open) = try target.begin() else { return false }
        let sink = try open.prepare()
        var there = open.segments
        if let earlier, open.recorded == nil { there += try open.keep(same, of: earlier, in: sink) }
        let finished = ManifestSegment.ranges(of: there)
        if let source {
            let content = plan.copy(of: source, layer, finished: finished, options)
            there += try await CopyPipeline(content, options).copy(
                to: sink, recordingIn: open.manifest, checkSources: { try source.checkUnchanged() })
            try open.checkCovered(by: there, options.stop)
            try source.checkUnchanged()
        } else {
            let content = try await RecordContent(
                reader, plan.content(of: layer, finished: finished), options, references: references)
            there += try await CopyPipeline(content, options).copy(to: sink, recordingIn: open.manifest)
            try open.checkCovered(by: there, options.stop)
            try checkEnd(of: layer)
        }
        // What came through a pipe is known only now.
        if known == nil, let earlier,
            try target.takesOver(earlier, holding: earlier.same(as: there), in: open.manifest)
        {
            return false
        }
        _ = try open.commit(there)
        return true
    }

    /// Whether a file that nothing is recorded of is what `segments` say, where that is to be found
    /// out; it is recorded then.
    private func isThere(
        _ target: TargetTransaction<ImageContent>, _ options: MoveOptions,
        _ segments: () async throws -> [ManifestSegment]
    ) async throws -> Bool {
        guard request.updates, target.place.existing != nil, try target.isFirst else { return false }
        return try await target.adopt(options, segments) == nil
    }

    /// What `layer` is copied from; nil where its records are read.
    private func source(of layer: Int, in tree: FolderTree, isCopy: Bool) throws -> ImageChain? {
        if isCopy { return ImageChain(layers: [try plan.restored(layer, in: tree)]) }
        guard reader.header.layers[layer].same != nil, let archive else { return nil }
        return ImageChain(layers: [try archive.chain(of: layer).top])
    }

    /// Throws where the records of `layer` are not the ones that the index knows, before the file
    /// gets its name.
    private func checkEnd(of layer: Int) throws {
        guard let anchors = archive?.anchors, reader.header.layers[layer].guestLength > 0,
            !anchors.fit(layer, reader.previous)
        else { return }
        throw ArchiveError(
            .damaged, "\(reader.header.layers[layer].name): its records are of another archive than the index"
        )
    }

    /// Converts the chains from where they lie in the archive.
    private func flatten(in tree: FolderTree, _ options: MoveOptions) async throws -> UnpackResult {
        var result = UnpackResult()
        let missing = try missing(in: tree)
        result.upToDate = plan.images.count - missing.count
        for image in missing {
            guard let archive else { break }
            let isMade = try await flatten(image, archive.chain(of: image.layer), in: tree, options)
            if isMade { result.restored += 1 } else { result.upToDate += 1 }
        }
        return result
    }

    /// The images that are still to be flattened.
    private func missing(in tree: FolderTree) throws -> [RestorePlan.Image] {
        try plan.images.filter { image in
            let target = try plan.flattened(image.layer, at: tree.place(for: image.name)).target
            if try target.isUpToDate() {
                // An earlier run may have died before the name was durable.
                try TargetFile.synchronizeFolder(of: target.place.path)
                return false
            }
            // Said before all of the archive is read for it; an unfinished conversion of our own
            // goes on.
            if try target.isFirst, !request.updates { try target.checkReplaceable() }
            return true
        }
    }

    /// Keeps what comes through the pipe in a scratch folder, as it is, and restores from there.
    private func spooled(_ options: MoveOptions) async throws -> UnpackResult {
        let tree = try FolderTree(at: request.directory)
        if request.isFlattened, try missing(in: tree).isEmpty {
            // Whoever writes to the pipe is not to be told that it broke; and an archive that is
            // cut short is none.
            while let run = try reader.next() { try reader.skipFrame(of: run) }
            try ScratchFolder.removeLeftover(of: plan, in: tree)
            var result = UnpackResult()
            result.upToDate = plan.images.count
            return result
        }
        let folder = try ScratchFolder(of: plan, in: tree)
        let spool = try folder.spool(reader, options.stop)
        let unpacking = try Unpacking(request, ArchiveReader(ByteStream(spool)))
        guard unpacking.reader.id == reader.id else {
            throw MigrationError(.bug, "\(request.archiveName): what was kept of it is another archive")
        }
        let result = try await unpacking.restore(options)
        folder.remove()
        return result
    }

    private func flatten(
        _ image: RestorePlan.Image, _ chain: ImageChain, in tree: FolderTree, _ options: MoveOptions
    ) async throws -> Bool {
        let target = try tree.place(for: image.name)
        var conversion = ConversionRequest(
            source: chain.top.path, options: ChainOptions(location: try BackingLocation()),
            target: target.path, format: request.flattening ?? RawChoice())
        (conversion.segmentLength, conversion.policy) = (request.segmentLength, request.policy)
        conversion.place = target
        let file = try plan.flattened(image.layer, at: target)
        let transaction = file.target
        conversion.policy.only = transaction.policy.only
        let move = try Conversion(
            conversion, chain: chain, job: plan.flatteningJob(image.layer, at: target.path),
            access: plan.flattenedAccess(of: image.layer))
        if let earlier = file.earlier {
            let same = try await earlier.same(
                as: move.pipeline(options.unseen), for: transaction.content.job, options.stop)
            if try transaction.takesOver(earlier, holding: same) { return false }
        } else if try await isThere(transaction, options, { try await move.digestSources(options.unseen) }) {
            return false
        }
        return try await move.run(options) { _ in } != .upToDate
    }
}
