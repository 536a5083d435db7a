internal import Foundation

/// A generator of numbers that look random and follow from one seed: SplitMix64, by Steele, Lea and
/// Flood.
package struct SplitMix64: RandomNumberGenerator {
    private var state: UInt64

    package init(seed: UInt64) { state = seed }

    package mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ mixed >> 30) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ mixed >> 27) &* 0x94d0_49bb_1331_11eb
        return mixed ^ mixed >> 31
    }

    /// True in `count` of `total` draws.
    package mutating func chance(_ count: Int, in total: Int) -> Bool {
        Int.random(in: 0..<total, using: &self) < count
    }
}

/// The seed of a random test: a new one for every run, or the one of an earlier run where
/// `DROVER_TEST_SEED` has it.
package struct TestSeed: Sendable, CustomStringConvertible {
    /// The environment variable that repeats a run.
    package static let variable = "DROVER_TEST_SEED"

    package let value: UInt64

    /// Takes a seed and prints it, so that the log of a failure has it.
    package init(for test: StaticString = #function) {
        value =
            ProcessInfo.processInfo.environment[TestSeed.variable].flatMap { UInt64($0) }
            ?? UInt64.random(in: 0 ... .max)
        print("\(test): \(self)")
    }

    /// The generator of one round of the test; rounds differ, and each can be repeated alone.
    package func generator(round: Int = 0) -> SplitMix64 { SplitMix64(seed: value &+ UInt64(round)) }

    package var description: String { "\(TestSeed.variable)=\(value)" }
}
