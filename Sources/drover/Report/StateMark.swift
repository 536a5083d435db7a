/// How a state is written: a word, a sign, and the style that colours it.
struct StateMark {
    /// Also what a section of such images is called in the page's addresses.
    let word: String
    let symbol: String
    let style: String
    /// Whether its images are shown without being asked for: somebody has to do something.
    let isOpen: Bool
    /// Whether a summary says it even of no image.
    let isAlwaysCounted: Bool
    /// `43 %` of a running image.
    private(set) var detail = ""
    /// Why, where there is a reason.
    private(set) var reason: String?

    /// All of them, in the order in which somebody wants to know of them.
    static let all = [failed, stale, changed, orphan, running, interrupted, waiting, done]

    private static let done = StateMark("done", "✓", "done", always: true)
    private static let running = StateMark("running", "▸", "running")
    private static let interrupted = StateMark("interrupted", "‖", "waiting")
    private static let waiting = StateMark("waiting", "…", "waiting", always: true)
    private static let failed = StateMark("failed", "✕", "failed", always: true, open: true)
    private static let stale = StateMark("stale", "↻", "stale", open: true)
    private static let changed = StateMark("altered", "!", "changed", open: true)
    private static let orphan = StateMark("orphan", "∅", "changed", open: true)

    private init(_ word: String, _ symbol: String, _ style: String, always: Bool = false, open: Bool = false)
    {
        self.word = word
        self.symbol = symbol
        self.style = style
        isAlwaysCounted = always
        isOpen = open
    }

    init(_ image: FleetReport.Image) {
        switch image.state {
        case .done where image.role == .orphan:
            self = .orphan
            reason = "the source is gone; the target is whole"
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
