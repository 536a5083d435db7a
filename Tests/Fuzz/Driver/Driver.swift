internal import FuzzTargets
internal import Glibc

/// `FUZZ_TARGET=NAME drover-fuzz [OPTION OF LIBFUZZER]... [CORPUS]...`; a variable, because
/// libFuzzer starts the program anew for some options.
enum Driver {
    /// nil is the planted bug.
    static let target: FuzzTarget? = {
        let name = getenv("FUZZ_TARGET").map { String(cString: $0) } ?? ""
        let target = FuzzTarget(rawValue: name)
        guard target != nil || name == Planted.name else {
            print(
                "FUZZ_TARGET is '\(name)'; expected one of \((FuzzTarget.allCases.map(\.rawValue) + [Planted.name]).joined(separator: ", "))"
            )
            exit(64)
        }
        return target
    }()
}

/// What libFuzzer calls with every input; its `main` is the program's.
@_cdecl("LLVMFuzzerTestOneInput")
func testOneInput(_ data: UnsafePointer<UInt8>, _ size: Int) -> CInt {
    let bytes = Array(UnsafeBufferPointer(start: data, count: size))
    guard let target = Driver.target else { return Planted.run(bytes) }
    do {
        try target.run(bytes)
    } catch {
        fatalError("\(target): \(error)")
    }
    return 0
}
