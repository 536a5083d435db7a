internal import Linux

/// How far a move is: counted by the stages, read by whoever shows it.
package final class Progress: Sendable {
    /// The state at one moment, in bytes.
    package struct Snapshot: Equatable, Sendable {
        /// What is being moved.
        package var name = ""
        /// Data that is to be read in all; nil where it was not counted.
        package var total: UInt64?
        /// Data that was read, by this run or an earlier one that was resumed.
        package var done: UInt64 = 0
        /// The part of `done` that an earlier run read.
        package var resumed: UInt64 = 0
        /// Bytes written to the target by this run.
        package var written: UInt64 = 0
        /// The part of `written` that shares extents with the sources.
        package var shared: UInt64 = 0
        /// The guest disk's length.
        package var length: UInt64 = 0
        /// Guest disk that is done, holes and all.
        package var covered: UInt64 = 0
        /// Of a move of many: how many there are, how many of them are done, and the one that was
        /// begun last; 0 of one alone.
        package var items = 0
        package var itemsDone = 0
        package var item = ""

        /// `total` is nil where nobody counted; `resumed` is the part of what was read and of what
        /// is covered that an earlier run did.
        package init(
            name: String = "", total: UInt64? = nil, done: UInt64 = 0, resumed: UInt64 = 0,
            length: UInt64 = 0, covered: UInt64 = 0
        ) {
            self.name = name
            self.total = total
            self.done = done
            self.resumed = resumed
            self.length = length
            self.covered = covered
        }
    }

    /// Whether somebody shows the progress, so that counting the data first is worth its while.
    package let isShown: Bool
    private let state = Locked(Snapshot())
    /// The progress of the whole that this is a part of.
    private let whole: Progress?

    package init(isShown: Bool) {
        self.isShown = isShown
        whole = nil
    }

    /// The progress of one part of `whole`, which counts everything that this one counts.
    package init(within whole: Progress) {
        isShown = whole.isShown
        self.whole = whole
    }

    /// Whether it counts for a whole beside others.
    var isPart: Bool { whole != nil }

    package var snapshot: Snapshot { state.withLock { $0 } }

    /// Begins with a state in which only what is known beforehand is set.
    package func begin(_ start: Snapshot) {
        state.withLock { $0 = start }
        // What an earlier run read is no part of what the whole was told there is to read.
        whole?.resume(start.covered, read: 0)
    }

    /// Counts guest bytes that are done, those of them that were read, and bytes that were written.
    package func add(covered: UInt64, read: Int = 0, written: Int = 0) {
        state.withLock {
            $0.covered &+= covered
            $0.done &+= UInt64(read)
            $0.written &+= UInt64(written)
        }
        whole?.add(covered: covered, read: read, written: written)
    }

    /// One of many is begun, called so.
    package func begin(item: String) { state.withLock { $0.item = item } }

    /// One of many is done.
    package func endItem() { state.withLock { $0.itemsDone += 1 } }

    /// Counts bytes that were shared instead of written.
    package func add(shared: UInt64) {
        state.withLock { $0.shared &+= shared }
        whole?.add(shared: shared)
    }

    /// Counts guest bytes that an earlier run had done, and those of them that it had read.
    package func resume(_ covered: UInt64, read: Int) {
        state.withLock {
            $0.covered &+= covered
            $0.done &+= UInt64(read)
            $0.resumed &+= UInt64(read)
        }
        whole?.resume(covered, read: read)
    }
}
