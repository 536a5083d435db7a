internal import DiskImages
internal import SystemPackage

/// Everything that a report shows of a fleet, as values; `ReportPage` draws it.
struct FleetReport {
    /// What the pipeline is called: its file's name.
    var title: FilePath
    /// When this was found out: seconds since 1970.
    var createdAt: Int
    /// What is done, for people: `convert to raw, bases kept`.
    var operation: String
    /// Where the targets go.
    var directory: FilePath
    /// In the pipeline's order, bases first.
    var images: [Image]
    /// Failures that belong to no single image.
    var problems: [Failure] = []
    /// Nil as long as nothing is known of it.
    var savings: Savings?
    /// Every checkpoint of every image, in any order.
    var throughput: [Sample] = []
}

extension FleetReport {
    /// One image of the fleet, or a base that several share.
    struct Image {
        enum Role: String {
            case base, image
            /// What earlier runs made of a source that is gone.
            case orphan
        }

        /// The source's name, from the pipeline's folder.
        var name: FilePath
        var source: FilePath
        var target: FilePath?
        var role: Role
        var state: State
        /// The guest disk's length in bytes; nil where the image could not be opened.
        var guestLength: UInt64?
        /// Bytes that the image's own file holds, its bases not counted.
        var sourceBytes: UInt64?
        /// Bytes that the target takes so far.
        var targetBytes: UInt64?
        /// The files of the chain, top first; what `map` calls depth is the index.
        var chain: [FilePath]
        /// In `FleetReport.cellsPerMap` cells; nil where the chain could not be opened.
        var map: BlockPicture?
        /// How long its move has taken, over all runs.
        var seconds: Double?
    }

    /// How far an image is.
    enum State: Equatable {
        case done
        /// Somebody moves it now, and has done so much of it.
        case running(percent: Int)
        /// A run was interrupted at a checkpoint; the next one goes on.
        case interrupted(percent: Int)
        case failed(reason: String)
        case waiting
        /// Complete, but the source, a base or the options changed since: it is to be done again.
        case stale(reason: String)
        /// The target changed since it was completed: somebody uses it, and it is left alone.
        case changed(reason: String)
    }

    /// Something that went wrong, and why.
    struct Failure {
        var name: FilePath
        var reason: String
    }

    /// Bytes of data that became safe at a moment.
    struct Sample {
        /// Seconds since 1970.
        var time: Double
        var bytes: UInt64
    }

    /// Where the space went. What `result`, `sharing` and `compression` leave of `guest` was holes
    /// and zeros.
    struct Savings {
        /// What raw files without holes would take.
        var guest: UInt64
        /// The data of all images, each flattened by itself.
        var flattened: UInt64
        /// What is saved because a base is stored once.
        var sharing: UInt64
        /// What is saved by compression.
        var compression: UInt64
        /// What the targets take.
        var result: UInt64

        /// What is saved because holes and zeros take no space.
        var sparse: UInt64 {
            [result, sharing, compression].reduce(guest) { $0 > $1 ? $0 - $1 : 0 }
        }
    }

    /// The largest fleet whose images are each shown by themselves, too.
    static let mostDetailed = 100

    /// How finely the maps are to be drawn, so that a page of any fleet stays small.
    static func cellsPerMap(imageCount: Int) -> Int {
        imageCount <= mostDetailed ? 256 : imageCount <= 400 ? 96 : 40
    }
}
