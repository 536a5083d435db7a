internal import Foundation

/// A program that the tests cannot do without. Where it is missing the test fails, and says so.
package struct RequiredTool: Sendable {
    private let place: String

    /// Finds `name` in `PATH`.
    package init(_ name: String) throws {
        let directories = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
        guard
            let found = directories.map({ "\($0)/\(name)" }).first(where: {
                FileManager.default.isExecutableFile(atPath: $0)
            })
        else {
            throw ToolFailed(description: "\(name) is not in PATH (the tests need it; install it)")
        }
        place = found
    }

    /// Runs the program and returns its standard output; throws where it does not end with 0.
    @discardableResult
    package func run(_ arguments: [String]) throws -> String {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: place)
        process.arguments = arguments
        let output = Pipe()
        process.standardOutput = output
        try process.run()
        let bytes = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw ToolFailed(
                description:
                    "\(place) \(arguments.joined(separator: " ")) ended with \(process.terminationStatus)")
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

/// A required program that is missing, or failed.
package struct ToolFailed: Error, CustomStringConvertible {
    package let description: String
}
