/// What messages say of a format, and what helps.
extension ForeignFormat {
    /// With its article, as it stands after "is".
    package var name: String {
        switch self {
        case .qcow2: "a qcow2 image"
        case .qcow: "a qcow image"
        case .qed: "a qed image"
        case .vmdk: "a vmdk image"
        case .vdi: "a vdi image"
        case .vhdx: "a vhdx image"
        case .vpc: "a vpc (VHD) image"
        case .parallels: "a parallels image"
        case .dmg: "a dmg image"
        case .bochs: "a bochs image"
        case .androidSparse: "an Android sparse image"
        case .ewf: "an EWF image"
        case .vma: "a VMA archive"
        case .partclone: "a partclone image"
        case .ntfsclone: "an ntfsclone image"
        case .gzip: "gzip-compressed"
        case .xz: "xz-compressed"
        case .zstd: "zstd-compressed"
        case .bzip2: "bzip2-compressed"
        case .lz4: "lz4-compressed"
        case .lzip: "lzip-compressed"
        case .lzop: "lzop-compressed"
        case .skippable: "a stream of LZ4 or Zstandard"
        case .tar: "a tar archive"
        case .zip: "a zip archive"
        case .sevenZip: "a 7z archive"
        case .rar: "a rar archive"
        case .archive: "a Drover archive"
        case .manifest: "a manifest of Drover's own, the record of a move"
        }
    }

    /// What makes an image of it that Drover reads: part of a sentence, without parentheses.
    package var advice: String {
        switch self {
        case .qcow2, .qcow, .qed, .vmdk, .vdi, .vhdx, .vpc, .parallels, .dmg, .bochs:
            "qemu-img convert makes a raw image of it"
        case .androidSparse: "simg2img makes a raw image of it"
        case .ewf: "ewfexport makes a raw image of it"
        case .vma: "vma extract takes the disks out of it"
        case .partclone: "partclone.restore -C -O makes a raw image of it"
        case .ntfsclone: "ntfsclone --restore-image makes a raw image of it"
        case .gzip: "decompress it first: gunzip"
        case .xz: "decompress it first: unxz"
        case .zstd: "decompress it first: zstd -d"
        case .bzip2: "decompress it first: bunzip2"
        case .lz4: "decompress it first: lz4 -d"
        case .lzip: "decompress it first: lzip -d"
        case .lzop: "decompress it first: lzop -d"
        case .skippable: "decompress it first: zstd -d or lz4 -d"
        case .tar: "take the image out of it first: tar -xf"
        case .zip: "take the image out of it first: unzip"
        case .sevenZip: "take the image out of it first: 7z x"
        case .rar: "take the image out of it first: unrar x"
        case .archive: "drover list says what it holds, drover unpack restores it"
        case .manifest: "name the image beside it"
        }
    }
}
