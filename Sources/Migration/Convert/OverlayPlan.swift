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
    /// Layers of the source above it: they are merged into the target.
    let depth: Int
    /// Whether the backing file only stands for the layer at `depth` and must be shown to hold the
    /// same bytes.
    let needsProof: Bool
    /// The name that the header has for it.
    let name: FilePath
    /// The file that is called so, or will be.
    private let path: FilePath
    private let isStaged: Bool

    /// Finds `request`'s file in `chain` by device and inode; where it is no layer of it, it stands
    /// for the bottom layer. `isAbsolute`: the target's header needs an absolute name for it.
    init(_ request: BackingRequest, of chain: ImageChain, target: FilePath, isAbsolute: Bool) throws {
        let path = request.path
        // UML reads its backing file as raw bytes; a COW file can be meant by name alone.
        let opened = try request.open()
        self.chain = opened
        let identity = opened.top.file.identity
        if let found = chain.layers.firstIndex(where: { $0.file.identity.isSameFile(as: identity) }),
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
        name = OverlayPlan.name(of: path, from: target, isAbsolute: isAbsolute)
        self.path = path
        isStaged = request.staged != nil
    }

    /// The backing file's name for a header: absolute where it must be, else as it was given, where
    /// that means the same file from the target's folder.
    static func name(of path: FilePath, from target: FilePath, isAbsolute: Bool) -> FilePath {
        guard !isAbsolute, path.isRelative else { return path.absolute }
        let beside = target.removingLastComponent().pushing(path)
        guard let named = try? ImageFile.identity(at: beside), let given = try? ImageFile.identity(at: path),
            named.isSameFile(as: given)
        else { return path.absolute }
        return path
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
