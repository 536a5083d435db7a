import DiskImages
import Linux
import SystemPackage
import Testing

@testable import Stages

/// What make says, in the words of its versions.
struct MakeFlagsTests {
    private func flags(_ text: String) -> MakeFlags { MakeFlags(parsing: Array(text.utf8)) }

    @Test(arguments: [
        "", " ", "w", " --no-print-directory", "FLEET=n", " -- FLEET=n -j9 --jobserver-auth=3,4",
    ])
    func withoutAJobserverNothingIsSaid(text: String) {
        #expect(flags(text) == MakeFlags(parsing: []))
    }

    @Test(arguments: [
        (" -j8 --jobserver-auth=3,4", 8), ("kw -j2 --jobserver-auth=3,4 -- OUT=x", 2),
        (" --jobserver-fds=3,4 -j", nil),
        ("k --jobserver-auth=3,4", nil),
    ])
    func aPipeHasTwoDescriptors(text: String, jobs: Int?) {
        #expect(flags(text).jobserver == .pipe(reading: 3, writing: 4))
        #expect(flags(text).jobs == jobs)
    }

    @Test func aFIFOHasAPath() {
        #expect(flags(" -j4 --jobserver-auth=fifo:/tmp/GMfifo12").jobserver == .fifo("/tmp/GMfifo12"))
        #expect(
            flags(#" -j4 --jobserver-auth=fifo:/tmp/a\ b\\c/GMfifo12 -- X=y"#).jobserver
                == .fifo(#"/tmp/a b\c/GMfifo12"#))
    }

    @Test func aFIFOMayHaveANameThatIsNoText() {
        let flags = MakeFlags(parsing: Array(" --jobserver-auth=fifo:/tmp/".utf8) + [0xff])
        #expect(flags.jobserver == .fifo(FilePath(bytes: Array("/tmp/".utf8) + [0xff])))
    }

    @Test(.timeLimit(.minutes(5))) func readsLongWordsInTimeThatGrowsWithTheirLengthAlone() {
        let name = String(repeating: "x", count: 1 << 17)
        #expect(flags(" --jobserver-auth=fifo:/\(name)").jobserver == .fifo(FilePath("/\(name)")))
    }

    @Test func theLastJobserverCounts() {
        #expect(
            flags(" --jobserver-fds=7,8 -j --jobserver-auth=3,4").jobserver == .pipe(reading: 3, writing: 4))
        #expect(flags(" --jobserver-auth=3,4 --jobserver-auth=fifo:/f").jobserver == .fifo("/f"))
    }

    @Test(arguments: ["-2,-2", "3,-1", "", "3", "3,4,5", "3,x", "fifo:", "99999999999,4", " 3,4"])
    func whatIsNoJobserverIsOneThatIsWithheld(value: String) {
        #expect(flags(" -j8 --jobserver-auth=\(value)").jobserver == .withheld)
    }

    @Test(arguments: [
        ("n", true), ("kn -j8", true), ("nk", true), ("k", false), (" -j8 n", false),
        (" --no-print-directory", false), ("n=1", false),
    ])
    func theFirstWordsLettersSayWhetherItIsADryRun(text: String, isDryRun: Bool) {
        #expect(flags(text).isDryRun == isDryRun)
    }
}
