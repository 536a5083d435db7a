internal import CLinux
internal import FoundationEssentials
internal import Glibc
internal import Linux
internal import Migration

/// Shows a move's progress on standard error while it runs: a bar, or a line of JSON a second.
struct ProgressDisplay {
    let progress: Progress
    private let style: ProgressStyle
    private let start = ContinuousClock.now

    /// `auto` is a bar where standard error is a terminal, nothing elsewhere; so is everything
    /// after `-q`.
    init(_ style: ProgressStyle, _ verbosity: VerbosityOptions) {
        self.style =
            verbosity.isQuiet ? .none : style == .auto ? (isatty(STDERR_FILENO) == 1 ? .bar : .none) : style
        progress = Progress(isShown: self.style != .none)
    }

    /// Runs `body` with the display beside it; the last state is shown when it has ended well.
    func during<Result: Sendable>(_ body: @Sendable () async throws -> Result) async throws -> Result {
        guard style == .bar || style == .json else { return try await body() }
        let display = try Ticker(every: style == .bar ? .milliseconds(200) : .seconds(1)) { show() }
        do {
            let result = try await body()
            display.stop()
            show()
            if style == .bar { write("\n") }
            return result
        } catch {
            display.stop()
            // The error's own line is not to be written into the bar's.
            if style == .bar { write("\r\u{1b}[K") }
            throw error
        }
    }

    /// The state in one line, as SIGUSR1 asks for it.
    func showOnce() { StandardError.line("\(progress.snapshot.name): \(text.line)") }

    private var text: ProgressText {
        let elapsed = start.duration(to: .now).components
        return ProgressText(
            snapshot: progress.snapshot,
            elapsed: Double(elapsed.seconds) + Double(elapsed.attoseconds) * 1e-18)
    }

    private func show() {
        let text = text
        switch style {
        case .bar:
            let columns = Int(clinux_terminal_columns(STDERR_FILENO))
            write("\r\(text.line(columns: columns > 0 ? columns : 80))\u{1b}[K")
        case .json: write(json(text))
        case .auto, .none: break
        }
    }

    private struct Line: Encodable {
        let name: String
        let percent: Double
        let total: UInt64?
        let done: UInt64
        let written: UInt64
        let rate: UInt64
        let remaining: UInt64?
        /// Of a run of many.
        let items: Int?
        let itemsDone: Int?
        let item: String?
    }

    private func json(_ text: ProgressText) -> String {
        let state = text.snapshot
        let line = Line(
            name: state.name, percent: (text.fraction * 1000).rounded() / 10, total: state.total,
            done: state.done, written: state.written,
            rate: UInt64(text.rate), remaining: text.remaining.map { UInt64(min($0, 1e9)) },
            items: state.items > 0 ? state.items : nil,
            itemsDone: state.items > 0 ? state.itemsDone : nil, item: state.items > 0 ? state.item : nil)
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        guard let document = try? JSONText.of(line, encoder) else { return "" }
        return document + "\n"
    }

    private func write(_ text: String) {
        let bytes = Array(text.utf8)
        // Progress that cannot be shown is no reason to stop.
        _ = bytes.withUnsafeBytes { Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count) }
    }
}
