import Testing

@testable import ImageFormats

/// What of a qcow2 header is taken, and what is refused, and with which words.
struct Qcow2HeaderTests {
    /// A sound header of version 3 for a disk of 1 GiB, in a cluster of 64 KiB.
    private func bytes(_ change: (inout [UInt8]) -> Void = { _ in }) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 65536)
        bytes.store(Qcow2Header.magic, at: 0, .big)
        bytes.store(UInt32(3), at: 4, .big)
        bytes.store(UInt32(16), at: 20, .big)
        bytes.store(UInt64(1) << 30, at: 24, .big)
        bytes.store(UInt32(2), at: 36, .big)
        bytes.store(UInt64(3 << 16), at: 40, .big)
        bytes.store(UInt64(1 << 16), at: 48, .big)
        bytes.store(UInt32(1), at: 56, .big)
        bytes.store(UInt32(4), at: 96, .big)
        bytes.store(UInt32(104), at: 100, .big)
        change(&bytes)
        return bytes
    }

    /// A header extension, as it stands in the file.
    private func extended(_ type: UInt32, _ data: [UInt8], length: UInt32? = nil) -> [UInt8] {
        bytes {
            $0.store(type, at: 104, .big)
            $0.store(length ?? UInt32(data.count), at: 108, .big)
            $0.replaceSubrange(112..<112 + data.count, with: data)
        }
    }

    @Test func aSoundHeaderIsTaken() throws {
        let header = try Qcow2Header(bytes())
        #expect(header.size == 1 << 30)
        #expect((header.clusterLength, header.l2Count, header.l2Reach) == (65536, 8192, 512 << 20))
        #expect((header.compression, header.hasSubclusters) == (.zlib, false))
        #expect(header.backingPath.isEmpty)
    }

    @Test func nameAndFormatOfTheBackingFileAreFound() throws {
        var bytes = extended(0xe279_2aca, Array("raw".utf8))
        bytes.store(UInt64(4096), at: 8, .big)
        bytes.store(UInt32(8), at: 16, .big)
        bytes.replaceSubrange(4096..<4104, with: "base.img".utf8)
        let header = try Qcow2Header(bytes)
        #expect(header.backingPath == Array("base.img".utf8))
        #expect(header.backingFormat == Array("raw".utf8))
    }

    @Test(
        arguments: [
            (
                0, UInt32(7),
                "magic at offset 0 is 0x00000007; expected 0x514649fb, the magic number of qcow2 files"
            ),
            (4, 4, "version at offset 4 is 4; expected 2 or 3"),
            (16, 1, nil),
            (20, 8, "cluster bits at offset 20 is 8; expected 9 to 21"),
            (20, 22, "cluster bits at offset 20 is 22; expected 9 to 21"),
            (32, 1, "is encrypted (AES), which is not read"),
            (
                36, 1,
                "entries of the L1 table at offset 36 is 1; expected 2 to 4194304 for a disk of 1073741824 bytes"
            ),
            (
                36, UInt32.max,
                "entries of the L1 table at offset 36 is 4294967295; expected 2 to 4194304 for a disk of 1073741824 bytes"
            ),
            (
                44, 512,
                "offset of the L1 table at offset 40 is 512; expected a multiple of the cluster size, 65536, below 2^62"
            ),
            (
                40, UInt32.max,
                "offset of the L1 table at offset 40 is 18446744069414780928; expected a multiple of the cluster size, 65536, below 2^62"
            ),
            (56, UInt32.max, nil),
            (76, 1, nil),
            (76, 2, "is marked corrupt (qemu-img check -r all, on a copy of it, may repair it)"),
            (
                76, 4,
                "keeps its data in an external data file, which is not read (qemu-img convert makes one file of it)"
            ),
            (76, 8, "compression at offset 104 is 0; expected 1 (zstd)"),
            (
                76, 32,
                "needs the incompatible feature 5, which is not known (qemu-img convert makes an image without it)"
            ),
            (96, 7, "refcount order at offset 96 is 7; expected 0 to 6"),
            (100, 96, "length of the header at offset 100 is 96; expected a multiple of 8 from 104 to 65536"),
            (
                100, UInt32.max,
                "length of the header at offset 100 is 4294967295; expected a multiple of 8 from 104 to 65536"
            ),
        ] as [(Int, UInt32, String?)])
    func aWrongFieldIsNamedWithWhatWasExpected(offset: Int, value: UInt32, message: String?) {
        let bytes = bytes { $0.store(value, at: offset, .big) }
        do throws(FormatError) {
            _ = try Qcow2Header(bytes)
            #expect(message == nil)
        } catch {
            #expect(error.description == message)
        }
    }

    @Test func anExtensionThatIsTooLongIsRefused() {
        #expect(
            throws: FormatError(
                .invalid,
                "length of the header extension 0x6803f857 at offset 108 is 4294967295; expected at most 65424"
            )
        ) { _ = try Qcow2Header(extended(0x6803_f857, [], length: .max)) }
    }

    @Test func everyCutHeaderIsRefusedAndNoneCrashes() {
        for count in 0..<104 {
            #expect(throws: FormatError.self) { _ = try Qcow2Header(Array(bytes()[..<count])) }
        }
    }

    @Test(arguments: 0..<104)
    func anyByteMayHaveAnyValue(offset: Int) {
        for value in UInt8.min...UInt8.max { _ = try? Qcow2Header(bytes { $0[offset] = value }) }
    }

    @Test(arguments: [9, 16, 21])
    func aCompressedClustersEntryIsReadAsItIsWritten(clusterBits: Int) throws {
        let header = try Qcow2Header(
            bytes {
                $0.store(UInt32(clusterBits), at: 20, .big)
                $0.store(UInt32(1 << 22), at: 36, .big)
                $0.store(UInt64(1) << 22, at: 40, .big)
                $0.store(UInt64(1) << 21, at: 48, .big)
            })
        for (offset, length) in [(UInt64(0), 1), (511, 1), (511, 2), (4096, 512), (1 << 30 | 77, 400)] {
            let number = Qcow2Entry.number(compressedAt: offset, length: length, clusterBits: clusterBits)
            guard case .compressed(offset, let most) = try Qcow2Entry(number, header) else {
                Issue.record("\(number) is no compressed cluster at \(offset)")
                continue
            }
            #expect(most >= length && most < length + 512)
        }
    }
}
