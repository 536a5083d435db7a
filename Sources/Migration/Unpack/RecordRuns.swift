internal import DiskImages
internal import TransportArchive

/// The runs of an archive's record as a plan needs them: gaps filled with what they mean.
struct RecordRuns: TargetRunSource {
    private var runs: [TargetRun] = []
    private var index = 0

    /// `isRaw`: what no run covers is zeros; in a COW layer it is not allocated.
    init(_ record: RunRecord, isRaw: Bool) {
        var position = record.range.lowerBound
        var content: UInt64 = 0
        let gap: TargetRun.Kind = isRaw ? .zero : .backing
        for run in record.runs {
            if run.start > position { add(TargetRun(start: position, end: run.start, kind: gap)) }
            add(
                TargetRun(
                    start: run.start, end: run.end,
                    kind: run.isZero ? .zero : .data(layer: 0, offset: content, isEncoded: false)))
            if !run.isZero { content += run.end - run.start }
            position = run.end
        }
        if position < record.range.upperBound {
            add(TargetRun(start: position, end: record.range.upperBound, kind: gap))
        }
    }

    /// Neighbours without data become one run.
    private mutating func add(_ run: TargetRun) {
        if let last = runs.last, last.kind == run.kind, !run.isData {
            runs[runs.count - 1].end = run.end
        } else {
            runs.append(run)
        }
    }

    mutating func next() -> TargetRun? {
        guard index < runs.count else { return nil }
        defer { index += 1 }
        return runs[index]
    }
}
