internal import Linux
internal import SystemPackage

/// Loop devices, which hold no lock on the files under them, and whose writes move a file's time
/// only when they are written back.
final class LoopDevices: @unchecked Sendable {
    /// How long it counts what was found: whoever attaches a device a moment later is not seen
    /// either, and a fleet asks thousands of times.
    private static let validity = Duration.milliseconds(20)
    private static let shared = LoopDevices()
    private let turn = Locked(())
    private var found: (at: ContinuousClock.Instant, devices: [(device: FilePath, file: FileIdentity)])?

    /// The loop device over `file` that is not read-only, or nil.
    static func writing(to file: FileIdentity) throws -> FilePath? {
        try shared.turn.withLock { _ in Result { try shared.devices() } }.get().first {
            $0.file.isSameFile(as: file)
        }?.device
    }

    private func devices() throws -> [(device: FilePath, file: FileIdentity)] {
        if let found, found.at.duration(to: .now) < LoopDevices.validity { return found.devices }
        let start = ContinuousClock.now
        let devices = try SystemText.names(in: "/sys/block").filter { $0.hasPrefix("loop") }.compactMap(
            LoopDevices.writing)
        found = (start, devices)
        return devices
    }

    /// The device called `name` with the file under it; nil where it has none, or writes nothing to
    /// it.
    private static func writing(_ name: String) throws -> (device: FilePath, file: FileIdentity)? {
        let folder = FilePath("/sys/block").appending(name)
        guard let backing = try SystemText.lines(of: folder.pushing("loop/backing_file")).first,
            try SystemText.lines(of: folder.appending("ro")).first == "0",
            // The file may have no name any more, or one that means nothing here.
            let file = try? ImageFile.identity(at: FilePath(bytes: Array(backing.utf8)))
        else { return nil }
        return (FilePath("/dev").appending(name), file)
    }
}
