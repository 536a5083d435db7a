internal import TransportArchive

/// Joins records without data that follow one another in a layer: one record stands for zeros of
/// any length, however they were found.
struct RecordJoiner: Sendable {
    /// Runs that a joined record has at most.
    private static let mostRuns = RunRecord.mostRuns / 2

    /// What has no data and may go on.
    private struct Stretch {
        let layer: Int
        var range: Range<UInt64>
        var runs: [RunRecord.Run]

        var record: RunRecord { RunRecord(emptyFor: layer, range: range, runs: runs) }
    }

    private var open: Stretch?

    /// Takes the next record in the archive's order; returns those that are complete by that.
    /// `isLast`: none of the same layer follows.
    ///
    /// What is still open is not to be written by a run that is stopped: its end is not known.
    mutating func add(_ record: RunRecord, isLast: Bool) -> [RunRecord] {
        guard record.byteLength == 0 else { return close() + [record] }
        let closed = join(record) ? [] : close()
        if open == nil { open = Stretch(layer: record.layer, range: record.range, runs: record.runs) }
        return closed + (isLast ? close() : [])
    }

    private mutating func close() -> [RunRecord] {
        defer { open = nil }
        return open.map { [$0.record] } ?? []
    }

    /// Whether `record` became part of what is open.
    private mutating func join(_ record: RunRecord) -> Bool {
        guard let stretch = open, stretch.layer == record.layer else { return false }
        let isSeamless = stretch.runs.last.map { $0.end == record.runs.first?.start } ?? false
        guard stretch.runs.count + record.runs.count - (isSeamless ? 1 : 0) <= RecordJoiner.mostRuns else {
            return false
        }
        if !isSeamless, let last = stretch.runs.last, let first = record.runs.first,
            (last.end - 1) / PackChunk.segment != first.start / PackChunk.segment
        {
            return false
        }
        open?.range = stretch.range.lowerBound..<record.range.upperBound
        for run in record.runs { open?.runs.append(seamless: run) }
        return true
    }
}
