internal import DiskImages
internal import Fleets
internal import FoundationEssentials
internal import Glibc
internal import Linux
internal import Migration
internal import PipelineFiles
internal import SystemPackage

/// The figures of a run in Prometheus' text format, for the textfile collector of its node
/// exporter: gauges, without time stamps, in a file that is always whole.
/// https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
struct RunMetrics: Sendable {
    private let file: FilePath
    private let pipeline: String
    private let began = Date().timeIntervalSince1970

    /// nil where the pipeline names no file. Throws where parts of a fleet would write over one
    /// another.
    init?(of spec: PipelineSpec, _ shard: Shard?) throws {
        guard let metrics = spec.metrics else { return nil }
        let bytes = metrics.pathBytes
        let text = String(decoding: bytes, as: UTF8.self)
        guard shard == nil || text.contains(PipelineSpec.shard) else {
            throw MigrationError(
                .usage,
                "\(spec.givenName): 'metrics' needs \(PipelineSpec.shard) in its name, because this run is a part of the fleet"
            )
        }
        let part = shard.map { "\($0.index)-of-\($0.count)" } ?? "all"
        file = FilePath(text.replacing(PipelineSpec.shard, with: part))
        pipeline = spec.file.description
    }

    /// Writes what is known while the run goes on.
    func write(running progress: Progress.Snapshot) throws {
        try write(lines([("drover_run_running", "Whether the run goes on", [("", 1)]), done(progress.done)]))
    }

    /// Writes how the run ended. `counts` are of targets, by their outcome.
    func write(ended code: Int32, counts: [String: Int], read: UInt64) throws {
        let outcomes = ["done", "up-to-date", "adopted", "held", "left-alone", "failed", "stopped"].map {
            (",outcome=\"\($0)\"", Double(counts[$0] ?? 0))
        }
        try write(
            lines([
                ("drover_run_running", "Whether the run goes on", [("", 0)]),
                (
                    "drover_run_ended_seconds", "When the last run ended, since 1970",
                    [("", Date().timeIntervalSince1970)]
                ),
                ("drover_run_exit_code", "What the last run ended with", [("", Double(code))]),
                ("drover_run_targets", "Targets of the last run", outcomes), done(read),
            ]))
    }

    private typealias Gauge = (name: String, help: String, samples: [(labels: String, value: Double)])

    private func done(_ bytes: UInt64) -> Gauge {
        ("drover_run_bytes", "Bytes of data that the run has gone through", [("", Double(bytes))])
    }

    private func lines(_ gauges: [Gauge]) -> String {
        let began: Gauge = ("drover_run_began_seconds", "When the run began, since 1970", [("", self.began)])
        let name = pipeline.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing(
            "\n", with: "\\n")
        return ([began] + gauges).map { gauge in
            "# HELP \(gauge.name) \(gauge.help).\n# TYPE \(gauge.name) gauge\n"
                + gauge.samples.map {
                    "\(gauge.name){pipeline=\"\(name)\"\($0.labels)} \(RunMetrics.text($0.value))\n"
                }
                .joined()
        }.joined()
    }

    private static func text(_ value: Double) -> String {
        value == value.rounded() && abs(value) < 1e15 ? "\(Int64(value))" : "\(value)"
    }

    /// Beside its name first: whoever collects it sees it whole.
    private func write(_ text: String) throws {
        let temporary = file.withSuffix(".tmp")
        let descriptor = temporary.withPlatformString {
            open($0, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0o644)
        }
        guard descriptor >= 0 else {
            throw DiskImageError.system(file, "the run's figures cannot be written", .current, .target)
        }
        var bytes = Array(text.utf8)[...]
        while !bytes.isEmpty {
            let count = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            guard count > 0 || errno == EINTR else { break }
            bytes = bytes.dropFirst(max(0, count))
        }
        let isWhole = bytes.isEmpty && fchmod(descriptor, 0o644) == 0 && fsync(descriptor) == 0
        let error = Errno.current
        close(descriptor)
        guard isWhole, rename(temporary.string, file.string) == 0 else {
            _ = unlink(temporary.string)
            throw DiskImageError.system(
                file, "the run's figures cannot be written", isWhole ? .current : error, .target)
        }
    }
}
