/// Finding zeros at memory speed.
package enum ZeroScan {
    /// Whether all of `bytes` are zero. Eight 64-bit words are ORed for each branch: near the speed
    /// of memory without vector code.
    package static func isZero(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard let base = bytes.baseAddress else { return true }
        var offset = 0
        let count = bytes.count
        while offset + 64 <= count {
            let p = base + offset
            let a = p.loadUnaligned(as: UInt64.self) | (p + 8).loadUnaligned(as: UInt64.self)
            let b = (p + 16).loadUnaligned(as: UInt64.self) | (p + 24).loadUnaligned(as: UInt64.self)
            let c = (p + 32).loadUnaligned(as: UInt64.self) | (p + 40).loadUnaligned(as: UInt64.self)
            let d = (p + 48).loadUnaligned(as: UInt64.self) | (p + 56).loadUnaligned(as: UInt64.self)
            if (a | b) | (c | d) != 0 { return false }
            offset += 64
        }
        while offset < count {
            if bytes[offset] != 0 { return false }
            offset += 1
        }
        return true
    }

    /// The ranges of `range` within `bytes` that are to be written when runs of at least `shortest`
    /// zero bytes are left out.
    ///
    /// Blocks of 4096 bytes are looked at (of `shortest`, where that is less), counted from the
    /// start of `bytes`; `shortest` 0 leaves nothing out, and a range that is zeros from end to end
    /// is left out whatever its length. Ranges come in order and do not touch.
    package static func dataRanges(
        in bytes: UnsafeRawBufferPointer, _ range: Range<Int>, leavingOut shortest: Int
    ) -> [Range<Int>] {
        guard shortest > 0, !range.isEmpty else { return range.isEmpty ? [] : [range] }
        let block = min(shortest, 4096)
        var found: [Range<Int>] = []
        var dataStart: Int? = nil
        var zeroStart: Int? = nil
        var position = range.lowerBound
        // A zero run ends the data before it only once it is long enough.
        while position < range.upperBound {
            let end = min((position / block + 1) * block, range.upperBound)
            if isZero(UnsafeRawBufferPointer(rebasing: bytes[position..<end])) {
                let start = zeroStart ?? position
                zeroStart = start
                if end - start >= shortest, let data = dataStart {
                    found.append(data..<start)
                    dataStart = nil
                }
            } else {
                if dataStart == nil {
                    // A run too short to be left out is written with the data after it.
                    dataStart = zeroStart.map { position - $0 < shortest ? $0 : position } ?? position
                }
                zeroStart = nil
            }
            position = end
        }
        if let data = dataStart { found.append(data..<(range.upperBound)) }
        return found
    }
}
