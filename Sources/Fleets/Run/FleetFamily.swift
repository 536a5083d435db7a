internal import DiskImages
internal import ImageFormats
internal import Linux
internal import Manifests
internal import Migration
internal import SystemPackage

/// A base that was made anew and the overlays that were made of the new one: they are named
/// together, so that no old overlay ever stands on the new base, and no new one on the old.
///
/// Each is whole under its staging name. Whoever completes the last one locks the base's manifest
/// and those of all members, records the family in the base's, and gives the names: the overlays',
/// then the base's. From the record on any later run goes on with that.
struct FleetFamily {
    /// What became of it.
    enum Verdict {
        case named
        /// Nothing of it is named. `isHeldUp`: running again does not help by itself.
        case waits(String, isHeldUp: Bool)
    }

    /// An overlay with its manifest, locked.
    private struct Member {
        let index: Int
        let manifest: ManifestFile
        let digest: String
    }

    let run: FleetRun
    /// The base's place.
    let base: Int

    private var plan: FleetPlan { run.plan }

    /// Names base and overlays where all that stands on the old base was made anew. `staged` are
    /// the overlays that this run has made. Throws `locked` where another process works on the
    /// base.
    func complete(staged: [Int]) throws -> Verdict {
        let manifest = try lock(base)
        let target = plan.items[base].target
        switch try Conversion(plan.conversion(at: base)).state() {
        case .held: break
        case .upToDate:
            // Another run has named them all.
            return try nameAlone(staged)
        case .inUse:
            return .waits(
                "\(target) is in use by \(try ReplacementPolicy.user(of: target) ?? "another process")",
                isHeldUp: true)
        case .altered: return .waits("\(target) was written to since it was completed", isHeldUp: true)
        default: return .waits("\(plan.items[base].name), which changed again", isHeldUp: false)
        }
        var members: [Member] = []
        var waits: [(reason: String, isHeldUp: Bool)] = []
        for index in try plan.overlays(of: base, without: run.options.without) {
            if let reason = try reasonToWait(for: index, &members) { waits.append(reason) }
        }
        guard waits.isEmpty else {
            let others = waits.count > 3 ? ", and \(waits.count - 3) more" : ""
            return .waits(
                waits.prefix(3).map(\.reason).joined(separator: ", ") + others,
                isHeldUp: waits.contains { $0.isHeldUp })
        }
        try manifest.cut(to: manifest.load().wholeLength)
        try manifest.append(
            ManifestFamily(
                try members.map { member in
                    ManifestFamily.Member(
                        target: try ManifestFamily.name(of: plan.items[member.index].target),
                        digest: member.digest)
                }))
        for member in members { try name(member.index, member.manifest) }
        try name(base, manifest)
        return .named
    }

    /// Goes on with names that an earlier run began to give. Throws what is in the way.
    func finish(_ tell: (FleetEvent) -> Void) throws {
        let manifest = try lock(base)
        // Asked again under the lock: whoever had it may have finished it.
        guard let family = try ManifestFile.unnamedFamily(of: target(base)) else { return }
        tell(.namesFamily(base))
        var digests = Dictionary(family.members.map { ($0.target, $0.digest) }) { first, _ in first }
        for index in plan.items.indices where plan.items[index].base == base {
            guard
                let digest = digests.removeValue(
                    forKey: try ManifestFamily.name(of: plan.items[index].target))
            else { continue }
            if run.options.without.contains(index) { continue }
            // What was begun anew since is of the family no longer.
            guard try ManifestFile.read(of: target(index))?.completion?.digest == digest else { continue }
            try name(index, lock(index))
        }
        for target in digests.keys.sorted() {
            tell(
                .warned(
                    base,
                    "\(target) belongs to its family and is in this pipeline no longer: it keeps its old content, whose base is replaced"
                ))
        }
        try name(base, manifest)
    }

    private func target(_ index: Int) throws -> FilePlace {
        guard let target = try plan.place(of: index, makes: false) else {
            throw MigrationError(.target, "\(plan.items[index].target): its folder is not there any more")
        }
        return target
    }

    private func lock(_ index: Int) throws -> ManifestFile {
        try ManifestFile(of: target(index), usesLock: run.options.usesLocks)
    }

