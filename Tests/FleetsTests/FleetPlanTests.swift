import DiskImages
import ImageFormats
import Linux
import PipelineFiles
import SystemPackage
import TestSupport
import Testing

@testable import Fleets
@testable import Migration
@testable import Stages

/// What a fleet's images become: which file is a base, what targets are called, and which part does
/// what.
struct FleetPlanTests {
    private let fleet = try! PipelineFile()

    private static let keep =
        "sources: ['*.cow', '*.img']\ntarget: {directory: out, format: cow, keep-chain: true}\n"

    private func plan(_ text: String = FleetPlanTests.keep) throws -> FleetPlan {
        let spec = try fleet.load(text)
        return try FleetPlan(spec, try spec.findSources())
    }

    /// Role, name and base's name of every item.
    private func items(_ plan: FleetPlan) -> [String] {
        plan.items.map { item in
            "\(item.role) \(item.name)" + (item.base.map { " on \(plan.items[$0].name)" } ?? "")
        }
    }

    private func overlay(_ name: String, over base: String) throws {
        try fleet.directory.cow(name, .umlV3, over: fleet.directory(base).string, "-x-")
    }

    @Test func everyFileAtTheBottomOfAChainIsABaseOnce() throws {
        try fleet.directory.raw("a.img", "abc")
        try fleet.directory.raw("b.img", "abc")
        try FileChanges.hardLink(fleet.directory("a.img"), as: fleet.directory("twin.img"))
        for (name, base) in [("1.cow", "a.img"), ("2.cow", "b.img"), ("3.cow", "twin.img")] {
            try overlay(name, over: base)
        }
        let plan = try plan()
        #expect(
            items(plan) == [
                "base a.img", "base b.img", "image 1.cow on a.img", "image 2.cow on b.img",
                "image 3.cow on a.img",
            ])
        #expect(
            plan.items.map { $0.target.lastComponent?.string } == [
                "a.raw", "b.raw", "1.cow", "2.cow", "3.cow",
            ])
        #expect(plan.items.allSatisfy { $0.problem == nil })
    }

    @Test func everyTargetIsInAShardAndOnlyBasesInSeveral() throws {
        for name in ["a.img", "b.img", "lone-1.img", "lone-2.img", "lone-3.img"] {
            try fleet.directory.raw(name, "abc")
        }
        for number in 0..<5 { try overlay("\(number).cow", over: number % 2 == 0 ? "a.img" : "b.img") }
        let plan = try plan()
        for count in 1...9 {
            let shards = try (1...count).map {
                plan.places(in: FleetChoice(shard: try Shard(index: $0, count: count)))
            }
            #expect(Set(shards.joined()) == Set(plan.items.indices))
            for places in shards {
                #expect(places == places.sorted())
                #expect(places.allSatisfy { plan.items[$0].base.map(places.contains) ?? true })
            }
            let stoodOn = Set(plan.items.compactMap(\.base))
            for place in plan.items.indices where !stoodOn.contains(place) {
                #expect(shards.count { $0.contains(place) } == 1)
            }
        }
    }

    @Test func rawImagesAloneAreSharedOutToo() throws {
        for number in 0..<4 { try fleet.directory.raw("\(number).img", "abc") }
        let plan = try plan(FleetPlanTests.keep.replacing("'*.cow', ", with: ""))
        #expect(plan.places(in: FleetChoice(shard: try Shard(index: 1, count: 2))) == [0, 2])
        #expect(plan.places(in: FleetChoice(shard: try Shard(index: 2, count: 2))) == [1, 3])
    }

    @Test func aTargetIsNoSourceEvenWhereThatCannotBeOpened() throws {
        try fleet.directory.raw("1.img", "abc")
        try FileChanges.write(Array("OOOM".utf8), to: fleet.directory("1.raw"), at: 0)
        let plan = try plan("sources: ['1.*']\ntarget: {directory: .}\n")
        let text =
            "\(fleet.directory("1.raw")): is one of the fleet's own sources (choose another target directory, or exclude it)"
        #expect(plan.items.map { $0.problem?.description } == [text, text])
        #expect(plan.items.allSatisfy { $0.problem?.isOfLayout == true })
    }

    @Test func twoTargetNamesMayMeanOneFile() throws {
        for name in ["1.cow", "2.cow"] { try fleet.directory.raw(name, "abc") }
        try fleet.directory.directory("out")
        try fleet.directory.link("out/1.raw", to: "2.raw")
        let plan = try plan("sources: ['*.cow']\ntarget: {directory: out}\n")
        let text =
            "\(fleet.directory("out/2.raw")): is the target of both 1.cow and 2.cow (change the target's name)"
        #expect(plan.items.map { $0.problem?.description } == [text, text])
    }

    @Test func foldersBehindLinksAreOneFolder() throws {
        for name in ["a", "b"] {
            try fleet.directory.directory(name)
            try fleet.directory.raw("\(name)/1.cow", "abc")
        }
        try fleet.directory.directory("out")
        try fleet.directory.link("out/b", to: "a")
        let text = "sources: ['*/1.cow']\ntarget: {directory: out}\n"
        #expect(try plan(text).items.map(\.problem?.description) == [nil, nil])
        try fleet.directory.directory("out/a")
        #expect(
            try plan(text).items.allSatisfy {
                $0.problem?.description.contains("is the target of both a/1.cow and b/1.cow") == true
            })
    }

    @Test func aTargetNameThatLeadsNowhereStopsNoOther() throws {
        for name in ["1.cow", "2.cow"] { try fleet.directory.raw(name, "abc") }
        try fleet.directory.directory("out")
        try fleet.directory.link("out/2.raw", to: "2.raw")
        let plan = try plan("sources: ['*.cow']\ntarget: {directory: out}\n")
        #expect(
            plan.items.map { $0.problem?.description } == [
                nil, "\(fleet.directory("out/2.raw")): leads through too many symbolic links",
            ])
    }

    @Test func aBaseIsCalledTheSameWhicheverOverlaysCanBeOpened() throws {
        for name in ["a", "b", "b/bases"] { try fleet.directory.directory(name) }
        try fleet.directory.raw("b/bases/x.img", "abc")
        for name in ["a/1.cow", "b/2.cow"] { try overlay(name, over: "b/bases/x.img") }
        let text = "sources: [a/*.cow, b/*.cow]\ntarget: {directory: out, format: cow, keep-chain: true}\n"
        #expect(try plan(text).items[0].target == fleet.directory("out/bases/x.raw"))
        try FileChanges.truncate(fleet.directory("a/1.cow"), to: 100)
        #expect(try plan(text).items[0].target == fleet.directory("out/bases/x.raw"))
    }

    @Test func anOverlayWaitsForItsBase() throws {
        try fleet.directory.raw("a.img", "abc")
        try fleet.directory.raw("b.img", "abc")
        for (name, base) in [("1.cow", "a.img"), ("2.cow", "b.img"), ("3.cow", "a.img")] {
            try overlay(name, over: base)
        }
        let plan = try plan()
        var queue = FleetQueue(plan.places(in: FleetChoice()), plan)
        #expect([queue.next()?.index, queue.next()?.index, queue.next()?.index] == [0, 1, nil])
        queue.ended(
            FleetResult(
                index: 1, outcome: .failed(FleetProblem(MigrationError(.io, "no"))), written: 0, seconds: 0))
        let failed = queue.next()
        #expect(failed?.index == 3 && failed?.base != nil)
        #expect(queue.next() == nil)
        queue.ended(FleetResult(index: 0, outcome: .done(resumed: 0), written: 0, seconds: 0))
        for index in [2, 4] {
            let next = queue.next()
            #expect(
                next?.index == index && next.map { if case .done = $0.base { true } else { false } } == true)
        }
        #expect(queue.next() == nil)
    }

    @Test func adviceIsInThePipelineFilesOwnWords() throws {
        try overlay("top.cow", over: "nothere.img")
        #expect(
            try #require(try plan(FleetPlanTests.keep.replacing(", '*.img'", with: "")).items[0].problem)
                .description.hasSuffix(
                    "(where bases have moved, backing-map or backing-search finds them)"))
    }

    @Test func whatALayoutCannotHoldIsSaidBeforeItsBaseIsMoved() async throws {
        try fleet.directory.raw("a.img", "abc")
        // UML's layouts need a base as long as the disk; this header says a longer one.
        try fleet.directory.cow("top.cow", .qemuV2, over: fleet.directory("a.img").string, "-x-xx")
        let outlooks = try await plan().outlooks(of: [0, 1], stop: StopFlag())
        #expect(outlooks.map { $0.problem == nil } == [true, false])
        #expect(try #require(outlooks[1].problem).description.contains(": uml-v3 cannot hold a disk of "))
        #expect(try #require(outlooks[1].problem).description.hasSuffix("(layout: qemu-v2 can)"))
    }
}
