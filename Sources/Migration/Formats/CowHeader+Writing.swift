internal import DiskImages
package import ImageFormats
internal import Linux
internal import SystemPackage

extension CowHeader {
    /// A header for the image of `disk`. Throws `badData` where the layout cannot say it.
    /// `keepsChain` lets a UML layout stand over a COW file, where the source's did.
    package init(
        writing layout: CowLayout, alignment: UInt32, for disk: TargetDisk, keepsChain: Bool = false
    ) throws {
        let (target, length, backing) = (disk.target, disk.length, disk.backing)
        func refuse(_ what: String, _ instead: CowLayout?) -> MigrationError {
            let advice: Message = instead.map { " (\(.layout($0)) can)" } ?? ""
            return MigrationError(.badData, "\(target): \(layout.rawValue) cannot hold \(what)\(advice)")
        }
        let path = backing?.name.pathBytes ?? []
        var size = disk.size
        if layout.isUML {
            guard length > 0 else { throw refuse("a disk of size 0", .qemuV2) }
            guard let backing else { throw refuse("an image without a backing file", .qemuV2) }
            guard !backing.isOverlay || keepsChain else {
                throw refuse(
                    "an overlay of the \(backing.format.isCow ? "COW file" : "\(backing.format.name) image") \(backing.path)",
                    .qemuV2)
            }
            guard backing.guestLength == length else {
                throw refuse(
                    "a disk of \(length) bytes over \(backing.path), which has \(backing.size)", .qemuV2)
            }
            // UML compares with the file's own length, which need not be whole sectors.
            size = backing.size
        }
        if let backing, let misreading = backing.misreading(under: layout) {
            let others: [CowLayout] = backing.guestLength == length && length > 0 ? [.umlV3] : []
            throw refuse(misreading, others.first { backing.misreading(under: $0) == nil })
        }
        guard path.count <= layout.longestPath else {
            let fitsUML = backing.map { !$0.isOverlay && $0.guestLength == length && length > 0 } ?? false
            let roomy = CowLayout.writable.first {
                $0.longestPath >= path.count && $0 != layout && (fitsUML || !$0.isUML)
            }
            throw refuse("a backing path of \(path.count) bytes", roomy)
        }
        let mtime = try backing.map { backing in
            guard let seconds = backing.mtime.headerSeconds else {
                throw MigrationError(
                    .badData,
                    "\(target): no COW layout can hold the mtime \(backing.mtime.seconds) (\(backing.mtime.date)) of \(backing.path); expected 0 to \(UInt32.max) (name a copy that has another time, as drover convert makes one; with another time on that file itself, every overlay that it has would be refused)"
                )
            }
            return seconds
        }
        do throws(FormatError) {
            try self.init(
                layout: layout, backingPath: path, mtime: mtime ?? 0, size: size, alignment: alignment)
        } catch {
            throw MigrationError(.badData, "\(target): \(error)")
        }
        guard !isPastUMLLimit else {
            throw MigrationError(
                .badData,
                "\(target): header and bitmap of a \(layout.rawValue) disk of \(size) bytes pass 2^31 bytes, which no program can open (\(.written(.raw)) can hold it)"
            )
        }
    }
}
