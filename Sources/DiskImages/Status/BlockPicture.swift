internal import ImageFormats

/// The block status of a chain, small enough to be drawn: the disk in cells of equal length, and
/// for each how many of its bytes come from where.
///
/// Made in one pass over the extents; no data is read. Takes 8 bytes for each cell and source: at
/// most `mostCells` cells of the chain's layers and two sources more.
package struct BlockPicture: Equatable, Sendable {
    /// Where guest bytes come from.
    package enum Source: Hashable, Sendable {
        /// Data in the file of the layer at `depth`; 0 is the top.
        case data(depth: Int)
        /// Allocated in a COW layer and known to be zero: hides what is below and takes no space.
        case zeros
        /// In no file: a hole of a raw layer, or allocated nowhere.
        case hole
    }

    /// The most cells that a picture has.
    package static let mostCells = 8192

    /// The guest disk's length in bytes.
    package let guestLength: UInt64
    package let layerCount: Int
    /// Bytes that a cell stands for, whole sectors; the last one may stand for less.
    package let cellLength: UInt64
    /// None for a disk of no size, and fewer than were asked for where the disk has fewer sectors.
    package let cellCount: Int
    /// The cells one after the other, in each one number for every source.
    private var bytes: [UInt64]

    /// A picture without content: `add` fills it. `cellLength` is rounded up to whole sectors, and
    /// to what `mostCells` allows.
    package init(guestLength: UInt64, layerCount: Int, cellLength: UInt64) {
        func dividedUp(_ number: UInt64, by divisor: UInt64) -> UInt64 {
            number / divisor + (number % divisor == 0 ? 0 : 1)
        }
        let least = max(cellLength, dividedUp(guestLength, by: UInt64(BlockPicture.mostCells)), 1)
        let length = min(dividedUp(least, by: sectorSize), 1 << 54) * sectorSize
        self.guestLength = guestLength
        self.layerCount = layerCount
        self.cellLength = length
        cellCount = Int(dividedUp(guestLength, by: length))
        bytes = [UInt64](repeating: 0, count: cellCount * (layerCount + 2))
    }

    /// A picture of at most `cells` cells without content.
    package init(guestLength: UInt64, layerCount: Int, cells: Int) {
        let cells = UInt64(max(cells, 1))
        self.init(
            guestLength: guestLength, layerCount: layerCount,
            cellLength: guestLength / cells + (guestLength % cells == 0 ? 0 : 1))
    }

    /// Draws `chain` in at most `cells` cells.
    package init(of chain: ImageChain, cells: Int) throws {
        self.init(guestLength: chain.guestLength, layerCount: chain.layers.count, cells: cells)
        try draw(chain)
    }

    /// Draws `chain` in cells of `cellLength` bytes.
    package init(of chain: ImageChain, cellLength: UInt64) throws {
        self.init(guestLength: chain.guestLength, layerCount: chain.layers.count, cellLength: cellLength)
        try draw(chain)
    }

    /// Every source there can be, the top layer first.
    package var sources: [Source] { (0..<layerCount).map { .data(depth: $0) } + [.zeros, .hole] }

    /// Counts the part of the disk in `range` as coming from `source`; its depth is below
    /// `layerCount`.
    package mutating func add(_ source: Source, _ range: Range<UInt64>) {
        var position = range.lowerBound
        let end = min(range.upperBound, guestLength)
        while position < end {
            let cell = Int(position / cellLength)
            let stop = self.range(of: cell).upperBound
            let next = min(stop, end)
            bytes[index(source, in: cell)] += next - position
            position = next
        }
    }

    /// The part of the guest disk that `cell` stands for.
    package func range(of cell: Int) -> Range<UInt64> {
        let start = UInt64(cell) * cellLength
        return start..<start + min(cellLength, guestLength - start)
    }

    /// How many bytes of `cell` come from `source`.
    package func bytes(of source: Source, in cell: Int) -> UInt64 { bytes[index(source, in: cell)] }

    /// How many bytes of the disk come from `source`.
    package func total(of source: Source) -> UInt64 {
        (0..<cellCount).reduce(0) { $0 + bytes(of: source, in: $1) }
    }

    private func index(_ source: Source, in cell: Int) -> Int {
        let place =
            switch source {
            case .data(let depth): depth
            case .zeros: layerCount
            case .hole: layerCount + 1
            }
        return cell * (layerCount + 2) + place
    }

    private mutating func draw(_ chain: ImageChain) throws {
        var status = BlockStatus(of: chain)
        while let extent = try status.next() {
            let source: Source =
                switch extent.content {
                case .data, .encoded: .data(depth: extent.depth)
                // A raw layer allocates nothing: where its file has a hole, there is none.
                case .zero: chain.layers[extent.depth].isRaw ? .hole : .zeros
                case .absent: .hole
                }
            add(source, extent.start..<extent.end)
        }
    }
}
