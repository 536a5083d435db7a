package import DiskImages
package import ImageFormats
internal import Linux
internal import Manifests
package import SystemPackage

/// What a conversion will write, decided before anything is written.
struct ConversionPlan {
    let header: CowHeader?
    let holding: CopyScope
    let overlay: OverlayPlan?
    let job: ManifestJob

    /// Checks that the target's layout can hold what is asked for; throws `badData` naming one that
    /// can.
    init(_ request: ConversionRequest, _ chain: ImageChain, at place: TargetPlace) throws {
        guard chain.guestLength <= UInt64(Int64.max) else {
            throw MigrationError(
                .badData,
                "\(chain.top.path): its disk is \(chain.guestLength) bytes long; expected less than 2^63")
        }
        switch request.format {
        case .raw:
            guard request.backing == nil else {
                throw MigrationError(
                    .usage, "\(request.target): a raw image has no backing file (-B needs -O cow)")
            }
            (header, holding, overlay) = (nil, .everything(marks: false), nil)
        case .cow(let layout, let alignment):
            guard !request.asBase else {
                throw MigrationError(
                    .usage,
                    "\(request.target): a base that overlays will name is raw (--as-base needs -O raw)")
            }
            overlay = try request.backing.map {
                try OverlayPlan(
                    $0, staged: request.stagedBacking, of: chain, options: request.backingOptions,
                    target: place.path, layout: layout)
            }
            holding =
                overlay.map { .above(depth: $0.depth, backingLength: $0.backing.guestLength) }
                ?? .everything(marks: true)
            header = try CowHeader(
                writing: layout, alignment: alignment, length: chain.guestLength,
                over: try overlay.map { try BackingReference($0.backing, name: $0.name) },
                target: request.target)
            try header?.checkHolds(holding, of: chain, target: request.target)
        }
        job = try ConversionPlan.job(request, chain, place, overlay, header)
    }

    private static func job(
        _ request: ConversionRequest, _ chain: ImageChain, _ place: TargetPlace, _ overlay: OverlayPlan?,
        _ header: CowHeader?
    ) throws -> ManifestJob {
        // A raw file need not be whole sectors, and UML compares a base's length with the overlay's
        // header.
        let size =
            header.map(\.fullLength)
            ?? (request.asBase && chain.top.header == nil ? chain.top.size : chain.guestLength)
        let isInUse = try (chain.layers + (overlay.map { [$0.backing] } ?? [])).contains {
            try $0.file.user() != nil
        }
        var options = ManifestJob.Options(
            layout: header?.layout, alignment: header?.alignment, zeroRun: request.shortestZeroRun,
            segment: request.segmentLength)
        options.base = request.asBase ? true : nil
        options.depth = overlay?.depth
        options.backing = try overlay?.source
        options.backingName = overlay?.name.description
        return ManifestJob(
            sources: try chain.layers.map(ManifestJob.Source.init), options: options,
            target: ManifestJob.Target(
                path: place.path.absolute.description, length: chain.guestLength, size: size),
            consistent: !isInUse)
    }
}

extension CowHeader {
    /// A header for a new image of `length` bytes; `over` is its backing file. Throws `badData`
    /// where the layout cannot say it. `keepsChain` lets a UML layout stand over a COW file, where
    /// the source's did; `size` is what a QEMU header says where that is no whole sectors.
    package init(
        writing layout: CowLayout, alignment: UInt32, length: UInt64, over backing: BackingReference?,
        target: FilePath,
        keepsChain: Bool = false, size exactSize: UInt64? = nil
    ) throws {
        func refuse(_ what: String, _ instead: CowLayout?) -> MigrationError {
            let advice = instead.map { " (-o layout=\($0.rawValue) can)" } ?? ""
            return MigrationError(.badData, "\(target): \(layout.rawValue) cannot hold \(what)\(advice)")
        }
        let path = backing?.name.pathBytes ?? []
        var size = exactSize ?? length
        if layout.isUML {
            guard length > 0 else { throw refuse("a disk of size 0", .qemuV2) }
            guard let backing else { throw refuse("an image without a backing file", .qemuV2) }
            guard !backing.isCow || keepsChain else {
                throw refuse("an overlay of the COW file \(backing.path)", .qemuV2)
            }
            guard backing.guestLength == length else {
                throw refuse(
                    "a disk of \(length) bytes over \(backing.path), which has \(backing.size)", .qemuV2)
            }
            // UML compares with the file's own length, which need not be whole sectors.
            size = backing.size
        }
        if let backing, let misreading = backing.misreading(under: layout) {
            let others: [CowLayout] = backing.guestLength == length && length > 0 ? [.umlV3] : []
            throw refuse(misreading, others.first { backing.misreading(under: $0) == nil })
        }
        guard path.count <= layout.longestPath else {
            let fitsUML = backing.map { !$0.isCow && $0.guestLength == length && length > 0 } ?? false
            let roomy = CowLayout.writable.first {
                $0.longestPath >= path.count && $0 != layout && (fitsUML || !$0.isUML)
            }
            throw refuse("a backing path of \(path.count) bytes", roomy)
        }
        let mtime = try backing.map { backing in
            guard let seconds = backing.mtime.headerSeconds else {
                throw MigrationError(
                    .badData,
                    "\(target): no COW layout can hold the mtime \(backing.mtime.seconds) of \(backing.path); expected 0 to \(UInt32.max) (name a copy that has another time, as drover convert makes one; with another time on that file itself, every overlay that it has would be refused)"
                )
            }
            return seconds
        }
        do throws(FormatError) {
            try self.init(
                layout: layout, backingPath: path, mtime: mtime ?? 0, size: size, alignment: alignment)
        } catch {
            throw MigrationError(.badData, "\(target): \(error)")
        }
        guard !isPastUMLLimit else {
            throw MigrationError(
                .badData,
                "\(target): header and bitmap of a \(layout.rawValue) disk of \(size) bytes pass 2^31 bytes, which no program can open (-O raw can hold it)"
            )
        }
    }

    /// Throws where sectors that the layout has no bit for would have to be held.
    package func checkHolds(_ holding: CopyScope, of chain: ImageChain, target: FilePath) throws {
        guard geometry.mappedSectorCount < geometry.sectorCount else { return }
        if try chain.holdsAnything(holding, from: geometry.mappedSectorCount * sectorSize) {
            throw MigrationError(
                .badData,
                "\(target): \(layout.rawValue) has no bits for the last \(geometry.sectorCount - geometry.mappedSectorCount) sectors, which are allocated (-o layout=uml-v3 can)"
            )
        }
    }
}
