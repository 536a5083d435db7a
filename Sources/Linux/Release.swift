internal import CRelease

/// Which release of Drover this is, or which commit on the way to it.
package enum Release {
    package static var version: String { String(cString: crelease_version()) }
}
