internal import DiskImages
internal import Linux
internal import TransportArchive

/// Reads what an archive from a pipe refers to from the files that were restored of it: a pipe does
/// not come twice.
final class RestoredLayers: ReferenceSource {
    private let readers = Locked([Int: GuestReader]())
    private let opening: @Sendable (Int) throws -> ImageLayer

    /// `open` opens the file of a layer that was restored.
    init(_ open: @escaping @Sendable (Int) throws -> ImageLayer) { opening = open }

    func reads(_ kind: RunRecord.Kind) -> Bool { true }

    func read(_ kind: RunRecord.Kind, into buffer: UnsafeMutableRawBufferPointer) throws {
        guard case .reference(let place) = kind else {
            throw ArchiveError(.damaged, "there is no reference to an earlier layer where one is read")
        }
        try reader(of: place.layer).read(at: place.start, into: buffer)
    }

    private func reader(of layer: Int) throws -> GuestReader {
        if let reader = readers.withLock({ $0[layer] }) { return reader }
        let reader = GuestReader(ImageChain(layers: [try opening(layer)]))
        return readers.withLock {
            let kept = $0[layer] ?? reader
            $0[layer] = kept
            return kept
        }
    }
}
