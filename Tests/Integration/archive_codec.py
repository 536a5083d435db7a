"""Digests and LZ4 frames as Documentation/archive-format.md describes them, by the C libraries themselves."""

import ctypes
import struct


class _Hash128(ctypes.Structure):
    _fields_ = [("low", ctypes.c_uint64), ("high", ctypes.c_uint64)]


_xxhash = ctypes.CDLL("libxxhash.so.0")
_xxhash.XXH3_128bits.restype = _Hash128
_xxhash.XXH3_128bits.argtypes = (ctypes.c_char_p, ctypes.c_size_t)
_xxhash.XXH32.restype = ctypes.c_uint32
_xxhash.XXH32.argtypes = (ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint32)
_lz4 = ctypes.CDLL("liblz4.so.1")
for _name in ("LZ4F_createDecompressionContext", "LZ4F_decompress", "LZ4F_freeDecompressionContext"):
    getattr(_lz4, _name).restype = ctypes.c_size_t
_lz4.LZ4F_isError.argtypes = (ctypes.c_size_t,)


_zstd = ctypes.CDLL("libzstd.so.1")
for _name, _arguments in (("ZSTD_findFrameCompressedSize", (ctypes.c_char_p, ctypes.c_size_t)),
                          ("ZSTD_decompress", (ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t))):  # fmt: skip
    getattr(_zstd, _name).restype = ctypes.c_size_t
    getattr(_zstd, _name).argtypes = _arguments
_zstd.ZSTD_isError.argtypes = (ctypes.c_size_t,)


def digest(data):
    """XXH3 with 128 bits, canonical form."""
    value = _xxhash.XXH3_128bits(data, len(data))
    return struct.pack(">QQ", value.high, value.low)


def decode_frame(data, length, form="lz4"):
    """The content of exactly one frame, which must have `length` bytes; None if it is anything else."""
    return _decode_zstd(data, length) if form == "zstd" else _decode_lz4(data, length)


def zstd_stream(data, most):
    """All that libzstd finds in a stream of frames, at most so many bytes; None where it is no such stream."""
    out = ctypes.create_string_buffer(most)
    length = _zstd.ZSTD_decompress(out, most, data, len(data))
    return None if _zstd.ZSTD_isError(length) else out.raw[:length]


def _decode_zstd(data, length):
    """By libzstd alone: the tool reads LZ4 frames, too."""
    if _zstd.ZSTD_findFrameCompressedSize(data, len(data)) != len(data):
        return None
    out = ctypes.create_string_buffer(length + 1)
    return out.raw[:length] if _zstd.ZSTD_decompress(out, length + 1, data, len(data)) == length else None


def _decode_lz4(data, length):
    context, out = ctypes.c_void_p(), ctypes.create_string_buffer(length + 1)
    _lz4.LZ4F_createDecompressionContext(ctypes.byref(context), ctypes.c_uint(100))
    try:
        read = written = 0
        while read < len(data):
            room, given = ctypes.c_size_t(length + 1 - written), ctypes.c_size_t(len(data) - read)
            source = ctypes.create_string_buffer(data[read:], len(data) - read)
            target = ctypes.byref(out, written)
            hint = _lz4.LZ4F_decompress(context, target, ctypes.byref(room), source, ctypes.byref(given), None)
            if _lz4.LZ4F_isError(hint):
                return None
            read, written = read + given.value, written + room.value
            if hint == 0 or (room.value, given.value) == (0, 0):
                break
        return out.raw[:length] if (hint, read, written) == (0, len(data), length) else None
    finally:
        _lz4.LZ4F_freeDecompressionContext(context)


def stored_frame(content):
    """A frame of one block that is not compressed."""
    descriptor = b"\x6c\x60" + struct.pack("<Q", len(content))
    check = _xxhash.XXH32(descriptor, len(descriptor), 0) >> 8 & 0xFF
    block = struct.pack("<I", 0x8000_0000 | len(content)) + content
    return b"\x04\x22\x4d\x18" + descriptor + bytes([check]) + block + bytes(4) + struct.pack("<I", xxh32(content))


def xxh32(data):
    return _xxhash.XXH32(data, len(data), 0)
