internal import Linux
package import SystemPackage

/// What make says in `MAKEFLAGS` of how it was called, as far as it matters to whoever it starts.
///
/// The first word is make's options of one letter, without a hyphen; it may be missing. Further
/// options follow, and after `--` variables. Of several jobservers the last one counts (GNU Make
/// Manual, "POSIX Jobserver").
package struct MakeFlags: Equatable, Sendable {
    /// How make hands out its tokens.
    package enum Jobserver: Equatable, Sendable {
        /// Inherited descriptors: `--jobserver-auth=R,W`, before Make 4.2 `--jobserver-fds=R,W`.
        case pipe(reading: CInt, writing: CInt)
        /// `--jobserver-auth=fifo:PATH`: a FIFO from Make 4.4 on, or a character device that counts
        /// for the whole system.
        case fifo(FilePath)
        /// Negative descriptors, by which make says that it is not for this process, or what means
        /// nothing.
        case withheld
    }

    /// Whether nothing is to be done but to say what would be: `make -n`, which runs recipe lines
    /// with `+` all the same.
    package private(set) var isDryRun = false
    /// The number of `-j`; nil where it is missing or none was given.
    package private(set) var jobs: Int?
    package private(set) var jobserver: Jobserver?

    /// Reads the variable's value.
    package init(parsing text: [UInt8]) {
        for (index, word) in MakeFlags.words(of: text).enumerated() {
            let isOption = word.first == UInt8(ascii: "-")
            if index == 0, !isOption, !word.contains(UInt8(ascii: "=")) {
                isDryRun = word.contains(UInt8(ascii: "n"))
            } else if word == Array("--".utf8) {
                break
            } else if let value = word.after("--jobserver-auth=") ?? word.after("--jobserver-fds=") {
                jobserver = Jobserver(parsing: value)
            } else if let number = word.after("-j") {
                jobs = Int(String(decoding: number, as: UTF8.self)).flatMap { $0 > 0 ? $0 : nil }
            }
        }
    }

    /// Words as make splits them: at blanks, a backslash takes the next byte as it is.
    private static func words(of text: [UInt8]) -> [[UInt8]] {
        var words: [[UInt8]] = []
        var word: [UInt8]?
        var isEscaped = false
        for byte in text {
            if isEscaped || ![UInt8(ascii: " "), UInt8(ascii: "\t"), UInt8(ascii: "\\")].contains(byte) {
                word = word ?? []
                word?.append(byte)
                isEscaped = false
            } else if byte == UInt8(ascii: "\\") {
                isEscaped = true
            } else if let whole = word {
                words.append(whole)
                word = nil
            }
        }
        return words + (word.map { [$0] } ?? [])
    }
}

extension MakeFlags.Jobserver {
    fileprivate init(parsing value: [UInt8]) {
        if let path = value.after("fifo:"), !path.isEmpty {
            self = .fifo(FilePath(bytes: path))
            return
        }
        let numbers = value.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false).map {
            CInt(String(decoding: $0, as: UTF8.self))
        }
        if numbers.count == 2, let reading = numbers[0], let writing = numbers[1], reading >= 0, writing >= 0
        {
            self = .pipe(reading: reading, writing: writing)
        } else {
            self = .withheld
        }
    }
}

extension [UInt8] {
    /// What follows `prefix`, or nil where it begins otherwise.
    fileprivate func after(_ prefix: String) -> [UInt8]? {
        starts(with: prefix.utf8) ? Array(dropFirst(prefix.utf8.count)) : nil
    }
}
