import Migration
import Testing

@testable import drover

/// How far a move is, in a line that fits.
struct ProgressTextTests {
    private func text(items: Int = 0, item: String = "", total: UInt64? = 1 << 30) -> ProgressText {
        var state = Progress.Snapshot(name: "fleet.yaml", total: total, done: 310 << 20, length: 1 << 30)
        (state.items, state.itemsDone, state.item) = (items, 38, item)
        return ProgressText(snapshot: state, elapsed: 2)
    }

    @Test func oneImageIsSaidAsEver() {
        #expect(text().line == " 30 %  310 MiB of 1 GiB  155 MiB/s  0:05 left")
        #expect(text(total: nil).line == "  0 %  310 MiB  155 MiB/s")
    }

    @Test func aRunSaysHowManyAndWhich() {
        #expect(
            text(items: 102, item: "guests/web-01.cow").line
                == " 30 %  38 of 102  310 MiB of 1 GiB  155 MiB/s  0:05 left  guests/web-01.cow")
    }

    @Test(arguments: [
        (20, " 30 %  38 of 102"), (40, " 30 %  38 of 102  0:05 left  ...01.cow"),
        (80, " 30 %  38 of 102  310 MiB of 1 GiB  155 MiB/s  0:05 left  guests/web-01.cow"),
    ])
    func whatMattersLeastIsLeftOut(columns: Int, expected: String) {
        #expect(text(items: 102, item: "guests/web-01.cow").line(columns: columns) == expected)
    }

    @Test func itAlwaysFits() {
        for columns in 1...200 {
            for text in [text(), text(items: 102, item: String(repeating: "x", count: 300))] {
                let line = text.line(columns: columns)
                #expect(line.count < columns || line.count <= 5, "\(columns): \(line)")
            }
        }
    }

    @Test func aWideTerminalHasABar() {
        #expect(text().line(columns: 80).hasPrefix("[#########"))
        #expect(text().line(columns: 80).count <= 79)
    }
}
