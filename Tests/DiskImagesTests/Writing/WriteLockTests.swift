import DiskImages
import Glibc
import Linux
import SystemPackage
import TestSupport
import Testing

/// A running UML holds a lock for writing on its COW file.
struct WriteLockTests {
    private let directory = try! TemporaryDirectory()

    /// Holds a lock on `path` while `body` runs: one of an open file description, which this
    /// process does not count as its own.
    private func locking(_ path: FilePath, _ type: CInt, _ body: () throws -> Void) throws {
        let descriptor = open(path.string, O_RDWR | O_CLOEXEC)
        defer { close(descriptor) }
        var lock = flock()
        lock.l_type = Int16(type)
        lock.l_whence = Int16(SEEK_SET)
        let setLock: CInt = 37  // F_OFD_SETLK
        try #require(fcntl(descriptor, setLock, &lock) == 0)
        try body()
    }

    @Test(arguments: ["top.cow", "b.raw"])
    func anImageThatIsLockedForWritingIsInUse(name: String) throws {
        try directory.raw("b.raw")
        let top = try directory.cow("top.cow", over: "b.raw")
        try locking(directory(name), F_WRLCK) {
            let error = try diskImageError { _ = try ImageChain.open(top) }
            #expect(error.kind == .unavailable)
            #expect(
                error.line
                    == "\(directory(name)): is locked for writing by a process (stop the guest that uses it, or read it with --force-share)"
            )
            #expect(try ImageChain.open(top, .usual { $0.forceShare = true }).layers.count == 2)
            #expect(try ImageChain.examine(top, .usual).problems.map(\.kind) == [.locked])
        }
        #expect(try ImageChain.open(top).layers.count == 2)
    }

    @Test func aLockForReadingIsNobodysHarm() throws {
        let base = try directory.raw("b.raw")
        try locking(base, F_RDLCK) {
            let chain = try ImageChain.open(base)
            #expect(chain.layers.count == 1)
        }
    }
}
