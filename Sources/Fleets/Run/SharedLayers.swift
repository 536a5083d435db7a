internal import DiskImages
internal import Linux
internal import Migration

/// The files that several images of a run stand on: what is read of them stays in the host's page
/// cache until the last of these images is done.
final class SharedLayers: Sendable {
    private struct Use {
        var images: Int
        /// Open from the first image that reads it on.
        var file: ImageFile?
    }

    private let uses: Locked<[FileID: Use]>
    private let keepsCache: Bool

    /// Of the items of `plan` at `places`. `keepsCache`: everything that is read stays.
    init(_ plan: FleetPlan, _ places: [Int], keepsCache: Bool) {
        var images: [FileID: Int] = [:]
        for id in places.flatMap({ SharedLayers.layers(of: plan.items[$0]) }) { images[id, default: 0] += 1 }
        uses = Locked(images.filter { $0.value > 1 }.mapValues { Use(images: $0, file: nil) })
        self.keepsCache = keepsCache
    }

    private static func layers(of item: FleetItem) -> [FileID] {
        Array(Set(item.chain?.layers.map { FileID($0.identity) } ?? []))
    }

    /// An image that stands on `chain` is about to be read.
    func begin(_ chain: ImageChain) {
        guard !keepsCache else { return }
        for layer in chain.layers {
            let id = FileID(layer.file.identity)
            let isShared = uses.withLock { uses in
                guard let use = uses[id] else { return false }
                if use.file == nil {
                    layer.file.rememberCached()
                    uses[id]?.file = layer.file
                }
                return true
            }
            if isShared { layer.file.staysCached() }
        }
    }

    /// `item` is done, whatever came of it.
    func end(_ item: FleetItem) {
        guard !keepsCache else { return }
        for id in SharedLayers.layers(of: item) {
            let last = uses.withLock { uses -> ImageFile? in
                uses[id]?.images -= 1
                return uses[id]?.images == 0 ? uses.removeValue(forKey: id)?.file : nil
            }
            last?.forgetCached()
        }
    }
}
