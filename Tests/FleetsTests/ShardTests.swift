import TestSupport
import Testing

@testable import Fleets
@testable import Migration

/// Which part of a fleet is meant.
struct ShardTests {
    private static func task(_ id: String?, _ first: String?, _ step: String?, _ count: String?) -> [String:
        String]
    {
        let names = [
            "SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_STEP", "SLURM_ARRAY_TASK_COUNT",
        ]
        return zip(names, [id, first, step, count]).reduce(into: ["PATH": "/bin"]) { $0[$1.0] = $1.1 }
    }

    @Test func everyItemBelongsToOneShard() throws {
        for count in 1...7 {
            let shards = try (1...count).map { try Shard(index: $0, count: count) }
            for position in 0..<50 { #expect(shards.count { $0.contains(position) } == 1) }
        }
    }

    @Test func isWrittenAsIOfN() throws { #expect(try Shard(text: "2/3") == Shard(index: 2, count: 3)) }

    @Test(arguments: [
        "", "/", "1", "1/", "/2", "0/3", "4/3", "-1/3", "+1/3", "1/2/3", " 1/2", "1/0",
        "99999999999999999999/3", "1/99999999999999999999",
    ])
    func refusesAnythingElse(text: String) { #expect(throws: MigrationError.self) { try Shard(text: text) } }

    @Test func anArrayTaskFindsItsOwn() throws {
        #expect(try Shard(environment: ShardTests.task("3", "1", "1", "8")) == Shard(index: 3, count: 8))
        #expect(try Shard(environment: ShardTests.task("0", "0", "1", "3")) == Shard(index: 1, count: 3))
        #expect(try Shard(environment: ShardTests.task("9", "1", "4", "3")) == Shard(index: 3, count: 3))
    }

    @Test func outsideOfAnArrayThereIsNone() throws {
        #expect(try Shard(environment: ["SLURM_JOB_ID": "7"]) == nil)
    }

    @Test func aTaskThatKnowsOnlyPartOfItsPlaceIsRefused() {
        let text = refusal { _ = try Shard(environment: ShardTests.task("3", "1", nil, "8")) }
        #expect(
            text
                == "SLURM_ARRAY_TASK_STEP is not set, but others of a Slurm array task are (give --shard I/N, or unset them all)"
        )
    }

    @Test(arguments: [
        ("4", "1", "2", "3"), ("9", "1", "1", "8"), ("0", "1", "1", "8"), ("1", "1", "0", "1"),
        ("x", "1", "1", "8"), ("", "1", "1", "8"),
    ])
    func aPlaceThatIsNoneIsRefused(id: String, first: String, step: String, count: String) {
        #expect(throws: MigrationError.self) {
            try Shard(environment: ShardTests.task(id, first, step, count))
        }
    }
}
