/// How a state is written: a word, a sign, and the style that colours it.
struct StateMark {
    let word: String
    let symbol: String
    let style: String
    /// Whether a summary says it even of no image.
    let isAlwaysCounted: Bool
    /// `43 %` of a running image.
    private(set) var detail = ""
    /// Why, where there is a reason.
    private(set) var reason: String?

    /// All of them, in the order in which a summary counts them.
    static let all = [done, running, interrupted, waiting, failed, stale, changed]

    private static let done = StateMark("done", "✓", "done", always: true)
    private static let running = StateMark("running", "▸", "running")
    private static let interrupted = StateMark("interrupted", "‖", "waiting")
    private static let waiting = StateMark("waiting", "…", "waiting", always: true)
    private static let failed = StateMark("failed", "✕", "failed", always: true)
    private static let stale = StateMark("stale", "↻", "stale")
    private static let changed = StateMark("altered", "!", "changed")

    private init(_ word: String, _ symbol: String, _ style: String, always: Bool = false) {
        self.word = word
        self.symbol = symbol
        self.style = style
        isAlwaysCounted = always
    }

    init(_ state: FleetReport.State) {
        switch state {
        case .done: self = .done
        case .waiting: self = .waiting
        case .running(let percent):
            self = .running
            detail = " \(min(max(percent, 0), 100)) %"
        case .interrupted(let percent):
            self = .interrupted
            detail = " \(min(max(percent, 0), 100)) %"
        case .failed(let reason):
            self = .failed
            self.reason = reason
        case .stale(let reason):
            self = .stale
            self.reason = reason
        case .changed(let reason):
            self = .changed
            self.reason = reason
        }
    }

    /// The state as it stands in a line of text.
    var badge: HTML {
        "<span class=\"badge \(style)\"><span aria-hidden=\"true\">\(symbol)</span> \(word)\(detail)</span>"
    }
}
