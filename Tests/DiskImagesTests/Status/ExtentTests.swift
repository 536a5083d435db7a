import Testing

@testable import DiskImages

struct ExtentTests {
    private let data = Extent(start: 1024, length: 1024, depth: 1, content: .data(offset: 9216))

    @Test func aPartKeepsItsPlaceInTheFile() {
        let part = data.clipped(to: 1536..<5000)
        #expect(part == Extent(start: 1536, length: 512, depth: 1, content: .data(offset: 9728)))
        #expect(
            data.clipped(to: 0..<1536)
                == Extent(start: 1024, length: 512, depth: 1, content: .data(offset: 9216)))
    }

    @Test func aPartOfAnAbsentRunIsAbsent() {
        let absent = Extent(start: 0, length: 4096, depth: 0, content: .absent)
        #expect(absent.clipped(to: 512..<1024) == Extent(start: 512, length: 512, depth: 0, content: .absent))
        #expect(absent.offset == nil && absent.isZero && !absent.isPresent)
    }

    @Test func aSeamlessNeighbourIsTakenIn() {
        var extent = data
        let isMerged = extent.merge(
            Extent(start: 2048, length: 512, depth: 1, content: .data(offset: 10_240)))
        #expect(isMerged)
        #expect(extent == Extent(start: 1024, length: 1536, depth: 1, content: .data(offset: 9216)))
    }

    @Test(arguments: [
        Extent(start: 2560, length: 512, depth: 1, content: .data(offset: 10_240)),
        Extent(start: 2048, length: 512, depth: 0, content: .data(offset: 10_240)),
        Extent(start: 2048, length: 512, depth: 1, content: .data(offset: 10_752)),
        Extent(start: 2048, length: 512, depth: 1, content: .zero(offset: 10_240)),
        Extent(start: 2048, length: 512, depth: 1, content: .absent),
    ])
    func anyOtherNeighbourIsNot(next: Extent) {
        var extent = data
        let isMerged = extent.merge(next)
        #expect(!isMerged)
        #expect(extent == data)
    }
}
