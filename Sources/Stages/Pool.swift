/// A fixed number of elements that go round: whoever needs one waits until one is given back. It
/// bounds what is read ahead; a worker may have some of its own beside it.
package struct Pool<Element: Sendable>: Sendable {
    private let free: BoundedChannel<Element>

    /// `count` elements, each made by `make`.
    package init(count: Int, _ make: () throws -> Element) async throws {
        free = BoundedChannel(limit: count)
        for _ in 0..<count { try await free.send(try make()) }
    }

    /// An element that nobody else uses, as whoever had it left it.
    package func take() async throws -> Element {
        guard let element = try await free.receive() else { throw ChannelClosed() }
        return element
    }

    /// Gives an element back; never waits, because the pool has room for all of them.
    package func give(_ element: Element) async throws { try await free.send(element) }
}
