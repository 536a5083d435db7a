package import DiskImages
internal import Glibc
internal import ImageFormats
internal import Linux
internal import Manifests
internal import Stages
package import SystemPackage

/// A COW overlay that is merged into its backing file, and is empty afterwards.
///
/// Everything is done so that doing it again is harmless, and so an interrupted commit goes on from
/// its beginning: while the overlay's journal is there, the overlay holds whatever the base may
/// lack. The base's journal keeps everybody else from reading it meanwhile.
package struct Committing {
    /// What is asked for.
    package struct Request: Sendable {
        package var image: FilePath
        package var options: ChainOptions
        /// Where other overlays of the base are looked for, beside the folders of both.
        package var folders: [FilePath] = []
        /// Whether it is done although others stand on the base, or the image has other names.
        package var force = false

        package init(image: FilePath, options: ChainOptions) {
            (self.image, self.options) = (image, options)
        }
    }

    /// How it ended.
    package struct Result: Equatable, Sendable {
        package let base: FilePath
        /// Bytes of the overlay that the base has now.
        package let merged: UInt64
    }

    private let request: Request

    package init(_ request: Request) { self.request = request }

    package func run(_ options: MoveOptions) throws -> Result {
        let overlay = try OverlayInPlace(request.image, for: .commit, request.options, force: request.force)
        let begun = try Journal(of: overlay.file.identity(), at: overlay.file.place)
        let target = try base(of: overlay, isBegun: begun != nil)
        let base = try BaseInPlace(target, under: overlay, options: request.options)
        try base.checkHolds(overlay)
        let mtime: UInt64
        if let begun {
            // What the overlay's journal says must be what is there, or nothing is touched.
            try begun.check(overlay.file)
            try checkNothingCame(to: overlay, since: begun)
            mtime = begun.head.mtime
        } else {
            try checkSiblings(overlay, base)
            mtime = try base.nextMtime()
            try base.begin(overlay, mtime)
            try begin(overlay, mtime)
        }
        let merged = try base.take(overlay, options)
        try base.complete(mtime)
        guard let journal = try Journal(of: overlay.file.identity(), at: overlay.file.place) else {
            throw MigrationError(.io, "\(request.image): its journal is gone")
        }
        try journal.apply(to: overlay.file)
        let geometry = overlay.header.geometry
        try overlay.file.clear(geometry.dataOffset..<geometry.dataOffset + geometry.guestLength)
        try overlay.file.synchronize()
        try Journal.remove(of: overlay.file)
        try Journal.remove(of: base.file)
        return Result(base: target.path, merged: merged)
    }

    /// The backing file, which must be what the header says, unless an earlier run has begun to
    /// change it.
    private func base(of overlay: OverlayInPlace, isBegun: Bool) throws -> ImageLayer {
        if let problem = overlay.chain.problems.first(where: { !isBegun || $0.kind != .mtime }) {
            throw problem.error
        }
        guard overlay.chain.layers.count > 1 else {
            throw MigrationError(.badData, "\(request.image): has no backing file to be merged into")
        }
        return overlay.chain.layers[1]
    }

    /// Throws `badData` where the overlay holds sectors that it did not hold when `journal` was
    /// written: only those whose bits are cleared by it may lose their data.
    private func checkNothingCame(to overlay: OverlayInPlace, since journal: Journal) throws {
        let geometry = overlay.header.geometry
        var recorded: Set<UInt64> = []
        try journal.forEachChange { change in
            if change.offset >= geometry.bitmapOffset {
                recorded.insert((change.offset - geometry.bitmapOffset) / BitmapChanges.pageLength)
            }
        }
        try overlay.forEachHeld { range, _ in
            let perPage = BitmapChanges.pageLength * 8 * sectorSize
            for page in range.lowerBound / perPage...(range.upperBound - 1) / perPage
            where !recorded.contains(page) {
                throw MigrationError(
                    .badData,
                    "\(request.image): holds sectors from \(page * perPage / sectorSize) on that it did not hold when drover commit began: something wrote to it since (nothing is changed)"
                )
            }
        }
    }

    private func checkSiblings(_ overlay: OverlayInPlace, _ base: BaseInPlace) throws {
        let siblings = Siblings(
            on: base.layer, beside: try overlay.file.identity(), request.options.location)
        let folders = [overlay.path, base.file.path].map { $0.removingLastComponent() } + request.folders
        let found = try siblings.find(in: folders)
        guard !found.isEmpty, !request.force else { return }
        let names = found.prefix(5).map(\.path.description).joined(separator: ", ")
        let more = found.count > 5 ? " and \(found.count - 5) more" : ""
        throw MigrationError(
            .target,
            "\(base.file.path): other overlays stand on it and would show other bytes: \(names)\(more) (drover convert flattens them first; \(.force) breaks them)"
        )
    }

    /// Records what becomes of the overlay: the base's new time, and no bits.
    private func begin(_ overlay: OverlayInPlace, _ mtime: UInt64) throws {
        let journal = try JournalWriter(
            of: overlay.file, Journal.Head(.commit, of: overlay.file.identity(), mtime: mtime))
        let header: CowHeader
        do throws(FormatError) {
            header = try CowHeader(
                layout: overlay.header.layout, backingPath: overlay.header.backingPath,
                mtime: UInt32(truncatingIfNeeded: mtime), size: overlay.header.size,
                alignment: overlay.header.alignment)
        } catch {
            throw MigrationError(.badData, "\(request.image): \(error)")
        }
        try journal.append(overlay.change(to: header))
        var bits = try BitmapChanges(overlay.file, overlay.header, journal)
        try overlay.forEachHeld { range, _ in
            try bits.clearPages(of: range.lowerBound / sectorSize..<range.upperBound / sectorSize)
        }
        try bits.flush()
        try journal.seal()
    }
}

extension OverlayInPlace {
    /// Calls `body` with every run that the overlay holds, in order, and what is there.
    func forEachHeld(_ body: (Range<UInt64>, Extent.Content) throws -> Void) throws {
        var cursor = chain.top.content.cursor(over: chain.top.file)
        var position: UInt64 = 0
        while position < header.geometry.guestLength {
            let (answer, end) = try cursor.answer(at: position, upTo: header.geometry.guestLength)
            if answer != .absent { try body(position..<end, answer) }
            position = end
        }
    }
}
