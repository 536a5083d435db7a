internal import ArgumentParser
internal import DiskImages
internal import Glibc
internal import Linux
internal import SystemPackage
internal import TransportArchive

/// The command line as strings from which file names come back byte by byte: Linux allows any bytes
/// in them, a `String` does not.
///
/// A byte that belongs to no valid UTF-8 sequence stands as one scalar of a private range; so does
/// each byte of a scalar of that very range, which makes the way back exact.
enum ArgumentBytes {
    private static let firstScalar: UInt32 = 0x10_fe00

    /// The arguments of this process without its name.
    static func ofThisProcess() -> [String] {
        let count = Int(CommandLine.argc)
        return (0..<count).dropFirst().compactMap { index in
            CommandLine.unsafeArgv[index].map {
                text(of: Array(UnsafeRawBufferPointer(start: $0, count: strlen($0))))
            }
        }
    }

    /// The string that stands for `bytes`.
    static func text(of bytes: [UInt8]) -> String {
        if let text = String(validating: bytes, as: UTF8.self),
            !text.unicodeScalars.contains(where: { byte(of: $0) != nil })
        {
            return text
        }
        var text = String.UnicodeScalarView()
        var position = 0
        while position < bytes.count {
            let rest = bytes[position...]
            let scalar = (1...4).lazy.compactMap {
                String(validating: rest.prefix($0), as: UTF8.self)?.unicodeScalars.first
            }.first
            if let scalar, byte(of: scalar) == nil {
                text.append(scalar)
                position += UTF8.width(scalar)
            } else {
                text.append(placeholder(for: bytes[position]))
                position += 1
            }
        }
        return String(text)
    }

    /// The bytes that `text` stands for.
    static func bytes(of text: String) -> [UInt8] {
        // Whatever stands for a byte is a scalar of plane 16, whose UTF-8 begins so.
        guard text.utf8.contains(0xf4) else { return Array(text.utf8) }
        return text.unicodeScalars.flatMap { scalar in
            byte(of: scalar).map { [$0] } ?? Array(String(scalar).utf8)
        }
    }

    /// The byte that a scalar of the private range stands for.
    static func byte(of scalar: Unicode.Scalar) -> UInt8? {
        scalar.value >= firstScalar ? UInt8(exactly: scalar.value - firstScalar) : nil
    }

    private static func placeholder(for byte: UInt8) -> Unicode.Scalar {
        Unicode.Scalar(firstScalar + UInt32(byte)) ?? "\u{fffd}"
    }
}

extension FilePath {
    /// The file that an argument names; what `@Argument` and `@Option` take as `transform`. Any
    /// name but the empty one.
    init(argument: String) throws {
        guard !argument.isEmpty else { throw ValidationError("expected the name of a file") }
        let bytes = ArgumentBytes.bytes(of: argument)
        for scheme in ["https:/", "http:/"] where bytes.starts(with: scheme.utf8) {
            guard argument.hasPrefix("\(scheme)/") else {
                // Of this host, whatever it looks like.
                self.init(bytes: Array("./".utf8) + bytes)
                return
            }
            let place = argument.dropFirst(scheme.count + 1)
            guard !place.hasPrefix("/"), !place.contains("//"), !place.hasSuffix("/"), place.contains("/")
            else {
                throw ValidationError(
                    "\(argument): expected an address of a file, without empty parts (%2F is a slash in a name)"
                )
            }
        }
        self.init(bytes: bytes)
    }

    /// The file that an argument names as one to be made. A slash at its end is kept, so that it is
    /// refused as what only a folder can be called; what others take for standard output is not
    /// made as a file of that name.
    init(target argument: String) throws {
        guard argument != "-" else {
            throw ValidationError(
                "- is standard output, which this command does not write to (name a file; ./- is one called -)"
            )
        }
        try self.init(toMake: argument)
    }

    /// As above; `-` may be named.
    init(toMake argument: String) throws {
        guard !argument.isEmpty else { throw ValidationError("expected the name of a file") }
        self.init(file: ArgumentBytes.bytes(of: argument))
    }

    /// The path as text for one line: what is no text in it is shown as `\xff`.
    var printed: String {
        ErrorLine.escaped(
            ArchiveAddress.isRemote(self) ? RemoteFile.shown(self) : ArgumentBytes.text(of: pathBytes))
    }
}
