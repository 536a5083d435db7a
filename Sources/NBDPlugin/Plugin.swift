internal import CNBDKit
internal import DiskImages
internal import Glibc
internal import Linux
internal import Serving

/// nbdkit's plugin: what its functions do, which `CNBDKit` names to it.
///
/// nbdkit forks after it has loaded the plugin and asked for what is in `get_ready`: before that
/// there must be no thread, and later there are nbdkit's own alone. So nothing here uses tasks or
/// Dispatch.
private enum Plugin {
    static let parameters = Locked(ServingParameters())
    static let served = Locked(ServedFile?.none)

    /// What `body` returns; where it throws, `failure`, with a line in nbdkit's log.
    static func answer<Result>(_ failure: Result, _ body: () throws -> Result) -> Result {
        do {
            return try body()
        } catch {
            cnbdkit_fail(ServingParameters.line(of: error), errno(of: error))
            return failure
        }
    }

    /// What a client is told of `error`.
    private static func errno(of error: any Error) -> CInt {
        switch (error as? DiskImageError)?.kind {
        case .unavailable: ENOENT
        case .shortage: ENOMEM
        default: error is Shortage ? ENOMEM : EIO
        }
    }

    static func file() throws -> ServedFile {
        guard let file = served.withLock(\.self) else {
            throw ServingParameters.Problem(description: "nothing was opened")
        }
        return file
    }

    static func disk(_ handle: UnsafeMutableRawPointer) -> ServedDisk {
        Unmanaged<ServedDisk>.fromOpaque(handle).takeUnretainedValue()
    }

    /// `text` as C text that lives as long as the process.
    static func constant(_ text: String) -> UnsafePointer<CChar>? { UnsafePointer(strdup(text)) }
}

@_cdecl("drover_nbd_version")
func version() -> UnsafePointer<CChar>? { Plugin.constant(Release.version) }

@_cdecl("drover_nbd_help")
func help() -> UnsafePointer<CChar>? { Plugin.constant(ServingParameters.help) }

@_cdecl("drover_nbd_config")
func config(_ key: UnsafePointer<CChar>, _ value: UnsafePointer<CChar>) -> CInt {
    Plugin.answer(-1) {
        let bytes = Array(UnsafeRawBufferPointer(start: value, count: strlen(value)))
        try Plugin.parameters.withLock { try $0.set(String(cString: key), to: bytes) }
        return 0
    }
}

@_cdecl("drover_nbd_config_complete")
func configComplete() -> CInt {
    Plugin.answer(-1) {
        _ = try Plugin.parameters.withLock { try $0.options() }
        return 0
    }
}

@_cdecl("drover_nbd_get_ready")
func getReady() -> CInt {
    Plugin.answer(-1) {
        let file = try ServedFile(Plugin.parameters.withLock { try $0.options() })
        Plugin.served.withLock { $0 = file }
        return 0
    }
}

@_cdecl("drover_nbd_unload")
func unload() { Plugin.served.withLock { $0 = nil } }

@_cdecl("drover_nbd_list_exports")
func listExports(_ exports: OpaquePointer) -> CInt {
    Plugin.answer(-1) {
        for export in try Plugin.file().exports
        where cnbdkit_add_export(exports, export.name, export.description) != 0 {
            return -1
        }
        return 0
    }
}

@_cdecl("drover_nbd_default_export")
func defaultExport() -> UnsafePointer<CChar>? {
    Plugin.answer(nil) { cnbdkit_copy(try Plugin.file().defaultExport ?? "") }
}

@_cdecl("drover_nbd_open")
func openDisk(_ name: UnsafePointer<CChar>) -> UnsafeMutableRawPointer? {
    Plugin.answer(nil) {
        Unmanaged.passRetained(try Plugin.file().disk(called: String(cString: name))).toOpaque()
    }
}

@_cdecl("drover_nbd_close")
func closeDisk(_ handle: UnsafeMutableRawPointer) { Unmanaged<ServedDisk>.fromOpaque(handle).release() }

@_cdecl("drover_nbd_size")
func size(_ handle: UnsafeMutableRawPointer) -> Int64 { Int64(clamping: Plugin.disk(handle).length) }

@_cdecl("drover_nbd_description")
func description(_ handle: UnsafeMutableRawPointer) -> UnsafePointer<CChar>? {
    cnbdkit_copy(Plugin.disk(handle).formatName)
}

@_cdecl("drover_nbd_read")
func readDisk(
    _ handle: UnsafeMutableRawPointer, _ buffer: UnsafeMutableRawPointer, _ count: UInt32, _ offset: UInt64
) -> CInt {
    Plugin.answer(-1) {
        try Plugin.disk(handle).read(
            at: offset, into: UnsafeMutableRawBufferPointer(start: buffer, count: Int(count)))
        return 0
    }
}

@_cdecl("drover_nbd_extents")
func extents(
    _ handle: UnsafeMutableRawPointer, _ count: UInt32, _ offset: UInt64, _ flags: UInt32,
    _ extents: OpaquePointer
) -> CInt {
    Plugin.answer(-1) {
        let wantsOne = cnbdkit_wants_one(flags) != 0
        var isFull = false
        try Plugin.disk(handle).extents(in: offset..<offset + UInt64(count)) { range, isZero in
            let length = range.upperBound - range.lowerBound
            isFull = cnbdkit_add_extent(extents, range.lowerBound, length, isZero ? 1 : 0) != 0
            return !wantsOne && !isFull
        }
        return isFull ? -1 : 0
    }
}
