internal import ImageFormats

/// Where the clusters of a qcow2 file that is written go: behind one another, after what an earlier
/// run gave up is taken again. Lengths and offsets are bytes.
struct Qcow2Allocator {
    private let clusterLength: UInt64
    /// Where the file ends so far, whole clusters.
    private(set) var end: UInt64
    /// Parts of the file before its end that nothing refers to, whole clusters.
    private var free: [Range<UInt64>]
    /// Where compressed clusters go on: within a cluster that has some already.
    private var packed: Range<UInt64>

    /// Of a file that is in use up to `end`, but for `free`.
    init(clusterLength: UInt64, end: UInt64, free: [Range<UInt64>] = []) {
        (self.clusterLength, self.end, self.free) = (clusterLength, end, free.reversed())
        packed = 0..<0
    }

    /// Room for at most `count` clusters next to one another, at least for one.
    mutating func clusters(_ count: Int) -> Range<UInt64> {
        let length = UInt64(count) * clusterLength
        if let first = free.popLast() {
            let taken = first.lowerBound..<min(first.upperBound, first.lowerBound + length)
            if taken.upperBound < first.upperBound { free.append(taken.upperBound..<first.upperBound) }
            return taken
        }
        defer { end += length }
        return end..<end + length
    }

    /// Room for `length` bytes of compressed clusters, which may begin anywhere.
    mutating func bytes(_ length: UInt64) -> Range<UInt64> {
        if packed.upperBound - packed.lowerBound < length {
            let missing = length - (packed.upperBound - packed.lowerBound)
            let more = (missing + clusterLength - 1) / clusterLength * clusterLength
            if packed.upperBound == end, !packed.isEmpty {
                packed = packed.lowerBound..<end + more
            } else {
                packed = end..<end + (length + clusterLength - 1) / clusterLength * clusterLength
            }
            end = packed.upperBound
        }
        let taken = packed.lowerBound..<packed.lowerBound + length
        packed = taken.upperBound..<packed.upperBound
        return taken
    }
}
