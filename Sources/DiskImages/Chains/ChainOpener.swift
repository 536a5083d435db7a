internal import ImageFormats
internal import Linux
package import SystemPackage

extension ImageChain {
    /// Opens `path` and every file below it.
    ///
    /// Throws `unavailable` where a file is missing, unreadable or in use by somebody who may write
    /// to it, `badData` where a file is not what it should be, lies outside the confinement, or no
    /// longer fits its overlay.
    package static func open(_ path: FilePath, _ options: ChainOptions) throws -> ImageChain {
        var opener = ChainOpener(options: options, isExamining: false)
        let chain = try opener.open(path)
        // One wait serves all that is opened later, too: what changed before it is settled by then.
        guard options.settles, let wait = chain.layers.compactMap(\.file.unsettled).max() else {
            return chain
        }
        SystemClock.sleep(wait)
        opener = ChainOpener(options: options, isExamining: false)
        return try opener.open(path)
    }

    /// Opens `path` and as much below it as can be opened, and says what is wrong with the rest;
    /// throws only where `path` itself is no image.
    package static func examine(_ path: FilePath, _ options: ChainOptions) throws -> ImageChain {
        var opener = ChainOpener(options: options, isExamining: true)
        return try opener.open(path)
    }
}

/// Opens a chain from the top down. Layers are told apart as `Documentation/cow-formats.md` says.
struct ChainOpener {
    let options: ChainOptions
    /// Notes what is wrong and goes on, where possible.
    let isExamining: Bool
    private var layers: [ImageLayer] = []
    private var problems: [ChainProblem] = []

    init(options: ChainOptions, isExamining: Bool) {
        self.options = options
        self.isExamining = isExamining
    }

    mutating func open(_ path: FilePath) throws -> ImageChain {
        let file =
            try options.confinesImage
            ? options.location.open(named: path, synchronizing: options.settles)
            : ImageFile(opening: path, synchronizing: options.settles)
        try append(ImageLayer(file: file, content: try content(of: file, options.format, depth: 0)))
        do {
            while let next = try openBacking(of: layers[layers.count - 1]) { try append(next) }
        } catch let error as DiskImageError
            where isExamining && [.badData, .confined, .unavailable].contains(error.kind)
        {
            let kind: ChainProblem.Kind =
                switch error.kind {
                case .unavailable: error.isMissing ? .missing : .unreadable
                case .confined: .confined
                default: .invalid
                }
            problems.append(ChainProblem(kind: kind, depth: layers.count - 1, error: error))
        }
        return ImageChain(layers: layers, problems: problems)
    }

    /// Takes a layer in after the checks that need the layer alone.
    private mutating func append(_ layer: ImageLayer) throws {
        let depth = layers.count
        if !options.forceShare, let user = try layer.file.user() {
            try report(.locked, depth, DiskImageError(.unavailable, layer.path, user.fact))
        }
        if let sector = try layer.firstTruncatedSector() {
            try report(
                .truncated, depth,
                DiskImageError(
                    .badData, layer.path,
                    "sector \(sector) is allocated, but the file ends at \(layer.file.length) bytes; expected data up to \(dataEnd(of: sector, layer)) (the image is truncated)"
                ))
        }
        layers.append(layer)
    }

    private func dataEnd(of sector: UInt64, _ layer: ImageLayer) -> UInt64 {
        (layer.header?.geometry.dataOffset ?? 0) + (sector + 1) * sectorSize
    }

    private mutating func report(_ kind: ChainProblem.Kind, _ depth: Int, _ error: DiskImageError) throws {
        guard isExamining else { throw error }
        problems.append(ChainProblem(kind: kind, depth: depth, error: error))
    }

    /// What the bytes of `file` mean, where it is asked for by name or stands at the top.
    private func content(of file: ImageFile, _ format: ImageFormat?, depth: Int) throws -> ImageLayer.Content
    {
        if format == .raw { return .raw }
        let prefix = try prefix(of: file)
        if case .cow(let layout) = format { return .cow(try header(of: file, prefix, layout, depth)) }
        if CowHeader.isCow(prefix) { return .cow(try header(of: file, prefix, nil, depth)) }
        if let foreign = try ForeignFormat(recognising: prefix, end: end(of: file)) {
            let option = depth == 0 ? "\(options.formatOption) raw" : "--backing-format raw"
            throw DiskImageError(
                .badData, file.path,
                "is \(foreign.name), which Drover does not read (\(foreign.advice); \(option) takes its bytes as they are)"
            )
        }
        return .raw
    }

    /// The last bytes of `file`, in which some formats have their magic number.
    private func end(of file: ImageFile) throws -> [UInt8] {
        guard file.length > UInt64(ForeignFormat.endLength) else { return [] }
        var bytes = [UInt8](repeating: 0, count: ForeignFormat.endLength)
        try bytes.withUnsafeMutableBytes { try file.read(into: $0, at: file.length - UInt64($0.count)) }
        return bytes
    }

