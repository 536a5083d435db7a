internal import ArgumentParser
internal import Linux
internal import PipelineFiles

/// Text for one line of a terminal, whatever a file is called.
enum ErrorLine {
    /// What `error` says; an error of no known type says what it is.
    static func text(of error: any Error) -> String {
        if let error = error as? ValidationError { return error.message }
        return (error as? any Advising)?.message.text(ChoiceWords.commandLine) ?? "\(error)"
    }

    /// The argument parser's message as part of a sentence: one line, no capital, no full stop.
    static func usage(_ message: String) -> String {
        let lines = message.split(whereSeparator: \.isNewline)
        var text = lines.first.map { String($0) } ?? "the command line is wrong"
        if lines.count > 1 {
            // The further lines are a list's items, each behind a hyphen.
            let items = lines.dropFirst().map { String($0.drop { $0.isWhitespace || $0 == "-" }) }
            text += (text.hasSuffix(":") ? " " : ", ") + items.joined(separator: ", ")
        }
        if text.hasSuffix(".") { text.removeLast() }
        if text.contains("is invalid for"), text.hasSuffix("<bytes>'") || text.hasSuffix("<size>'") {
            text += " (expected \(ByteSize.forms))"
        }
        return text.prefix(1).lowercased() + text.dropFirst()
    }

    /// `text` without anything that would end the line, move the cursor or turn the writing round.
    static func escaped(_ text: String) -> String {
        guard text.unicodeScalars.contains(where: { ArgumentBytes.byte(of: $0) != nil }) else {
            return text.onOneLine
        }
        return text.unicodeScalars.map { scalar in
            ArgumentBytes.byte(of: scalar).map { "\\x\(String($0, radix: 16))" } ?? String(scalar)
        }.joined().onOneLine
    }
}
