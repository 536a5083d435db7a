internal import Foundation
package import SystemPackage

/// A directory of its own for a test, removed with everything in it when the last reference goes.
package final class TemporaryDirectory: Sendable {
    /// Absolute, symbolic links resolved.
    package let path: FilePath

    package init() throws {
        var template = Array("\(NSTemporaryDirectory())/drover-test-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil, let real = realpath(template, nil) else {
            throw SystemCallFailed("mkdtemp")
        }
        defer { free(real) }
        path = FilePath(platformString: real)
    }

    deinit { try? FileManager.default.removeItem(atPath: path.string) }

    /// The path of `name`, which may have several components, below the directory.
    package func callAsFunction(_ name: String) -> FilePath { path.appending(name) }

    /// Makes a directory below this one, and those between.
    @discardableResult
    package func directory(_ name: String) throws -> FilePath {
        try FileManager.default.createDirectory(atPath: self(name).string, withIntermediateDirectories: true)
        return self(name)
    }

    /// Makes a symbolic link called `name` that says `destination`.
    @discardableResult
    package func link(_ name: String, to destination: FilePath) throws -> FilePath {
        try FileManager.default.createSymbolicLink(
            atPath: self(name).string, withDestinationPath: destination.string)
        return self(name)
    }

    /// Makes a FIFO called `name`.
    @discardableResult
    package func fifo(_ name: String) throws -> FilePath {
        guard mkfifo(self(name).string, 0o600) == 0 else { throw SystemCallFailed("mkfifo") }
        return self(name)
    }
}

/// A system call of the test's own that failed.
package struct SystemCallFailed: Error, CustomStringConvertible {
    package let description: String

    package init(_ call: String) { description = "\(call): \(String(cString: strerror(errno)))" }
}

extension TemporaryDirectory {
    /// The names of all files, in order.
    package var names: [String] {
        get throws {
            guard let folder = opendir(path.string) else { throw SystemCallFailed("opendir \(path)") }
            defer { closedir(folder) }
            var names: [String] = []
            while let entry = readdir(folder) {
                names.append(
                    withUnsafePointer(to: &entry.pointee.d_name) {
                        String(cString: UnsafeRawPointer($0).assumingMemoryBound(to: CChar.self))
                    })
            }
            return names.filter { $0 != "." && $0 != ".." }.sorted()
        }
    }
}
