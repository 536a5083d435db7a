import Glibc
import Linux
import SystemPackage
import TestSupport
import Testing

@testable import DiskImages
@testable import Manifests
@testable import Migration

/// The table of all states, in `Documentation/manifest-format.md`: what a start finds, and does.
/// Manifests are text, files are made up: nothing is written.
struct TargetStepTests {
    /// What a manifest says.
    enum Recorded {
        case nothing, complete, held, completeBase, ofAnotherJob
        case begun, begunOther, begunInconsistent, begunAndAllDone
    }

    /// A file: as it is recorded, as the one that the move is to replace, of the target's full
    /// length, or another one.
    enum File { case none, recorded, replaced, fullLength, short }

    struct Row: CustomStringConvertible {
        let recorded: Recorded
        let staged: File
        let named: File
        let done: String
        var policy = StartPolicy()

        init(_ recorded: Recorded, _ staged: File, _ named: File, _ done: String) {
            (self.recorded, self.staged, self.named, self.done) = (recorded, staged, named, done)
        }

        func with(_ change: (inout StartPolicy) -> Void) -> Row {
            var row = self
            change(&row.policy)
            return row
        }

        var description: String { "\(recorded), .partial \(staged), TARGET \(named): \(done)" }
    }

    static let rows: [Row] = [
        Row(.complete, .none, .recorded, "upToDate"),
        Row(.complete, .fullLength, .recorded, "upToDate"),
        Row(.complete, .none, .recorded, "begin").with { ($0.restart, $0.force) = (true, true) },
        Row(.complete, .none, .recorded, "target: exists").with { $0.restart = true },
        Row(.begunOther, .none, .none, "badData: holds a checkpoint"),
        Row(.begunOther, .fullLength, .replaced, "badData: holds a checkpoint"),
        Row(.begunOther, .fullLength, .none, "begin").with { $0.restart = true },
        Row(.begunInconsistent, .fullLength, .none, "begin"),
        Row(.nothing, .none, .short, "target: exists"),
        Row(.nothing, .none, .short, "begin").with { $0.force = true },
        Row(.complete, .none, .short, "target: exists"),
        Row(.ofAnotherJob, .none, .recorded, "target: exists"),
        Row(.ofAnotherJob, .none, .recorded, "begin").with { $0.force = true },
        Row(.ofAnotherJob, .none, .none, "begin"),
        Row(.begun, .fullLength, .short, "target: exists"),
        Row(.completeBase, .recorded, .none, "target: is made anew"),
        Row(.completeBase, .recorded, .replaced, "target: is made anew"),
        Row(.completeBase, .recorded, .replaced, "held").with { $0.naming = .withFamily },
        Row(.held, .recorded, .replaced, "held").with { $0.naming = .withFamilyUnlessSame },
        Row(.held, .recorded, .none, "name"),
        Row(.complete, .recorded, .none, "name"),
        Row(.complete, .recorded, .replaced, "name"),
        Row(.complete, .recorded, .short, "target: exists"),
        Row(.complete, .recorded, .short, "name").with { $0.force = true },
        Row(.complete, .recorded, .none, "begin").with { $0.restart = true },
        Row(.begun, .fullLength, .none, "resume"),
        Row(.begun, .fullLength, .replaced, "resume"),
        Row(.begun, .fullLength, .none, "begin").with { $0.restart = true },
        Row(.begun, .short, .none, "begin"),
        Row(.begun, .none, .none, "begin"),
        Row(.begunAndAllDone, .none, .fullLength, "begin"),
        Row(.begunAndAllDone, .none, .short, "target: exists"),
        Row(.begunAndAllDone, .fullLength, .fullLength, "target: exists"),
        Row(.begun, .none, .fullLength, "target: exists"),
        Row(.nothing, .fullLength, .none, "begin"),
        Row(.complete, .none, .none, "begin"),
        Row(.complete, .short, .replaced, "begin"),
    ]

