internal import DiskImages
internal import Linux
internal import Manifests
internal import Migration
internal import PipelineFiles
internal import Stages
internal import SystemPackage
internal import TransportArchive

/// Moves one item of a fleet, whatever an earlier run left of it, and records why where it fails.
struct FleetMover {
    let run: FleetRun
    let bases: FleetBases
    let shared: SharedLayers
    let index: Int
    let options: MoveOptions
    let tell: @Sendable (FleetEvent) -> Void

    private var item: FleetItem { run.plan.items[index] }

    /// Does what is left to do. `base` is how the base that the item stands on ended.
    func result(base: FleetOutcome?) async -> FleetResult {
        let start = ContinuousClock.now
        let outcome = await outcome(base)
        shared.end(item)
        let elapsed = start.duration(to: .now).components
        return FleetResult(
            index: index, outcome: outcome, written: options.progress.snapshot.written,
            seconds: Double(elapsed.seconds) + Double(elapsed.attoseconds) * 1e-18)
    }

    private func outcome(_ base: FleetOutcome?) async -> FleetOutcome {
        if options.stop.isRequested { return .stopped }
        if run.options.without.contains(index) {
            return .leftAlone("is left out (\(ChoiceWords.commandLine(.without)))")
        }
        do {
            if case .stopped = base { return .stopped }
            if let problem = try failure(of: base) {
                if try item.stateWithoutJob() == .altered { return try settled(.altered) }
                if try run.plan.isUpToDateAsItStands(at: index) { return try settled(.upToDate) }
                throw run.plan.baseFailed(of: index, problem).cause
            }
            if let problem = item.problem { throw problem.cause }
            return try await moveWhenFree()
        } catch let error as MigrationError where error.kind == .stopped {
            return .stopped
        } catch {
            let problem = FleetProblem(error)
            if !error.isShortage { record(problem) }
            return .failed(problem)
        }
    }

    /// Why nothing can be made of the base, which ended with `outcome`.
    private func failure(of outcome: FleetOutcome?) throws -> FleetProblem? {
        switch outcome {
        case .failed(let problem): return problem
        case .leftAlone(let reason):
            guard let base = item.base, try ReplacementPolicy.user(of: run.plan.items[base].target) != nil
            else { return nil }
            return FleetProblem(MigrationError(.target, Message(reason)))
        case nil, .upToDate, .done, .adopted, .staged, .waits, .stopped, .notBegun: return nil
        }
    }

    /// Waits while another process works on the target, then does what that has left.
    private func moveWhenFree() async throws -> FleetOutcome {
        var hasSaid = false
        while true {
            while try run.options.usesLocks && ManifestFile.isHeld(of: item.target) {
                if options.stop.isRequested { return .stopped }
                if !hasSaid { tell(.waiting(index)) }
                hasSaid = true
                try IOThread.pause(.milliseconds(200))
            }
            do {
                return try await move()
            } catch let error as DiskImageError where error.kind == .locked {
                // Somebody else was faster by a moment, or writes the staging file without a
                // manifest, as create does.
                if options.stop.isRequested { return .stopped }
                try IOThread.pause(.milliseconds(50))
            } catch let error as MigrationError where error.kind == .target {
                // Somebody wrote to the old target while the new one was made.
                guard run.plan.spec.operation == .convert, try item.stateWithoutJob() == .altered
                else { throw error }
                return try settled(.altered)
            }
        }
    }

    private func move() async throws -> FleetOutcome {
        if run.plan.spec.operation != .verify { _ = try run.plan.place(of: index, makes: true) }
        switch run.plan.spec.operation {
        case .convert: return try await convert()
        case .pack: return try await pack()
        case .verify: return try await verify()
        }
    }

    private func convert() async throws -> FleetOutcome {
        var request = try run.plan.conversion(at: index)
        request.policy.usesLock = run.options.usesLocks
        request.options.settles = true
        request.sharesExtents = run.options.sharesExtents
        let (state, change) = try await stands { try Conversion(request) }
        if state == .held, item.role == .base || request.policy.naming == .withFamily {
            return .staged(resumed: item.chain?.guestLength ?? 0)
        }
        var difference: String?
        if run.options.adopts, state == .altered || state == .foreign {
            tell(.began(index))
            difference = try await Conversion(request).adopt(options)
            if difference == nil { return .adopted }
            if isForced { tell(.replaces(index, state)) }
        }
        guard try permit(state, change, difference, &request.policy) else {
            return try settled(state, difference)
        }
        if item.role == .base, try isStoodOn { request.policy.naming = .withFamilyUnlessSame }
        var conversion = try Conversion(request)
        shared.begin(conversion.chain)
        if let base = conversion.shareableBase {
            conversion.known = try await bases.digests(
                of: base, segmentLength: request.segmentLength, options)
        }
        return try await move(conversion)
    }

    private func pack() async throws -> FleetOutcome {
        var request = try run.plan.packing(at: index, settles: true)
        request.policy.usesLock = run.options.usesLocks
        let (state, change) = try await stands { try await Packing(request, options) }
        guard try permit(state, change, nil, &request.policy) else { return try settled(state) }
        return try await move(Packing(request, options))
    }

