import ImageFormats
import Testing

struct ByteOrderTests {
    private let bytes: [UInt8] = [0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09]

    @Test func readsBigEndianNumbers() {
        #expect(bytes.number(UInt16.self, at: 0, .big) == 0x0102)
        #expect(bytes.number(UInt32.self, at: 1, .big) == 0x0203_0405)
        #expect(bytes.number(UInt64.self, at: 1, .big) == 0x0203_0405_0607_0809)
    }

    @Test func readsLittleEndianNumbers() {
        #expect(bytes.number(UInt16.self, at: 0, .little) == 0x0201)
        #expect(bytes.number(UInt32.self, at: 1, .little) == 0x0504_0302)
        #expect(bytes.number(UInt64.self, at: 1, .little) == 0x0908_0706_0504_0302)
    }

    @Test(arguments: [-1, 6, 9, 10, Int.max, Int.min])
    func aNumberThatDoesNotLieInsideTheArrayIsNil(offset: Int) {
        #expect(bytes.number(UInt32.self, at: offset, .big) == nil)
    }

    @Test func anArrayShorterThanTheNumberHasNone() {
        #expect([UInt8]().number(UInt32.self, at: 0, .big) == nil)
        #expect([UInt8]([1, 2, 3]).number(UInt32.self, at: 0, .little) == nil)
    }

    @Test(arguments: [ByteOrder.big, .little])
    func storedNumbersAreReadBack(order: ByteOrder) {
        var target = [UInt8](repeating: 0xee, count: 10)
        target.store(0x1122_3344_5566_7788 as UInt64, at: 1, order)
        #expect(target.number(UInt64.self, at: 1, order) == 0x1122_3344_5566_7788)
        #expect(target[0] == 0xee && target[9] == 0xee)
        #expect(target[1] == (order == .big ? 0x11 : 0x88))
    }
}
