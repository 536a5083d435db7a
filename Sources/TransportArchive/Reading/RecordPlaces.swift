internal import DiskImages
internal import Linux

/// Where the records of an archive lie, as far as they were come upon: what is lost of its tables,
/// or is not written yet, is known all the same.
package final class RecordPlaces: Sendable {
    private let entries: Locked<[[RecordTable.Entry]]>

    /// Of an archive with so many layers.
    package init(layers: Int) { entries = Locked(Array(repeating: [], count: layers)) }

    /// Takes in the run record that `reader` has read last; places never go back.
    package func add(_ reader: ArchiveReader) {
        guard let (run, entry) = reader.lastEntry else { return }
        entries.withLock { $0[run.layer].append(entry) }
    }

    /// The number of the record of `layer` that is the last to begin at or before `position`, and
    /// its entry.
    func entry(of layer: Int, at position: UInt64) -> (number: Int, entry: RecordTable.Entry)? {
        entries.withLock { entries in
            RecordTable.index(of: position, in: entries[layer]).map { ($0, entries[layer][$0]) }
        }
    }
}
