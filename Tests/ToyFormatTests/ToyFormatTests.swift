import DiskImages
import Migration
import Stages
import SystemPackage
import TestSupport
import Testing

/// The seam for formats: one that is added from outside is opened, mapped, read, converted and
/// written like those that are there.
struct ToyFormatTests {
    private let directory = try! TemporaryDirectory()

    private func options(hasBacking: Bool = false) throws -> ChainOptions {
        var options = ChainOptions(location: try BackingLocation())
        options.formats = [ToyFormat(hasBacking: hasBacking)] + FormatList.usual
        return options
    }

    private func chunk(_ character: Character) -> [UInt8] {
        [UInt8](repeating: character.asciiValue!, count: Int(Toy.chunk))
    }

    /// A toy image called `toy`: `a` and `b` are stored, `B` is stored inverted, `.` is zeros, `-`
    /// is the backing file's.
    private func toy(_ picture: String) throws -> FilePath {
        let states = picture.map { character -> Toy.State in
            switch character {
            case "-": .absent
            case ".": .zero
            default: character.isUppercase ? .inverted : .stored
            }
        }
        let chunks = picture.filter { $0 != "." && $0 != "-" }.map { character in
            character.isUppercase ? chunk(character).map { ~$0 } : chunk(character)
        }
        let bytes = Toy.bytes(states, chunks)
        var file = SparseFile()
        file.put(bytes, at: 0)
        try file.write(to: directory("toy"), length: UInt64(bytes.count))
        return directory("toy")
    }

    private func convert(
        _ source: FilePath, to target: String, _ format: any FormatChoice = RawChoice(),
        _ options: ChainOptions? = nil, by asked: ImageFormat? = nil
    ) async throws -> FilePath {
        var request = ConversionRequest(
            source: source, options: try options ?? self.options(), target: directory(target), format: format)
        request.options.format = asked
        let moved = try await Conversion(request).run(MoveOptions(workers: WorkerSlots(limit: 2))) { _ in }
        #expect(moved == .moved(resumed: 0, hasChanged: false))
        return directory(target)
    }

    private func picture(_ path: FilePath) throws -> String {
        Picture(of: try FileChanges.bytes(of: path), unit: Int(Toy.chunk)).text
    }

    @Test(arguments: [nil, Toy.format])
    func itIsOpenedByContentAndByName(asked: ImageFormat?) throws {
        var options = try options()
        options.format = asked
        let chain = try ImageChain.open(toy("ab.c"), options)
        #expect(chain.top.formatName == "toy")
        #expect(chain.guestLength == 4 * Toy.chunk)
    }

    @Test func whatIsNamedSoAndIsNoneIsRefused() throws {
        try directory.raw("raw", "a")
        var options = try options()
        options.format = Toy.format
        #expect(throws: DiskImageError.self) { try ImageChain.open(directory("raw"), options) }
    }

    @Test func itsBlockStatusGoesBackInTheFile() throws {
        var status = BlockStatus(of: try ImageChain.open(toy("ab.C-"), options()))
        var contents: [Extent.Content] = []
        while let extent = try status.next() { contents.append(extent.content) }
        let start: UInt64 = 10
        #expect(
            contents == [
                .data(offset: start + 2 * Toy.chunk), .data(offset: start + Toy.chunk), .zero(offset: nil),
                .encoded(offset: 3 * Toy.chunk), .absent,
            ])
    }

    @Test(arguments: ["abcdefgh", "a.b.", "AbCd", "....", "A", "abBA.aAbB."])
    func itIsConvertedToRaw(text: String) async throws {
        let target = try await convert(toy(text), to: "out")
        let shown = try picture(target)
        #expect(shown == text)
    }

    @Test func itStandsOnABackingFile() async throws {
        try directory.raw("backing", "xyzu", unit: Int(Toy.chunk))
        let target = try await convert(toy("-B.-"), to: "out", RawChoice(), options(hasBacking: true))
        #expect(try picture(target) == "xB.u")
    }

    @Test func aCowFileStandsOnIt() async throws {
        _ = try toy("aBc.")
        try directory.cow("top", over: "toy", "x-y-", unit: Int(Toy.chunk))
        let target = try await convert(directory("top"), to: "out")
        #expect(try picture(target) == "xBy.")
    }

    @Test func itIsWrittenAndReadBack() async throws {
        try directory.raw("raw", "ab.cd...e", unit: Int(Toy.chunk))
        let target = try await convert(directory("raw"), to: "made", ToyChoice())
        #expect(try ImageChain.open(target, options()).top.formatName == "toy")
        let back = try await convert(target, to: "back")
        #expect(try picture(back) == "ab.cd...e")
        #expect(try FileChanges.bytes(of: back) == FileChanges.bytes(of: directory("raw")))
    }
}
