/// When a target that is whole takes its name.
package enum TargetNaming: Sendable {
    case atOnce
    /// When its family does.
    case withFamily
    /// The same, unless it is what was named before, byte for byte and of the same time: then all
    /// that stands on it may go on to do so.
    case withFamilyUnlessSame
}
