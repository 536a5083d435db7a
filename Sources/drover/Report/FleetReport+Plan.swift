internal import DiskImages
internal import Fleets
internal import FoundationEssentials
internal import Migration
internal import PipelineFiles
internal import Stages
internal import SystemPackage

extension FleetReport {
    /// What is known of `plan`'s items at `indices`: from headers, bitmaps, holes and manifests; no
    /// data is read.
    init(of plan: FleetPlan, at places: [Int]) async throws {
        let outlooks = await plan.outlooks(of: places, stop: StopFlag())
        let statuses = places.map { plan.status(of: $0, samples: true) }
        let cells = FleetReport.cellsPerMap(imageCount: places.count)
        var images: [Image] = []
        var stored = StoredLayers()
        for (outlook, status) in zip(outlooks, statuses) {
            let item = plan.items[outlook.index]
            let state = State(outlook, status)
            // An archive of all shows every image that is in it.
            for source in item.sources {
                // What cannot be opened has no map; why is in its state.
                let chain = try? plan.openChain(of: item, source)
                if let chain { try stored.add(chain) }
                images.append(
                    Image(
                        name: FilePath(plan.spec.shown(source)), source: source,
                        target: item.target.isEmpty ? nil : item.target,
                        role: Image.Role(item.role), state: state,
                        guestLength: chain?.guestLength, sourceBytes: try chain?.top.allocatedBytes(),
                        targetBytes: item.sources.count == 1
                            ? try FleetReport.bytesTaken(by: item.target) : nil,
                        chain: chain?.layers.map(\.path) ?? [],
                        map: try chain.map { try BlockPicture(of: $0, cells: cells) }, seconds: status.seconds
                    ))
            }
        }
        self.init(
            title: plan.spec.file.lastComponent.map { FilePath($0.string) } ?? plan.spec.file,
            createdAt: Int(Date().timeIntervalSince1970),
            operation: FleetReport.operation(of: plan.spec), directory: plan.spec.target.directory,
            images: images,
            throughput: statuses.flatMap(FleetReport.samples))
        savings = try savings(of: plan, places, stored.bytes)
    }

    /// What was recorded when; what was read for the first checkpoint was read from the beginning
    /// on.
    private static func samples(_ status: FleetStatus) -> [Sample] {
        guard !status.samples.isEmpty else { return [] }
        return (status.began.map { [Sample(time: $0, bytes: 0)] } ?? [])
            + status.samples.map { Sample(time: $0.time, bytes: $0.bytes) }
    }

    /// `convert to cow, bases kept`.
    private static func operation(of spec: PipelineSpec) -> String {
        switch spec.operation {
        case .convert:
            "convert to \(spec.target.format.name)" + (spec.target.keepChain ? ", bases kept" : "")
        case .pack: spec.target.archive == nil ? "pack, an archive for each image" : "pack into one archive"
        case .verify: "verify"
        }
    }

    /// Bytes that a target takes on its file system, so far.
    private static func bytesTaken(by target: FilePath) throws -> UInt64? {
        guard !target.isEmpty else { return nil }
        return try
            (ImageFile.identity(at: target) ?? ImageFile.identity(at: TargetFile.partialPath(of: target)))?
            .allocated
    }

    /// Where the space went, once all is there.
    private func savings(of plan: FleetPlan, _ places: [Int], _ layers: UInt64) throws -> Savings? {
        let isWhole = images.allSatisfy { image in
            switch image.state {
            case .done, .changed, .stale: true
            case .running, .interrupted, .failed, .waiting: false
            }
        }
        guard isWhole, plan.spec.operation != .verify else { return nil }
        let guests = images.filter { $0.role == .image }
        let flattened = guests.reduce(UInt64(0)) { $0 &+ ($1.map?.dataLength ?? 0) }
        let result = try places.reduce(UInt64(0)) {
            $0 &+ (try FleetReport.bytesTaken(by: plan.items[$1].target) ?? 0)
        }
        let isShared = plan.spec.target.keepChain || plan.spec.target.archive != nil
        let stored = isShared ? layers : flattened
        return Savings(
            guest: guests.reduce(0) { $0 &+ ($1.guestLength ?? 0) }, flattened: flattened,
            sharing: flattened > stored ? flattened - stored : 0,
            compression: plan.spec.operation == .pack && stored > result ? stored - result : 0, result: result
        )
    }
}

extension FleetReport.State {
    /// What the manifest says, or where the sources say more, what they say.
    init(_ outlook: FleetOutlook, _ status: FleetStatus) {
        switch (status.state, outlook.state) {
        case (.running, _): self = .running(percent: Int((status.fraction ?? 0) * 100))
        case (.failed(let reason), _): self = .failed(reason: reason)
        case (_, .none): self = outlook.problem.map { .failed(reason: $0.description) } ?? .waiting
        case (.done(isAltered: true), _): self = .changed(reason: "written to since it was completed")
        case (.done, .stale):
            self = .stale(reason: (outlook.change ?? .unknown).change)
        case (.done, _): self = .done
        case (.interrupted, _), (.held, _): self = .interrupted(percent: Int((status.fraction ?? 0) * 100))
        case (.waiting, _): self = .waiting
        }
    }
}

extension FleetReport.Image.Role {
    fileprivate init(_ role: FleetItem.Role) {
        switch role {
        case .base: self = .base
        case .orphan: self = .orphan
        case .image, .archive: self = .image
        }
    }
}

extension FleetStatus {
    /// From the move's beginning to its end; nil where one of them is not known.
    fileprivate var seconds: Double? {
        guard let began, let ended, ended >= began else { return nil }
        return ended - began
    }
}

extension BlockPicture {
    /// Bytes of the disk that are in a file.
    fileprivate var dataLength: UInt64 { (0..<layerCount).reduce(0) { $0 &+ total(of: .data(depth: $1)) } }
}

extension FleetPlan {
    /// The chain of one of an item's images, opened for a look.
    fileprivate func openChain(of item: FleetItem, _ source: FilePath) throws -> ImageChain {
        var options = try spec.chainOptions()
        guard item.role == .base, let chain = item.chain else { return try ImageChain.open(source, options) }
        (options.format, options.backingFormat) = (chain.bottom.format, nil)
        return try ImageChain.open(chain.bottom.path, options)
    }
}

/// Bytes of data in the files of many chains, each file once.
private struct StoredLayers {
    private var seen: Set<String> = []
    private(set) var bytes: UInt64 = 0

    mutating func add(_ chain: ImageChain) throws {
        for layer in chain.layers {
            let id = layer.file.identity
            if seen.insert("\(id.device) \(id.inode)").inserted { bytes &+= try layer.allocatedBytes() }
        }
    }
}
