internal import DiskImages
internal import ImageFormats
internal import Linux
internal import Manifests
package import Migration
internal import PipelineFiles
package import Stages
internal import SystemPackage

/// What a run would do with one item.
package struct FleetOutlook: Sendable {
    package let index: Int
    /// What is there; nil where a problem keeps it from being found out.
    package let state: TargetState?
    package let problem: FleetProblem?
    /// What changed since it was made, or begun, where that is known.
    package var change: JobDifference? = nil
    /// Whether the family that it belongs to is whole, so that a run begins with its names.
    package var isNaming = false
    /// Bytes of data that would be read; at most as many are written, and fewer where there are
    /// zeros among them.
    package let read: UInt64

    /// Whether a run would write to the target.
    package var isToDo: Bool {
        switch state {
        case nil, .upToDate, .held, .altered, .foreign, .inUse: false
        case .absent, .unfinished, .outdated, .stale: problem == nil
        }
    }
}

extension FleetPlan {
    /// What a run would do with the items at `indices`, bases first, from headers, bitmaps, holes
    /// and manifests alone.
    package func outlooks(of places: [Int], stop: StopFlag) async -> [FleetOutlook] {
        var bases: [Int: FleetOutlook] = [:]
        var outlooks: [FleetOutlook] = []
        for index in places {
            let base = items[index].base.flatMap { bases[$0] }
            var outlook = await outlook(of: index, isBaseSettled: base.map { !$0.isToDo } ?? true, stop)
            if let problem = base?.problem, outlook.isToDo {
                outlook = FleetOutlook(
                    index: index, state: outlook.state, problem: baseFailed(of: index, problem), read: 0)
            }
            // Also what has its name already is not what it is to be before all have theirs.
            outlook.isNaming =
                spec.operation == .convert && outlook.problem == nil && (try? isNaming(index)) == true
            if items[index].role == .base { bases[index] = outlook }
            outlooks.append(outlook)
        }
        return outlooks
    }

    /// Whether the file system of the targets may share extents with a file that one of the items
    /// at `indices` is made from.
    package func canShare(_ indices: [Int]) throws -> Bool {
        var folder = spec.target.directory
        while try ImageFile.identity(at: folder) == nil, !folder.components.isEmpty {
            folder.removeLastComponent()
        }
        let place = try Folder(at: folder.isEmpty ? "." : folder)
        let bottoms = Set(indices.compactMap { items[$0].chain?.bottom.path })
        return try bottoms.prefix(8).contains { try ImageFile(opening: $0).canBeShared(in: place) }
    }

    /// Whether the target at `index` is what it is to be, as it stands, on a base that cannot be
    /// moved.
    func isUpToDateAsItStands(at index: Int) throws -> Bool {
        guard let base = items[index].base, try ImageFile.identity(at: items[base].target) != nil,
            items[index].problem == nil
        else {
            return false
        }
        return try Conversion(conversion(at: index)).state() == .upToDate
    }

    /// What keeps an overlay from being moved when its base could not be.
    func baseFailed(of index: Int, _ problem: FleetProblem) -> FleetProblem {
        let base = items[index].base.map { items[$0].name } ?? ""
        return FleetProblem(MigrationError(.badData, "its base \(base) failed: \(problem)"))
    }

    private func outlook(of index: Int, isBaseSettled: Bool, _ stop: StopFlag) async -> FleetOutlook {
        let item = items[index]
        if let problem = item.problem {
            return FleetOutlook(index: index, state: nil, problem: problem, read: 0)
        }
        if item.role == .orphan { return FleetOutlook(index: index, state: .upToDate, problem: nil, read: 0) }
        do {
            switch spec.operation {
            case .verify: return try verification(of: index)
            case .pack:
                let packing = try await Packing(
                    packing(at: index), MoveOptions(workers: WorkerSlots(limit: 1), stop: stop))
                let (state, change) = try packing.standing()
                return try outlook(of: index, state, change) {
                    try packing.dataLength()
                }
            case .convert:
                let request = try conversion(at: index)
                // As long as its base is not there or will change, an overlay cannot be what it is
                // to be.
                let isThere = try request.backing.map { try ImageFile.identity(at: $0.path) != nil } ?? true
                guard isBaseSettled, isThere else {
                    return try outlook(
                        of: index, stateBeforeBase(of: item, request),
                        items[index].base.map { .changed(items[$0].target.description) }
                    ) { try dataLength(of: item, request.options) }
                }
                let (state, change) = try Conversion(request).standing()
                return try outlook(of: index, state, change) {
                    try dataLength(of: item, request.options)
                }
            }
        } catch {
            return FleetOutlook(index: index, state: nil, problem: FleetProblem(error), read: 0)
        }
    }

    /// The state of an overlay whose base is still to be moved. Throws where its layout could not
    /// hold what it is to be.
    private func stateBeforeBase(of item: FleetItem, _ request: ConversionRequest) throws -> TargetState {
        if let base = item.base.map({ items[$0] }), let bottom = base.chain?.bottom {
            let chain = try ImageChain.open(request.source, request.options)
            let depth = chain.layers.count - 1
            let copied = BackingReference(
                copyOf: bottom, size: chain.layers[depth].size, at: base.target,
                disguise: try chain.layers[depth].disguise())
            let format = try request.format.format(
                for: TargetDisk(target: item.target, length: chain.guestLength, over: copied))
            try format.checkHolds(
                .above(depth: depth, backingLength: bottom.guestLength), of: chain, target: item.target)
        }
        return try item.stateWithoutJob()
    }

