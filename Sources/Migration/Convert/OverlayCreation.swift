package import DiskImages
internal import ImageFormats
internal import Linux
internal import Manifests
package import SystemPackage

/// A new overlay that holds nothing yet.
package struct OverlayCreation {
    private let place: TargetPlace
    private let format: any TargetFormat
    private let force: Bool
    private let replacing: ReplacementPolicy

    /// An overlay of `backing`, which `chain` is the opened chain of; `size` is the disk's length
    /// in bytes, nil for the backing file's. Throws where `file` exists and `force` is false, or
    /// where the layout cannot hold it.
    package init(
        file: FilePath, backing: FilePath, chain: ImageChain, as choice: any FormatChoice, size: UInt64?,
        force: Bool
    ) throws {
        self.force = force
        place = try TargetPlace(file, sources: chain.layers.map(\.file.identity))
        replacing = ReplacementPolicy(file, force: force)
        let length = size ?? chain.guestLength
        let (rounded, overflow) = length.addingReportingOverflow(sectorSize - 1)
        guard !overflow else {
            throw MigrationError(.usage, "\(file): a disk of \(length) bytes is too large")
        }
        format = try choice.format(
            for: TargetDisk(
                target: file, length: rounded / sectorSize * sectorSize,
                over: try BackingReference(
                    chain.top,
                    name: OverlayPlan.name(of: backing, from: place.path, choice.backingNaming))))
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
        let sink = format.sink(in: target)
        try sink.prepare()
        try sink.finish()
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

    /// Whether the file is there as it would be made.
    private func isThere() throws -> Bool {
        guard place.existing != nil else { return false }
        do {
            return try format.isEmpty(ImageFile(opening: place.file))
        } catch let error as DiskImageError where [.unavailable, .badData].contains(error.kind) {
            return false
        }
    }
}
