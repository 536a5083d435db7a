import TestSupport
import Testing

@testable import Migration

struct BlockTableTests {
    @Test func whatItHoldsIsFoundAndNothingElse() {
        var random = TestSeed().generator()
        var table = BlockTable(mostEntries: 1 << 14)
        let prints = (0..<8000).map { _ in random.next() }
        for (number, print) in prints.enumerated() { table.insert(print, number) }
        // Of two with the same 32 bits the first is kept.
        let firsts = Dictionary(
            prints.enumerated().map { (UInt32(truncatingIfNeeded: $1), $0) }, uniquingKeysWith: min)
        for print in prints { #expect(table.candidate(print) == firsts[UInt32(truncatingIfNeeded: print)]) }
        for _ in 0..<8000 {
            let print = random.next()
            #expect(table.candidate(print) == firsts[UInt32(truncatingIfNeeded: print)])
        }
    }

    /// Of more than fit some are known, a good part of them, and which ones does not depend on how
    /// many came before.
    @Test func ofMoreThanFitsSomeAreKept() {
        var random = TestSeed().generator()
        var table = BlockTable(mostEntries: 1 << 12)
        let prints = (0..<50_000).map { _ in random.next() }
        for (number, print) in prints.enumerated() { table.insert(print, number) }
        let kept = prints.enumerated().filter { table.candidate($1) == $0 }
        #expect(kept.count > 1 << 10 && kept.count <= 1 << 12)
        #expect(kept.allSatisfy { table.isKept($0.element) })
        let wanted = prints.filter { table.isKept($0) }.count
        #expect(kept.count >= wanted - 3, "\(kept.count) of \(wanted)")
    }
}