    private func outlook(
        of index: Int, _ state: TargetState, _ change: JobDifference?, _ read: () throws -> UInt64
    ) throws -> FleetOutlook {
        var problem: FleetProblem?
        if state == .altered, let change { problem = FleetProblem(conflict(at: index, change)) }
        if state == .foreign { problem = FleetProblem(foreign(at: index)) }
        let isToDo = [.absent, .unfinished, .outdated, .stale].contains(state)
        if isToDo {
            try FolderTree.checkWritable(items[index].target.removingLastComponent())
            problem = try overlayInTheWay(of: index, FleetRun.Options())
        }
        return FleetOutlook(
            index: index, state: state, problem: problem,
            change: isToDo ? change : nil,
            read: isToDo && problem == nil ? try read() : 0)
    }

    /// A target that somebody has written to, and whose source has changed, too: whichever is kept,
    /// something is lost, and that is not for a nightly run to decide.
    func conflict(at index: Int, _ change: JobDifference) -> MigrationError {
        // Not `target`, which is what is in the way of a move that has begun.
        MigrationError(
            .badData,
            "\(items[index].target): was written to since it was completed, and \(change.change), too (\(command(.force, for: index)) makes it again, and what was written is lost; or keep it: under another name, and this one is made again, or with its source in 'exclude')"
        )
    }

    /// What is wrong with a target that is not this fleet's own; `difference` is why it cannot be
    /// adopted, where that was tried.
    func foreign(at index: Int, _ difference: String? = nil) -> MigrationError {
        let fact = "\(items[index].target): exists and was not made by this move, or of another source"
        let force = "\(command(.force, for: index)) replaces it"
        if let difference {
            return MigrationError(
                .target, "\(fact), and is not what the move makes: \(difference) (\(force))")
        }
        guard spec.operation == .convert else { return MigrationError(.target, "\(fact) (\(force))") }
        return MigrationError(
            .target,
            "\(fact) (\(command(.adopt, for: index)) takes it where it is what the move would make; \(force))"
        )
    }

    /// Why the base at `index`, which is there, must not be replaced: an overlay that was made of
    /// it would stay as it is and show other bytes then.
    func overlayInTheWay(of index: Int, _ options: FleetRun.Options) throws -> FleetProblem? {
        let base = items[index]
        guard base.role == .base, try ImageFile.identity(at: base.target) != nil else { return nil }
        for other in try overlays(of: index, without: options.without) where try stands(other, on: index) {
            let item = items[other]
            let reason: String
            if let user = try ReplacementPolicy.user(of: item.target) {
                reason = "is in use by \(user)"
            } else if options.forced.contains(other) {
                continue
            } else if try item.stateWithoutJob() == .altered {
                reason = "was written to since it was completed"
            } else if item.problem != nil {
                reason = "cannot be made again"
            } else {
                continue
            }
            return FleetProblem(
                MigrationError(
                    .target,
                    "\(base.target): is not replaced, because \(item.target) stands on it and \(reason) (\(command(.force, for: index, other)) replaces both; \(.without) \(items[other].name) goes on without it)"
                ))
        }
        return nil
    }

    private func verification(of index: Int) throws -> FleetOutlook {
        let target = items[index].target
        guard let found = try ImageFile.identity(at: target) else {
            throw MigrationError(.badData, "\(target): is not there (move the fleet first)")
        }
        return FleetOutlook(index: index, state: .absent, problem: nil, read: found.allocated)
    }

    /// Bytes of data that a target at `item`'s place would be read from.
    private func dataLength(of item: FleetItem, _ options: ChainOptions) throws -> UInt64 {
        guard let facts = item.chain else { return 0 }
        let source = item.role == .base ? facts.bottom.path : item.sources[0]
        let chain = try ImageChain.open(source, options)
        let depth = chain.layers.count - 1
        let holding: CopyScope =
            item.base == nil
            ? .everything(marks: false) : .above(depth: depth, backingLength: chain.layers[depth].guestLength)
        let finished = ManifestSegment.ranges(
            of: try ManifestFile.read(of: item.target).map { $0.completion == nil ? $0.segments : [] } ?? [])
        let data = try chain.countData(holding, in: finished)
        return data.all - data.within
    }
}

extension FleetItem {
    /// The state of the target as far as its files tell it without knowing which job is meant:
    /// never `upToDate`.
    func stateWithoutJob() throws -> TargetState {
        let findings = try TargetFindings<ManifestContents>(at: target)
        let source = try chain.map { try ManifestJob.Source($0.layers[0]) }
        let isSameSource = findings.record?.job?.isOfSameSource(as: source) == true
        return try findings.state(for: isSameSource ? .sameSource : .other).considering(
            users: target, findings.existing)
    }
}
