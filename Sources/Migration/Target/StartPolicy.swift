package import DiskImages

/// What a move may do with what stands at its target's place, and when it gives the name.
package struct StartPolicy: Sendable {
    /// Forgets a checkpoint.
    package var restart = false
    /// Believes nothing that times say of the sources: what is complete is held against them again,
    /// what is not begins anew.
    package var reread = false
    /// Replaces an existing target.
    package var force = false
    /// The one existing target that may be replaced, whatever `force` says; nil lets `force` decide
    /// alone.
    package var only: FileIdentity? = nil
    /// False where the file system has no locks, and nothing else works on the target.
    package var usesLock = true
    /// When the target takes its name.
    package var naming = TargetNaming.atOnce

    package init(restart: Bool = false, force: Bool = false) {
        self.restart = restart
        self.force = force
    }
}
