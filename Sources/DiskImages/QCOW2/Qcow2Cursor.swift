internal import ImageFormats
internal import Linux
internal import SystemPackage

/// Walks through the tables of a qcow2 file.
struct Qcow2Cursor: LayerCursor {
    private let file: ImageFile
    private let header: Qcow2Header
    private var tables: Qcow2Tables
    /// Where it is asked for holes in what is allocated; nil where there can be none.
    private var stored: StoredData?

    init(_ file: ImageFile, _ header: Qcow2Header, asksForHoles: Bool) {
        (self.file, self.header) = (file, header)
        tables = Qcow2Tables(file, header)
        stored = asksForHoles ? StoredData(file) : nil
    }

    mutating func answer(at position: UInt64, upTo end: UInt64) throws -> (Extent.Content, end: UInt64) {
        let reach = header.l2Reach
        var index = position / reach
        if try tables.isEmpty(index) {
            repeat {
                index += 1
            } while try index < header.l1Count && index * reach < end && tables.isEmpty(index)
            return (.absent, min(index * reach, end))
        }
        let first = try tables.entry(at: position)
        let unit = tables.unit
        let start = position / unit * unit
        let limit = min(end, (index + 1) * reach)
        var stop = start + unit
        while stop < limit, try isNext(tables.entry(at: stop), after: first, by: stop - start) {
            stop += unit
        }
        return try content(first, position - start, position, upTo: min(stop, limit))
    }

    /// Whether `next`, `distance` behind `first`, goes on with it.
    private func isNext(_ next: Qcow2Entry, after first: Qcow2Entry, by distance: UInt64) -> Bool {
        switch (first, next) {
        case (.unallocated, .unallocated), (.compressed, .compressed): true
        case (.data(let a), .data(let b)): a + distance == b
        case (.zero(let a), .zero(let b)): a.map { $0 + distance } == b
        default: false
        }
    }

    private mutating func content(
        _ entry: Qcow2Entry, _ skipped: UInt64, _ position: UInt64, upTo end: UInt64
    ) throws -> (Extent.Content, end: UInt64) {
        switch entry {
        case .unallocated: return (.absent, end)
        case .zero(let offset): return (.zero(offset: offset.map { $0 + skipped }), end)
        case .compressed(let offset, _):
            try checkHeld(offset, position)
            return (.encoded(offset: position), end)
        case .data(let offset):
            // A last cluster may be cut where the file was never written further.
            let held = file.length > offset ? file.length - offset : 0
            try checkHeld(offset, position)
            let unit = tables.unit
            let whole = position - skipped + (held + unit - 1) / unit * unit
            let end = min(end, whole)
            guard stored == nil else {
                return try stored!.answer(at: position, upTo: end, storedAt: offset + skipped)
            }
            return (.data(offset: offset + skipped), end)
        }
    }

    private func checkHeld(_ offset: UInt64, _ position: UInt64) throws {
        guard offset < file.length else {
            throw DiskImageError(
                .badData, file.path,
                "sector \(position / sectorSize) is allocated at offset \(offset), but the file ends at \(file.length) bytes (the image is truncated)"
            )
        }
    }
}
