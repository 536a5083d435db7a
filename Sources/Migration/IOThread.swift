internal import CLinux
internal import Glibc

/// A thread of its own for tasks that block in system calls: the cooperative pool has no more threads than cores, and one blocked there stops
/// everything. A task whose executor preference it is runs on it from suspension to suspension.
package final class IOThread: TaskExecutor, @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var jobs: [UnownedJob] = []
    private var isStopped = false
    private let name: String

    /// Starts the thread; its name is for whoever looks at it from outside. It keeps the object alive until `stop`.
    package init(named name: String = "stage") throws {
        self.name = name
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(condition, nil)
        var thread = pthread_t()
        let owned = Unmanaged.passRetained(self)
        let result = pthread_create(
            &thread, nil,
            { pointer in
                guard let pointer else { return nil }
                Unmanaged<IOThread>.fromOpaque(pointer).takeRetainedValue().run()
                return nil
            }, owned.toOpaque())
        guard result == 0 else {
            owned.release()
            throw MigrationError(.io, "a thread cannot be started (error \(result))")
        }
        pthread_detach(thread)
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
        pthread_cond_signal(condition)
        pthread_mutex_unlock(mutex)
    }

    /// Ends the thread when it has nothing left to run.
    package func stop() {
        pthread_mutex_lock(mutex)
        isStopped = true
        pthread_cond_signal(condition)
        pthread_mutex_unlock(mutex)
    }

    /// Gives the calling thread another name.
    static func rename(_ name: String) { clinux_name_thread(name) }

    private func run() {
        clinux_name_thread(name)
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
