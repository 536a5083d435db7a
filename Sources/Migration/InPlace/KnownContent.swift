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
        case layer(ArchiveReader)
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
        if try ArchiveVerification.isArchive(path) {
            let reader = try ArchiveReader(ByteStream(file))
            let index = try reader.readIndex(of: file)
            let found = reader.header.layers.indices.first { index in
                let layer = reader.header.layers[index]
                return layer.isRaw && isMeant(layer.size, layer.time)
                    && layer.names.contains { ArchiveName.lastComponent(of: $0) == base.path.lastBytes }
            }
            guard let found else { return nil }
            mtime = reader.header.layers[found].time
            try reader.seek(to: found, index.layers[found])
            record = .layer(reader)
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
        case .layer(let reader): return try isHeld(by: GuestReader(chain), reader, options.stop)
        }
    }

    /// The records of a layer in their order: what is data has the digest that they say, all else
    /// is zeros.
    private func isHeld(by guest: GuestReader, _ reader: ArchiveReader, _ stop: StopFlag) throws -> Bool {
        let buffer = try AlignedBuffer(capacity: RunRecord.longestContent)
        var layer: Int?
        var position: UInt64 = 0
        while let run = try reader.next(), layer == nil || layer == run.layer, !stop.isRequested {
            layer = run.layer
            var length = 0
            for data in run.runs where !data.isZero {
                let count = Int(data.end - data.start)
                guard length + count <= run.byteLength, data.start >= position,
                    try isZero(guest, position..<data.start, stop)
                else { return false }
                try guest.read(
                    at: data.start,
                    into: UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[length..<length + count]))
                (length, position) = (length + count, data.end)
            }
            let content = UnsafeRawBufferPointer(rebasing: buffer.bytes[..<length])
            guard length == run.byteLength, length == 0 || ContentDigest(of: content) == run.contentDigest
            else {
                return false
            }
            try reader.skipFrame(of: run)
        }
        return try !stop.isRequested && isZero(guest, position..<guest.length, stop)
    }

    private func isZero(_ guest: GuestReader, _ range: Range<UInt64>, _ stop: StopFlag) throws -> Bool {
        let buffer = try AlignedBuffer(capacity: 256 << 10)
        var extents = guest.extents(in: range)
        while let extent = try extents.next() {
            var position = extent.start
            while !extent.isZero, position < extent.end {
                guard !stop.isRequested else { return false }
                let count = Int(min(extent.end - position, UInt64(buffer.bytes.count)))
                let bytes = UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[..<count])
                try guest.read(at: position, into: bytes)
                guard ZeroScan.isZero(UnsafeRawBufferPointer(bytes)) else { return false }
                position += UInt64(count)
            }
        }
        return true
    }
}

extension FilePath {
    fileprivate var lastBytes: [UInt8] { lastComponent.map { Array($0.string.utf8) } ?? [] }
}
