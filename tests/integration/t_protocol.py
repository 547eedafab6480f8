"""Broken input closes its own connection and nobody else's."""
import os
import random

import raw
from harness import check, equal, test
from raw import Raw, session

BROKEN = {
    "remaining length of five bytes": b"\x30\xff\xff\xff\xff\x01",
    "type 0": b"\x00\x00",
    "type 15 on 3.1.1": b"\xf0\x00",
    "PUBLISH with QoS 3": b"\x36\x05\x00\x01a\x00\x01",
    "PUBLISH with packet id 0": b"\x32\x05\x00\x01a\x00\x00",
    "PUBLISH with a topic longer than the packet": b"\x30\x04\x00\x09ab",
    "PUBLISH without a topic length": b"\x30\x01\x00",
    "SUBSCRIBE with wrong flags": b"\x80\x06\x00\x01\x00\x01a\x00",
    "SUBSCRIBE without filters": b"\x82\x02\x00\x01",
    "SUBSCRIBE with packet id 0": b"\x82\x06\x00\x00\x00\x01a\x00",
    "SUBSCRIBE with QoS 3": b"\x82\x06\x00\x01\x00\x01a\x03",
    "UNSUBSCRIBE without filters": b"\xa2\x02\x00\x01",
    "PINGREQ with a body": b"\xc0\x01\x00",
    "DISCONNECT with flags": b"\xe1\x00",
    "CONNACK from a client": b"\x20\x02\x00\x00",
    "SUBACK from a client": b"\x90\x03\x00\x01\x00",
    "topic that is not UTF-8": b"\x30\x05\x00\x02\xff\xfem",
}


@test
def broken_packets_close_their_connection(t):
    s = t.baetyl()
    good = session(t, s, "good", ("x", 0))
    for level in (4, 5):
        for what, data in BROKEN.items():
            if level == 5 and "3.1.1" in what:
                continue
            r = session(t, s, "bad%d" % level, level=level)
            try:
                r.send(data).closed(3)
            except Exception as error:
                raise AssertionError("%s, version %d: %s" % (what, level, error))
            r.close()
    session(t, s, "pub").send(raw.publish("x", "alive"))
    equal(good.message()["payload"], b"alive", "payload")


@test
def broken_connects_are_refused(t):
    s = t.baetyl()
    rows = [raw.connect("a", name="HTTP"), raw.connect("a", flags=3), b"\x10\x00", b"\x10\x02\x00\x04",
            raw.connect("a", flags=0x40), b"GET / HTTP/1.1\r\n\r\n", raw.connect("a\0b"),
            raw.connect("a", flags=0x1e), b"\x10\xff\xff\xff\xff\xff"]
    for data in rows:
        r = Raw(t, s.port)
        r.send(data)
        got = r.packet()
        check(got is None or (got[0] == raw.CONNACK and got[2][1] != 0), "%r was accepted" % data)
        r.close()
    Raw(t, s.port).login("fine")


@test
def packets_in_pieces(t):
    s = t.baetyl()
    sub = session(t, s, "sub", ("x", 1))
    r = Raw(t, s.port)
    data = raw.connect("slow") + raw.publish("x", b"q" * 300, qos=1, pid=5)
    for i in range(len(data)):
        r.send(data[i:i + 1])
    equal(r.expect(raw.CONNACK), b"\0\0", "CONNACK")
    equal(r.expect(raw.PUBACK), b"\0\5", "PUBACK")
    equal(len(sub.message()["payload"]), 300, "length")


@test
def random_bytes(t):
    seed = int(os.environ.get("SEED", random.randrange(1 << 32)))
    rng = random.Random(seed)
    s = t.baetyl()
    good = session(t, s, "good")
    for i in range(300):
        r = Raw(t, s.port)
        if i % 2:
            r.login("r")
        r.send(bytes(rng.randrange(256) for _ in range(rng.randrange(1, 200))))
        r.close()
    good.ping()
    check(s.alive(), "alive, seed %d" % seed)


@test
def unknown_puback_is_ignored(t):
    s = t.baetyl()
    r = session(t, s, "a")
    r.send(raw.packet(0x40, b"\x12\x34")).ping()


@test
def silent_connection_is_closed(t):
    s = t.baetyl("hub:\n  listen: ['tcp://127.0.0.1:0']\n  connect: {timeout: 1s}\n", start=False)
    code, _, err = t.command("check", "-c", s.config)
    if code != 0 or b"connect" in err:
        from harness import Skip
        raise Skip("the time to CONNECT has another key")
    s.start()
    check(Raw(t, s.port).closed(4))
