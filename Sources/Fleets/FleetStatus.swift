internal import DiskImages
internal import Manifests
internal import Migration
internal import SystemPackage

/// How far one item is, from its manifest alone: also while a run goes on elsewhere.
package struct FleetStatus: Sendable {
    /// What the manifest and the files beside it say.
    package enum State: Sendable {
        /// Whole; `isAltered` where somebody has written to the target since.
        case done(isAltered: Bool)
        /// A process works on it; bytes of data (or of archive) a second, nil as long as that is
        /// unknown.
        case running(rate: Double?)
        /// Whole, but without its name until its family is whole. `isNaming`: it is, and the next
        /// run gives the names.
        case held(isNaming: Bool)
        /// A run was interrupted; the next one goes on.
        case interrupted
        case failed(String)
        case waiting
    }

    /// A moment at which bytes were recorded.
    package struct Sample: Sendable {
        /// What was recorded within so many seconds was made durable by one sync.
        fileprivate static let together = 0.05
        /// Seconds since 1970.
        package let time: Double
        /// Bytes of data that were moved, or of archive.
        package let bytes: UInt64
    }

    package let index: Int
    package let state: State
    /// Bytes of guest disk that are durable, of `length`; of an archive the bytes of the file, and
    /// its length is not known before its end.
    package let covered: UInt64
    package let length: UInt64?
    /// When the move began, and when it was complete, in seconds since 1970.
    package let began: Double?
    package let ended: Double?
    /// What was recorded when, in order; empty unless asked for.
    package let samples: [Sample]

    /// Part of the work that is done, 0 to 1; nil where the whole is not known.
    package var fraction: Double? {
        if case .done = state { return 1 }
        return length.map { $0 > 0 ? Double(covered) / Double($0) : 0 }
    }
}

extension FleetPlan {
    /// How far the item at `index` is. `samples`: also when each part was recorded.
    package func status(of index: Int, samples: Bool = false) -> FleetStatus {
        let target = items[index].target
        do {
            guard !target.isEmpty else { return FleetStatus(index, problem(of: index)) }
            let isHeld = try ManifestFile.isHeld(of: target)
            // What is verified may be an archive, whatever it is to the fleet.
            return try items[index].role == .archive || ManifestFile.isOfArchive(target)
                ? try archiveStatus(index, target, isHeld: isHeld)
                : try imageStatus(index, target, isHeld: isHeld, samples: samples)
        } catch {
            return FleetStatus(index, .failed("\(FleetProblem(error))"))
        }
    }

    private func problem(of index: Int) -> FleetStatus.State {
        items[index].problem.map { .failed("\($0)") } ?? .waiting
    }

    private func imageStatus(_ index: Int, _ target: FilePath, isHeld: Bool, samples: Bool) throws
        -> FleetStatus
    {
        let found = try samples ? ManifestFile.read(of: target) : ManifestFile.readEnds(of: target)
        guard let found else { return FleetStatus(index, isHeld ? .running(rate: nil) : problem(of: index)) }
        let parts = found.segments.compactMap { segment in
            segment.time.map { FleetStatus.Sample(time: $0, bytes: segment.moved) }
        }.sorted { $0.time < $1.time }
        let covered = found.segments.reduce(0) { $0 + $1.count * 512 }
        let length = found.job?.target.length
        return FleetStatus(
            index: index, state: try state(index, target, found, isHeld: isHeld, parts),
            covered: found.completion == nil ? covered : length ?? covered, length: length,
            began: found.job?.time, ended: found.completion?.time, samples: samples ? parts : [])
    }

    /// Whether the family of the item at `index` is whole, and its names are being given.
    func isNaming(_ index: Int) throws -> Bool {
        guard let base = try self.place(of: items[index].base ?? index, makes: false),
            let family = try ManifestFile.unnamedFamily(of: base)
        else { return false }
        return try items[index].base == nil || family.names(items[index].target)
    }

    private func archiveStatus(_ index: Int, _ target: FilePath, isHeld: Bool) throws -> FleetStatus {
        guard let manifest = try ManifestFile.readArchive(of: target) else {
            return FleetStatus(index, isHeld ? .running(rate: nil) : problem(of: index))
        }
        let parts = manifest.checkpoints.compactMap { checkpoint in
            checkpoint.time.map { FleetStatus.Sample(time: $0, bytes: checkpoint.length) }
        }
        let steps = zip(parts, [FleetStatus.Sample(time: 0, bytes: 0)] + parts).map { part, before in
            FleetStatus.Sample(time: part.time, bytes: part.bytes - min(before.bytes, part.bytes))
        }
        return FleetStatus(
            index: index, state: try state(index, target, manifest, isHeld: isHeld, steps),
            covered: manifest.completion?.size ?? manifest.checkpoint?.length ?? 0,
            length: manifest.completion?.size, began: manifest.job?.time, ended: manifest.completion?.time,
            samples: steps)
    }

    private func state<Record: TargetRecord>(
        _ index: Int, _ target: FilePath, _ record: Record, isHeld: Bool, _ samples: [FleetStatus.Sample]
    ) throws -> FleetStatus.State {
        if isHeld { return .running(rate: samples.rate) }
        if let failure = record.failure { return .failed(failure.failure) }
        let findings = try TargetFindings(of: record, at: FilePlace(at: target))
        switch (findings.named, findings.work) {
        case (.completed, _): return .done(isAltered: false)
        case (.altered, _): return .done(isAltered: true)
        case (_, .held): return .held(isNaming: try isNaming(index))
        case (_, .whole), (_, .begun): return .interrupted
        case (_, .none): return problem(of: index)
        }
    }
}

extension FleetStatus {
    /// The status of an item of which no manifest speaks.
    fileprivate init(_ index: Int, _ state: State) {
        self.init(index: index, state: state, covered: 0, length: nil, began: nil, ended: nil, samples: [])
    }
}

extension [FleetStatus.Sample] {
    /// Bytes a second over the last ten seconds that were recorded; nil as long as that is less
    /// than one.
    fileprivate var rate: Double? {
        guard let last, let first = first(where: { $0.time > last.time - 10 }), last.time >= first.time + 1
        else { return nil }
        // What was recorded with the first one was moved before it.
        let later = filter { $0.time > first.time + FleetStatus.Sample.together }
        return Double(later.reduce(0) { $0 &+ $1.bytes }) / (last.time - first.time)
    }
}
