import ImageFormats
import TestSupport
import Testing

struct CowGeometryTests {
    private func geometry(_ layout: CowLayout, _ size: UInt64, alignment: UInt32 = 4096) throws -> CowGeometry
    {
        try CowHeader(
            layout: layout, backingPath: Array("/b".utf8), mtime: 0, size: size, alignment: alignment
        ).geometry
    }

    /// The places of a disk of 1 MiB, worked out by hand: 2048 sectors, 256 bytes of bitmap.
    @Test(
        arguments: [
            (CowLayout.umlV1, 280, 1024), (.umlV2, 4120, 4608), (.umlV2Unpacked, 4128, 4608),
            (.qemuV2, 1056, 1536),
            (.qemuV2Packed, 1048, 1536), (.umlV3, 8192, 12_288), (.umlV3Unpacked, 8192, 12_288),
        ] as [(CowLayout, UInt64, UInt64)])
    func bitmapAndDataOfADiskOf1MiB(layout: CowLayout, bitmapOffset: UInt64, dataOffset: UInt64) throws {
        let geometry = try geometry(layout, 1 << 20)
        #expect(geometry.sectorCount == 2048 && geometry.mappedSectorCount == 2048)
        #expect(geometry.bitmapOffset == bitmapOffset)
        #expect(geometry.bitmapLength == 256)
        #expect(geometry.dataOffset == dataOffset)
        #expect(geometry.guestLength == 1 << 20)
    }

    /// The bitmap of V1 and V2 is rounded down: up to 7 last sectors have no bit.
    @Test(
        arguments: [
            (1, 0, 0), (7 * 512, 0, 0), (7 * 512 + 1, 1, 8), (8 * 512, 1, 8), (9 * 512, 1, 8),
            (15 * 512, 1, 8), (15 * 512 + 1, 2, 16),
            (1001 * 512, 125, 1000),
        ] as [(UInt64, UInt64, UInt64)], [CowLayout.umlV1, .umlV2, .umlV2Unpacked])
    func theBitmapOfV1AndV2IsRoundedDown(
        disk: (size: UInt64, bitmapLength: UInt64, mapped: UInt64), layout: CowLayout
    ) throws {
        let geometry = try geometry(layout, disk.size)
        #expect(geometry.bitmapLength == disk.bitmapLength)
        #expect(geometry.mappedSectorCount == disk.mapped)
        #expect(geometry.sectorCount == (disk.size + 511) / 512)
    }

    @Test(
        arguments: [(1, 1), (512, 1), (513, 1), (8 * 512, 1), (8 * 512 + 1, 2), (1001 * 512, 126)]
            as [(UInt64, UInt64)],
        [CowLayout.qemuV2, .qemuV2Packed, .umlV3, .umlV3Unpacked])
    func theBitmapOfTheOthersIsRoundedUp(disk: (size: UInt64, bitmapLength: UInt64), layout: CowLayout) throws
    {
        let geometry = try geometry(layout, disk.size)
        #expect(geometry.bitmapLength == disk.bitmapLength)
        #expect(geometry.mappedSectorCount == geometry.sectorCount)
    }

    @Test func aDiskOf1TiBHasABitmapOf256MiB() throws {
        let geometry = try geometry(.umlV3, 1 << 40)
        #expect(geometry.bitmapLength == 256 << 20)
        #expect(geometry.dataOffset == 8192 + 256 << 20)
    }

    @Test func randomDisksAreLaidOutAsTheOriginalProgramsDid() throws {
        let seed = TestSeed()
        for round in 0..<2000 {
            var generator = seed.generator(round: round)
            let writer = Writer.all.randomElement(using: &generator) ?? Writer.all[0]
            var image = writer.image(
                size: .random(in: 1...(1 << UInt64.random(in: 1...50, using: &generator)), using: &generator))
            image.alignment = 1 << UInt32.random(in: 0...20, using: &generator)
            let geometry = try geometry(image.layout, image.size, alignment: image.alignment)
            #expect(geometry.bitmapOffset == image.bitmapOffset, "\(seed), round \(round)")
            #expect(geometry.bitmapLength == image.bitmapLength, "\(seed), round \(round)")
            #expect(geometry.dataOffset == image.dataOffset, "\(seed), round \(round)")
            #expect(geometry.sectorCount == image.sectorCount, "\(seed), round \(round)")
            #expect(geometry.mappedSectorCount == image.mappedSectorCount, "\(seed), round \(round)")
        }
    }

    /// UML computes the data's offset in an int, rounding up included.
    @Test(
        arguments: [
            ((8 << 40) - (48 << 20), false), ((8 << 40) - (48 << 20) + 512, true),
            ((8 << 40) - (32 << 20), true),
        ]
            as [(UInt64, Bool)])
    func aDiskWhoseDataOffsetPasses31BitsIsPastWhatUMLCanOpen(size: UInt64, isPast: Bool) throws {
        let header = try CowHeader(layout: .umlV3, backingPath: Array("/b".utf8), mtime: 0, size: size)
        #expect(header.isPastUMLLimit == isPast)
    }
}