    /// Takes the overlay at `index` into `members`, locked, where it is whole. Else, and where it
    /// is there and stands on the base, returns what it waits for.
    private func reasonToWait(for index: Int, _ members: inout [Member]) throws -> (
        reason: String, isHeldUp: Bool
    )? {
        let item = plan.items[index]
        do {
            if let problem = item.problem { throw problem }
            if try isHeld(index) {
                let manifest = try lock(index)
                if try isHeld(index), let digest = try manifest.load().completion?.digest {
                    members.append(Member(index: index, manifest: manifest, digest: digest))
                    return nil
                }
            }
            guard try plan.stands(index, on: base) else { return nil }
            switch try Conversion(plan.conversion(at: index)).state() {
            // On the new base as on the old one: it need not be made again.
            case .upToDate: return nil
            case .altered: return ("\(item.name), which was written to since it was completed", true)
            case .foreign: return ("\(item.name), which was not made by this move", true)
            case .inUse:
                return (
                    "\(item.name), which is in use by \(try ReplacementPolicy.user(of: item.target) ?? "another process")",
                    true
                )
            default: return ("\(item.name)", false)
            }
        } catch let error as DiskImageError where error.kind == .locked {
            return ("\(item.name), on which another drover works", false)
        } catch {
            return try plan.stands(index, on: base)
                ? ("\(item.name), which failed: \(FleetProblem(error))", true) : nil
        }
    }

    private func isHeld(_ index: Int) throws -> Bool {
        try Conversion(plan.conversion(at: index)).state() == .held
    }

    /// Names overlays whose base has its name already.
    private func nameAlone(_ staged: [Int]) throws -> Verdict {
        for index in try staged.filter(isHeld) { try name(index, lock(index)) }
        return .named
    }

    /// Gives the target at `index` its name, where it still has the staging name, durably. Throws
    /// `target` where somebody has written to the old one, or uses it.
    private func name(_ index: Int, _ manifest: ManifestFile) throws {
        let target = try target(index)
        let found = try manifest.load()
        guard let partial = try TargetFile.partial(of: target).identity(), found.isWaiting(partial) else {
            return try target.folder.synchronize()
        }
        var replacing = ReplacementPolicy(plan.items[index].target, force: run.options.forced.contains(index))
        try replacing.accept(target.identity()) { existing in
            guard found.job?.replaces?.matches(existing) != true else { return true }
            guard run.options.forced.contains(index) else {
                throw MigrationError(
                    .target,
                    "\(target.path): was written to since its family was made anew (\(plan.command(.force, for: index)) replaces it, \(.without) it the others go on)"
                )
            }
            return false
        }
        try TargetFile.publish(target, partial, replacing: replacing.check)
        manifest.forgetEarlierJobsIfPossible()
    }
}

extension FleetPlan {
    /// The staging file of the base of the item at `index`, where that base was made anew and waits
    /// for its family; nil where the base is what it is called.
    func stagedBase(of index: Int) throws -> FilePath? {
        guard let base = items[index].base else { return nil }
        guard let target = try self.place(of: base, makes: false), try ManifestFile.isHeldForFamily(target)
        else { return nil }
        return TargetFile.partial(of: target).path
    }

    /// The places of the overlays of the base at `base`, but those at `without`. Where a source
    /// cannot be opened, its target tells what it stands on.
    func overlays(of base: Int, without: Set<Int>) throws -> [Int] {
        try items.indices.filter { index in
            guard !without.contains(index), items[index].role == .image else { return false }
            return try items[index].base == base || items[index].chain == nil && stands(index, on: base)
        }
    }

    /// Whether the file that has the target's name at `index` is an overlay of the target at
    /// `base`, whoever made it: it would show other bytes on another one. One that cannot be read
    /// may be.
    func stands(_ index: Int, on base: Int) throws -> Bool {
        let item = items[index]
        guard !item.target.isEmpty, let found = try ImageFile.identity(at: item.target), found.isRegular
        else {
            return false
        }
        let references: [BackingClause]
        do {
            references = try FormatList.references(of: ImageFile(opening: item.target))
        } catch let error as DiskImageError where error.kind == .unavailable {
            return true
        }
        let folder = item.target.removingLastComponent()
        return references.contains {
            folder.pushing($0.path).lexicallyNormalized() == items[base].target.absolute
        }
    }
}
