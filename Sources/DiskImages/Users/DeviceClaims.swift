internal import CLinux
internal import Glibc
internal import Linux
internal import SystemPackage

/// The block devices that this process has for itself, each opened once and exclusively, by
/// whatever name: a second exclusive open is refused by the kernel, also to the one who has the
/// first. They are held to the process's end, so that nobody mounts one while it is read.
final class DeviceClaims: @unchecked Sendable {
    private static let shared = DeviceClaims()
    private let turn = Locked(())
    private var held: Set<UInt64> = []

    /// Whether the device is this process's now; false where somebody else has it.
    static func claim(_ path: FilePath, _ number: UInt64) throws -> Bool {
        let error = shared.turn.withLock { _ in shared.open(path, number) }
        guard let error else { return true }
        if error == .resourceBusy { return false }
        throw DiskImageError.system(path, "cannot be opened", error, .unavailable)
    }

    private func open(_ path: FilePath, _ number: UInt64) -> Errno? {
        if held.contains(number) { return nil }
        let descriptor = path.withPlatformString { clinux_open($0, O_RDONLY | O_EXCL | O_NONBLOCK, 0) }
        guard descriptor >= 0 else { return .current }
        held.insert(number)
        return nil
    }
}
