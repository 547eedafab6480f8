"""A WebSocket client of our own: well-behaved by default, and every rule can be broken."""
import base64
import hashlib
import os
import socket
import struct
import time

from harness import SLOW, Failed, equal
from raw import Raw

MORE, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def frame(payload=b"", op=BINARY, fin=True, mask=b"\x12\x34\x56\x78", reserved=0, length=None):
    """mask None: not masked. length: its bytes on the wire, when not the shortest."""
    n = len(payload)
    bit = 0 if mask is None else 0x80
    if length is None:
        length = (bytes([bit | n]) if n < 126 else struct.pack(">BH", bit | 126, n) if n < 65536
                  else struct.pack(">BQ", bit | 127, n))
    head = bytes([(0x80 if fin else 0) | reserved << 4 | op]) + length
    if mask is None:
        return head + payload
    key = (mask * (n // 4 + 1))[:n]
    masked = (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(n, "big") if n else b""
    return head + mask + masked


def close_payload(code, reason=b""):
    return struct.pack(">H", code) + reason


def request(path="/mqtt", key="dGhlIHNhbXBsZSBub25jZQ==", version="13", protocol="mqtt", method="GET",
            upgrade="websocket", connection="Upgrade", host="h", http="1.1", extra=()):
    """A part that is None is left out."""
    lines = ["%s %s HTTP/%s" % (method, path, http)]
    for name, value in (("Host", host), ("Upgrade", upgrade), ("Connection", connection),
                        ("Sec-WebSocket-Key", key), ("Sec-WebSocket-Version", version),
                        ("Sec-WebSocket-Protocol", protocol)) + tuple(extra):
        if value is not None:
            lines.append("%s: %s" % (name, value))
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


class WebSocket(Raw):
    """MQTT packets as Raw has them, in frames. `frames` collects what was not MQTT."""

    def __init__(self, t, port, handshake=True, wrap=None, **options):
        super().__init__(t, port)
        if wrap:
            self.s = wrap(self.s)
        self.wire, self.frames, self.sizes = b"", [], []
        self.gone = False
        if handshake:
            self.handshake(**options)

    # ---- Handshake ----

    def answer(self, seconds=5.0):
        """(status, fields, body) of an HTTP answer; body only as far as Content-Length says."""
        deadline = time.monotonic() + seconds * SLOW
        while b"\r\n\r\n" not in self.wire:
            if not self.receive(deadline):
                raise Failed("closed before an answer: %r" % self.wire)
        head, _, self.wire = self.wire.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        fields = {k.lower(): v for k, v in (x.split(": ", 1) for x in lines[1:])}
        while len(self.wire) < int(fields.get("content-length", 0)):
            if not self.receive(deadline):
                raise Failed("closed in an answer")
        n = int(fields.get("content-length", 0))
        body, self.wire = self.wire[:n], self.wire[n:]
        return int(lines[0].split()[1]), fields, body.decode()

    def handshake(self, **options):
        key = base64.b64encode(os.urandom(16)).decode()
        self.raw(request(key=key, **options))
        status, fields, body = self.answer()
        equal(status, 101, "status (%s)" % body)
        equal(fields.get("upgrade"), "websocket")
        equal(fields.get("connection"), "Upgrade")
        equal(fields.get("sec-websocket-protocol"), "mqtt", "subprotocol")
        equal(fields.get("sec-websocket-accept"),
              base64.b64encode(hashlib.sha1(key.encode() + GUID).digest()).decode(), "accept key")
        return self

    # ---- Frames ----

    def raw(self, data):
        try:
            self.s.sendall(data)
        except OSError:
            self.gone = True
        return self

    def send(self, *packets):
        """All packets in one frame."""
        return self.raw(frame(b"".join(packets), mask=os.urandom(4)))

    def receive(self, deadline):
        left = deadline - time.monotonic()
        if left <= 0:
            raise Failed("no bytes in time")
        self.s.settimeout(left)
        try:
            got = self.s.recv(65536)
        except socket.timeout:
            raise Failed("no packet in time")
        except OSError:
            got = b""
        self.wire += got
        return bool(got)

    def take_frame(self):
        """(op, payload) from what is here, or None."""
        w = self.wire
        if len(w) < 2:
            return None
        n, at = w[1], 2
        if n & 0x80:
            raise Failed("a masked frame from the server")
        if n == 126:
            n, at = int.from_bytes(w[2:4], "big"), 4
        elif n == 127:
            n, at = int.from_bytes(w[2:10], "big"), 10
        if len(w) < at + n:
            return None
        if w[0] & 0xf0 != 0x80:
            raise Failed("a fragment, or reserved bits: %#x" % w[0])
        self.wire = w[at + n:]
        return w[0] & 15, w[at:at + n]

    def more(self, deadline):
        while True:
            got = self.take_frame()
            if got is None:
                if not self.receive(deadline):
                    return False
            elif got[0] == BINARY:
                self.sizes.append(len(got[1]))
                self.data += got[1]
                return True
            else:
                self.frames.append(got)

    def control(self, op, seconds=5.0):
        """The payload of the next frame that is no MQTT, which must be this."""
        deadline = time.monotonic() + seconds * SLOW
        while not self.frames:
            got = self.take_frame()
            if got is None:
                if not self.receive(deadline):
                    raise Failed("closed, expected a frame %d" % op)
            elif got[0] == BINARY:
                self.data += got[1]
            else:
                self.frames.append(got)
        equal(self.frames[0][0], op, "opcode")
        return self.frames.pop(0)[1]

    def close_code(self, seconds=5.0):
        """The code of the close frame, which is the last thing that comes."""
        payload = self.control(CLOSE, seconds)
        deadline = time.monotonic() + seconds * SLOW
        while self.receive(deadline):
            pass
        equal(self.wire, b"", "what follows the close frame")
        return struct.unpack(">H", payload[:2])[0] if payload else None
