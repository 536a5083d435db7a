import DiskImages
import TestSupport
import Testing

struct ContentDigestTests {
    /// XXH3's 128 bits of nothing, as `xxhsum -H2` prints them.
    @Test func theDigestOfNothingIsXXH3s() {
        #expect(ContentDigest(of: []).description == "99aa06d3014798d86001c324468d497f")
    }

    @Test func aDigestIsReadBackFromItsDigits() {
        let seed = TestSeed()
        for round in 0..<200 {
            var generator = seed.generator(round: round)
            let digest = ContentDigest(
                high: generator.next() >> UInt64(round % 64), low: generator.next() >> UInt64(round % 61))
            #expect(digest.description.utf8.count == 32)
            #expect(ContentDigest(hex: digest.description) == digest, "\(seed), round \(round)")
            #expect(ContentDigest(hex: digest.description.uppercased()) == digest, "\(seed), round \(round)")
        }
    }

    @Test func itsBytesAreItsDigits() {
        let digest = ContentDigest(high: 0x0001_0203_0405_0607, low: 0x0809_0a0b_0c0d_0e0f)
        #expect(digest.description == "000102030405060708090a0b0c0d0e0f")
        #expect(digest.bytes == Array(0...15))
    }

    @Test(arguments: [
        "", "0", "99aa06d3014798d86001c324468d497", "99aa06d3014798d86001c324468d497f0",
        "99aa06d3014798d86001c324468d497g",
        "+9aa06d3014798d86001c324468d497f", "99aa06d3014798d8-001c324468d497f",
        "99aa06d3014798d8 6001c324468d497",
        "９9aa06d3014798d86001c324468d4",
    ])
    func anythingElseIsNoDigest(text: String) {
        #expect(ContentDigest(hex: text) == nil)
    }

    @Test func oneBitChangesTheDigest() {
        var bytes = [UInt8](repeating: 0x5a, count: 4096)
        let before = ContentDigest(of: bytes)
        bytes[4095] ^= 1
        #expect(ContentDigest(of: bytes) != before)
    }
}
