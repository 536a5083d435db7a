internal import CLinux
internal import Glibc
internal import SystemPackage

/// A thread of its own for tasks that block in system calls: the cooperative pool has no more
/// threads than cores, and one blocked there stops everything. A task whose executor preference it
/// is runs on it from suspension to suspension.
///
/// All of Drover's tasks have one, so the cooperative pool has nothing to do and no threads: it
/// waits for ever where none can be started.
package final class IOThread: TaskExecutor, @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var jobs: [UnownedJob] = []
    private var isStopped = false

    private init() {
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(condition, nil)
    }

    /// Starts the thread; its name is for whoever looks at it from outside. It keeps the object
    /// alive until `stop`. Throws `Shortage` where none can be started.
    package convenience init(named name: String = "stage") throws {
        self.init()
        let start = Unmanaged.passRetained(Start(thread: self, name: name))
        let result = clinux_start_thread(
            { pointer in
                guard let pointer else { return nil }
                let start = Unmanaged<Start>.fromOpaque(pointer).takeRetainedValue()
                clinux_name_thread(start.name)
                start.thread.run()
                return nil
            }, start.toOpaque())
        guard result == 0 else {
            start.release()
            throw Shortage.ofThreads(Errno(rawValue: result))
        }
    }

    /// Starts one where that is possible, for work that others can do as well.
    package static func ifAny(named name: String) throws -> IOThread? {
        do {
            return try IOThread(named: name)
        } catch is Shortage {
            return nil
        }
    }

    /// Runs `body` on the calling thread until it has ended, without any other thread.
    package static func onThisThread(_ body: @escaping @Sendable () async -> Void) {
        let thread = IOThread()
        Task(executorPreference: thread) {
            await body()
            thread.stop()
        }
        thread.run()
    }

    deinit {
        pthread_cond_destroy(condition)
        pthread_mutex_destroy(mutex)
        condition.deallocate()
        mutex.deallocate()
    }

    package func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        pthread_mutex_lock(mutex)
        jobs.append(job)
        pthread_mutex_unlock(mutex)
        // Whoever is woken finds the mutex free, and need not sleep once more.
        pthread_cond_signal(condition)
    }

    /// Ends the thread when it has nothing left to run.
    package func stop() {
        pthread_mutex_lock(mutex)
        isStopped = true
        pthread_mutex_unlock(mutex)
        pthread_cond_signal(condition)
    }

    /// Gives the calling thread another name.
    package static func rename(_ name: String) { clinux_name_thread(name) }

    /// Blocks the calling thread, which is one of these, for `duration`; throws `CancellationError`
    /// where its task is cancelled.
    package static func pause(_ duration: Duration) throws {
        SystemClock.sleep(duration)
        try Task.checkCancellation()
    }

    private func run() {
        while true {
            pthread_mutex_lock(mutex)
            while jobs.isEmpty, !isStopped { pthread_cond_wait(condition, mutex) }
            guard !jobs.isEmpty else {
                pthread_mutex_unlock(mutex)
                return
            }
            let job = jobs.removeFirst()
            pthread_mutex_unlock(mutex)
            job.runSynchronously(on: asUnownedTaskExecutor())
        }
    }
}

/// What a thread is handed.
private final class Start {
    let thread: IOThread
    let name: String

    init(thread: IOThread, name: String) {
        self.thread = thread
        self.name = name
    }
}
