import DiskImages
import Glibc
import Manifests
import SystemPackage
import TestSupport
import Testing

@testable import Migration
@testable import Stages

/// Sources that somebody writes to.
struct ConsistencyTests {
    private let directory = try! TemporaryDirectory()

    /// Locks the file `name` for writing, as a running UML does, until the descriptor is closed:
    /// with a lock that this process does not count as its own.
    private func lock(_ name: String) throws -> CInt {
        let descriptor = open(directory(name).string, O_RDWR | O_CLOEXEC)
        var lock = flock()
        lock.l_type = Int16(F_WRLCK)
        lock.l_whence = Int16(SEEK_SET)
        let setLock: CInt = 37  // F_OFD_SETLK
        try #require(fcntl(descriptor, setLock, &lock) == 0)
        return descriptor
    }

    private func move(forceShare: Bool = true) throws -> Move {
        try directory.raw("base", "abcd")
        return try Move(directory, "base").changed { $0.options.forceShare = forceShare }
    }

    @Test func aLockedSourceIsRefusedAndNothingIsLeftBehind() async throws {
        let move = try move(forceShare: false)
        let guest = try lock("base")
        defer { close(guest) }
        #expect(
            await move.refusal().hasPrefix(
                "unavailable: \(directory("base")): is locked for writing by a process"))
        #expect(try directory.names == ["base"])
    }

    @Test func theManifestSaysThatASourceWasSharedByForce() async throws {
        let move = try move()
        let guest = try lock("base")
        #expect(try await move.run() == .moved(resumed: 0, hasChanged: false))
        #expect(try move.recorded.job?.consistent == false)
        close(guest)
        #expect(
            try await move.changed { $0.policy.force = true }.run() == .moved(resumed: 0, hasChanged: false))
        #expect(try move.recorded.job?.consistent == true)
    }

    @Test func aMoveOfASharedSourceIsNeverResumed() async throws {
        let move = try move()
        let poison = [UInt8](repeating: 0x7a, count: 1 << 20)
        let guest = try lock("base")
        try await move.run()
        try move.interrupt(keeping: [0, 1])
        try FileChanges.write(poison, to: move.partial, at: 0)
        #expect(try await move.run() == .moved(resumed: 0, hasChanged: false))
        try move.interrupt(keeping: [0, 1])
        // Nor when nobody writes to it any more.
        close(guest)
        try FileChanges.write(poison, to: move.partial, at: 0)
        #expect(try await move.run() == .moved(resumed: 0, hasChanged: false))
        #expect(try directory.picture(of: "out") == "abcd")
    }

    @Test func aSharedSourceThatChangesIsAWarning() async throws {
        let move = try move()
        let guest = try lock("base")
        defer { close(guest) }
        let conversion = try Conversion(move.request)
        try FileChanges.write([0x65], to: directory("base"), at: 0)
        let result = try await conversion.run(move.options) { _ in }
        #expect(result == .moved(resumed: 0, hasChanged: true))
    }

    @Test(arguments: ["top", "base"])
    func anyOtherSourceThatChangesIsAnErrorAndNothingIsRecorded(name: String) async throws {
        let move = try move().changed { $0.source = directory("top") }
        try directory.cow("top", over: "base", "--e-")
        let conversion = try Conversion(move.request)
        try FileChanges.write([0x65], to: directory(name), at: name == "base" ? 0 : (2 << 20) + 4096)
        do {
            let result = try await conversion.run(move.options) { _ in }
            Issue.record("\(result)")
        } catch {
            #expect(
                describe(error)
                    == "badData: \(directory(name)): changed while it was read (begin again when nothing writes to it)"
            )
        }
        #expect(try move.recorded.segments.isEmpty)
        #expect(try !directory.names.contains("out"))
    }
}
