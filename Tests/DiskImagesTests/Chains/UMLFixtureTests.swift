import DiskImages
import Foundation
import SystemPackage
import TestSupport
import Testing

/// Guests of a real User-Mode Linux kernel against what each read from its own disk.
struct UMLFixtureTests {
    @Test(arguments: ["a1-idle", "a2-small", "a3-db"])
    func theGuestsDiskIsWhatTheGuestItselfRead(guest: String) throws {
        let fixture = try Fixture("a", from: "uml-fleet")
        let line = try #require(
            fixture.text("expect.tsv").split(separator: "\n").first { $0.hasPrefix(guest) })
        let digest = try #require(line.split(separator: "\t").first { $0.count == 64 }.map(String.init))
        let moves = [BackingLocation.Move(old: "/srv/uml", new: fixture.path)]
        let chain = try ImageChain.open(
            fixture.file("guests/\(guest).cow"), ChainOptions(location: BackingLocation(moves: moves)))
        #expect(chain.summary == "\(guest).cow:uml-v3 a.img:raw")
        let disk = fixture.file("disk.raw")
        try Data(chain.guestBytes).write(to: URL(fileURLWithPath: disk.string))
        let found = try RequiredTool("sha256sum").run([disk.string]).prefix(64)
        #expect(String(found) == digest)
    }
}
