"""What no honest client does: everything at once, everything too long, everything half."""
import os
import random
import struct
import time

import raw
from harness import HUB, Failed, check, equal, until
from harness import SLOW, test
from raw import Raw, session
from tlscerts import Authority


def vbi(n):
    out = b""
    while True:
        n, low = n >> 7, n & 127
        out += bytes([low | (128 if n else 0)])
        if not n:
            return out


def alive(t, s):
    r = Raw(t, s.port)
    r.login("alive")
    r.ping().close()


@test
def all_packets_of_a_life_in_one_write(t):
    s = t.baetyl(HUB + "  workers: 3\n")
    watcher = session(t, s, "watcher", ("life/#", 1))
    for i in range(100):
        r = Raw(t, s.port)
        r.send(raw.connect("life-%d" % i), raw.subscribe(("life/%d" % i, 1)),
               raw.publish("life/%d" % i, "x", qos=1, pid=7), raw.packet(0xe0))
        r.closed()
        r.close()
        equal(watcher.message()["topic"], "life/%d" % i, "topic")


@test
def a_hundred_thousand_subscriptions(t):
    s = t.baetyl(HUB + "  workers: 2\n")
    each, clients = 4000, 25
    for c in range(clients):
        r = Raw(t, s.port)
        r.login("many-%d" % c)
        for at in range(0, each, 500):
            r.send(raw.subscribe(*[("s/%d/%d/+" % (c, i), i % 3) for i in range(at, at + 500)], pid=at // 500 + 1))
        for at in range(0, each, 500):
            equal(len(r.expect(raw.SUBACK, 20)), 2 + 500, "SUBACK")
    pub = session(t, s, "pub")
    start = time.monotonic()
    for i in range(1000):
        pub.send(raw.publish("s/%d/%d/x" % (i % clients, i * 7 % each), "x"))
    pub.ping()
    check(time.monotonic() - start < 5 * SLOW, "1000 publishes took long")
    for r in t.clients[:clients]:
        r.close()
    until(lambda: Raw(t, s.port).login("after") == 0, 10, "the hub serves while subscriptions go")


@test
def ten_thousand_filters_in_one_packet(t):
    s = t.baetyl()
    for level in (4, 5):
        r = Raw(t, s.port)
        r.login("greedy", level=level)
        body = r.send(raw.subscribe(*[("f/%d" % i, 1) for i in range(10000)], level=level)).expect(raw.SUBACK, 20)
        codes = body[-10000:]
        check(codes.count(1) >= 1000, "some are granted")
        check(all(c in (1, 0x80, 0x97) for c in codes), "codes")
        r.ping()
        r.send(raw.unsubscribe(*["f/%d" % i for i in range(10000)], level=level)).expect(raw.UNSUBACK, 20)
        r.send(raw.packet(0xe0)).closed()


@test
def filters_and_topics_as_long_as_they_can_be(t):
    s = t.baetyl(HUB + "  limits: {topic: {levels: 65535, length: 65535}}\n")
    r = session(t, s, "long")
    for filter_ in ("x" * 65535, "/" * 65534, "+/" * 32767, "a/" * 32766 + "#", "$share/g/" + "b/" * 32000):
        code = r.send(raw.subscribe((filter_, 1))).expect(raw.SUBACK, 20)[-1]
        check(code in (1, 0x80), "code %d" % code)
    for topic in ("x" * 65535, "/" * 65534, "a/" * 32767 + "b"):
        start = time.monotonic()
        r.send(raw.publish(topic, "x"))
        end = time.monotonic() + 10 * SLOW
        r.send(raw.packet(0xc0))
        while time.monotonic() < end:
            got = r.packet(10)
            if got is None or got[0] == raw.PINGRESP:
                break
        check(got is not None, "closed")
        check(time.monotonic() - start < 2 * SLOW, "one publish took %.1f s" % (time.monotonic() - start))
    for filter_ in ("x" * 65535, "/" * 65534, "+/" * 32767):
        r.send(raw.unsubscribe(filter_)).expect(raw.UNSUBACK, 20)
    r.ping()


@test
def user_properties_without_end(t):
    s = t.baetyl()
    to = session(t, s, "to", ("t", 1), level=5)
    r = session(t, s, "from", level=5)
    for n in (100, 9000, 60000):
        props = b"\x26\x00\x01k\x00\x01v" * n
        r.send(raw.publish("t", "p%d" % n, qos=1, pid=5, level=5, props=vbi(len(props)) + props))
        got = r.packet(10)
        if got is None:
            r = session(t, s, "from", level=5)
            continue
        if got[0] == raw.DISCONNECT:
            check(got[2][0] >= 0x80, "reason")
            r = session(t, s, "from", level=5)
            continue
        equal(got[0], raw.PUBACK, "packet")
        if len(got[2]) > 2 and got[2][2] >= 0x80:
            continue
        m = to.packet(10)
        check(m is not None and m[0] == raw.PUBLISH and m[2].endswith(b"p%d" % n), "delivered as acknowledged")
        length = struct.unpack(">H", m[2][:2])[0]
        to.send(raw.ack(raw.PUBACK, struct.unpack(">H", m[2][2 + length:4 + length])[0]))
    alive(t, s)


@test
def takeover_in_the_middle_of_qos_2(t):
    s = t.baetyl(HUB + "  workers: 2\n")
    to = session(t, s, "to", ("t", 2), clean=False)
    pub = session(t, s, "pub", clean=False)
    rng, seen, done = random.Random(1), set(), set()
    for i in range(60):
        pid = i % 50 + 1
        pub.send(raw.publish("t", str(i), qos=2, pid=pid))
        if rng.random() < 0.3:
            # Another connection of the same client, while the answer is on its way.
            pub = Raw(t, s.port)
            equal(pub.login("pub", clean=False), 1, "session present")
            pub.send(raw.publish("t", str(i), qos=2, pid=pid, dup=True))
        pub.acked(raw.PUBREC, pid)
        if rng.random() < 0.3:
            pub = Raw(t, s.port)
            equal(pub.login("pub", clean=False), 1, "session present")
        pub.send(raw.ack(raw.PUBREL, pid)).acked(raw.PUBCOMP, pid)
        done.add(str(i))
    known, end = set(), time.monotonic() + 10 * SLOW
    while seen != done and time.monotonic() < end:
        if rng.random() < 0.1:
            to = Raw(t, s.port)
            equal(to.login("to", clean=False), 1, "session present")
        try:
            kind, _, body = to.packet(1) or (0, 0, b"")
        except Failed:
            continue
        if kind == raw.PUBLISH:
            pid, payload = struct.unpack(">H", body[3:5])[0], body[5:].decode()
            if pid not in known:
                check(payload not in seen, "%s came twice" % payload)
                seen.add(payload)
                known.add(pid)
            to.send(raw.ack(raw.PUBREC, pid))
        elif kind == raw.PUBREL:
            known.discard(struct.unpack(">H", body[:2])[0])
            to.send(raw.ack(raw.PUBCOMP, struct.unpack(">H", body[:2])[0]))
    equal(seen, done, "messages")


@test
def half_packets_are_timed_out(t):
    s = t.baetyl(HUB + "  connect: {timeout: 1s}\n")
    half = raw.connect("half")
    clients = [Raw(t, s.port) for _ in range(300)]
    start = time.monotonic()
    for i, r in enumerate(clients):
        r.send(half[:i % len(half)])
    alive(t, s)
    for r in clients:
        r.closed(5)
    check(time.monotonic() - start < 6 * SLOW, "slow handshakes held the hub")


@test
def a_drop_at_a_time(t):
    """A byte now and then does not keep a login alive for ever."""
    s = t.baetyl(HUB + "  connect: {timeout: 1s}\n")
    r = Raw(t, s.port)
    start = time.monotonic()
    for byte in raw.connect("drop" * 20):
        r.send(bytes([byte]))
        time.sleep(0.1)
        if time.monotonic() - start > 1.8 * SLOW:
            break
    r.closed(3)


@test
def lengths_that_lie(t):
    s = t.baetyl()
    packets = [b"\x30\xff\xff\xff\x7f", b"\x82\xff\xff\xff\xff\x01", b"\x30\x02\xff\xff", b"\x82\x04\0\1\xff\xff",
               b"\x10\x0c\0\4MQTT\4\2\0\x3c\xff\xff", b"\x32\x04\0\1a\0", b"\x32\x05\0\1a\0\0", b"\xa2\x02\0\1",
               b"\x62\x02\0\0", b"\x60\x02\0\1", b"\x82\x05\0\1\0\1a", b"\x82\x06\0\1\0\1a\3", b"\xc0\x01\0"]
    for level in (4, 5):
        for packet in packets:
            r = Raw(t, s.port)
            r.login("liar", level=level)
            r.send(packet)
            if packet[:5] == b"\x30\xff\xff\xff\x7f":
                r.closed()  # 256 MB are not waited for
                continue
            r.send(b"\0" * 16)
            r.closed()
    alive(t, s)


@test
def floods_of_answers_to_nothing(t):
    s = t.baetyl()
    r = session(t, s, "answers", level=5)
    for kind in (raw.PUBACK, raw.PUBREC, raw.PUBREL, raw.PUBCOMP):
        r.send(b"".join(raw.ack(kind, pid) for pid in range(1, 5001)))
    r.send(raw.packet(0xc0))
    end = time.monotonic() + 10 * SLOW
    while time.monotonic() < end:
        got = r.packet(10)
        if got is None or got[0] == raw.PINGRESP:
            break
    alive(t, s)


@test
def connect_twice_and_publish_before_connect(t):
    s = t.baetyl()
    r = session(t, s, "twice")
    r.send(raw.connect("twice")).closed()
    for packet in (raw.publish("a", "x"), raw.subscribe(("a", 1)), raw.packet(0xc0), raw.packet(0xe0), b"\x20\x02\0\0"):
        r = Raw(t, s.port)
        r.send(packet).closed()
    alive(t, s)


@test
def half_handshakes_of_every_transport(t):
    """A client that says nothing, a part of its hello, or goes silent after it, and one that drips."""
    ca = Authority(t)
    ca.issue("server")
    s = t.baetyl("hub:\n  certificate: {ca: %s, cert: %s, key: %s}\n  anonymous: true\n  connect: {timeout: 1s}\n"
                 "  listen: ['tcp://127.0.0.1:0', 'ssl://127.0.0.1:0', 'ws://127.0.0.1:0', 'wss://127.0.0.1:0']\n" % (
                     ca.ca, ca.path("server.pem"), ca.path("server.key")))
    hello = (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + os.urandom(32) + b"\x20" + os.urandom(32) +
             b"\0\x02\x13\x01\x01\0" + os.urandom(40))
    upgrade = (b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
               b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
               b"Sec-WebSocket-Protocol: mqtt\r\n\r\n")
    clients, dripping = [], []
    for port in [port for scheme in ("tcp", "ssl", "ws", "wss") for port in s.ports(scheme)]:
        for start in (b"", hello, upgrade, raw.connect("x")):
            for n in {0, 1, len(start) // 2, len(start) - 1} if start else {0}:
                r = Raw(t, port)
                r.send(start[:n])
                clients.append(r)
        for start in (hello, upgrade):
            dripping.append((Raw(t, port), start))
    begin = time.monotonic()
    for i in range(25):
        for r, start in dripping:
            r.send(start[i:i + 1])
        time.sleep(0.1)
    for r in clients + [r for r, _ in dripping]:
        r.closed(3)
    check(time.monotonic() - begin < 8 * SLOW, "handshakes held the hub")
    alive(t, s)
