package import DiskImages
package import ImageFormats
internal import Linux
internal import Manifests
package import SystemPackage

/// A new overlay that holds nothing yet.
package struct OverlayCreation {
    private let place: TargetPlace
    private let header: CowHeader
    private let force: Bool
    private let replacing: ReplacementPolicy

    /// An overlay of `backing`, which `chain` is the opened chain of; `size` is the disk's length
    /// in bytes, nil for the backing file's. Throws where `file` exists and `force` is false, or
    /// where the layout cannot hold it.
    package init(
        file: FilePath, backing: FilePath, chain: ImageChain, layout: CowLayout, alignment: UInt32,
        size: UInt64?, force: Bool
    ) throws {
        self.force = force
        place = try TargetPlace(file, sources: chain.layers.map(\.file.identity))
        replacing = ReplacementPolicy(file, force: force)
        let length = size ?? chain.guestLength
        let (rounded, overflow) = length.addingReportingOverflow(sectorSize - 1)
        guard !overflow else {
            throw MigrationError(.usage, "\(file): a disk of \(length) bytes is too large")
        }
        header = try CowHeader(
            writing: layout, alignment: alignment,
            for: TargetDisk(
                target: file, length: rounded / sectorSize * sectorSize,
                over: try BackingReference(
                    chain.top,
                    name: OverlayPlan.name(
                        of: backing, from: place.path, CowChoice(layout).backingNaming))))
        if try !isThere() { try replacing.check(place.existing) }
    }

    /// Writes it; false where it is there already, byte for byte.
    @discardableResult
    package func run() throws -> Bool {
        guard try !isThere() else {
            // An earlier run may have died before file and name were durable, or before it forgot
            // what was recorded of another file.
            try place.file.synchronize()
            try forgetOther()
            return false
        }
        try replacing.check(place.existing)
        // Whoever moves to the same target holds its lock; without a manifest the lock of the
        // staging file alone decides.
        let manifest = try ManifestFile.place(of: place.file).identity().map { _ in
            try ManifestFile(of: place.file)
        }
        let holdsCheckpoint = try manifest?.holdsCheckpoint() ?? false
        if holdsCheckpoint, !force {
            throw MigrationError(
                .target,
                "\(place.path): an interrupted move to it is to be gone on with (\(.force) forgets it)"
            )
        }
        let target = try TargetFile(passing: place.file)
        // What is written from now on is nothing that it could go on with.
        if holdsCheckpoint { try manifest?.forget() }
        try CowSink(file: target, header: header).prepare()
        // It holds nobody's bytes.
        try TargetAccess(holding: []).give(to: target, manifest)
        try target.synchronizeWithTimes()
        try target.publish(replacing: replacing.check)
        // What it says of a file that stood here before says nothing of the new one.
        try manifest?.forget()
        return true
    }

    /// Forgets a manifest that speaks of another file than the one that is there.
    private func forgetOther() throws {
        guard let existing = place.existing, let found = try ManifestFile.read(of: place.file),
            found.job != nil,
            try found.proof(of: existing) == nil
        else { return }
        let manifest = try ManifestFile(of: place.file)
        if try force || !manifest.holdsCheckpoint() { try manifest.forget() }
    }

    /// Whether the file is there as it would be made: its header, and zeros behind that.
    private func isThere() throws -> Bool {
        guard place.existing?.size == header.fullLength else { return false }
        do {
            let file = try ImageFile(opening: place.file)
            let start = header.serialized()
            var bytes = [UInt8](repeating: 0, count: start.count)
            try bytes.withUnsafeMutableBytes { try file.read(into: $0, at: 0) }
            return try bytes == start && file.isZero(from: UInt64(start.count))
        } catch let error as DiskImageError where error.kind == .unavailable {
            return false
        }
    }
}
