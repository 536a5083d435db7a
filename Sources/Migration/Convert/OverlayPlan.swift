internal import DiskImages
internal import ImageFormats
internal import Linux
internal import Manifests
internal import Stages
internal import SystemPackage

/// A target that is to be an overlay of a backing file: which of the source's layers it holds, and
/// its header.
struct OverlayPlan {
    /// The backing file, opened.
    let backing: ImageLayer
    /// It with everything below it.
    let chain: ImageChain
    /// Layers of the source above it: they are merged into the target. All, where the target holds
    /// what differs.
    let depth: Int
    /// Whether the target holds just what differs from the backing file.
    let isCompared: Bool
    /// Whether the backing file only stands for the layer at `depth` and must be shown to hold the
    /// same bytes.
    let needsProof: Bool
    /// The name that the header has for it.
    let name: FilePath
    /// The file that is called so, or will be.
    private let path: FilePath
    private let isStaged: Bool

    /// Finds `request`'s file in `chain` by device and inode; where it is no layer of it, it stands
    /// for the bottom layer. `root` is a folder in which both are moved together.
    init(
        _ request: BackingRequest, of chain: ImageChain, target: FilePath, naming: BackingNaming,
        within root: FilePath? = nil
    ) throws {
        let path = request.path
        // UML reads its backing file as raw bytes; a COW file can be meant by name alone.
        let opened = try request.open()
        self.chain = opened
        isCompared = request.isCompared
        let identity = opened.top.file.identity
        if isCompared {
            depth = chain.layers.count
            needsProof = false
            backing = opened.top
        } else if let found = chain.layers.firstIndex(where: { $0.file.identity.isSameFile(as: identity) }),
            found > 0
        {
            depth = found
            backing = request.options.format == nil ? chain.layers[found] : opened.top
            // By -F the layer may mean something else than it does in the chain.
            needsProof = backing.layoutName != chain.layers[found].layoutName
        } else if chain.top.file.identity.isSameFile(as: identity) {
            throw MigrationError(
                .badData, "\(path): is the source itself; expected a backing file (\(.backing))")
        } else {
            depth = chain.layers.count - 1
            needsProof = true
            backing = opened.top
        }
        name = OverlayPlan.name(of: path, from: target, naming, within: root)
        self.path = path
        isStaged = request.staged != nil
    }

    /// The name that a header in the file `target` has for the backing file at `path`.
    static func name(
        of path: FilePath, from target: FilePath, _ naming: BackingNaming, within root: FilePath? = nil
    ) -> FilePath {
        let folder = target.absolute.lexicallyNormalized().removingLastComponent()
        switch naming {
        case .absolute: return path.absolute
        case .asGiven:
            guard path.isRelative, means(path, from: folder, path) else { return path.absolute }
            return path
        case .relative:
            let backing = path.absolute.lexicallyNormalized()
            let root = root?.absolute.lexicallyNormalized()
            let isMovedWith = root.map { backing.starts(with: $0) && folder.starts(with: $0) } ?? false
            guard backing.starts(with: folder) || isMovedWith else { return path.absolute }
            let shared = zip(backing.components, folder.components).prefix { $0 == $1 }.count
            var name = FilePath(
                root: nil, folder.components.dropFirst(shared).map { _ in FilePath.Component("..") })
            name.components.append(contentsOf: backing.components.dropFirst(shared))
            return means(name, from: folder, path) ? name : path.absolute
        }
    }

    /// Whether `name` leads from `folder` to the file at `path`, or would, where that is not there.
    private static func means(_ name: FilePath, from folder: FilePath, _ path: FilePath) -> Bool {
        do {
            let given = try ImageFile.identity(at: path)
            guard let named = try ImageFile.identity(at: folder.pushing(name)), let given else {
                return given == nil && !name.components.isEmpty && name.isRelative
                    && folder.pushing(name).lexicallyNormalized() == path.absolute.lexicallyNormalized()
            }
            return named.isSameFile(as: given)
        } catch {
            return false
        }
    }

    /// What of the source the target holds, in pieces of `unit` bytes.
    func scope(unit: UInt64) -> CopyScope {
        isCompared
            ? .differing(from: GuestReader(self.chain), unit: unit)
            : .above(depth: depth, backingLength: backing.guestLength, unit: unit)
    }

    /// What the manifest says of the backing file: under the name that it will have.
    var source: ManifestJob.Source {
        get throws {
            try ManifestJob.Source(backing, named: isStaged ? TargetPlace.follow(path).lastComponent : nil)
        }
    }

    /// Shows that the backing file has the bytes of the layer it stands for, for the length of the
    /// disk. A complete manifest of its own that names that layer as its source is proof; otherwise
    /// both are read.
    func prove(_ chain: ImageChain, _ options: MoveOptions) async throws {
        guard needsProof else { return }
        let bottom = ImageChain(layers: Array(chain.layers[depth...]))
        if try isCopy(of: bottom) { return }
        let other = backing.isRaw ? ImageChain(layers: [backing]) : self.chain
        let comparison = DiskComparison(bottom, other, length: chain.guestLength)
        guard
            let offset = try await comparison.firstDifference(named: backing.path.description, options)
        else { return }
        throw MigrationError(
            .badData,
            "\(backing.path): differs from \(bottom.top.path) at sector \(offset / sectorSize); expected a backing file with the same bytes (\(.backing))"
        )
    }

    private func isCopy(of bottom: ImageChain) throws -> Bool {
        let identity = backing.file.identity
        guard backing.isRaw,
            let manifest = try? ManifestFile.proof(of: identity, called: FilePlace(following: path)),
            let job = manifest.job, let completion = manifest.completion, manifest.covers(job.target.length),
            job.options.depth == nil,
            job.consistent
        else { return false }
        let sources = try bottom.layers.map(ManifestJob.Source.init)
        return completion.matches(identity) && job.sources.count == sources.count
            && zip(sources, job.sources).allSatisfy { $0.isProven(by: $1) }
    }
}
