import DiskImages
import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import Migration
@testable import drover

/// What a report may replace.
struct ReportFileTests {
    private let directory = try! TemporaryDirectory()

    private func text(_ name: String) throws -> String {
        try String(contentsOfFile: directory(name).string, encoding: .utf8)
    }

    private func write(_ page: HTML, to name: String, force: Bool = false, sources: [FileIdentity] = [])
        throws
    {
        try ReportFile(directory(name), sources: sources, force: force).write(page)
    }

    private func refusal(_ body: () throws -> Void) throws -> MigrationError {
        try #require(#expect(throws: MigrationError.self, performing: body))
    }

    @Test func aReportReplacesAnEarlierOneAndLeavesNothingBeside() throws {
        let first = ReportPage(report: SampleReports.mixed).html
        let second = ReportPage(report: SampleReports.empty).html
        try write(first, to: "out.html")
        #expect(try text("out.html") == first.markup)
        try write(second, to: "out.html")
        #expect(try text("out.html") == second.markup)
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path.string) == ["out.html"])
    }

    @Test(arguments: ["", "<!DOCTYPE html>\n", "<html>somebody's page</html>"])
    func anotherFileIsReplacedOnlyByForce(content: String) throws {
        try SparseFile.write(Array(content.utf8), to: directory("out.html"))
        let error = try refusal { try write("x", to: "out.html") }
        #expect(error.kind == .target)
        #expect(
            "\(error)"
                == "\(directory("out.html")): exists and is no report of Drover's (--force replaces it)")
        #expect(try text("out.html") == content)
        try write("x", to: "out.html", force: true)
        #expect(try text("out.html") == "x")
    }

    @Test func aSourceOrADirectoryIsNeverReplaced() throws {
        try SparseFile.write([1], to: directory("disk.img"))
        let source = try #require(try ImageFile.identity(at: directory("disk.img")))
        try directory.link("link.html", to: directory("disk.img"))
        try directory.directory("folder.html")
        for name in ["disk.img", "link.html"] {
            let error = try refusal { try write("x", to: name, force: true, sources: [source]) }
            #expect(error.kind == .target)
        }
        let error = try refusal { try write("x", to: "folder.html", force: true) }
        #expect(error.kind == .target)
    }
}
