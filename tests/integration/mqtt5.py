"""What the suites of the standard share: properties of version 5, and the register of normative
statements. A test says which statements it shows:

    @normative("MQTT-3.1.0-2")
    def second_connect(t): ...
"""
import struct

import raw
from harness import TESTS, Failed, equal, test
from raw import Raw

AUTH = 15

# Name: identifier and kind of each property.
PROPS = {
    "payload_format": (0x01, "B"), "message_expiry": (0x02, "I"), "content_type": (0x03, "s"),
    "response_topic": (0x08, "s"), "correlation_data": (0x09, "s"), "subid": (0x0b, "v"),
    "session_expiry": (0x11, "I"), "assigned_client_id": (0x12, "s"), "server_keepalive": (0x13, "H"),
    "auth_method": (0x15, "s"), "auth_data": (0x16, "s"), "request_problem": (0x17, "B"),
    "will_delay": (0x18, "I"), "request_response": (0x19, "B"), "response_info": (0x1a, "s"),
    "server_reference": (0x1c, "s"), "reason_string": (0x1f, "s"), "receive_max": (0x21, "H"),
    "alias_max": (0x22, "H"), "alias": (0x23, "H"), "max_qos": (0x24, "B"),
    "retain_available": (0x25, "B"), "user": (0x26, "p"), "max_packet": (0x27, "I"),
    "wildcards_available": (0x28, "B"), "subids_available": (0x29, "B"), "shared_available": (0x2a, "B"),
}
NAMES = {v[0]: (k, v[1]) for k, v in PROPS.items()}
MANY = ("user", "subid")

STATEMENTS = {}


def normative(*ids):
    """Registers a test and the statements that it shows."""
    def mark(fn):
        test(fn)
        for i in ids:
            STATEMENTS.setdefault(i, []).append(TESTS[-1][0])
        return fn
    return mark


def varint(n):
    out = b""
    while True:
        n, low = n >> 7, n & 0x7f
        out += bytes([low | (0x80 if n else 0)])
        if not n:
            return out


def one(name, value):
    number, kind = PROPS[name]
    if kind == "s":
        body = raw.text(value)
    elif kind == "p":
        body = raw.text(value[0]) + raw.text(value[1])
    elif kind == "v":
        body = varint(value)
    else:
        body = struct.pack(">" + kind, value)
    return bytes([number]) + body


def props(*more, **values):
    """The block with its length: props(alias=3), or props(("user", ("a", "b")), ...) for an order."""
    block = b"".join(one(n, v) for n, v in list(more) + list(values.items()))
    return varint(len(block)) + block


def read_varint(data, at=0):
    n, shift = 0, 0
    while True:
        n |= (data[at] & 0x7f) << shift
        shift, at = shift + 7, at + 1
        if data[at - 1] < 0x80:
            return n, at


def parse(block):
    """The properties of a block without its length, as a dict; "user" and "subid" are lists."""
    out, at = {}, 0
    while at < len(block):
        name, kind = NAMES[block[at]]
        at += 1
        if kind == "v":
            value, at = read_varint(block, at)
        elif kind in "sp":
            value = []
            for _ in range(2 if kind == "p" else 1):
                n = struct.unpack(">H", block[at:at + 2])[0]
                value.append(block[at + 2:at + 2 + n])
                at += 2 + n
            value = tuple(value) if kind == "p" else value[0]
        else:
            n = struct.calcsize(kind)
            value = struct.unpack(">" + kind, block[at:at + n])[0]
            at += n
        if name in MANY:
            out.setdefault(name, []).append(value)
        elif name in out:
            raise Failed("property %s twice" % name)
        else:
            out[name] = value
    return out


def tail(body, at):
    """The properties whose length stands at body[at]; {} when the packet ends before."""
    if at >= len(body):
        return {}
    n, at = read_varint(body, at)
    return parse(body[at:at + n])


def will_connect(client_id, topic, payload, qos=0, retain=False, will_props=b"\0", level=5, clean=True,
                 keepalive=60, user=None, password=None, **values):
    """A CONNECT packet with a will."""
    flags = (2 if clean else 0) | 4 | qos << 3 | (0x20 if retain else 0) | (0xc0 if user else 0)
    body = raw.text("MQTT") + bytes([level, flags]) + struct.pack(">H", keepalive)
    body += props(**values) if level == 5 else b""
    body += raw.text(client_id) + (will_props if level == 5 else b"") + raw.text(topic) + raw.text(payload)
    if user:
        body += raw.text(user) + raw.text(password)
    return raw.packet(0x10, body)


class Five(Raw):
    """A raw version 5 client."""

    def open(self, client_id="", clean=True, code=0, **values):
        """CONNECT; returns (session present, properties of CONNACK)."""
        options = {k: values.pop(k) for k in ("user", "password", "keepalive", "will", "flags") if k in values}
        self.send(raw.connect(client_id, clean, level=5, props=props(**values), **options))
        return self.connack(code)

    def connack(self, code=0):
        body = self.expect(raw.CONNACK)
        equal(body[1], code, "CONNACK reason")
        self.connack_props = tail(body, 2)
        return body[0] & 1, self.connack_props

    def sub(self, *filters, pid=1, **values):
        """SUBSCRIBE; returns the reason codes."""
        body = self.send(raw.subscribe(*filters, pid=pid, level=5, props=props(**values))).expect(raw.SUBACK)
        equal(body[:2], struct.pack(">H", pid), "packet identifier")
        n, at = read_varint(body, 2)
        self.suback_props = parse(body[at:at + n])
        return list(body[at + n:])

    def unsub(self, *filters, pid=1):
        body = self.send(raw.unsubscribe(*filters, pid=pid, level=5)).expect(raw.UNSUBACK)
        n, at = read_varint(body, 2)
        self.suback_props = parse(body[at:at + n])
        return list(body[at + n:])

    def pub(self, topic, payload=b"", qos=0, pid=1, retain=False, dup=False, **values):
        more = values.pop("more", ())
        return self.send(raw.publish(topic, payload, qos, pid, retain, dup, level=5, props=props(*more, **values)))

    def pub1(self, topic, payload=b"", pid=1, **values):
        """QoS 1; returns the reason of PUBACK."""
        body = self.pub(topic, payload, 1, pid, **values).expect(raw.PUBACK)
        equal(body[:2], struct.pack(">H", pid), "packet identifier")
        self.puback_props = tail(body, 3)
        return body[2] if len(body) > 2 else 0

    def get(self, seconds=5.0, ack=True):
        """The next message; its properties parsed."""
        m = self.message(seconds, level=5, ack=ack)
        m["props"] = parse(m["props"])
        return m

    def ended(self, reason, seconds=5.0):
        """The server says DISCONNECT with this reason and closes; returns its properties."""
        while True:
            got = self.packet(seconds)
            if got is None:
                raise Failed("closed without DISCONNECT %#x" % reason)
            if got[0] == raw.DISCONNECT:
                break
        equal(got[2][0], reason, "DISCONNECT reason")
        self.closed(seconds)
        return tail(got[2], 1)

    def leave(self, reason=0, **values):
        """DISCONNECT."""
        block = props(**values)
        body = bytes([reason]) + block if reason or values else b""
        self.send(raw.packet(0xe0, body)).closed()
        self.close()


def five(t, server, client_id="", *filters, **options):
    """A version 5 client, connected, with subscriptions."""
    r = Five(t, server.port)
    r.open(client_id, **options)
    if filters:
        equal(r.sub(*filters), [f[1] & 3 for f in filters], "granted QoS")
    return r
