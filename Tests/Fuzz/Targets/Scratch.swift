internal import Foundation
internal import SystemPackage

/// Files in memory, in a folder of this process's own: parsers of files are given their bytes
/// there.
enum Scratch {
    private static let parent =
        ProcessInfo.processInfo.environment["FUZZ_SCRATCH"]
        ?? (access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp")

    /// The folder; it stays until the process ends.
    static let folder: FilePath = {
        var template = Array("\(parent)/drover-fuzz-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else {
            fatalError("\(parent): no folder can be made there: errno \(errno)")
        }
        atexit { Scratch.remove(Scratch.folder) }
        return FilePath(template.withUnsafeBufferPointer { String(cString: $0.baseAddress!) })
    }()

    /// Writes `bytes` to the file `name`, which is `length` bytes long, a hole behind them, and was
    /// modified `mtime` seconds after 1970.
    static func write(_ name: String, _ bytes: [UInt8], length: UInt64? = nil, mtime: Int = 0) throws
        -> FilePath
    {
        let path = folder.appending(name)
        let descriptor = open(path.string, O_RDWR | O_CREAT | O_TRUNC, 0o600)
        guard descriptor >= 0 else { fatalError("\(path): errno \(errno)") }
        defer { close(descriptor) }
        guard bytes.isEmpty || pwrite(descriptor, bytes, bytes.count, 0) == bytes.count else {
            fatalError("\(path): errno \(errno)")
        }
        // What tmpfs takes for too long is nobody's fault.
        if let length, length > UInt64(bytes.count) { _ = ftruncate(descriptor, off_t(clamping: length)) }
        let times = [timespec(tv_sec: mtime, tv_nsec: 0), timespec(tv_sec: mtime, tv_nsec: 0)]
        guard futimens(descriptor, times) == 0 else { fatalError("\(path): errno \(errno)") }
        return path
    }

    /// What is in the folder.
    static var names: Set<String> {
        guard let names = try? FileManager.default.contentsOfDirectory(atPath: folder.string) else {
            fatalError("\(folder): cannot be listed")
        }
        return Set(names)
    }

    /// Removes what is below `path`, and itself.
    static func remove(_ path: FilePath) {
        try? FileManager.default.removeItem(atPath: path.string)
    }
}