    private func move(_ move: some TargetMove) async throws -> FleetOutcome {
        for warning in move.warnings {
            tell(.warned(index, warning.text(ChoiceWords.pipelineFile)))
        }
        tell(.began(index))
        switch try await move.run(options, tell: { tell(.warned(index, $0)) }) {
        case .upToDate: return .upToDate
        case .named: return .done(resumed: 0)
        case .held(let resumed): return .staged(resumed: resumed)
        case .moved(let resumed, _): return .done(resumed: resumed)
        }
    }

    /// Whether old overlays stand on the base: it takes its name together with the new ones.
    private var isStoodOn: Bool {
        get throws {
            try run.plan.overlays(of: index, without: run.options.without).contains {
                try run.plan.stands($0, on: index)
            }
        }
    }

    private var isForced: Bool { run.options.forced.contains(index) }

    private func verify() async throws -> FleetOutcome {
        tell(.began(index))
        if try ArchiveAddress.isArchive(item.target) {
            let finding = try await ArchiveVerification(item.target).run(options)
            if let damage = finding.damage.first { throw MigrationError(.badData, Message(damage)) }
        } else {
            let finding = try await Verification(of: item.target).run(options)
            if let damage = finding.damage ?? finding.notRestored.first {
                throw MigrationError(.badData, Message(damage))
            }
        }
        return .done(resumed: 0)
    }

    /// What is there, and in what what is recorded differs; where checkpoints are to be forgotten,
    /// or what is there is compared, one that cannot be read is as good as one of another job.
    private func stands(_ look: () async throws -> some TargetMove) async throws -> (
        state: TargetState, change: JobDifference?
    ) {
        do {
            let (state, change) = try await look().standing()
            let isForgotten = (state == .unfinished || state == .held) && run.options.restart
            return (isForgotten ? .outdated : state, change)
        } catch let error as ManifestError where run.options.restart || run.options.adopts {
            // Nothing says that a target that is there is still as it was completed.
            if try ImageFile.identity(at: item.target) != nil { return (.foreign, nil) }
            guard run.options.restart else { throw error }
            return (.outdated, nil)
        }
    }

    /// Whether there is anything to do, and what the move needs to be allowed to do it.
    /// `change` is in what what is recorded differs, `difference` why the target cannot be adopted.
    private func permit(
        _ state: TargetState, _ change: JobDifference?, _ difference: String?, _ policy: inout StartPolicy
    ) throws -> Bool {
        policy.reread = run.options.rereads
        let existing = try ImageFile.identity(at: item.target)
        switch state {
        case .upToDate: return run.options.rereads
        case .inUse: return false
        case .absent: return true
        case .altered where !isForced:
            if let change { throw run.plan.conflict(at: index, change) }
            return false
        case .foreign where !isForced: throw run.plan.foreign(at: index, difference)
        case .unfinished, .held, .stale, .outdated, .altered, .foreign:
            if let problem = try run.plan.overlayInTheWay(of: index, run.options) { throw problem.cause }
            if state == .stale || state == .outdated {
                let reason =
                    item.readsDevice
                    ? "nothing proves that the block device it is made from is unchanged"
                    : (change ?? .unknown).change
                let isForgotten = state == .outdated && run.options.restart
                tell(.beganAnew(index, isForgotten ? "its checkpoint is forgotten" : reason))
                if state == .outdated { policy.restart = true }
            }
            if state == .altered || state == .foreign { policy.restart = true }
            if isForced { policy.force = true } else { policy.only = existing }
            return true
        }
    }

    /// The outcome where nothing is to be done.
    private func settled(_ state: TargetState, _ difference: String? = nil) throws -> FleetOutcome {
        options.progress.resume(item.chain?.guestLength ?? 0, read: 0)
        if let target = try run.plan.place(of: index, makes: false) {
            try ManifestFile.dropFailure(of: target, usesLock: run.options.usesLocks)
        }
        switch state {
        case .upToDate: return .upToDate
        case .inUse:
            return .leftAlone(
                "is in use by \(try ReplacementPolicy.user(of: item.target) ?? "another process") (stop the guest that uses it)"
            )
        default:
            let fact = difference.map { " and is not what the move makes: \($0)" } ?? ""
            return .leftAlone(
                "was written to since it was completed\(fact) (\(run.plan.command(.force, for: index)) replaces it)"
            )
        }
    }

    /// Leaves the reason with the target, for whoever asks for the status. Where that is not
    /// possible the summary alone has it.
    private func record(_ problem: FleetProblem) {
        guard run.plan.spec.operation != .verify, !item.target.isEmpty, item.problem?.isOfLayout != true
        else { return }
        do {
            guard let target = try run.plan.place(of: index, makes: true) else { return }
            try ManifestFile.recordFailure("\(problem)", of: target, usesLock: run.options.usesLocks)
        } catch {
            // A place that is itself what is wrong has nothing to add.
            let reason = FleetProblem(error).description
            if reason != problem.description {
                tell(.warned(index, "the reason cannot be recorded: \(reason)"))
            }
        }
    }
}
