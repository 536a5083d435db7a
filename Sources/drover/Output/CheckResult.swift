internal import ArgumentParser
internal import DiskImages
internal import ImageFormats
internal import Linux
internal import PipelineFiles
internal import SystemPackage

/// What `check` prints of one image; as JSON with the keys of `qemu-img check`, a cluster being a
/// sector.
struct CheckReport: Encodable {
    /// Something that is wrong.
    struct Problem: Encodable {
        let kind: String
        let file: String
        let text: String
    }

    let filename: String
    var format: String?
    var checkErrors = 0
    var problems: [Problem] = []
    var warnings: [String] = []
    /// Where the last allocated sector's data ends in the file, or the header and bitmap where none
    /// is allocated.
    var imageEndOffset: UInt64?
    var allocatedClusters: UInt64?
    var totalClusters: UInt64?

    /// The report for people: a line for the image and one for each problem.
    var lines: [String] {
        var lines: [String]
        if let allocatedClusters, let totalClusters, problems.isEmpty {
            lines = ["\(filename): sound, \(allocatedClusters) of \(totalClusters) sectors allocated"]
        } else {
            lines = ["\(filename): \(problems.count) \(problems.count == 1 ? "problem" : "problems")"]
        }
        lines += problems.map { "    \($0.kind): \($0.file): \($0.text)" }
        lines += warnings.map { "    warning: \($0)" }
        return lines.map(ErrorLine.escaped)
    }
}

/// One image looked at: the report, and what it means for the command.
struct CheckResult {
    private(set) var report: CheckReport
    /// The exit code that this image alone would give.
    private(set) var code = ExitCode.success
    /// Why the image could not be looked at, where that is no damage to it.
    private(set) var refusal: DiskImageError?

    /// Looks at `image` and everything below it. Whatever is wrong with them is a result; only what
    /// is no `DiskImageError` is thrown.
    init(of image: FilePath, _ options: ChainOptions) throws {
        report = CheckReport(filename: image.description)
        do {
            let chain = try ImageChain.examine(image, options)
            report.format = chain.top.formatName
            for problem in chain.problems {
                note(
                    problem.kind.name, problem.error,
                    problem.error.kind == .shortage ? .io : CheckResult.code(of: problem.kind))
            }
            report.warnings = chain.warnings.map(\.plain)
            try measure(chain.top)
        } catch let error as DiskImageError {
            let isDamaged = try error.kind == .badData && CheckResult.isBrokenCow(image)
            if isDamaged { report.format = ImageFormat.cow.name }
            note(CheckResult.name(of: error), error, isDamaged ? .damaged : ExitCode(for: error))
        }
    }

    /// What could not be looked at is no damage.
    private static func code(of kind: ChainProblem.Kind) -> ExitCode {
        switch kind {
        case .locked, .unreadable: .unavailable
        case .confined: .badData
        case .mtime, .size, .truncated, .missing, .invalid: .damaged
        }
    }

    private mutating func note(_ kind: String, _ error: DiskImageError, _ code: ExitCode) {
        report.problems.append(
            CheckReport.Problem(
                kind: kind, file: error.path.description, text: error.fact.text(ChoiceWords.commandLine)))
        report.checkErrors += 1
        if code.rawValue > self.code.rawValue { self.code = code }
        if code != .damaged, refusal == nil { refusal = error }
    }

    private mutating func measure(_ layer: ImageLayer) throws {
        var status = BlockStatus(of: ImageChain(layers: [layer]))
        var allocated: UInt64 = 0
        var end = layer.content.metadataLength
        while let extent = try status.next() {
            // A hole of a raw image is nothing; one of a COW file is zeros that hide the backing
            // file.
            guard let offset = extent.offset, !layer.isRaw || !extent.isZero else { continue }
            allocated += extent.length
            end = offset + extent.length
        }
        report.imageEndOffset = end
        report.allocatedClusters = allocated / sectorSize
        report.totalClusters = layer.guestLength / sectorSize
    }

    /// Whether a file that is no image begins as a COW file and fits no layout: then it is damaged.
    /// One that fits several is none of that.
    private static func isBrokenCow(_ image: FilePath) throws -> Bool {
        let file = try ImageFile(opening: image)
        var bytes = [UInt8](repeating: 0, count: CowHeader.longestHeader)
        let count = try bytes.withUnsafeMutableBytes { try file.readAvailable(into: $0, at: 0) }
        let prefix = Array(bytes[..<count])
        guard CowHeader.isCow(prefix) else { return false }
        do throws(FormatError) {
            _ = try CowHeader.readings(of: prefix, fileLength: file.length)
            return false
        } catch {
            return true
        }
    }

    private static func name(of error: DiskImageError) -> String {
        switch error.kind {
        case .badData: "invalid"
        case .confined: "confined"
        case .unavailable: error.isMissing ? "missing" : "unreadable"
        case .target, .locked: "target"
        case .io, .shortage: "io"
        case .stopped: "stopped"
        }
    }
}
