import DiskImages
import Testing

@testable import Migration

/// Nobody may read a target who may not read every file whose bytes it holds.
struct TargetAccessTests {
    private static let base = FileAccess(mode: 0o644, owner: 10, group: 20)

    private static func mode(_ sources: [FileAccess], umask: UInt32 = 0) -> UInt32 {
        TargetAccess(holding: sources, umask: umask).wanted.mode
    }

    @Test(
        arguments: [
            ([0o644], 0, 0o644), ([0o600], 0, 0o600), ([0o640], 0, 0o640), ([0o664], 0o022, 0o644),
            ([0o666, 0o644], 0, 0o644),
            ([0o644, 0o600], 0, 0o600), ([0o644, 0o640], 0, 0o640), ([0o777], 0, 0o666), ([0o4755], 0, 0o644),
            ([0o644], 0o077, 0o600),
            ([0o604], 0, 0o600), ([0o444], 0, 0o644), ([0o660, 0o640], 0, 0o640),
        ] as [([UInt32], UInt32, UInt32)])
    func othersAndTheGroupMayDoWhatAllSourcesLetThem(modes: [UInt32], umask: UInt32, expected: UInt32) {
        #expect(
            TargetAccessTests.mode(modes.map { FileAccess(mode: $0, owner: 10, group: 20) }, umask: umask)
                == expected)
    }

    @Test func anotherGroupIsNotTheSameGroup() {
        let other = FileAccess(mode: 0o640, owner: 10, group: 21)
        #expect(TargetAccessTests.mode([TargetAccessTests.base, other]) == 0o600)
        // What everybody may, every group may.
        let open = FileAccess(mode: 0o644, owner: 10, group: 21)
        #expect(TargetAccessTests.mode([TargetAccessTests.base, open]) == 0o644)
    }

    /// An access control list: entries of tag, permissions and id.
    private func list(_ entries: [(UInt8, UInt8, UInt8)]) -> [UInt8] {
        [2, 0, 0, 0] + entries.flatMap { [$0.0, 0, $0.1, 0, $0.2, 0, 0, 0] }
    }

    @Test func theMaskOfAListIsNoGroupsReading() {
        // user::rw- user:7:r-- group::--- mask::r-- other::---
        let acl = list([(1, 6, 0), (2, 4, 7), (4, 0, 0), (0x10, 4, 0), (0x20, 0, 0)])
        #expect(TargetAccessTests.mode([FileAccess(mode: 0o640, owner: 10, group: 20, acl: acl)]) == 0o600)
    }

    @Test func aListThatKeepsSomebodyOutKeepsAllOthersOut() {
        // user::rw- user:7:--- group::r-- mask::r-- other::r--
        let acl = list([(1, 6, 0), (2, 0, 7), (4, 4, 0), (0x10, 4, 0), (0x20, 4, 0)])
        #expect(TargetAccessTests.mode([FileAccess(mode: 0o644, owner: 10, group: 20, acl: acl)]) == 0o600)
        let open = list([(1, 6, 0), (2, 6, 7), (4, 4, 0), (0x10, 6, 0), (0x20, 4, 0)])
        #expect(TargetAccessTests.mode([FileAccess(mode: 0o664, owner: 10, group: 20, acl: open)]) == 0o644)
        #expect(
            TargetAccessTests.mode([FileAccess(mode: 0o644, owner: 10, group: 20, acl: [2, 0, 0])]) == 0o600)
    }

    @Test func theTopLayersOwnerGetsItWhereHeMayReadAllOfIt() {
        let secret = FileAccess(mode: 0o600, owner: 0, group: 0)
        #expect(
            TargetAccess(
                holding: [FileAccess(mode: 0o600, owner: 10, group: 20), TargetAccessTests.base], umask: 0
            ).wanted.owner == 10)
        #expect(
            TargetAccess(holding: [FileAccess(mode: 0o600, owner: 10, group: 20), secret], umask: 0).wanted
                .owner != 10)
    }

    @Test func whoMayNotGiveItAwayKeepsTheGroupOut() {
        let access = TargetAccess(holding: [FileAccess(mode: 0o660, owner: 10, group: 20)], umask: 0)
        #expect((access.wanted.mode, access.mode) == (0o660, 0o600))
    }

    @Test func anArchivesRecordIsKeptWithoutSetIdAndExecution() {
        let access = TargetAccess(recorded: FileAccess(mode: 0o4775, owner: 10, group: 20), umask: 0o022)
        #expect((access.wanted.mode, access.mode) == (0o664, 0o644))
    }
}
