internal import CLinux
internal import Glibc

/// What the reader of standard output can be shown: how many columns, whether colours, which
/// characters.
struct TerminalStyle: Equatable {
    var columns: Int
    var hasColour: Bool
    var isUnicode: Bool

    /// Standard output as it is now.
    static var ofStandardOutput: TerminalStyle {
        let isTerminal = isatty(STDOUT_FILENO) == 1
        return TerminalStyle(terminalColumns: isTerminal ? Int(clinux_terminal_columns(STDOUT_FILENO)) : nil)
        { name in
            getenv(name).map { String(cString: $0) }
        }
    }

    /// `terminalColumns` is nil where standard output is no terminal, and not positive where the
    /// terminal does not say.
    ///
    /// The width is the terminal's, else COLUMNS, else 80. Colours are for terminals alone, and for
    /// none if NO_COLOR is set or TERM is `dumb`.
    init(terminalColumns: Int?, variable: (String) -> String?) {
        func value(_ name: String) -> String? { variable(name).flatMap { $0.isEmpty ? nil : $0 } }
        let known = terminalColumns.flatMap { $0 > 0 ? $0 : nil }
        columns = known ?? value("COLUMNS").flatMap { Int($0) }.flatMap { $0 > 0 ? $0 : nil } ?? 80
        hasColour =
            terminalColumns != nil && value("NO_COLOR") == nil && !["dumb", nil].contains(value("TERM"))
        // The first of them that is set decides, as in setlocale(3).
        let locale = (value("LC_ALL") ?? value("LC_CTYPE") ?? value("LANG") ?? "").uppercased()
        isUnicode = locale.contains("UTF-8") || locale.contains("UTF8")
    }

    init(columns: Int, hasColour: Bool, isUnicode: Bool) {
        self.columns = columns
        self.hasColour = hasColour
        self.isUnicode = isUnicode
    }
}
