import DiskImages
import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import drover

/// The report as text: well-formed, escaped, bounded, alone.
struct ReportPageTests {
    private static func report(_ name: String) -> FleetReport {
        switch name {
        case "mixed": SampleReports.mixed
        case "hostile": SampleReports.hostile
        case "large": SampleReports.large(120)
        case "thousand": SampleReports.large(1000)
        default: SampleReports.empty
        }
    }

    /// With DROVER_REPORT_SAMPLES, the pages are also written to that directory, to be looked at.
    private func page(_ name: String) throws -> String {
        let page = ReportPage(report: ReportPageTests.report(name)).html.markup
        if let folder = ProcessInfo.processInfo.environment["DROVER_REPORT_SAMPLES"] {
            try page.write(toFile: "\(folder)/\(name).html", atomically: true, encoding: .utf8)
        }
        return page
    }

    @Test(arguments: ["mixed", "hostile", "empty", "large"])
    func everyElementIsClosedAndEveryLinkLeadsSomewhere(name: String) throws {
        let elements = try PageElements(page(name))
        #expect(elements.problems == [])
        #expect(Set(elements.ids).count == elements.ids.count)
        #expect(Set(elements.references).subtracting(elements.ids).isEmpty)
        #expect(elements.addresses == [])
    }

    @Test func nothingFromOutsideBecomesMarkup() throws {
        let page = try page("hostile")
        let names = try PageElements(page).names
        #expect(names.isDisjoint(with: ["img", "i"]))
        #expect(page.matches(of: /<script/).count == 1)
        #expect(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;.cow"))
        #expect(page.contains("&quot;onmouseover=&quot;alert(1).cow"))
        #expect(page.contains("&#39;&amp;amp;\\u{202E}woc.exe"))
        #expect(page.contains("f\\xff\\xfe\\n\\u{1B}["))
        #expect(page.contains("&lt;b&gt;no&lt;/b&gt; &quot;image&quot; &amp; &#39;more&#39;\\0\\n"))
        #expect(!page.unicodeScalars.contains { $0.value < 0x20 && $0 != "\n" })
    }

    /// However scattered their maps are.
    @Test func aThousandImagesAreUnderOneAndAHalfMegabytes() throws {
        let size = try page("thousand").utf8.count
        #expect(size < 1_500_000, "\(size) bytes")
    }

    @Test func whatFailedComesFirstAndBasesAreCountedApart() throws {
        let page = try page("mixed")
        let sections = page.matches(of: /<summary id="([a-z]+)">/).map { String($0.output.1) }
        #expect(sections == ["failed", "stale", "altered", "running", "waiting", "done"])
        #expect(page.contains("10 images, 1 base</h2>"))
        #expect(page.contains("3 done, and 1 base</h3>"))
        #expect(page.contains("locked for writing by process 4711"))
    }

    /// A few checkpoints are no curve.
    @Test func underThreeSecondsThereIsNoChart() throws {
        var report = SampleReports.mixed
        report.throughput = [.init(time: 10, bytes: 0), .init(time: 12.9, bytes: 29 << 20)]
        let short = ReportPage(report: report).html.markup
        #expect(!short.contains("class=\"chart"))
        #expect(short.contains("29 MiB in 3 s of work, 10 MiB/s on average."))
        report.throughput[1].time = 13.1
        let long = ReportPage(report: report).html.markup
        #expect(long.contains("class=\"chart wide\"") && long.contains("class=\"chart narrow\""))
    }

    @Test func whatIsNotKnownIsLeftOut() throws {
        let page = try page("empty")
        #expect(page.contains("The pipeline has none."))
        for absent in [
            "id=\"savings\"", "id=\"throughput\"", "id=\"failures\"", "id=\"maps\"", "class=\"group",
        ] {
            #expect(!page.contains(absent))
        }
    }
}
