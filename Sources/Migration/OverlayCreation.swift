package import DiskImages
package import ImageFormats
package import SystemPackage

/// A new overlay that holds nothing yet.
package struct OverlayCreation {
    private let place: TargetPlace
    private let header: CowHeader
    private let force: Bool
    private let replacing: Replacing

    /// An overlay of `backing`, which `chain` is the opened chain of; `size` is the disk's length in bytes, nil for the backing file's.
    /// Throws where `file` exists and `force` is false, or where the layout cannot hold it.
    package init(
        file: FilePath, backing: FilePath, chain: ImageChain, layout: CowLayout, alignment: UInt32, size: UInt64?, force: Bool
    ) throws {
        self.force = force
        place = try TargetPlace(file, sources: chain.layers.map(\.file.identity))
        replacing = Replacing(file, force: force)
        try replacing.check(place.existing)
        let length = size ?? chain.guestLength
        let (rounded, overflow) = length.addingReportingOverflow(sectorSize - 1)
        guard !overflow else { throw MigrationError(.usage, "\(file): a disk of \(length) bytes is too large") }
        header = try CowHeader(
            writing: layout, alignment: alignment, length: rounded / sectorSize * sectorSize,
            over: try NamedBacking(chain.top, name: OverlayPlan.name(of: backing, from: place.path, layout)), target: file)
    }

    /// Writes it.
    package func run() throws {
        // Whoever moves to the same target holds its lock; without a manifest nobody does.
        let manifest = try ImageFile.identity(at: ManifestFile.path(of: place.path)).map { _ in try ManifestFile(of: place.path) }
        if let manifest, !force, try manifest.holdsCheckpoint() {
            throw MigrationError(.target, "\(place.path): an interrupted move to it is to be gone on with (--force forgets it)")
        }
        let target = manifest == nil ? try TargetFile(passing: place.path) : try TargetFile(staging: place.path)
        try CowSink(file: target, header: header).prepare()
        // It holds nobody's bytes.
        try TargetAccess(holding: []).give(to: target, manifest, at: place.path)
        try target.synchronizeWithTimes()
        try target.publish(replacing: replacing.check)
        // What it says of a file that stood here before says nothing of the new one.
        try manifest?.forget()
    }
}
