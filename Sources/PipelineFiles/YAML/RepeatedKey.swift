/// A key that stands more than once in one mapping. The YAML parser ends there; renamed, its
/// repetitions no longer keep it from finding the rest.
struct RepeatedKey {
    let key: String
    /// Where it stands for the first time, both from 1; the column in Unicode scalars.
    let line: Int
    let column: Int

    /// The lines in which `key` stands again, in a mapping of one key a line; none where that is
    /// not how it is written.
    func repetitions(in text: String) -> [Int] {
        let lines = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
        let margin = String(repeating: " ", count: column - 1)
        var found: [Int] = []
        for (index, line) in lines.enumerated().dropFirst(self.line) {
            let content = line.drop { $0 == " " }
            if content.isEmpty || content.hasPrefix("#") { continue }
            // What stands further left ends the mapping.
            guard line.hasPrefix(margin) else { break }
            if spelling(in: line.dropFirst(column - 1)) != nil { found.append(index + 1) }
        }
        return found
    }

    /// `text` with the repetitions renamed to what `name` gives for each line.
    func renaming(_ repetitions: [Int], in text: String, to name: (Int) -> String) -> String {
        var lines = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
        for number in repetitions {
            let line = lines[number - 1]
            guard let spelling = spelling(in: line.dropFirst(column - 1)) else { continue }
            lines[number - 1] =
                "\(line.prefix(column - 1))\"\(name(number))\"\(line.dropFirst(column - 1 + spelling.count))"
        }
        return lines.joined(separator: "\n")
    }

    /// How the key is written at the start of `line`, with or without quotes; nil where it is not
    /// there.
    private func spelling(in line: Substring) -> String? {
        [key, "\"\(key)\"", "'\(key)'"].first { spelling in
            guard line.hasPrefix(spelling) else { return false }
            let rest = line.dropFirst(spelling.count).drop { $0 == " " }
            return rest.first == ":" && (rest.dropFirst().first.map { " \t".contains($0) } ?? true)
        }
    }
}
