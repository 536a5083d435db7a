/// Where stored blocks are, by their fingerprints, in bounded memory: of more blocks than fit only
/// some are known, which follow from the fingerprints alone.
///
/// An open hash table of 8 bytes an entry: 32 bits of fingerprint, and the number of the block.
struct BlockTable: ~Copyable {
    /// Entries of the largest table: 32 MiB.
    private static let mostEntries = 4 << 20

    /// The entries that it may grow to, a power of two.
    private let mostEntries: Int
    private var entries: UnsafeMutableBufferPointer<UInt64>
    private var count = 0
    /// Of so many leading bits of a fingerprint none may be set, or its block is not kept.
    private var ignoredBits: UInt32 = 0

    /// Blocks that can be numbered.
    static let mostBlocks = Int(UInt32.max) - 1

    init(mostEntries: Int = BlockTable.mostEntries) {
        self.mostEntries = mostEntries
        entries = .allocate(capacity: min(mostEntries, 1 << 12))
        entries.initialize(repeating: 0)
    }

    deinit { entries.deallocate() }

    /// Whether blocks of this fingerprint are kept.
    func isKept(_ fingerprint: UInt64) -> Bool {
        ignoredBits == 0 || tag(fingerprint) >> (32 - ignoredBits) == 0
    }

    /// The number of the block that may be the one of this fingerprint.
    func candidate(_ fingerprint: UInt64) -> Int? {
        guard isKept(fingerprint) else { return nil }
        var place = Int(tag(fingerprint)) & (entries.count - 1)
        while entries[place] != 0 {
            if UInt32(entries[place] >> 32) == tag(fingerprint) {
                return Int(truncatingIfNeeded: entries[place] & 0xffff_ffff) - 1
            }
            place = (place + 1) & (entries.count - 1)
        }
        return nil
    }

    /// Keeps a block, unless another one of the same 32 bits is kept.
    mutating func insert(_ fingerprint: UInt64, _ number: Int) {
        guard isKept(fingerprint), number < BlockTable.mostBlocks else { return }
        if count >= entries.count / 8 * 5 {
            makeRoom()
            guard isKept(fingerprint) else { return }
        }
        put(UInt64(tag(fingerprint)) << 32 | UInt64(number + 1))
    }

    private func tag(_ fingerprint: UInt64) -> UInt32 { UInt32(truncatingIfNeeded: fingerprint) }

    private mutating func put(_ entry: UInt64) {
        var place = Int(entry >> 32) & (entries.count - 1)
        while entries[place] != 0 {
            if entries[place] >> 32 == entry >> 32 { return }
            place = (place + 1) & (entries.count - 1)
        }
        entries[place] = entry
        count += 1
    }

    /// Grows, or forgets half of the blocks where it may not.
    private mutating func makeRoom() {
        if entries.count == mostEntries { ignoredBits += 1 }
        let kept = entries.filter {
            $0 != 0 && (ignoredBits == 0 || UInt32($0 >> 32) >> (32 - ignoredBits) == 0)
        }
        if entries.count < mostEntries {
            let count = entries.count * 2
            entries.deallocate()
            entries = .allocate(capacity: count)
        }
        entries.initialize(repeating: 0)
        count = 0
        for entry in kept { put(entry) }
    }
}
