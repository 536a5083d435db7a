internal import Linux

extension ImageFacts {
    /// The facts for people, in `qemu-img info`'s words as far as it has them.
    var lines: [String] {
        var lines = [
            "image: \(filename)",
            "file format: \(format)",
            "virtual size: \(HumanText.sizeAndBytes(virtualSize))",
            "disk size: \(HumanText.size(actualSize))",
        ]
        if let backingFilename {
            let place =
                fullBackingFilename.flatMap { $0 == backingFilename ? nil : " (actual path: \($0))" } ?? ""
            lines.append("backing file: \(backingFilename)\(place)")
        }
        if let backingFilenameFormat { lines.append("backing file format: \(backingFilenameFormat)") }
        if let data = formatSpecific?.data {
            lines.append("Format specific information:")
            lines += data.lines.map { "    \($0)" }
        }
        if locked, problems.allSatisfy({ $0.kind != "locked" }) {
            lines.append("locked: for writing, by a process that uses it")
        }
        lines += problems.map { "problem: \($0.text)" }
        lines += warnings.map { "warning: \($0)" }
        return lines.map(ErrorLine.escaped)
    }
}

extension CowFacts {
    fileprivate var lines: [String] {
        var lines = ["layout: \(layout)"]
        if byteOrder == "little" { lines.append("byte order: little") }
        if headerSize % 512 != 0 { lines.append("size in the header: \(headerSize) bytes") }
        lines.append("allocated: \(HumanText.sizeAndBytes(allocated))")
        lines.append("data offset: \(dataOffset)")
        if let backingSizeMatches {
            lines.append("backing file size: \(backingSizeMatches ? "matches" : "differs")")
        }
        if let backingMtime {
            let verdict =
                switch backingMtimeMatches {
                case true?: ", matches"
                case false?: ", differs"
                case nil: ""
                }
            lines.append(
                "backing file mtime: \(backingMtime) (\(Timestamp.date(Int(backingMtime))))\(verdict)")
        }
        return lines
    }
}
