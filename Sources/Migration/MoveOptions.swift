internal import DiskImages
package import Stages

/// How a move works, whatever is moved: how many workers, how fast, who looks on, who stops it.
package struct MoveOptions: Sendable {
    /// Slots for workers: the caller has one, and further ones are taken while they are free.
    package var workers: WorkerSlots
    /// How much is read a second; nil as much as there is.
    package var rate: RateLimit?
    package var progress: Progress
    package var stop: StopFlag
    /// Whether what is read and written may stay in the host's page cache, where it was not before.
    package var keepsCache = false

    package init(
        workers: WorkerSlots, rate: RateLimit? = nil, progress: Progress = Progress(isShown: false),
        stop: StopFlag = StopFlag()
    ) {
        self.workers = workers
        self.rate = rate
        self.progress = progress
        self.stop = stop
    }

    /// The same for one target of several: it counts for them all.
    package var within: MoveOptions {
        with(Progress(within: progress))
    }

    /// The same work, which nobody looks at.
    package var unseen: MoveOptions {
        with(Progress(isShown: false))
    }

    private func with(_ progress: Progress) -> MoveOptions {
        var options = self
        options.progress = progress
        return options
    }

    /// From now on, what is read of `files` passes the host's page cache, unless it may stay.
    func passCache(_ files: [ImageFile]) {
        guard !keepsCache else { return }
        for file in files { file.passesCache() }
    }
}