    @Test(arguments: rows) func aStartDoesWhatTheTableSays(row: Row) throws {
        let directory = try TemporaryDirectory()
        let place = try TargetPlace(directory("out"), sources: [])
        var job = try record([ManifestText.job()]).job!
        if row.recorded == .completeBase { job = try record([TargetStepTests.base]).job! }
        let transaction = TargetTransaction(
            place: place, content: ImageContent(job: job, format: RawTarget(fileLength: 8 << 20)),
            access: .personal, policy: row.policy)
        let findings = TargetFindings(
            record: try self.record(row.recorded), existing: file(row.named), staged: file(row.staged))
        var replacement = transaction.replacement
        let done: String
        do {
            switch try transaction.step(findings, &replacement) {
            case .upToDate: done = "upToDate"
            case .held: done = "held"
            case .begin: done = "begin"
            case .resume: done = "resume"
            case .name(let staged): done = staged == file(row.staged) ? "name" : "names another file"
            }
        } catch let error as MigrationError {
            let text = error.description.replacing("\(directory("out.manifest")): ", with: "").replacing(
                "\(directory("out")): ", with: "")
            #expect("\(error.kind): \(text)".hasPrefix(row.done))
            return
        }
        #expect(done == row.done)
    }

    private static let base = ManifestText.job().replacing(
        #""options":{"#, with: #""options":{"base":true,"#)
    private static let held = ManifestText.completion.replacing(
        #""mtime""#, with: #""held":true,"mtime""#)
    private static let replaces = #""replaces":{"mtime":"1600000000.000000000","size":512},"sources""#

    private func record(_ lines: [String]) throws -> ManifestContents {
        try ManifestContents(parsing: ManifestText.bytes(lines), path: ManifestText.path)
    }

    private func record(_ recorded: Recorded) throws -> ManifestContents? {
        let job = ManifestText.job().replacing(#""sources""#, with: TargetStepTests.replaces)
        let base = TargetStepTests.base.replacing(#""sources""#, with: TargetStepTests.replaces)
        let (segment, rest) = (ManifestText.segment(0, 2048), ManifestText.segment(2048, 14336, "zero"))
        let other = job.replacing("1700000000.000000000", with: "1700000001.000000000")
        return switch recorded {
        case .nothing: nil
        case .complete: try record([job, segment, rest, ManifestText.completion])
        case .held: try record([job, segment, rest, TargetStepTests.held])
        case .completeBase: try record([base, segment, rest, TargetStepTests.held])
        case .ofAnotherJob: try record([other, segment, rest, ManifestText.completion])
        case .begun: try record([job, segment])
        case .begunOther: try record([other, segment])
        case .begunInconsistent:
            try record([job.replacing(#""consistent":true"#, with: #""consistent":false"#), segment])
        case .begunAndAllDone: try record([job, segment, rest])
        }
    }

    private func file(_ file: File) -> FileIdentity? {
        func made(_ inode: UInt, _ size: UInt64, _ seconds: Int, _ nanoseconds: Int = 0) -> FileIdentity {
            var status = stat()
            (status.st_ino, status.st_mode) = (inode, S_IFREG | 0o644)
            status.st_mtim = timespec(tv_sec: seconds, tv_nsec: nanoseconds)
            return FileIdentity(status, size: size)
        }
        return switch file {
        case .none: nil
        case .recorded: made(1, 8 << 20, 1_700_000_000, 1)
        case .replaced: made(2, 512, 1_600_000_000)
        case .fullLength: made(3, 8 << 20, 1_650_000_000)
        case .short: made(4, 1 << 20, 1_650_000_000)
        }
    }
}

/// What is said of a target, from what is found there.
struct TargetStateTableTests {
    /// A line for each file that can have the name and each state of the work: what it is to the
    /// same job, to another of the same source, and to any other.
    static let table = """
        missing none: absent absent absent
        missing begun: unfinished outdated outdated
        missing whole: unfinished outdated outdated
        missing held: held outdated outdated
        completed none: upToDate stale foreign
        completed begun: upToDate stale foreign
        completed whole: upToDate stale foreign
        completed held: upToDate stale foreign
        replaceable none: stale stale foreign
        replaceable begun: unfinished outdated foreign
        replaceable whole: unfinished outdated foreign
        replaceable held: held outdated foreign
        altered none: altered altered altered
        altered begun: altered altered altered
        altered whole: altered altered altered
        altered held: altered altered altered
        unknown none: foreign foreign foreign
        unknown begun: foreign foreign foreign
        unknown whole: foreign foreign foreign
        unknown held: foreign foreign foreign
        """

    @Test func everyStateIsTheTables() {
        let lines = NamedFile.allCases.flatMap { named in
            TargetWork.allCases.map { work in
                let states = JobRelation.allCases.map { "\(TargetState(named, work, $0))" }
                return "\(named) \(work): \(states.joined(separator: " "))"
            }
        }
        #expect(lines.joined(separator: "\n") == TargetStateTableTests.table)
    }
}
