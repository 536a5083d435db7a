import ImageFormats
import TestSupport
import Testing

struct CowHeaderDetectionTests {
    private static let version2: [CowLayout] = [.umlV2, .umlV2Unpacked, .qemuV2, .qemuV2Packed]

    @Test(arguments: version2, [1, 511, 512, 65_536, 1 << 20, 123_456_789] as [UInt64])
    func aVersion2HeaderHasOneReading(layout: CowLayout, size: UInt64) throws {
        let header = try CowHeader.reading(
            ofFile: CowImageBuilder(layout, backing: "/srv/uml/base.img", size: size).bytes)
        #expect(header.layout == layout)
        #expect(header.size == size)
    }

    @Test func anUnpackedVersion3HeaderHasItsCowFormatWhereThePackedOneHasItsPath() throws {
        #expect(
            try CowHeader.reading(ofFile: Writer(layout: .umlV3).image(backing: "/b").bytes).layout == .umlV3)
        #expect(
            try CowHeader.reading(ofFile: Writer(layout: .umlV3Unpacked).image(backing: "/b").bytes).layout
                == .umlV3Unpacked)
    }

    /// UML never cleared its path's buffer, so a header of QEMU's may stand in it.
    @Test func aUMLHeaderWhoseGarbageReadsAsAQEMUHeaderHasTwoReadings() throws {
        var image = CowImageBuilder(.umlV2, backing: "/srv/base.img", size: 1 << 20)
        image.garbage = Array(
            CowImageBuilder(.qemuV2, backing: "old.img", size: 65_536).header[(9 + image.backing.count)...])
        let readings = try CowHeader.readings(ofFile: image.bytes)
        #expect(readings.map(\.layout) == [.umlV2, .qemuV2])
        #expect(readings.map(\.size) == [1 << 20, 65_536])
    }

    /// Sector size and the low half of the size lie on each other: 4 GiB with bit 17 set in one
    /// layout is 512 bytes in the other.
    @Test(arguments: [
        (CowLayout.qemuV2Packed, [CowLayout.qemuV2, .qemuV2Packed]), (.umlV2, [.umlV2, .umlV2Unpacked]),
    ])
    func aDiskOf4GiBWithSector17AllocatedHasTwoReadings(layout: CowLayout, expected: [CowLayout]) throws {
        var image = CowImageBuilder(layout, backing: "base", size: 4 << 30)
        image.allocated[17] = .hole
        image.length = image.bitmapEnd
        let readings = try CowHeader.readings(ofFile: image.bytes)
        #expect(readings.map(\.layout) == expected)
        #expect(Set(readings.map(\.size)) == [512, 4 << 30])
        #expect(try CowHeader.reading(ofFile: image.bytes, as: layout).size == 4 << 30)
    }

    @Test func aReadingWhoseBitmapIsPastTheFileDoesNotFit() throws {
        var image = CowImageBuilder(.umlV2, backing: "/srv/base.img", size: 1 << 20)
        image.garbage = Array(
            CowImageBuilder(.qemuV2, backing: "old.img", size: 1 << 50).header[(9 + image.backing.count)...])
        #expect(try CowHeader.reading(ofFile: image.bytes).layout == .umlV2)
    }

    @Test func aReadingWhosePathHasNoEndDoesNotFit() throws {
        var image = CowImageBuilder(.umlV2, backing: "/" + String(repeating: "d", count: 1030), size: 1 << 20)
        image.garbage = Array(CowImageBuilder(.qemuV2, backing: "", size: 65_536).header[1040...])
        #expect(try CowHeader.reading(ofFile: image.bytes).layout == .umlV2)
    }

    @Test(arguments: [CowLayout.qemuV2, .qemuV2Packed])
    func aQEMUDiskOfNoSizeIsItsHeaderAndNothingElse(layout: CowLayout) throws {
        let image = CowImageBuilder(layout, backing: "", size: 0)
        #expect(image.bytes.count == image.header.count)
        #expect(try CowHeader.reading(ofFile: image.bytes).layout == layout)
    }

    @Test func randomBytesBehindAMagicNeverTrap() throws {
        let seed = TestSeed()
        for round in 0..<3000 {
            var generator = seed.generator(round: round)
            let writer = Writer.all.randomElement(using: &generator) ?? Writer.all[0]
            var bytes = Array(writer.image().bytes.prefix(Int.random(in: 0...9000, using: &generator)))
            for _ in 0..<Int.random(in: 1...6, using: &generator) where bytes.count > 8 {
                // Numbers stand near the path's ends; damage there is what matters.
                let place =
                    [Int.random(in: 4..<40, using: &generator), Int.random(in: 264..<280, using: &generator)]
                    + [
                        Int.random(in: 1032..<1056, using: &generator),
                        Int.random(in: 4100..<4136, using: &generator),
                    ]
                if let index = place.randomElement(using: &generator), index < bytes.count {
                    bytes[index] =
                        [0, 1, 0x7f, 0x80, 0xff, UInt8.random(in: 0...255, using: &generator)].randomElement(
                            using: &generator) ?? 0
                }
            }
            for layout in [nil] + CowLayout.allCases.map(Optional.some) {
                let readings = (try? CowHeader.readings(ofFile: bytes, as: layout)) ?? []
                for header in readings {
                    #expect(
                        header.geometry.bitmapOffset + header.geometry.bitmapLength <= UInt64(bytes.count),
                        "\(seed), round \(round)")
                }
            }
        }
    }
}
