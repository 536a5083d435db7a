package import Stages

/// How a move works, whatever is moved: how many workers, how fast, who looks on, who stops it.
package struct MoveOptions: Sendable {
    /// Slots for workers: the caller has one, and further ones are taken while they are free.
    package var workers: WorkerSlots
    /// How much is read a second; nil as much as there is.
    package var rate: RateLimit?
    package var progress: Progress
    package var stop: StopFlag

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
        MoveOptions(workers: workers, rate: rate, progress: Progress(within: progress), stop: stop)
    }

    /// The same work, which nobody looks at.
    package var unseen: MoveOptions {
        MoveOptions(workers: workers, rate: rate, progress: Progress(isShown: false), stop: stop)
    }
}
