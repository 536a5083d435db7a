import Testing

@testable import drover

/// Checkpoints as a curve.
struct ThroughputSeriesTests {
    private func samples(_ pairs: [(Double, UInt64)]) -> [FleetReport.Sample] {
        pairs.map { .init(time: $0.0, bytes: $0.1) }
    }

    @Test func noCheckpointsAreNoCurve() {
        let series = ThroughputSeries([])
        #expect(series.rates == [] && series.bytes == 0 && series.mean == nil && series.peak == 0)
    }

    @Test func oneCheckpointHasNoAverage() {
        let series = ThroughputSeries(samples([(1000, 512)]))
        #expect(series.bytes == 512 && series.mean == nil && series.rates.count == 1)
    }

    @Test func ratesAddUpToTheBytes() {
        let series = ThroughputSeries(samples((0..<4000).map { (Double($0) * 0.5, 1 << 20) }))
        #expect(series.rates.count == ThroughputSeries.mostColumns)
        let sum = series.rates.reduce(0, +) * series.seconds / Double(series.rates.count)
        #expect(abs(sum - Double(series.bytes)) < 1)
        #expect(series.mean.map { Int($0 / 1000) } == 2097)
    }

    @Test func aLongWaitIsCutOutAndMarked() {
        let series = ThroughputSeries(samples([(0, 1), (10, 1), (10_010, 1), (10_020, 1)]))
        #expect(series.seconds == 20)
        #expect(series.pauses == [.init(at: 10, length: 10_000)])
    }

    @Test func orderAndNonsenseDoNotMatter() {
        let good = samples([(5, 1), (1, 2), (9, 3)])
        #expect(
            ThroughputSeries(good)
                == ThroughputSeries(good.reversed() + samples([(.nan, 7), (.infinity, 7)])))
        #expect(ThroughputSeries(samples([(0, .max), (1, .max)])).rates.allSatisfy { $0.isFinite })
    }

    @Test(arguments: [
        (0.0, "0 s"), (0.2, "under 1 s"), (59.4, "59 s"), (60, "1 min"), (125, "2 min 5 s"),
        (7260, "2 h 1 min"), (180_000, "2 d 2 h"),
    ])
    func durationsAreWrittenForPeople(seconds: Double, text: String) {
        #expect(ThroughputDrawing.duration(seconds) == text)
    }
}
