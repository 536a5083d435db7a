package import DiskImages
internal import ImageFormats
internal import Manifests
package import Migration
package import PipelineFiles
internal import Stages
internal import SystemPackage

/// A fleet as its pipeline file describes it: every target with what it is made from, and what is
/// in the way. Nothing is written to find out.
package struct FleetPlan: Sendable {
    package let spec: PipelineSpec
    /// Bases first, by name; then images in the order of their names.
    package let items: [FleetItem]

    /// Opens every chain once. What is wrong with one image is said in its item; throws where there
    /// can be no plan at all.
    /// `withOrphans`: the targets of earlier runs whose sources are gone come after the others.
    package init(_ spec: PipelineSpec, _ sources: [FleetSource], withOrphans: Bool = false) throws {
        self.spec = spec
        var planner = FleetPlanner(spec, try spec.chainOptions())
        for source in sources { planner.open(source) }
        let items = planner.items()
        self.items = withOrphans ? try items + FleetPlan.orphans(of: spec, beside: items) : items
    }

    /// Targets in the pipeline's folder that are none of `items`, by their manifests, and whose
    /// sources are not where they were.
    private static func orphans(of spec: PipelineSpec, beside items: [FleetItem]) throws -> [FleetItem] {
        guard spec.target.archive == nil else { return [] }
        let known = Set(items.map(\.target.absolute))
        return try VerifiableFiles.recorded(below: spec.target.directory).compactMap { target in
            guard !known.contains(target.absolute), let source = try recordedSource(of: target),
                try ImageFile.identity(at: source) == nil
            else { return nil }
            return FleetItem(
                role: .orphan, name: spec.shown(source), sources: [source], target: target, base: nil,
                chain: nil)
        }
    }

    /// The first file that a manifest says was read; nil where it cannot be read itself.
    private static func recordedSource(of target: FilePath) throws -> FilePath? {
        do {
            let path =
                try ManifestFile.isOfArchive(target)
                ? ManifestFile.readArchive(of: target)?.job?.sources.first?.path
                : ManifestFile.readEnds(of: target)?.job?.sources.first?.path
            return path.map { FilePath($0) }
        } catch is ManifestError {
            return nil
        }
    }

    /// Where the target of the item at `index` goes: links are followed as long as they stay in the
    /// folder of the fleet's targets. nil where there is no such folder yet; `makes` makes all that
    /// is missing. Throws `target` where a link leads out of it.
    func place(of index: Int, makes: Bool) throws -> FilePlace? {
        let folder = spec.target.archive?.removingLastComponent() ?? spec.target.directory
        if makes { try FolderTree.make(folder) }
        guard try ImageFile.identity(at: folder) != nil else { return nil }
        return try Confinement(at: folder).place(following: items[index].target, makes: makes)
    }

    /// The conversion that makes the target at `index`.
    func conversion(at index: Int) throws -> ConversionRequest {
        let item = items[index]
        var options = try spec.chainOptions()
        var source = item.sources[0]
        if item.role == .base, let chain = item.chain {
            // As the overlays read it, whatever its content looks like.
            source = chain.bottom.path
            (options.format, options.backingFormat) = (chain.bottom.format, nil)
        }
        var request = ConversionRequest(
            source: source, options: options, target: item.target,
            format: item.role == .base ? RawChoice() : spec.target.options.choice(for: spec.target.format))
        request.asBase = item.role == .base
        request.root = spec.target.directory
        request.place = try self.place(of: index, makes: false)
        if let base = item.base {
            let isThere = request.place != nil
            request.backing = BackingRequest(
                items[base].target, as: .raw,
                at: isThere ? try BackingLocation(confinement: [spec.target.directory]) : nil, like: options)
            request.backing?.staged = try stagedBase(of: index)
            if request.backing?.staged != nil { request.policy.naming = .withFamily }
        }
        return request
    }

    /// The packing that makes the archive at `index`; `settles`: it is going to be done, not only
    /// looked at.
    func packing(at index: Int, settles: Bool = false) throws -> PackRequest {
        var options = try spec.chainOptions()
        options.settles = settles
        var request = PackRequest(
            archive: items[index].target, images: items[index].sources, options: options,
            compression: spec.compression)
        request.place = try self.place(of: index, makes: false)
        request.since = spec.target.parent
        request.companions = spec.target.companions
        return request
    }
}

extension PipelineSpec {
    /// How the fleet's images are opened. Throws `unavailable` where a directory of `confine` is
    /// missing.
    package func chainOptions() throws -> ChainOptions {
        var options = ChainOptions(
            format: sourceFormat, backingFormat: backingFormat,
            location: try BackingLocation(moves: backingMap, searches: backingSearch, confinement: confine),
            ignoreMtime: ignoreMtime)
        options.confinesImage = true
        return options
    }
}

extension FormatOptions {
    /// The choice of a target in `format`.
    package func choice(for format: TargetFormatName) -> any FormatChoice {
        switch format {
        case .cow: CowChoice(layout ?? .umlV3, alignment: alignment ?? CowHeader.usualAlignment)
        case .qcow2:
            Qcow2Choice(clusterBits: clusterBits ?? Qcow2Header.usualClusterBits, compression: compression)
        default: RawChoice()
        }
    }
}
