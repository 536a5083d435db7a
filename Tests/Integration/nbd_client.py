"""A client of the NBD protocol, as much of it as reading takes (https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md)."""

import socket
import struct

MAGIC, OPTION_MAGIC, REPLY_MAGIC = b"NBDMAGIC", b"IHAVEOPT", 0x3E889045565A9
SIMPLE_REPLY, REQUEST = 0x67446698, 0x25609513
GO, ACK, INFO_EXPORT = 7, 1, 0
READ, DISCONNECT = 0, 2


class NBDError(Exception):
    """The server's errno, as the protocol has it."""

    def __init__(self, number):
        super().__init__(f"error {number}")
        self.number = number


class NBDClient:
    """A connection to the export `name` at a Unix socket; `size` is its length."""

    def __init__(self, path, name=""):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)
        self.socket.connect(path)
        magic, option, flags = struct.unpack(">8s8sH", self._receive(18))
        assert (magic, option) == (MAGIC, OPTION_MAGIC) and flags & 1, "no fixed newstyle server"
        self.socket.sendall(struct.pack(">I", 1))
        data = struct.pack(">I", len(name.encode())) + name.encode() + struct.pack(">H", 0)
        self.socket.sendall(OPTION_MAGIC + struct.pack(">II", GO, len(data)) + data)
        self.size = None
        while True:
            magic, _, kind, length = struct.unpack(">QIII", self._receive(20))
            assert magic == REPLY_MAGIC, "no reply to an option"
            data = self._receive(length)
            if kind & 1 << 31:
                raise NBDError(kind)
            if kind == ACK:
                break
            if struct.unpack(">H", data[:2])[0] == INFO_EXPORT:
                self.size, self.flags = struct.unpack(">QH", data[2:12])

    def read(self, offset, length):
        self.socket.sendall(struct.pack(">IHHQQI", REQUEST, 0, READ, 7, offset, length))
        magic, error, handle = struct.unpack(">IIQ", self._receive(16))
        assert (magic, handle) == (SIMPLE_REPLY, 7), "no reply to a request"
        if error:
            raise NBDError(error)
        return self._receive(length)

    def close(self):
        self.socket.sendall(struct.pack(">IHHQQI", REQUEST, 0, DISCONNECT, 0, 0, 0))
        self.socket.close()

    def _receive(self, length):
        data = bytearray()
        while len(data) < length:
            part = self.socket.recv(min(1 << 20, length - len(data)))
            if not part:
                raise ConnectionError("the server has closed the connection")
            data += part
        return bytes(data)
