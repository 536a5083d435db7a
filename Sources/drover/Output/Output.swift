internal import DiskImages
internal import FoundationEssentials
internal import Glibc
internal import Linux
internal import SystemPackage

/// Standard output, written in large pieces: a map of millions of extents needs no more memory than
/// a short one.
///
/// Call `finish()` at the end; what a command that fails has not written yet is dropped.
struct Output {
    private static let capacity = 64 << 10
    private var buffer: [UInt8] = []

    mutating func write(_ text: String) throws {
        buffer.append(contentsOf: text.utf8)
        if buffer.count >= Output.capacity { try finish() }
    }

    mutating func line(_ text: String) throws {
        try write(text)
        try write("\n")
    }

    /// Writes `value` as a JSON document with `qemu-img`'s way of writing keys: `virtual-size` for
    /// `virtualSize`.
    mutating func json(_ value: some Encodable) throws { try line(Output.document(value)) }

    /// The document that `json` prints.
    static func document(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        encoder.keyEncodingStrategy = .custom { path in JSONKey(words: path.last?.stringValue ?? "") }
        return try JSONText.of(value, encoder)
    }

    /// Writes everything that is still held.
    mutating func finish() throws {
        defer { buffer.removeAll(keepingCapacity: true) }
        try buffer.withUnsafeBytes { bytes in
            var rest = bytes[...]
            while !rest.isEmpty {
                let count = Glibc.write(
                    STDOUT_FILENO, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
                if count >= 0 {
                    rest = rest.dropFirst(count)
                } else if errno == EPIPE {
                    throw OutputClosed()
                } else if errno != EINTR {
                    throw DiskImageError.system("standard output", "cannot be written", .current, .io)
                }
            }
        }
    }
}

/// Whoever read standard output has closed it, as `head` does.
struct OutputClosed: Error {}

/// A key of a JSON object, its words joined by hyphens.
private struct JSONKey: CodingKey {
    let stringValue: String
    var intValue: Int? { nil }

    init(words camelCase: String) {
        stringValue = camelCase.reduce(into: "") { $0 += $1.isUppercase ? "-" + $1.lowercased() : String($1) }
    }

    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
}

/// Standard output while a command works: one line at a time, each in one system call.
enum StandardOutput {
    /// `TEXT`; what would break the line is escaped.
    static func line(_ text: String) {
        let bytes = Array("\(ErrorLine.escaped(text))\n".utf8)
        // Where it cannot be written, that is told of what is written at the end.
        _ = bytes.withUnsafeBytes { Glibc.write(STDOUT_FILENO, $0.baseAddress, $0.count) }
    }
}

/// Standard error: one line at a time, each in one system call.
enum StandardError {
    /// `drover: TEXT`; what would break the line is escaped.
    static func line(_ text: String) {
        let bytes = Array("drover: \(ErrorLine.escaped(text))\n".utf8)
        // Nothing is left to complain to when this fails.
        _ = bytes.withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
    }
}
