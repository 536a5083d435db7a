extension String {
    /// The text without anything that would end the line, move the cursor or turn the writing
    /// round.
    package var onOneLine: String {
        guard unicodeScalars.contains(where: \.movesWriting) else { return self }
        var line = String.UnicodeScalarView()
        for scalar in unicodeScalars {
            if scalar.movesWriting {
                line.append(contentsOf: scalar.escaped(asASCII: true).unicodeScalars)
            } else {
                line.append(scalar)
            }
        }
        return String(line)
    }
}

extension Unicode.Scalar {
    /// Whether it is no character to be seen, but ends the line, moves the cursor, or turns or
    /// hides the writing.
    package var movesWriting: Bool {
        if isASCII { return value < 0x20 || value == 0x7f }
        return switch properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator: true
        default: false
        }
    }
}
