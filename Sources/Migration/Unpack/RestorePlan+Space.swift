internal import DiskImages
internal import Linux
internal import SystemPackage
internal import TransportArchive

extension RestorePlan {
    /// Throws `io` where the needed layers cannot fit below the root, before anything is written.
    /// `index` says what the archive holds of each layer.
    ///
    /// Counted is what must take room: data, and a bit for each allocated sector, less what an
    /// earlier run has written. A bitmap is 1/4096 of what is allocated, and allocated zeros take
    /// next to nothing in the archive: a small one may truly need much.
    func checkSpace(_ index: [ArchiveIndex.Layer]) throws {
        let folder = try ImageFile.identity(at: root) == nil ? root.removingLastComponent() : root
        guard let free = try FreeSpace.bytes(in: folder) else { return }
        let needed = try needed.reduce(UInt64(0)) { sum, layer in
            let (next, overflow) = sum.addingReportingOverflow(try space(for: layer, index[layer]))
            return overflow ? .max : next
        }
        guard needed <= free else {
            throw MigrationError(
                .io,
                "\(request.directory): \(request.archiveName) needs \(needed) bytes or more there; \(free) are free (make room)"
            )
        }
    }

    private func space(for layer: Int, _ entry: ArchiveIndex.Layer) throws -> UInt64 {
        // Both are at most the disk's length, below 2^63.
        let needed = entry.held + (layers[layer]?.isRaw != false ? 0 : (entry.held + entry.zeros) / 4096)
        return try names(of: layer).reduce(0) { sum, name in
            let place = root.pushing(FilePath(name))
            let there =
                try [place, TargetFile.partialPath(of: place)].map {
                    try ImageFile.identity(at: $0)?.allocated ?? 0
                }.max() ?? 0
            return sum.addingReportingOverflow(needed > there ? needed - there : 0).partialValue
        }
    }
}
