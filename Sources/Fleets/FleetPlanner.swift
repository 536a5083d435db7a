internal import DiskImages
internal import ImageFormats
internal import Linux
internal import Manifests
internal import Migration
internal import PipelineFiles
internal import SystemPackage

/// Makes items of sources: which file is a base, what each target is called, and what is in the
/// way.
struct FleetPlanner {
    private let spec: PipelineSpec
    private let options: ChainOptions
    private var opened: [(source: FleetSource, chain: ChainFacts?, problem: FleetProblem?)] = []

    init(_ spec: PipelineSpec, _ options: ChainOptions) {
        self.spec = spec
        self.options = options
    }

    /// Looks at one source and closes it again: a fleet has more files than a process may hold
    /// open.
    mutating func open(_ source: FleetSource) {
        do {
            opened.append((source, ChainFacts(try ImageChain.open(source.path, options)), nil))
        } catch {
            opened.append((source, nil, FleetProblem(error)))
        }
    }

    /// All items, with those problems that only show when all are known.
    func items() -> [FleetItem] {
        if let archive = spec.target.archive { return checked([itemOfAll(archive)]) }
        var bases = spec.target.keepChain ? baseItems() : [:]
        var items = bases.values.map(\.item).sorted { $0.name < $1.name }
        for (place, item) in items.enumerated() {
            if let file = item.chain.map({ FileID($0.bottom.identity) }) { bases[file]?.place = place }
        }
        for (source, chain, problem) in opened {
            let base = chain.flatMap { bases[FileID($0.bottom.identity)]?.place }
            // A base that is listed among the sources is moved once, as the base.
            if base != nil, chain?.layers.count == 1 { continue }
            items.append(
                item(
                    source, chain, role: spec.operation == .pack ? .archive : .image, base: base,
                    format: spec.target.formatName(spec.operation), problem))
        }
        return checked(items)
    }

    /// Every file at the bottom of a chain that overlays stand on, and every raw source: with a
    /// kept chain it is a base.
    private func baseItems() -> [FileID: (item: FleetItem, place: Int)] {
        var bases: [FileID: (item: FleetItem, place: Int)] = [:]
        let standing = opened.filter { ($0.chain?.layers.count ?? 0) > 1 }
        let stoodOn = Set(standing.compactMap { $0.chain.map { FileID($0.bottom.identity) } })
        // A source of its own comes first: it says under which name it is to be found.
        for (source, chain, _) in opened {
            guard let chain, chain.layers.count == 1 else { continue }
            let file = FileID(chain.bottom.identity)
            guard chain.bottom.isRaw || stoodOn.contains(file), bases[file] == nil else { continue }
            bases[file] = (item(source, chain, role: .base, base: nil, format: ImageFormat.raw.name, nil), 0)
        }
        for (source, chain, _) in standing {
            guard let chain else { continue }
            let file = FileID(chain.bottom.identity)
            guard bases[file] == nil else { continue }
            let path = chain.bottom.path
            let alone = FleetSource(
                path: path, directory: folder(of: path), name: path.lastComponent?.stem ?? "",
                extension: path.lastComponent?.extension ?? "", line: source.line)
            bases[file] = (
                item(
                    alone, ChainFacts(bottomOf: chain), role: .base, base: nil, format: ImageFormat.raw.name,
                    nil), 0
            )
        }
        return bases
    }

    /// What `{directory}` means for a base: below the fixed part of the first pattern that holds
    /// it, else below the deepest confinement that does. So it is the same whichever overlays can
    /// be opened.
    private func folder(of path: FilePath) -> FilePath {
        let folder = path.removingLastComponent()
        let places =
            spec.sources.map(\.fixed) + spec.confine.sorted { $0.components.count > $1.components.count }
        for place in places {
            for place in [place, (try? resolved(place)) ?? place] where folder.starts(with: place) {
                var below = folder
                _ = below.removePrefix(place)
                return below
            }
        }
        return ""
    }

    private func item(
        _ source: FleetSource, _ chain: ChainFacts?, role: FleetItem.Role, base: Int?, format: String,
        _ problem: FleetProblem?
    ) -> FleetItem {
        var problem = problem
        var target = FilePath()
        do {
            target = spec.target.directory.pushing(
                try spec.target.name.path(
                    name: source.name, extension: source.extension, directory: source.directory,
                    format: format))
        } catch {
            problem = problem ?? FleetProblem(error)
        }
        return FleetItem(
            role: role, name: spec.shown(source.path), sources: [source.path], target: target, base: base,
            chain: chain, problem: problem)
    }

    private func itemOfAll(_ archive: FilePath) -> FleetItem {
        FleetItem(
            role: .archive, name: archive.lastComponent?.string ?? archive.description,
            sources: opened.map(\.source.path), target: archive,
            base: nil, chain: nil, problem: FleetProblem(all: opened.compactMap(\.problem)))
    }

    /// Adds what is wrong between items: names that collide, targets that are sources.
    private func checked(_ items: [FleetItem]) -> [FleetItem] {
        var files = Set(opened.flatMap { $0.chain?.layers.map { FileID($0.identity) } ?? [] })
        // One that cannot be opened as an image is a source all the same; what cannot even be
        // looked at is no target either.
        for (source, chain, _) in opened where chain == nil {
            if let found = try? ImageFile.identity(at: source.path) { files.insert(FileID(found)) }
        }
        var folders = TargetFolders()
        var owners: [FilePath: Int] = [:]
        var items = items
        for place in items.indices where !items[place].target.isEmpty {
            let target = items[place].target
            do {
                let file = try folders.file(of: target)
                if let other = owners[file] {
                    let error = MigrationError(
                        .target,
                        "\(target): is the target of both \(items[other].name) and \(items[place].name) (change the target's name)"
                    )
                    for both in [other, place] {
                        items[both].problem = items[both].problem ?? FleetProblem(error, isOfLayout: true)
                    }
                }
                owners[file] = place
                for path in [target, TargetFile.partialPath(of: target), ManifestFile.path(of: target)] {
                    guard let found = try ImageFile.identity(at: path), files.contains(FileID(found)) else {
                        continue
                    }
                    throw MigrationError(
                        .target,
                        "\(path): is one of the fleet's own sources (choose another target directory, or exclude it)"
                    )
                }
            } catch {
                items[place].problem = FleetProblem(error, isOfLayout: true)
            }
        }
        return items
    }
}

/// Tells which file a target's name means, whatever links lead there.
private struct TargetFolders {
    /// Every folder that was looked at, without links.
    private var known: [FilePath: FilePath] = [:]

    /// The file that a move to `target` writes. Throws where links lead in a circle.
    mutating func file(of target: FilePath) throws -> FilePath {
        let file = try TargetPlace.follow(target)
        return place(of: file.removingLastComponent()).appending(file.lastComponent.map { [$0] } ?? [])
    }

    private mutating func place(of folder: FilePath) -> FilePath {
        if let place = known[folder] { return place }
        // In what is not there yet are no links.
        let found =
            (try? resolved(folder)) ?? folder.lastComponent.map {
                place(of: folder.removingLastComponent()).appending($0)
            } ?? folder
        known[folder] = found
        return found
    }
}
