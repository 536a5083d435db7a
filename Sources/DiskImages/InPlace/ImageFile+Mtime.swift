package import Linux

extension ImageFile {
    /// Gives the file the modification time that it had, durably, where it is still what it was
    /// when it was opened. Throws `badData` where it changed since.
    package func restoreMtime(_ time: Timestamp) throws {
        guard try currentIdentity() == identity else {
            throw DiskImageError(.badData, path, "changed while it was read; its time is left")
        }
        try setMtime(time)
    }
}
