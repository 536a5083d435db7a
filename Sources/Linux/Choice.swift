/// Something that a user may choose, as errors advise it or speak of it. What it is called is not
/// for an error to say: the command line and a pipeline file have words of their own for it.
package enum Choice: Hashable, Sendable {
    /// Replacing what is there; forgetting a checkpoint.
    case force, restart
    /// Reading what somebody may write to all the same, at the end of what else one may do; going
    /// on although a time differs.
    case forceShare, ignoreMtime
    /// Giving a base the time back that its overlays expect.
    case repairMtime
    /// Where backing files are looked for, and where they may lie.
    case backingMap, backingSearch, confine
    /// What the image at a depth of the chain is: a format, or just the choice where that is nil.
    /// `isB`: of the second of two images.
    case sourceFormat(depth: Int, format: String?, isB: Bool)
    /// What is written, and in which layout.
    case targetFormat(String)
    case layout(String)
    /// The backing file of a target; a base that overlays will name.
    case backing, asBase
    /// A target that is a block device, written in place, and its manifest.
    case onDevice, manifest
    /// How much one checkpoint covers.
    case segment
    /// Of an overlay, what its header says alone.
    case headerOnly
    /// Records that may prove something.
    case known
    /// Archives: without layers, in spite of damage.
    case flatten, salvage
    /// Where the archives lie that incremental ones stand on.
    case archives
    /// Fleets: what is there is taken over, an image is left out, a part of the fleet.
    case adopt, without, shard
}

/// A line for a user, in which choices are named by whoever prints it.
package struct Message: Equatable, Sendable, ExpressibleByStringInterpolation {
    fileprivate enum Part: Equatable, Sendable {
        case text(String)
        case choice(Choice)
    }

    package struct StringInterpolation: StringInterpolationProtocol {
        fileprivate var parts: [Part] = []

        package init(literalCapacity: Int, interpolationCount: Int) {}

        package mutating func appendLiteral(_ literal: String) { parts.append(.text(literal)) }
        package mutating func appendInterpolation(_ choice: Choice) { parts.append(.choice(choice)) }
        package mutating func appendInterpolation(_ message: Message) { parts += message.parts }
        package mutating func appendInterpolation(_ error: any Error) {
            parts += (error as? any Advising)?.message.parts ?? [.text("\(error)")]
        }
        @_disfavoredOverload
        package mutating func appendInterpolation(_ value: some CustomStringConvertible) {
            parts.append(.text(value.description))
        }
    }

    private var parts: [Part]

    package init(stringInterpolation: StringInterpolation) { parts = stringInterpolation.parts }
    package init(stringLiteral text: String) { parts = [.text(text)] }
    package init(_ text: String) { parts = [.text(text)] }

    /// The line with the choices' own names, for whoever has no words for them.
    package var plain: String { text { "\($0)" } }

    /// The line, with what `words` call the choices.
    package func text(_ words: (Choice) -> String) -> String {
        parts.map { part in
            switch part {
            case .text(let text): text
            case .choice(let choice): words(choice)
            }
        }.joined()
    }
}

extension DefaultStringInterpolation {
    /// A text has no words for choices: `Message.text` asks for them.
    @available(*, unavailable) package mutating func appendInterpolation(_ message: Message) {}
}

/// An error whose line may name choices.
package protocol Advising: Error, CustomStringConvertible {
    var message: Message { get }
}

extension Advising {
    /// The line with the choices' own names, for whoever has no words for them.
    package var description: String { message.plain }
}
