import DiskImages
import Linux
import SystemPackage
import Testing

struct ShortageTests {
    @Test func aBufferThatThereIsNoMemoryForIsAnError() throws {
        let error = try #require(throws: DiskImageError.self) { try AlignedBuffer(capacity: 1 << 60) }
        #expect(error.kind == .shortage)
        #expect(
            error.description.hasPrefix(
                "memory: no 1152921504606846976 bytes for a buffer: Cannot allocate memory"))
    }

    @Test(arguments: [
        (Errno.tooManyOpenFiles, "a.cow: cannot be opened: Too many open files (raise the limit: ulimit -n)"),
        (
            .tooManyOpenFilesInSystem,
            "a.cow: cannot be opened: Too many open files in system (raise the limit: sysctl fs.file-max)"
        ),
    ])
    func filesThatAreShortAreNoFilesFault(errno: Errno, text: String) {
        let error = DiskImageError.system("a.cow", "cannot be opened", errno, .unavailable)
        #expect(error.kind == .shortage)
        #expect(error.description == text)
    }
}
