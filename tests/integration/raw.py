"""Raw MQTT packets on a socket, for what well-behaved clients never send."""
import socket
import struct
import time

from harness import SLOW, Failed, equal

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK = 1, 2, 3, 4, 8, 9
PUBREC, PUBREL, PUBCOMP = 5, 6, 7
UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT = 10, 11, 12, 13, 14


def text(s):
    data = s if isinstance(s, bytes) else s.encode()
    return struct.pack(">H", len(data)) + data


def packet(first, body=b""):
    n, length = len(body), b""
    while True:
        n, low = n >> 7, n & 0x7f
        length += bytes([low | (0x80 if n else 0)])
        if not n:
            return bytes([first]) + length + body


def connect(client_id="raw", clean=True, keepalive=60, user=None, password=None, level=4,
            name="MQTT", will=None, flags=None, props=b"\0"):
    bits = (2 if clean else 0) | (0x80 if user is not None else 0) | (0x40 if password is not None else 0)
    if will:
        bits |= 4 | will[2] << 3
    body = text(name) + bytes([level, bits if flags is None else flags]) + struct.pack(">H", keepalive)
    body += (props if level == 5 else b"") + text(client_id)
    if will:
        body += (b"\0" if level == 5 else b"") + text(will[0]) + text(will[1])
    for part in (user, password):
        if part is not None:
            body += text(part)
    return packet(0x10, body)


def publish(topic, payload=b"", qos=0, pid=1, retain=False, dup=False, level=4, props=b"\0"):
    body = text(topic) + (struct.pack(">H", pid) if qos else b"") + (props if level == 5 else b"")
    return packet(0x30 | qos << 1 | (1 if retain else 0) | (8 if dup else 0),
                  body + (payload if isinstance(payload, bytes) else payload.encode()))


def ack(kind, pid, reason=None):
    """PUBACK, PUBREC, PUBREL or PUBCOMP; a reason is for version 5."""
    return packet(kind << 4 | (2 if kind == PUBREL else 0),
                  struct.pack(">H", pid) + (b"" if reason is None else bytes([reason])))


def subscribe(*filters, pid=1, level=4, props=b"\0"):
    """filters: (filter, options byte)."""
    body = struct.pack(">H", pid) + (props if level == 5 else b"")
    return packet(0x82, body + b"".join(text(f) + bytes([o]) for f, o in filters))


def unsubscribe(*filters, pid=1, level=4):
    return packet(0xa2, struct.pack(">H", pid) + (b"\0" if level == 5 else b"") +
                  b"".join(text(f) for f in filters))


class Raw:
    def __init__(self, t, where):
        """where: a port, or the path of a Unix socket."""
        if isinstance(where, int):
            self.s = socket.create_connection(("127.0.0.1", where), 5)
            self.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        else:
            self.s = socket.socket(socket.AF_UNIX)
            self.s.settimeout(5)
            self.s.connect(where)
        self.data = b""
        t.clients.append(self)

    def send(self, *packets):
        try:
            self.s.sendall(b"".join(packets))
        except OSError:
            pass
        return self

    def more(self, deadline):
        left = deadline - time.monotonic()
        if left <= 0:
            raise Failed("no packet in time")
        self.s.settimeout(left)
        try:
            got = self.s.recv(65536)
        except socket.timeout:
            raise Failed("no packet in time")
        except OSError:
            got = b""
        self.data += got
        return bool(got)

    def packet(self, seconds=5.0):
        """(type, flags, body); None when the other side closed."""
        deadline = time.monotonic() + seconds * SLOW
        while True:
            n, shift, at = 0, 0, 1
            while at < len(self.data) and self.data[at] & 0x80:
                n |= (self.data[at] & 0x7f) << shift
                shift, at = shift + 7, at + 1
            if at < len(self.data):
                n |= self.data[at] << shift
                if len(self.data) >= at + 1 + n:
                    first, body = self.data[0], self.data[at + 1:at + 1 + n]
                    self.data = self.data[at + 1 + n:]
                    return first >> 4, first & 15, body
            if not self.more(deadline):
                return None

    def expect(self, kind, seconds=5.0):
        """The body of the next packet, which must be of this kind."""
        got = self.packet(seconds)
        if got is None:
            raise Failed("closed, expected a packet of type %d" % kind)
        equal(got[0], kind, "packet type")
        return got[2]

    def login(self, client_id="raw", code=0, **options):
        """Connects; returns the session-present flag."""
        body = self.send(connect(client_id, **options)).expect(CONNACK)
        equal(body[1], code, "CONNACK code")
        return body[0] & 1

    def message(self, seconds=5.0, level=4, ack=True):
        """The next PUBLISH as a dict; acknowledged at QoS 1."""
        got = self.packet(seconds)
        if got is None:
            raise Failed("closed, expected a message")
        equal(got[0], PUBLISH, "packet type")
        _, flags, body = got
        n = struct.unpack(">H", body[:2])[0]
        topic, at, qos, pid = body[2:2 + n].decode(), 2 + n, flags >> 1 & 3, 0
        if qos:
            pid = struct.unpack(">H", body[at:at + 2])[0]
            at += 2
        props = b""
        if level == 5:
            props = body[at + 1:at + 1 + body[at]]
            at += 1 + body[at]
        if qos == 1 and ack:
            self.send(packet(0x40, struct.pack(">H", pid)))
        return {"topic": topic, "payload": body[at:], "qos": qos, "pid": pid, "props": props,
                "retain": flags & 1, "dup": flags >> 3 & 1}

    def acked(self, kind, pid, reason=0):
        """The next packet acknowledges pid."""
        body = self.expect(kind)
        equal(struct.unpack(">H", body[:2])[0], pid, "packet identifier")
        equal(body[2] if len(body) > 2 else 0, reason, "reason")
        return self

    def closed(self, seconds=5.0):
        """Waits for the other side to close; packets before that are dropped."""
        while self.packet(seconds) is not None:
            pass
        return True

    def quiet(self, seconds=0.3):
        """Nothing arrives."""
        try:
            got = self.packet(seconds / SLOW)
        except Failed:
            return True
        raise Failed("expected nothing, got %r" % (got,))

    def ping(self):
        """Proves that the connection lives, and that everything sent before was handled."""
        self.send(packet(0xc0)).expect(PINGRESP)
        return self

    def close(self):
        self.s.close()


def session(t, server, client_id, *filters, **options):
    """A logged-in raw client with subscriptions."""
    level = options.get("level", 4)
    r = Raw(t, server.port)
    r.login(client_id, **options)
    if filters:
        body = r.send(subscribe(*filters, level=level)).expect(SUBACK)
        equal(list(body[-len(filters):]), [f[1] & 3 for f in filters], "granted QoS")
    return r
