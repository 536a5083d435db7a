import Glibc
import Testing

@testable import Linux
@testable import Stages

struct IOThreadTests {
    @Test func theCallingThreadRunsWhatItIsGivenAlsoAfterItWaited() {
        let caller = UInt(pthread_self())
        let seen = Locked<[UInt]>([])
        IOThread.onThisThread {
            for _ in 0..<3 {
                seen.withLock { $0.append(UInt(pthread_self())) }
                await Task.yield()
            }
            await withTaskGroup(of: Void.self) { group in
                for _ in 0..<3 { group.addTask { seen.withLock { $0.append(UInt(pthread_self())) } } }
            }
        }
        #expect(seen.withLock { $0 } == Array(repeating: caller, count: 6))
    }

    @Test func aPauseOfACancelledTaskThrows() async throws {
        let thread = try IOThread()
        defer { thread.stop() }
        let task = Task(executorPreference: thread) {
            while true { try IOThread.pause(.milliseconds(1)) }
        }
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
    }

    @Test func aTickerTicksUntilItIsStoppedAndNoLonger() async throws {
        let count = Locked(0)
        let ticker = try Ticker(every: .milliseconds(2)) { count.withLock { $0 += 1 } }
        while count.withLock({ $0 }) < 3 { await Task.yield() }
        ticker.stop()
        let atTheEnd = count.withLock { $0 }
        try await Task.sleep(for: .milliseconds(50))
        #expect(count.withLock { $0 } == atTheEnd)
    }

    @Test func somebodyElseMayAskToStop() {
        let isAsked = Locked(false)
        let stop = StopFlag { isAsked.withLock { $0 } }
        #expect(!stop.isRequested)
        isAsked.withLock { $0 = true }
        #expect(stop.isRequested)
    }
}
