package import DiskImages
internal import ImageFormats
internal import Linux
internal import Manifests
internal import Stages
package import SystemPackage
internal import TransportArchive

/// A COW overlay that is pointed at another backing file.
package struct Rebasing {
    /// What is asked for.
    package struct Request: Sendable {
        package var image: FilePath
        package var options: ChainOptions
        /// The new backing file; nil for none.
        package var backing: BackingRequest?
        /// What the old backing file held, where that is not to be had under its own name.
        package var oldBacking: FilePath? = nil
        /// What else than a file that path may mean.
        package var archived: @Sendable (FilePath) throws -> ImageChain? = { _ in nil }
        /// Whether the header alone is written, because the new backing file has the same bytes.
        package var headerOnly = false
        package var force = false

        package init(image: FilePath, options: ChainOptions, backing: BackingRequest?) {
            (self.image, self.options, self.backing) = (image, options, backing)
        }
    }

    private let request: Request

    package init(_ request: Request) { self.request = request }

    /// Does it; returns how many bytes were copied up into the overlay.
    ///
    /// An interruption leaves the guest's disk as it was, or a journal, with which nothing but this
    /// command opens the image, and goes on.
    package func run(_ options: MoveOptions) throws -> UInt64 {
        let overlay = try OverlayInPlace(request.image, for: .rebase, request.options, force: request.force)
        let own = try overlay.file.identity()
        func checkIsOther(_ file: FileIdentity?, _ path: FilePath) throws {
            guard file.map(own.isSameFile) == true else { return }
            throw MigrationError(
                .badData, "\(request.image): \(path) is this very image; expected another backing file")
        }
        // This process has the lock on it, which an ordinary opening would find.
        for layer in try request.backing?.examine().layers ?? [] {
            try checkIsOther(layer.file.identity, layer.path)
        }
        let backing = try request.backing?.open()
        let header = try newHeader(of: overlay, over: backing?.top)
        if request.headerOnly { try checkNotKnownToDiffer(overlay, backing) }
        let old = request.headerOnly ? nil : try oldBacking(of: overlay)
        let journal = try JournalWriter(of: overlay.file, Journal.Head(.rebase, of: overlay.file.identity()))
        var copied: UInt64 = 0
        if !request.headerOnly {
            copied = try copyUp(overlay, old.flatMap(\.self), backing, journal, options)
            try overlay.file.synchronize()
            // What was compared must not have been written to meanwhile.
            try old.flatMap(\.self)?.checkUnchanged()
        }
        try backing?.checkUnchanged()
        try journal.append(overlay.change(to: header))
        try journal.seal()
        guard let sealed = try Journal(of: overlay.file.identity(), at: overlay.file.place) else {
            throw MigrationError(.io, "\(request.image): its journal is gone")
        }
        try sealed.apply(to: overlay.file)
        try Journal.remove(of: overlay.file)
        return copied
    }

    private func newHeader(of overlay: OverlayInPlace, over backing: ImageLayer?) throws -> CowHeader {
        let old = overlay.header
        let reference = try backing.map {
            try BackingReference(
                $0,
                name: OverlayPlan.name(
                    of: request.backing?.path ?? $0.path, from: overlay.path,
                    CowChoice(old.layout).backingNaming))
        }
        let new = try CowHeader(
            writing: old.layout, alignment: old.alignment,
            for: TargetDisk(
                target: request.image, length: old.geometry.guestLength, size: old.size, over: reference),
            keepsChain: true)
        guard new.size == old.size, new.geometry == old.geometry else {
            throw MigrationError(
                .badData,
                "\(request.image): \(old.layout.rawValue) expects a backing file of \(old.size) bytes; \(backing?.path ?? "none") has \(new.size)"
            )
        }
        return new
    }

    /// The chain that the overlay stood on until now; nil where it stood on nothing.
    private func oldBacking(of overlay: OverlayInPlace) throws -> ImageChain? {
        if let path = request.oldBacking {
            var options = request.options
            (options.format, options.backingFormat, options.isSecond) = (nil, nil, true)
            options.archived = request.archived
            return try ImageChain.open(path, options)
        }
        if let problem = overlay.chain.problems.first { throw problem.error }
        let below = Array(overlay.chain.layers.dropFirst())
        for layer in below where !request.options.forceShare { try layer.file.checkUnused() }
        return below.isEmpty ? nil : ImageChain(layers: below)
    }

    /// Copies into the overlay what its guest would see otherwise, to sectors that it does not hold
    /// yet: nobody looks there before the bits are set.
    private func copyUp(
        _ overlay: OverlayInPlace, _ old: ImageChain?, _ new: ImageChain?, _ journal: JournalWriter,
        _ options: MoveOptions
    ) throws -> UInt64 {
        let geometry = overlay.header.geometry
        let difference = try DiskDifference(of: new.map(GuestReader.init), against: old.map(GuestReader.init))
        let mapped = geometry.mappedSectorCount * sectorSize
        try difference.forEach(in: mapped..<geometry.guestLength) { position, _ in
            throw MigrationError(
                .badData,
                "\(request.image): \(overlay.header.layout.rawValue) has no bit for sector \(position / sectorSize), in which the backing files differ (\(.layout(.umlV3)) has)"
            )
        }
        var bits = try BitmapChanges(overlay.file, overlay.header, journal)
        var cursor = overlay.chain.top.content.cursor(over: overlay.chain.top.file)
        var copied: UInt64 = 0
        var position: UInt64 = 0
        options.progress.begin(
            Progress.Snapshot(name: request.image.description, length: geometry.guestLength))
        while position < mapped {
            // A request to stop is looked for now and then.
            let (answer, end) = try cursor.answer(at: position, upTo: min(mapped, position + (64 << 20)))
            if answer == .absent {
                try difference.forEach(in: position..<end) { start, bytes in
                    try overlay.file.write(bytes, at: geometry.dataOffset + start)
                    try bits.set(start / sectorSize..<(start + UInt64(bytes.count)) / sectorSize)
                    copied += UInt64(bytes.count)
                }
            }
            options.progress.add(covered: end - position)
            position = end
            guard !options.stop.isRequested else {
                throw MigrationError(
                    .stopped,
                    "\(request.image): stopped by a signal, and is as it was (run the same command again)")
            }
        }
        try bits.flush()
        return copied
    }

    /// Throws where manifests prove that the new backing file has other bytes than the old one.
    private func checkNotKnownToDiffer(_ overlay: OverlayInPlace, _ backing: ImageChain?) throws {
        guard let new = backing?.top, overlay.chain.layers.count > 1 else { return }
        let old = overlay.chain.layers[1]
        guard let a = try record(of: old), let b = try record(of: new),
            a.job?.options.segment == b.job?.options.segment, a.job?.target.length == b.job?.target.length,
            a.completion?.digest != b.completion?.digest
        else { return }
        throw MigrationError(
            .badData,
            "\(request.image): \(new.path) has other bytes than \(old.path), as their manifests say (without \(.headerOnly), what differs is copied up first)"
        )
    }

    private func record(of layer: ImageLayer) throws -> ManifestContents? {
        guard layer.isRaw else { return nil }
        return try ManifestFile.proof(of: layer.file.identity, called: FilePlace(following: layer.path))
    }
}
