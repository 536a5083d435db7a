package import Migration

/// How one item of a fleet run ended.
package enum FleetOutcome: Sendable {
    /// It was done before, and nothing has changed since.
    case upToDate
    /// It was done; `resumed` bytes were there from an earlier run.
    case done(resumed: UInt64)
    /// It is whole, and takes its name with its family: not the end yet; `resumed` bytes were there
    /// from an earlier run.
    case staged(resumed: UInt64)
    /// It is whole, and its family is not: it has no name yet, for the reason given. `isHeldUp`:
    /// running again does not help by itself.
    case waits(String, isHeldUp: Bool)
    /// It was there, is what the move would make, and is recorded now.
    case adopted
    /// Somebody has written to the target since it was completed; it stays as it is.
    case leftAlone(String)
    case failed(FleetProblem)
    /// A request to stop came first.
    case stopped
    /// The disk that the targets go to failed before it was its turn.
    case notBegun
}

/// One item of a fleet run with how it ended.
package struct FleetResult: Sendable {
    /// The item's place in the plan.
    package let index: Int
    package let outcome: FleetOutcome
    /// Bytes written to the target by this run.
    package let written: UInt64
    package let seconds: Double
}

/// What a fleet run says while it goes on.
package enum FleetEvent: Sendable {
    case began(Int)
    /// Another process works on the item's target; the run waits for it.
    case waiting(Int)
    /// An earlier run died while it gave a base and its overlays their names: the run goes on with
    /// that.
    case namesFamily(Int)
    /// The item begins anew, for the reason given.
    case beganAnew(Int, String)
    /// The item's target will be replaced, although somebody has written to it (`altered`) or it is
    /// not this fleet's (`foreign`).
    case replaces(Int, TargetState)
    case warned(Int, String)
    case ended(FleetResult)
}
