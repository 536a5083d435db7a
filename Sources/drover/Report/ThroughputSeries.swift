/// Checkpoints made into a curve: how many bytes a second became safe, over the time in which
/// somebody worked.
///
/// A time without any checkpoint that is longer than `longestWait` counts as a pause and is cut
/// out: a fleet that was stopped for a night is not a flat line with two needles.
struct ThroughputSeries: Equatable {
    /// At most so many columns.
    static let mostColumns = 240
    /// Seconds.
    static let longestWait = 300.0
    /// Seconds below which there is no curve: a few checkpoints are needles.
    static let shortest = 3.0

    /// A time that was cut out.
    struct Pause: Equatable {
        /// Seconds of work before it.
        var at: Double
        /// Seconds.
        var length: Double
    }

    /// Bytes a second in each column; all columns stand for the same time.
    private(set) var rates: [Double] = []
    private(set) var pauses: [Pause] = []
    /// Seconds of work, pauses left out.
    private(set) var seconds: Double = 0
    private(set) var bytes: UInt64 = 0

    /// Seconds since 1970.
    private(set) var start: Double = 0
    private(set) var end: Double = 0

    init(_ samples: [FleetReport.Sample]) {
        let samples = samples.filter(\.time.isFinite).sorted { $0.time < $1.time }
        guard let first = samples.first, let last = samples.last else { return }
        (start, end) = (first.time, last.time)
        var moments: [Double] = []
        var before = first.time
        for sample in samples {
            let wait = sample.time - before
            if wait > ThroughputSeries.longestWait {
                pauses.append(Pause(at: seconds, length: wait))
            } else {
                seconds += wait
            }
            moments.append(seconds)
            before = sample.time
            bytes = bytes.addingReportingOverflow(sample.bytes).partialValue
        }
        // Fewer samples than columns would be needles with nothing between them, and so would
        // columns that are shorter than a few checkpoints.
        let count = min(ThroughputSeries.mostColumns, max(1, samples.count / 4), max(1, Int(seconds / 2)))
        let width = max(seconds / Double(count), 1e-3)
        rates = [Double](repeating: 0, count: count)
        for (sample, moment) in zip(samples, moments) {
            rates[min(count - 1, Int(moment / width))] += Double(sample.bytes) / width
        }
    }

    /// Bytes a second over the whole time of work; nil where that was too short to say.
    var mean: Double? { seconds > 0 ? Double(bytes) / seconds : nil }

    /// Whether it took long enough to be shown as a curve.
    var isWorthDrawing: Bool { seconds >= ThroughputSeries.shortest }

    var peak: Double { rates.max() ?? 0 }
}
