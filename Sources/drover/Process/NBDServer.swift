internal import CLinux
internal import DiskImages
internal import Glibc
internal import Linux
internal import SystemPackage

/// nbdkit with Drover's plugin.
struct NBDServer {
    /// What a Unix socket's address has room for (sun_path, unix(7), without the byte that ends
    /// it).
    static let longestSocket = 107
    private static let fileName = "libnbdkit-drover-plugin.so"
    private static let installedName = "nbdkit-drover-plugin.so"
    /// How long a server that was asked to end may take; seconds.
    private static let patience = 30

    /// Where it waits for clients.
    enum Listener {
        /// A Unix socket of its own, in a folder of its own.
        case newSocket
        case unix(FilePath)
        case tcp(String, UInt16)
    }

    let program: FilePath
    let plugin: FilePath
    let parameters: [(key: String, value: [UInt8])]

    /// nbdkit, found as a shell finds it. Throws `unavailable` where there is none.
    static func program() throws -> FilePath {
        let folders = getenv("PATH").map { String(cString: $0) } ?? "/usr/bin:/bin"
        for folder in folders.split(separator: ":") {
            let path = FilePath(String(folder)).appending("nbdkit")
            if path.withPlatformString({ access($0, X_OK) }) == 0 { return path }
        }
        throw DiskImageError(
            .unavailable, "nbdkit", "is not in PATH (install it: apt install nbdkit)",
            cause: .noSuchFileOrDirectory)
    }

    /// Drover's plugin: beside this program, where `make install` puts it, or among nbdkit's own.
    static func plugin() throws -> FilePath {
        let program = try resolved("/proc/self/exe").removingLastComponent()
        let prefix = program.removingLastComponent()
        var places = [program.appending(fileName)]
        #if arch(arm64)
            let triplet = "aarch64-linux-gnu"
        #else
            let triplet = "x86_64-linux-gnu"
        #endif
        for folder in ["lib", "lib/\(triplet)", "lib64"] {
            places.append(prefix.pushing(FilePath(folder)).pushing("nbdkit/plugins").appending(installedName))
        }
        for place in places where try ImageFile.identity(at: place)?.isRegular == true { return place }
        throw DiskImageError(
            .unavailable, places[0],
            "is not there, nor \(installedName) in nbdkit's folder (install the package nbdkit-plugin-drover, or make build)",
            cause: .noSuchFileOrDirectory)
    }

    /// Turns this process into the server, which ends with `command` and its exit code.
    func become(listeningOn listener: Listener, running command: [UInt8]) throws -> Never {
        var arguments = listening(on: listener, in: nil)
        arguments += [Array("--run".utf8), command]
        // What this process ignores, the program would, too.
        for signal in [SIGPIPE, SIGXFSZ] { Glibc.signal(signal, SIG_DFL) }
        throw DiskImageError.system(program, "cannot be run", ChildProcess.become(arguments), .unavailable)
    }

    /// Serves until a signal asks for the end. `announce` gets the URI once clients may come.
    /// Throws where the server ends by itself.
    func serve(on listener: Listener, _ announce: (String) throws -> Void) throws {
        let folder = try RuntimeFolder()
        defer { folder.remove() }
        let socket: FilePath?
        switch listener {
        case .newSocket: socket = folder.path.appending("socket")
        case .unix(let path): socket = path
        case .tcp: socket = nil
        }
        if let socket, try ImageFile.identity(at: socket) != nil {
            throw DiskImageError(
                .target, socket, "exists (a server may listen there; where none does, remove it)")
        }
        var signals = sigset_t()
        sigemptyset(&signals)
        for signal in [SIGTERM, SIGINT, SIGHUP, SIGCHLD] { sigaddset(&signals, signal) }
        var before = sigset_t()
        pthread_sigmask(SIG_BLOCK, &signals, &before)
        defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
        let ready = folder.path.appending("ready")
        var arguments = listening(on: listener, in: folder.path)
        arguments += ["-f", "--exit-with-parent", "-P"].map { Array($0.utf8) } + [ready.pathBytes]
        let child = try ChildProcess.start(arguments, unblocking: before)
        defer { if let socket { _ = socket.withPlatformString { unlink($0) } } }
        var isReady = false
        var asked: Int?
        while true {
            // Until clients may come, that is asked for 100 times a second.
            var pause = timespec(tv_sec: isReady ? 1 : 0, tv_nsec: isReady ? 0 : 10_000_000)
            let signal = sigtimedwait(&signals, nil, &pause)
            if [SIGTERM, SIGINT, SIGHUP].contains(signal) {
                asked = 0
                kill(child, SIGTERM)
            }
            var status: CInt = 0
            if waitpid(child, &status, WNOHANG) == child {
                guard asked == nil else { return }
                throw DiskImageError(
                    .io, program,
                    "ended before it was asked to\(isReady ? "" : ", and served nothing") (what it said is above)"
                )
            }
            if let waited = asked {
                asked = waited + 1
                if waited == NBDServer.patience { kill(child, SIGKILL) }
            }
            if !isReady, asked == nil, try ImageFile.identity(at: ready)?.size ?? 0 > 0 {
                isReady = true
                do {
                    try announce(uri(listener, socket))
                } catch {
                    kill(child, SIGKILL)
                    waitpid(child, &status, 0)
                    throw error
                }
            }
        }
    }

    /// Where clients find it, as the NBD project writes URIs.
    private func uri(_ listener: Listener, _ socket: FilePath?) -> String {
        if case .tcp(let address, let port) = listener {
            return "nbd://\(address.contains(":") ? "[\(address)]" : address):\(port)"
        }
        return "nbd+unix:///?socket=\((socket?.pathBytes ?? []).percentEncoded(keeping: "/"))"
    }

    /// The program's arguments but for what is to become of the process. `folder` is nil where
    /// nbdkit makes a socket itself.
    private func listening(on listener: Listener, in folder: FilePath?) -> [[UInt8]] {
        let place: [[UInt8]] =
            switch listener {
            case .newSocket: [Array("-U".utf8), folder?.appending("socket").pathBytes ?? Array("-".utf8)]
            case .unix(let path): [Array("-U".utf8), path.pathBytes]
            case .tcp(let address, let port):
                ["-p", "\(port)", "-i", address].map { Array($0.utf8) }
            }
        return [program.pathBytes, Array("-r".utf8)] + place + [plugin.pathBytes]
            + parameters.map { Array("\($0.key)=".utf8) + $0.value }
    }
}

/// A folder of this process alone, for sockets and the like.
private struct RuntimeFolder {
    let path: FilePath

    init() throws {
        let candidates = [getenv("XDG_RUNTIME_DIR"), getenv("TMPDIR")].compactMap {
            $0.map { String(cString: $0) }
        }
        let parent = candidates.first { $0.hasPrefix("/") && access($0, W_OK | X_OK) == 0 } ?? "/tmp"
        var template = FilePath(parent).appending("drover-serve.XXXXXX").pathBytes.map {
            CChar(bitPattern: $0)
        }
        template.append(0)
        guard mkdtemp(&template) != nil else {
            throw DiskImageError.system(FilePath(parent), "no folder can be made there", .current, .target)
        }
        path = template.withUnsafeBufferPointer { FilePath(platformString: $0.baseAddress!) }
    }

    func remove() {
        for name in ["socket", "ready"] { _ = path.appending(name).withPlatformString { unlink($0) } }
        _ = path.withPlatformString { rmdir($0) }
    }
}