    private func prefix(of file: ImageFile) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: max(CowHeader.longestHeader, ForeignFormat.prefixLength))
        let count = try bytes.withUnsafeMutableBytes { try file.readAvailable(into: $0, at: 0) }
        return Array(bytes[..<count])
    }

    private func readings(of file: ImageFile, _ prefix: [UInt8], _ layout: CowLayout?) throws -> [CowHeader] {
        do throws(FormatError) {
            return try CowHeader.readings(of: prefix, fileLength: file.length, layout: layout)
        } catch {
            throw DiskImageError.format(error, file.path)
        }
    }

    /// The one header that fits; where several layouts do, the one whose size is the backing
    /// file's.
    private func header(of file: ImageFile, _ prefix: [UInt8], _ layout: CowLayout?, _ depth: Int) throws
        -> CowHeader
    {
        let readings = try readings(of: file, prefix, layout)
        if readings.count == 1 { return readings[0] }
        let fitting = readings.filter { backingSizes(of: $0, from: file.path).contains($0.size) }
        if fitting.count == 1 { return fitting[0] }
        let names = readings.map(\.layout.rawValue).joined(separator: ", ")
        let option =
            depth == 0 ? options.formatOption : depth == 1 ? "--backing-format" : "-f, on that image itself,"
        throw DiskImageError(
            .badData, file.path, "its header fits more than one layout: \(names) (choose with \(option))")
    }

    /// The sizes that the backing file of a possible header may be said to have: its length, and
    /// its guest disk's where it is a COW file.
    private func backingSizes(of header: CowHeader, from path: FilePath) -> [UInt64] {
        guard !header.backingPath.isEmpty,
            let place = try? options.location.locate(FilePath(bytes: header.backingPath), from: path),
            let file = try? options.location.open(place)
        else { return [] }
        let guests = (try? readings(of: file, prefix(of: file), nil))?.map(\.size) ?? []
        return [file.length] + guests
    }

    /// The layer below `layer`, or nil where there is none.
    private mutating func openBacking(of layer: ImageLayer) throws -> ImageLayer? {
        guard let header = layer.header, let name = layer.backingPath else { return nil }
        let depth = layers.count
        guard depth < ImageChain.deepest else {
            throw DiskImageError(
                .badData, layer.path, "the chain is deeper than \(ImageChain.deepest) layers")
        }
        let place = try options.location.locate(name, from: layer.path)
        let file: ImageFile
        do {
            file = try options.location.open(place, synchronizing: options.settles)
        } catch let error as DiskImageError where error.kind == .unavailable {
            throw BackingLocation.error(error, opening: place, of: layer.path)
        }
        if let loop = layers.firstIndex(where: { $0.file.identity.isSameFile(as: file.identity) }) {
            throw DiskImageError(
                .badData, layer.path, "backing file \(place) is layer \(loop) of the same chain (a loop)")
        }
        let asked = depth == 1 ? options.backingFormat : nil
        let backing = ImageLayer(file: file, content: try backingContent(of: file, asked, header, layer.path))
        try checkFit(of: backing, header, layer, depth - 1)
        return backing
    }

    /// UML reads its backing file as raw bytes, whatever it holds; whether that is meant shows in
    /// the overlay's size.
    private func backingContent(
        of file: ImageFile, _ format: ImageFormat?, _ overlay: CowHeader, _ referrer: FilePath
    ) throws
        -> ImageLayer.Content
    {
        guard format == nil, overlay.layout.isUML else {
            return try content(of: file, format, depth: layers.count)
        }
        let prefix = try prefix(of: file)
        guard CowHeader.isCow(prefix) else { return try content(of: file, nil, depth: layers.count) }
        let isRaw = overlay.size == file.length
        let isChain = ((try? readings(of: file, prefix, nil)) ?? []).contains { $0.size == overlay.size }
        switch (isRaw, isChain) {
        case (true, false): return .raw
        case (false, true):
            let fitting = try readings(of: file, prefix, nil).filter { $0.size == overlay.size }
            return .cow(fitting.count == 1 ? fitting[0] : try header(of: file, prefix, nil, layers.count))
        default:
            let fact =
                isRaw
                ? "both its length and its guest disk have"
                : "neither its length (\(file.length)) nor its guest disk has"
            throw DiskImageError(
                .badData, referrer,
                "backing file \(file.path) is a COW file, and \(fact) the size of \(overlay.size) bytes that the overlay expects (--backing-format raw or cow decides)"
            )
        }
    }

    /// What UML insists on before it opens an overlay: the backing file's size and mtime. QEMU
    /// looked at neither, and its mtime 0 is unknown.
    private mutating func checkFit(
        of backing: ImageLayer, _ header: CowHeader, _ overlay: ImageLayer, _ depth: Int
    ) throws {
        if header.layout.isUML, backing.size != header.size {
            try report(
                .size, depth,
                DiskImageError(
                    .badData, overlay.path,
                    "backing file \(backing.path) has \(backing.size) bytes; the header expects \(header.size) (the base was changed or replaced)"
                ))
        }
        let mtime = backing.file.identity.mtime
        let isUnknown = !header.layout.isUML && header.mtime == 0
        if !isUnknown, !header.expects(mtime), !options.ignoreMtime {
            try report(
                .mtime, depth,
                DiskImageError(
                    .badData, overlay.path,
                    "backing file \(backing.path) has mtime \(mtime.seconds); the header expects \(header.mtime) (if its content is unchanged, --ignore-mtime goes on)"
                ))
        }
    }
}
