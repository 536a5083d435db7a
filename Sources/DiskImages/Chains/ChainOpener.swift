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
        try options.archived(path) ?? open(options.file(of: path), options)
    }

    /// As above, of an image that `options` opened.
    package static func open(_ file: ImageFile, _ options: ChainOptions) throws -> ImageChain {
        var opener = ChainOpener(options: options, isExamining: false)
        let chain = try opener.open(file)
        // One wait serves all that is opened later, too: what changed before it is settled by then.
        guard options.settles, let wait = chain.layers.compactMap(\.file.unsettled).max() else {
            return chain
        }
        SystemClock.sleep(wait)
        opener = ChainOpener(options: options, isExamining: false)
        return try opener.open(options.file(of: file.path))
    }

    /// Opens `path` and as much below it as can be opened, and says what is wrong with the rest;
    /// throws only where `path` itself is no image.
    package static func examine(_ path: FilePath, _ options: ChainOptions) throws -> ImageChain {
        if let chain = try options.archived(path) { return chain }
        var opener = ChainOpener(options: options, isExamining: true)
        return try opener.open(options.file(of: path))
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

    mutating func open(_ file: ImageFile) throws -> ImageChain {
        if !options.goesOnInPlace { try Journal.checkNone(of: file, at: try? file.resolvedPath()) }
        try append(ImageLayer(file: file, content: try options.content(of: file, as: options.format)))
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
        if let (sector, dataEnd) = try layer.content.firstTruncatedSector(in: layer.file) {
            try report(
                .truncated, depth,
                DiskImageError(
                    .badData, layer.path,
                    "sector \(sector) is allocated, but the file ends at \(layer.file.length) bytes; expected data up to \(dataEnd) (the image is truncated)"
                ))
        }
        layers.append(layer)
    }

    private mutating func report(_ kind: ChainProblem.Kind, _ depth: Int, _ error: DiskImageError) throws {
        guard isExamining else { throw error }
        problems.append(ChainProblem(kind: kind, depth: depth, error: error))
    }

    /// The layer below `layer`, or nil where there is none.
    private mutating func openBacking(of layer: ImageLayer) throws -> ImageLayer? {
        guard let name = layer.backingPath else { return nil }
        let depth = layers.count
        guard depth < ImageChain.deepest else {
            throw DiskImageError(
                .badData, layer.path, "the chain is deeper than \(ImageChain.deepest) layers")
        }
        let asked = depth == 1 ? options.backingFormat : nil
        let file: ImageFile
        do {
            file = try openNamed(name, by: layer)
        } catch let error as DiskImageError where error.isMissing {
            guard let found = try search(for: name, under: layer, as: asked) else { throw error }
            file = found
        }
        if !options.goesOnInPlace { try Journal.checkNone(of: file, at: try? file.resolvedPath()) }
        if let loop = layers.firstIndex(where: { $0.file.identity.isSameFile(as: file.identity) }) {
            throw DiskImageError(
                .badData, layer.path, "backing file \(file.path) is layer \(loop) of the same chain (a loop)")
        }
        let backing = ImageLayer(file: file, content: try content(of: file, as: asked, under: layer))
        for misfit in layer.content.misfits(of: backing, under: layer.path)
        where misfit.kind != .mtime || !options.ignoreMtime {
            try report(misfit.kind, depth - 1, misfit.error)
        }
        return backing
    }

    /// The file that `name` in the header of `layer` leads to.
    private func openNamed(_ name: FilePath, by layer: ImageLayer) throws -> ImageFile {
        let place = try options.location.locate(name, from: layer.path)
        do {
            return try options.location.open(place, synchronizing: options.settles)
        } catch let error as DiskImageError where error.kind == .unavailable {
            throw BackingLocation.error(error, opening: place, of: layer.path)
        }
    }

    /// The file of the name's last component, in one of the directories that are searched, that is
    /// what the header of `layer` says; nil where there is none, or the header says nothing of it.
    private func search(for name: FilePath, under layer: ImageLayer, as asked: ImageFormat?) throws
        -> ImageFile?
    {
        guard let last = name.lastComponent, layer.content.backing?.mtime != nil else { return nil }
        var found: ImageFile?
        for directory in options.location.searches {
            let path = directory.appending(last)
            guard try ImageFile.identity(at: path)?.isRegular == true else { continue }
            let file = try options.location.open(named: path, synchronizing: options.settles)
            let backing = ImageLayer(file: file, content: try content(of: file, as: asked, under: layer))
            guard layer.content.misfits(of: backing, under: layer.path).isEmpty else { continue }
            if let other = found, !other.identity.isSameFile(as: file.identity) {
                throw DiskImageError(
                    .badData, layer.path,
                    "backing file \(name) may be \(other.path) or \(file.path): both have its name, size and mtime (\(.backingMap) decides)"
                )
            }
            found = found ?? file
        }
        return found
    }

    /// What the bytes of a backing file mean, of which nobody but its overlay may have said it.
    private func content(of file: ImageFile, as asked: ImageFormat?, under overlay: ImageLayer) throws
        -> any LayerContent
    {
        let opening = try FormatOpening(file, as: asked, options, depth: layers.count)
        if asked == nil, let meant = try overlay.content.backingContent(opening, of: overlay.path) {
            return meant
        }
        return try options.content(opening)
    }
}

extension ChainOptions {
    /// The file of the image at `path`, open. Throws as `ImageChain.open`.
    package func file(of path: FilePath) throws -> ImageFile {
        try confinesImage
            ? location.open(named: path, synchronizing: settles)
            : ImageFile(opening: path, synchronizing: settles)
    }

    /// What the bytes of `file` mean, which stands alone or at a chain's top.
    func content(of file: ImageFile, as asked: ImageFormat?) throws -> any LayerContent {
        try content(FormatOpening(file, as: asked, self, depth: 0))
    }

    /// By the format that somebody named, or by the first that recognises the content.
    fileprivate func content(_ opening: FormatOpening) throws -> any LayerContent {
        let format = formats.first { format in
            opening.asked.map { format.names.contains($0.name) } ?? format.recognises(opening.prefix)
        }
        guard let format else {
            throw DiskImageError(
                .badData, opening.file.path,
                "is said to be \(opening.asked?.name ?? "nothing"), which is not read")
        }
        return try format.content(opening)
    }
}
