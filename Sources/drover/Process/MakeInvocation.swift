internal import DiskImages
internal import Glibc
internal import Linux
internal import Migration
internal import Stages
internal import SystemPackage

/// How make started this process, if it did: its jobserver, and `make -n`.
enum MakeInvocation {
    private static let flags = MakeFlags(
        parsing: getenv("MAKEFLAGS").map { FilePath(platformString: $0).pathBytes } ?? [])
    private static let jobserver: Result<Jobserver?, JobserverUnavailable> = Result {
        () throws(JobserverUnavailable) in
        if let named = flags.jobserver { try Jobserver(named) } else { nil }
    }

    /// Finds the jobserver. Must come before anything is opened: a descriptor that make has closed
    /// would be taken for its pipe.
    static func begin() { _ = jobserver }

    /// Whether nothing is to be written.
    static var isDryRun: Bool { flags.isDryRun }

    /// The slots for workers: the jobserver sets the limit where there is one, `--jobs` is an upper
    /// bound. No slot is taken yet.
    static func slots(_ jobs: Int?, _ verbosity: VerbosityOptions) -> WorkerSlots {
        switch jobserver {
        case .success(let jobserver?):
            return WorkerSlots(limit: limit(jobs ?? mostWorkers), jobserver: jobserver)
        case .success(nil):
            return WorkerSlots(limit: limit(jobs ?? min(4, sysconf(Int32(_SC_NPROCESSORS_ONLN)))))
        case .failure(let error):
            if jobs != 1 { verbosity.warn("\(error)") }
            return WorkerSlots(limit: 1)
        }
    }

    /// As `slots`, for a command that is one job: the slot that the process has anyhow is taken,
    /// until its end.
    static func workers(_ jobs: Int?, _ verbosity: VerbosityOptions) async throws -> WorkerSlots {
        let slots = slots(jobs, verbosity)
        try await slots.take()
        return slots
    }

    private static let mostWorkers = 16

    private static func limit(_ jobs: Int) -> Int { min(jobs, mostWorkers, flags.jobs ?? mostWorkers) }
}

/// What a command says instead of doing it, under `make -n`.
enum DryRun {
    /// Prints `drover: would TEXT`. `check` looks at what is there, as the command would, and
    /// throws what keeps it from beginning; what is not there may be what make would make before.
    static func say(_ text: String, check: () async throws -> Void) async throws {
        var text = "drover: would \(text)"
        do {
            try await check()
        } catch let error as DiskImageError where error.kind == .unavailable {
            text += " (now: \(ErrorLine.text(of: error)))"
        }
        var output = Output()
        try output.line(ErrorLine.escaped(text))
        try output.finish()
    }
}
