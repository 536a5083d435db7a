internal import CLinux
internal import Glibc
internal import Linux

/// What reading one file leaves in the host's page cache: where `passes` was asked for, only what
/// was there before. A move of terabytes must not push out what the machine works with.
///
/// What is there is asked for (cachestat(2), mincore(2)) before a stretch is read, and before the
/// kernel reads ahead into it; what was not is let go of (POSIX_FADV_DONTNEED) a little behind what
/// is read. Where the kernel does not say, because the file is somebody else's, all counts as
/// having been there.
final class CachedPages: Sendable {
    /// What is asked for at once, in bytes.
    static let window: UInt64 = 64 << 20
    /// What is known as a whole.
    static let granule: UInt64 = 64 << 10
    /// How far the kernel is taken to read ahead, at most.
    private static let ahead: UInt64 = 16 << 20
    /// What stays behind the last read: other workers may be reading there.
    private static let behind: UInt64 = 8 << 20
    /// Windows that are remembered. What was read of those that are forgotten was let go of, so
    /// that they may be asked for again.
    private static let mostWindows = 4096

    private enum Use { case left, passing, pinned }

    private struct State {
        var use = Use.left
        /// By a window's number, a bit for each granule of which something was cached.
        var cached: [UInt64: [UInt64]] = [:]
        /// What was read and not yet let go of.
        var read: Range<UInt64>? = nil
    }

    private let state = Locked(State())

    /// From now on, nothing stays of the file of `descriptor` that was not there before; what lies
    /// in memory alone stays in any case.
    func pass(_ descriptor: CInt) {
        state.withLock { state in
            guard state.use == .left else { return }
            state.use = clinux_is_in_memory(descriptor) == 1 ? .pinned : .passing
        }
    }

    /// What is read stays, whatever else is asked for.
    func pin() { state.withLock { $0.use = .pinned } }

    /// Before `range` is read of `descriptor`.
    func begin(_ range: Range<UInt64>, of descriptor: CInt) {
        state.withLock { state in
            guard state.use == .passing, !range.isEmpty else { return }
            // No file goes on behind 2^63 - 1.
            let end = min(range.upperBound + CachedPages.ahead, UInt64(Int64.max))
            if range.lowerBound < end { CachedPages.look(range.lowerBound..<end, descriptor, &state) }
        }
    }

    /// After it was.
    func end(_ range: Range<UInt64>, of descriptor: CInt) {
        state.withLock { state in
            guard state.use == .passing, !range.isEmpty else { return }
            guard let read = state.read, range.lowerBound <= read.upperBound + CachedPages.ahead,
                range.upperBound + CachedPages.ahead >= read.lowerBound
            else {
                CachedPages.letGo(&state, descriptor, upTo: .max)
                state.read = range
                return
            }
            let all = min(read.lowerBound, range.lowerBound)..<max(read.upperBound, range.upperBound)
            state.read = all
            guard all.upperBound - all.lowerBound >= 2 * CachedPages.behind else { return }
            CachedPages.letGo(&state, descriptor, upTo: all.upperBound - CachedPages.behind)
        }
    }

    /// Before the file is closed: also of what the kernel read ahead.
    func finish(_ descriptor: CInt) {
        state.withLock { state in
            if state.use == .passing { CachedPages.letGoOfAll(&state, descriptor) }
        }
    }

    /// Takes note of what is cached of all `length` bytes, for `forget`.
    func remember(_ length: UInt64, of descriptor: CInt) {
        let known = min(length, UInt64(CachedPages.mostWindows) * CachedPages.window)
        guard known > 0, clinux_is_in_memory(descriptor) == 0 else { return }
        state.withLock { CachedPages.look(0..<known, descriptor, &$0) }
    }

    /// Lets go of everything that was not cached when it was remembered.
    func forget(_ descriptor: CInt) {
        state.withLock { CachedPages.letGoOfAll(&$0, descriptor) }
    }

    private static func look(_ range: Range<UInt64>, _ descriptor: CInt, _ state: inout State) {
        for number in range.lowerBound / window...(range.upperBound - 1) / window
        where state.cached[number] == nil {
            if state.cached.count >= mostWindows {
                letGo(&state, descriptor, upTo: .max)
                state.cached = [:]
            }
            state.cached[number] = cached(number, descriptor)
        }
    }

    /// Of which granules of a window something is cached now.
    private static func cached(_ number: UInt64, _ descriptor: CInt) -> [UInt64] {
        var bits = [UInt64](repeating: 0, count: Int(window / granule) / 64)
        let isKnown = clinux_cached(descriptor, off_t(number * window), Int(window), Int(granule), &bits)
        return isKnown == 0 ? bits : bits.map { _ in .max }
    }

    /// Lets go of all windows that are known.
    private static func letGoOfAll(_ state: inout State, _ descriptor: CInt) {
        for number in state.cached.keys {
            letGo(of: number, &state, descriptor)
            // What the kernel still reads ahead, and nobody wanted in the end, cannot be dropped on
            // its way.
            if waitForLate(number, state, descriptor) { letGo(of: number, &state, descriptor) }
        }
    }

    private static func letGo(of number: UInt64, _ state: inout State, _ descriptor: CInt) {
        state.read = number * window..<(number + 1) * window
        letGo(&state, descriptor, upTo: .max)
    }

    /// Waits until all of a window that was not cached before, and is being read, is there; false
    /// where nothing is.
    private static func waitForLate(_ number: UInt64, _ state: State, _ descriptor: CInt) -> Bool {
        let late = zip(cached(number, descriptor), state.cached[number] ?? []).map { $0 & ~$1 }
        guard late.contains(where: { $0 != 0 }) else { return false }
        // So that waiting has nothing more read ahead.
        posix_fadvise(descriptor, 0, 0, POSIX_FADV_RANDOM)
        var bytes = [UInt8](repeating: 0, count: Int(granule))
        for index in 0..<Int(window / granule) where late[index / 64] & 1 << (index % 64) != 0 {
            // Whether it can be read matters to nobody any more.
            _ = pread(descriptor, &bytes, bytes.count, off_t(number * window + UInt64(index) * granule))
        }
        return true
    }

    /// Lets go of what was read, up to `end`, granule by granule.
    private static func letGo(_ state: inout State, _ descriptor: CInt, upTo end: UInt64) {
        guard let read = state.read, read.lowerBound < min(end, read.upperBound) else { return }
        let end = min(end, read.upperBound)
        var position = read.lowerBound / granule
        let last = (end + granule - 1) / granule
        while position < last {
            let first = position
            while position < last, !isCached(position, state) { position += 1 }
            if position > first {
                posix_fadvise(
                    descriptor, off_t(first * granule), off_t((position - first) * granule),
                    POSIX_FADV_DONTNEED)
            }
            while position < last, isCached(position, state) { position += 1 }
        }
        state.read = end < read.upperBound ? end..<read.upperBound : nil
    }

    private static func isCached(_ granule: UInt64, _ state: State) -> Bool {
        let each = window / CachedPages.granule
        guard let bits = state.cached[granule / each] else { return true }
        let bit = granule % each
        return bits[Int(bit / 64)] & 1 << (bit % 64) != 0
    }
}
