internal import DiskImages
internal import ImageFormats
internal import Linux
internal import Manifests
internal import SystemPackage

/// What a conversion will write, decided before anything is written.
struct ConversionPlan {
    let format: any TargetFormat
    let holding: CopyScope
    let overlay: OverlayPlan?
    let job: ManifestJob

    /// Checks that the target's format can hold what is asked for; throws `badData` naming one that
    /// can.
    init(_ request: ConversionRequest, _ chain: ImageChain, at place: TargetPlace) throws {
        guard chain.guestLength <= UInt64(Int64.max) else {
            throw MigrationError(
                .badData,
                "\(chain.top.path): its disk is \(chain.guestLength) bytes long; expected less than 2^63")
        }
        guard request.backing == nil || request.format.takesBacking else {
            throw MigrationError(
                .usage,
                "\(request.target): a raw image has no backing file (\(.backing) needs \(.written(.cow)) or \(.written(.qcow2)))"
            )
        }
        guard !request.asBase || !request.format.marks else {
            throw MigrationError(
                .usage,
                "\(request.target): a base that overlays will name is raw (\(.asBase) needs \(.written(.raw)))"
            )
        }
        overlay = try request.backing.map {
            try OverlayPlan(
                $0, of: chain, target: place.path, naming: request.format.backingNaming, within: request.root)
        }
        holding = overlay?.scope(unit: request.format.unit) ?? .everything(marks: request.format.marks)
        // A raw file need not be whole sectors, and UML compares a base's length with the overlay's
        // header.
        format = try request.format.format(
            for: TargetDisk(
                target: request.target, length: chain.guestLength,
                size: request.asBase && chain.top.isRaw ? chain.top.size : nil,
                over: try overlay.map { try BackingReference($0.backing, name: $0.name) }))
        try format.checkHolds(holding, of: chain, target: request.target)
        job = try ConversionPlan.job(request, chain, place, overlay, format)
    }

    private static func job(
        _ request: ConversionRequest, _ chain: ImageChain, _ place: TargetPlace, _ overlay: OverlayPlan?,
        _ format: any TargetFormat
    ) throws -> ManifestJob {
        let isInUse = try (chain.layers + (overlay?.chain.layers ?? [])).contains {
            try $0.file.user() != nil
        }
        var options = ManifestJob.Options(
            format, zeroRun: request.shortestZeroRun, segment: request.segmentLength)
        options.base = request.asBase ? true : nil
        options.depth = overlay?.depth
        options.diff = overlay?.isCompared == true ? true : nil
        options.backing = try overlay?.source
        options.backingName = overlay?.name.description
        return ManifestJob(
            sources: try chain.layers.map(ManifestJob.Source.init), options: options,
            target: ManifestJob.Target(
                path: place.path.absolute.description, length: chain.guestLength, size: format.fileLength),
            consistent: !isInUse)
    }
}

extension ManifestJob.Options {
    /// Of a target in `format`; `zeroRun` is the shortest run of zeros that is left out of what is
    /// read, both in bytes, as is `segment`.
    init(_ format: any TargetFormat, zeroRun: Int, segment: UInt64) {
        let description = format.description
        self.init(
            format: description.format, layout: description.layout, alignment: description.alignment,
            zeroRun: zeroRun, segment: segment)
        compression = description.compression
    }
}
