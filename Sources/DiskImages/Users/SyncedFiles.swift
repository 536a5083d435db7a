internal import Linux

/// The files that this process has synced, in the state that they had then. A store through a
/// mapping moves a file's times once its page is clean, so that one with the same times has nothing
/// new.
final class SyncedFiles: @unchecked Sendable {
    private static let shared = SyncedFiles()
    private let turn = Locked(())
    private var states: [FileID: FileIdentity] = [:]

    /// Whether `file` is not known to be synced as it is.
    static func isNews(_ file: FileIdentity) -> Bool {
        let known = shared.turn.withLock { _ in shared.states[FileID(file)] }
        return file.isBlockDevice || known?.size != file.size || known?.mtime != file.mtime
            || known?.ctime != file.ctime
    }

    static func note(_ file: FileIdentity) {
        shared.turn.withLock { _ in shared.states[FileID(file)] = file }
    }
}
