import Testing

@testable import drover

/// What is found out about the reader of standard output.
struct TerminalStyleTests {
    private func style(_ columns: Int?, _ variables: [String: String]) -> TerminalStyle {
        TerminalStyle(terminalColumns: columns) { variables[$0] }
    }

    @Test func theTerminalKnowsItsWidthBest() {
        #expect(style(120, ["COLUMNS": "90"]).columns == 120)
        #expect(style(0, ["COLUMNS": "90"]).columns == 90)
        #expect(style(nil, ["COLUMNS": "90"]).columns == 90)
        for wrong in ["", "wide", "-5", "0"] { #expect(style(nil, ["COLUMNS": wrong]).columns == 80) }
    }

    @Test func coloursAreForTerminalsThatWantThem() {
        #expect(style(80, ["TERM": "xterm"]).hasColour)
        #expect(style(80, ["TERM": "xterm", "NO_COLOR": ""]).hasColour)
        #expect(!style(80, ["TERM": "xterm", "NO_COLOR": "1"]).hasColour)
        #expect(!style(80, ["TERM": "dumb"]).hasColour)
        #expect(!style(80, [:]).hasColour)
        #expect(!style(nil, ["TERM": "xterm"]).hasColour)
    }

    @Test func theFirstLocaleVariableThatIsSetDecides() {
        #expect(style(nil, ["LANG": "de_DE.UTF-8"]).isUnicode)
        #expect(style(nil, ["LC_ALL": "", "LC_CTYPE": "C.utf8", "LANG": "C"]).isUnicode)
        #expect(!style(nil, ["LC_ALL": "C", "LANG": "de_DE.UTF-8"]).isUnicode)
        #expect(!style(nil, ["LC_CTYPE": "de_DE.ISO-8859-1", "LANG": "de_DE.UTF-8"]).isUnicode)
        #expect(!style(nil, [:]).isUnicode)
    }
}
