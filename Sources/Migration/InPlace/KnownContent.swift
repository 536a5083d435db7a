internal import DiskImages
internal import Glibc
internal import ImageFormats
internal import Linux
internal import Manifests
internal import Stages
internal import SystemPackage
internal import TransportArchive

/// A record of what a raw file held while it had some time: a manifest of it, as target or as
/// source, or an archive in which it is.
struct KnownContent {
    private enum Record {
        case segments(RecordedSegments, length: UInt64)
        case layer(digest: String)
    }

    /// The manifest or the archive.
    let path: FilePath
    /// The time that the file had.
    let mtime: Timestamp
    private let record: Record

    /// What `path` knows of `base` when its time was `seconds`; nil where that is nothing, or the
    /// file is neither a manifest nor an archive. It goes by the base's name or inode, size and
    /// time.
    init?(_ path: FilePath, of base: ImageLayer, at seconds: UInt32) throws {
        self.path = path
        let file = try ImageFile(opening: path)
        func isMeant(_ size: UInt64, _ time: Timestamp?) -> Bool {
            size == base.file.length && time.map { UInt32(exactly: $0.seconds) == seconds } ?? false
        }
        if try ArchiveAddress.isArchive(path) {
            let reader = try ArchiveReader(ByteStream(file))
            let index = try reader.readIndex(of: file)
            let found = reader.header.layers.firstIndex { layer in
                layer.isRaw && isMeant(layer.size, layer.time)
                    && layer.names.contains { ArchiveName.lastComponent(of: $0) == base.path.lastBytes }
            }
            guard let found else { return nil }
            mtime = reader.header.layers[found].time
            record = .layer(digest: index.layers[found].digest)
            return
        }
        guard path.extension == "manifest", file.length <= UInt64(ManifestContents.longest),
            let contents = try? ManifestContents(parsing: file.prefix(Int(file.length)), path: path),
            let job = contents.job, let completion = contents.completion, job.consistent,
            completion.lost == nil,
            job.options.depth == nil, contents.covers(job.target.length)
        else { return nil }
        func isNamed(_ path: String, _ inode: UInt64?) -> Bool {
            FilePath(path).lastComponent == base.path.lastComponent || inode == base.file.identity.inode
        }
        record = .segments(RecordedSegments(contents.segments), length: job.options.segment)
        if job.options.layout == ImageFormat.raw.name, isNamed(job.target.path, nil),
            isMeant(completion.size, Timestamp(text: completion.mtime)),
            let time = Timestamp(text: completion.mtime)
        {
            mtime = time
        } else if job.sources.count == 1, let source = job.sources.first,
            source.layout == ImageFormat.raw.name,
            source.device == nil, isNamed(source.path, source.inode),
            isMeant(source.size, Timestamp(text: source.mtime)),
            let time = Timestamp(text: source.mtime)
        {
            mtime = time
        } else {
            return nil
        }
    }

    /// Whether `base` holds now what is recorded. All of it is read.
    func isHeld(by base: ImageLayer, _ options: MoveOptions) async throws -> Bool {
        let chain = ImageChain(layers: [base])
        switch record {
        case .segments(let segments, let length):
            let pipeline = CopyPipeline(
                ChainContent(
                    chain, .everything(marks: false), segmentLength: length, progress: options.progress),
                options)
            return try await pipeline.firstMismatch(with: segments) == nil && !options.stop.isRequested
        case .layer(let digest): return try isHeld(by: GuestReader(chain), digest, options.stop)
        }
    }

    /// Whether the disk has the digest that an archive's index has of it.
    private func isHeld(by guest: GuestReader, _ digest: String, _ stop: StopFlag) throws -> Bool {
        let buffer = try AlignedBuffer(capacity: Int(LayerDigest.window))
        var found = LayerDigest()
        for start in stride(from: 0, to: guest.length, by: Int(LayerDigest.window)) {
            guard !stop.isRequested else { return false }
            let end = min(start + LayerDigest.window, guest.length)
            var extents = guest.extents(in: start..<end)
            var isZero = true
            while isZero, let extent = try extents.next() { isZero = extent.isZero }
            if isZero { continue }
            let bytes = UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[..<Int(end - start)])
            try guest.read(at: start, into: bytes)
            found.add(rawWindow: start / LayerDigest.window, UnsafeRawBufferPointer(bytes))
        }
        return found.value.description == digest
    }
}

extension FilePath {
    fileprivate var lastBytes: [UInt8] { lastComponent.map { Array($0.string.utf8) } ?? [] }
}
