"""MQTT 5.0, statement by statement: headers, identifiers, the QoS protocols, acknowledgements."""
import struct

import raw
from harness import HUB, check, equal
from mqtt5 import Five, five, normative, props, will_connect
from raw import Raw

USER = HUB + """  principals:
    - {username: u, password: p, permissions: [{action: pub, permit: ['#']}, {action: sub, permit: ['a/#']}]}
"""


def ack(kind, pid, *more):
    return raw.packet(kind << 4 | (2 if kind == 6 else 0), struct.pack(">H", pid) + bytes(more))


def refused(t, s, data):
    """The connection is closed, with a refusal or without a word."""
    r = Five(t, s.port).send(data)
    got = r.packet()
    if got is None:
        return None
    equal(got[0], raw.CONNACK, "packet type")
    check(got[2][1] != 0 and got[2][0] == 0, "refused, no session")
    check(r.closed(), "closed")
    return got[2][1]


@normative("MQTT-2.1.3-1", "MQTT-3.6.1-1", "MQTT-3.8.1-1", "MQTT-3.10.1-1", "MQTT-3.14.1-1", "MQTT-3.15.1-1",
           "MQTT-3.8.3-5", "MQTT-4.13.1-1", "MQTT-3.3.1-4")
def reserved_bits(t):
    s = t.baetyl()
    body = {3: b"\0\1a\0", 4: b"\0\1", 5: b"\0\1", 6: b"\0\1", 7: b"\0\1", 8: b"\0\1\0\0\1a\0", 10: b"\0\1\0\0\1a",
            12: b"", 14: b"", 15: b""}
    right = {6: 2, 8: 2, 10: 2}
    for kind in body:
        for flags in range(16) if kind != 3 else (6, 7, 14, 15):
            if kind != 3 and flags == right.get(kind, 0):
                continue
            five(t, s, "c").send(raw.packet(kind << 4 | flags, body[kind])).ended(0x81)
    for kind in (0, 1, 2, 9, 11, 13):
        r = five(t, s, "c").send(raw.packet(kind << 4, b"\0\1\0"))
        got = r.packet()
        equal(got[0], raw.DISCONNECT, "type %d" % kind)
        check(got[2][0] in (0x81, 0x82), "reason for type %d" % kind)
    five(t, s, "c").send(raw.subscribe(("a", 0x80), level=5)).ended(0x81)


@normative("MQTT-2.2.1-2", "MQTT-2.2.1-3", "MQTT-2.2.1-5", "MQTT-2.2.1-6", "MQTT-2.2.2-1", "MQTT-3.8.4-1",
           "MQTT-3.8.4-2", "MQTT-3.10.4-4", "MQTT-3.10.4-5", "MQTT-3.8.3-2", "MQTT-3.10.3-2", "MQTT-3.9.3-1",
           "MQTT-3.11.3-1", "MQTT-3.9.3-2", "MQTT-3.11.3-2", "MQTT-3.12.4-1")
def identifiers_come_back(t):
    s = t.baetyl(USER)
    r = five(t, s, "c", user="u", password="p")
    for pid in (1, 77, 65535):
        equal(r.sub(("a/x", 0), ("b", 1), ("a/#/c", 2), ("a/y", 2), pid=pid), [0, 0x87, 0x8f, 2], "SUBACK")
        equal(r.unsub("a/x", "zzz", "a#", "a/y", pid=pid), [0, 0x11, 0x8f, 0], "UNSUBACK")
        equal(r.pub1("t", "m", pid=pid), 0x10, "PUBACK")
    for data in (raw.subscribe(("a/x", 0), pid=0, level=5), raw.unsubscribe("a", pid=0, level=5),
                 raw.publish("t", "x", qos=1, pid=0, level=5), raw.publish("t", "x", qos=2, pid=0, level=5),
                 ack(4, 0), raw.subscribe(level=5), raw.unsubscribe(level=5)):
        five(t, s, "bad", user="u", password="p").send(data).ended(0x82)
    r.ping()


@normative("MQTT-3.1.0-1", "MQTT-3.1.0-2", "MQTT-3.1.2-1", "MQTT-3.1.2-2", "MQTT-3.1.2-3", "MQTT-3.1.2-16",
           "MQTT-3.1.2-17", "MQTT-3.1.2-18", "MQTT-3.1.2-19", "MQTT-3.1.3-1", "MQTT-3.1.3-3", "MQTT-3.1.3-12",
           "MQTT-3.1.4-1", "MQTT-3.1.4-2", "MQTT-3.2.2-6", "MQTT-3.2.2-7", "MQTT-3.2.2-8", "MQTT-3.14.0-1")
def connect_is_checked(t):
    s = t.baetyl(USER)
    for data in (raw.connect("c", level=6), raw.connect("c", level=5, name="MQIsdp")):
        equal(refused(t, s, data), 1, "in the form that every version reads")
    equal(refused(t, s, raw.connect("c", level=5)), 0x86, "no login")
    for user, password in (("u", "x"), ("x", "p"), ("u", None), ("x", "x")):
        equal(refused(t, s, raw.connect("c", level=5, user=user, password=password)), 0x86, "wrong login")
    login = {"level": 5, "user": "u", "password": "p"}
    whole = raw.connect("c", **login)
    Five(t, s.port).send(whole).connack()
    for what, data in {
            "reserved flag": raw.connect("c", flags=0xc3, **login),
            "flag without user name": raw.connect("c", level=5, flags=0xc2, password="p"),
            "flag without password": raw.connect("c", level=5, flags=0xc2, user="u"),
            "user name without flag": raw.connect("c", flags=0x42, **login),
            "password without flag": raw.connect("c", flags=0x82, **login),
            "will flag without will": raw.connect("c", flags=0xc6, **login),
            "user name not UTF-8": raw.connect("c", level=5, user=b"\xff", password="p"),
            "too short": raw.packet(0x10, whole[2:-1]), "too long": raw.packet(0x10, whole[2:] + b"x"),
            "not a CONNECT": raw.publish("t", "x", level=5), "PINGREQ": raw.packet(0xc0),
            "DISCONNECT": raw.packet(0xe0), "AUTH": raw.packet(0xf0)}.items():
        got = refused(t, s, data)
        check(got in (None, 0x81, 0x82), "%s: %r" % (what, got))
    r = Five(t, s.port).send(whole)
    r.connack()
    r.send(whole).ended(0x82)


@normative("MQTT-3.1.4-5", "MQTT-3.1.4-6", "MQTT-3.2.0-1", "MQTT-3.2.0-2", "MQTT-3.2.2-1", "MQTT-3.1.4-4")
def what_follows_a_connect(t):
    s = t.baetyl(USER)
    sub = Five(t, s.port)
    sub.open("sub", clean=False, session_expiry=100, user="u", password="p")
    equal(sub.sub(("a/#", 1)), [1], "SUBACK")
    login = {"level": 5, "user": "u", "password": "p"}
    Five(t, s.port).send(raw.connect("x", level=5, user="u", password="no") +
                         raw.publish("a/x", "of a refused client", level=5)).closed()
    r = Five(t, s.port).send(raw.connect("x", **login) + raw.publish("a/x", "at once", level=5) +
                             raw.packet(0xc0) + raw.packet(0xe0))
    equal([r.packet() for _ in range(3)][1:], [(raw.PINGRESP, 0, b""), None], "answers in order")
    equal(sub.get()["payload"], b"at once", "message")
    sub.leave()
    five(t, s, "pub", user="u", password="p").pub1("a/x", "waits")
    sub = Five(t, s.port).send(raw.connect("sub", clean=False, props=props(session_expiry=100), **login))
    got = sub.packet()
    equal((got[0], got[2][:2]), (raw.CONNACK, b"\1\0"), "CONNACK is first")
    equal(sub.get()["payload"], b"waits", "then the queue")


@normative("MQTT-2.2.1-1", "MQTT-2.2.1-4", "MQTT-3.3.1-1", "MQTT-3.3.1-2", "MQTT-3.3.1-3", "MQTT-4.3.1-1",
           "MQTT-4.3.2-1", "MQTT-4.3.2-2", "MQTT-4.3.2-3", "MQTT-4.3.2-4", "MQTT-4.3.2-5", "MQTT-4.4.0-1",
           "MQTT-4.4.0-2", "MQTT-4.6.0-5", "MQTT-4.6.0-6", "MQTT-3.3.4-1", "MQTT-3.1.2-5", "MQTT-3.1.2-23",
           "MQTT-4.1.0-1", "MQTT-4.5.0-1")
def qos_1(t):
    s = t.baetyl()
    r = five(t, s, "c", ("t", 1), clean=False, session_expiry=100)
    pub = five(t, s, "pub")
    for i in range(3):
        equal(pub.pub1("t", str(i), pid=9, dup=i > 0), 0, "PUBACK")
    pub.pub("t", "zero").ping()
    held = [r.get(ack=False) for _ in range(4)]
    equal([m["payload"] for m in held], [b"0", b"1", b"2", b"zero"], "each is new, in order")
    equal([m["dup"] for m in held], [0] * 4, "DUP of the publisher is not forwarded")
    equal((held[3]["qos"], held[3]["pid"]), (0, 0), "QoS 0 has no identifier")
    equal(len({m["pid"] for m in held[:3]}), 3, "identifiers in use are not used again")
    r.send(ack(4, held[1]["pid"]), ack(4, held[2]["pid"], 0x97)).ping()
    r.quiet(0.5)
    r.close()
    r = Five(t, s.port)
    equal(r.open("c", clean=False, session_expiry=100)[0], 1, "session present")
    again = r.get(ack=False)
    equal((again["payload"], again["pid"], again["dup"]), (b"0", held[0]["pid"], 1), "resent")
    r.quiet()
    pub.pub1("t", "new", dup=True)
    new = r.get(ack=False)
    check(new["pid"] != again["pid"] and new["dup"] == 0, "another identifier")
    r.send(ack(4, again["pid"]), ack(4, new["pid"]), ack(4, 4711)).ping()


@normative("MQTT-4.3.3-1", "MQTT-4.3.3-2", "MQTT-4.3.3-3", "MQTT-4.3.3-4", "MQTT-4.3.3-5", "MQTT-4.3.3-6",
           "MQTT-3.6.2-1")
def qos_2_to_the_client(t):
    s = t.baetyl()
    r = five(t, s, "c", ("t", 2), clean=False, session_expiry=100)
    pub = five(t, s, "pub")
    pub.pub("t", "m", 2, pid=5).expect(5)
    pub.send(ack(6, 5)).expect(7)
    first = r.get(ack=False)
    equal((first["qos"], first["dup"]), (2, 0), "PUBLISH")

    def back():
        again = Five(t, s.port)
        equal(again.open("c", clean=False, session_expiry=100)[0], 1, "session present")
        return again

    r.close()
    r = back()
    second = r.get(ack=False)
    equal((second["pid"], second["dup"]), (first["pid"], 1), "PUBLISH again")
    equal(r.send(ack(5, first["pid"])).expect(6), struct.pack(">H", first["pid"]), "PUBREL")
    r.close()
    r = back()
    equal(r.expect(6), struct.pack(">H", first["pid"]), "PUBREL again, no PUBLISH")
    r.send(ack(7, first["pid"])).ping()
    r.close()
    back().quiet()
    equal(back().send(ack(5, 99)).expect(6)[:3], b"\0\x63\x92", "unknown identifier")


@normative("MQTT-4.3.3-8", "MQTT-4.3.3-9", "MQTT-4.3.3-10", "MQTT-4.3.3-11", "MQTT-4.3.3-12", "MQTT-3.5.2-1",
           "MQTT-3.7.2-1")
def qos_2_from_the_client(t):
    s = t.baetyl(HUB + """  principals:
    - {username: u, password: p, permissions: [{action: pub, permit: ['a']}, {action: sub, permit: ['#']}]}
""")
    sub = five(t, s, "sub", ("#", 2), user="u", password="p", receive_max=1)
    r = five(t, s, "c", clean=False, session_expiry=100, user="u", password="p")
    for dup in (False, True, True):
        equal(r.pub("a", "once", 2, pid=3, dup=dup).expect(5), b"\0\3", "PUBREC")
    equal(r.send(ack(6, 3)).expect(7), b"\0\3", "PUBCOMP")
    equal(r.send(ack(6, 3)).expect(7)[:3], b"\0\3\x92", "PUBCOMP of what is unknown")
    equal(r.pub("a", "new", 2, pid=3).expect(5), b"\0\3", "PUBREC")
    for _ in range(2):
        equal(r.pub("no", "refused", 2, pid=4).expect(5)[:3], b"\0\4\x87", "PUBREC")
    got = []
    for _ in range(2):
        m = sub.get(ack=False)
        got.append(m["payload"])
        sub.send(ack(5, m["pid"])).expect(6)
        sub.send(ack(7, m["pid"]))
    equal(got, [b"once", b"new"], "no duplicate")
    sub.quiet()


@normative("MQTT-4.3.3-7", "MQTT-4.3.3-13")
def expiry_does_not_stop_what_has_begun(t):
    import time
    s = t.baetyl()
    r = five(t, s, "c", ("t", 2), clean=False, session_expiry=100)
    pub = five(t, s, "pub")
    pub.pub("t", "m", 2, pid=5, message_expiry=1).expect(5)
    pub.send(ack(6, 5)).expect(7)
    first = r.get(ack=False)
    time.sleep(1.6)
    r.close()
    r = Five(t, s.port)
    r.open("c", clean=False, session_expiry=100)
    again = r.get(ack=False)
    equal((again["pid"], again["dup"], again["payload"]), (first["pid"], 1, b"m"), "sent again")
    r.send(ack(5, again["pid"])).expect(6)
    r.send(ack(7, again["pid"])).ping()


@normative("MQTT-3.3.1-5", "MQTT-3.3.1-6", "MQTT-3.3.1-7", "MQTT-3.3.1-8", "MQTT-3.3.2-3", "MQTT-3.8.4-8",
           "MQTT-3.3.4-2")
def retained(t):
    s = t.baetyl()
    pub = five(t, s, "pub")

    def now(filters=(("r/#", 2),)):
        r = five(t, s, "late")
        r.sub(*filters)
        r.send(raw.packet(0xc0))
        got = []
        while True:
            p = r.packet()
            if p[0] == raw.PINGRESP:
                return got
            n = 2 + struct.unpack(">H", p[2][:2])[0]
            got.append((p[2][2:n].decode(), p[1] >> 1 & 3, p[1] & 1))

    pub.pub1("r/a", "1", retain=True)
    pub.pub("r/b", "0", retain=True).ping()
    equal(sorted(now()), [("r/a", 1, 1), ("r/b", 0, 1)], "stored with their QoS")
    equal(sorted(now((("r/#", 0), ("r/+", 1)))), [("r/a", 0, 1), ("r/a", 1, 1), ("r/b", 0, 1), ("r/b", 0, 1)],
          "for each filter, the lower QoS")
    pub.pub("r/a", "", retain=False).ping()
    pub.pub1("r/a", "other", retain=False)
    equal(sorted(now()), [("r/a", 1, 1), ("r/b", 0, 1)], "untouched without the flag")
    live = five(t, s, "live", ("r/a", 1), ("r/+", 0))
    equal(sorted(live.get()["topic"] for _ in range(3)), ["r/a", "r/a", "r/b"], "for each filter")
    pub.pub1("r/a", "", retain=True)
    m = live.get()
    equal((m["payload"], m["retain"], m["qos"]), (b"", 0, 1), "delivered, once, at the higher QoS")
    equal(now(), [("r/b", 0, 1)], "removed")
    pub.pub1("r/c", "", retain=True)
    equal(now(), [("r/b", 0, 1)], "an empty one is not stored")


@normative("MQTT-3.8.4-5", "MQTT-3.10.4-1", "MQTT-3.10.4-2", "MQTT-3.10.4-3", "MQTT-3.10.4-6")
def unsubscribing(t):
    s = t.baetyl()
    r = five(t, s, "c", ("a/b", 1), ("a/+", 1), ("x", 1))
    pub = five(t, s, "pub")
    equal(r.unsub("a/#", "a", "a/b/", "A/b", "+/b"), [0x11] * 5, "not what was subscribed, byte by byte")
    pub.pub1("x", "begun")
    begun = r.get(ack=False)
    equal(r.unsub("x", "a/+", "x"), [0, 0, 0x11], "as if one by one")
    equal(pub.pub1("x", "not any more"), 0x10, "nobody")
    pub.pub1("a/b", "still")
    equal(r.get()["payload"], b"still", "the other filter")
    r.quiet()
    r.send(ack(4, begun["pid"])).ping()
    equal(r.sub(("y", 0), ("y", 1), ("y", 2)), [0, 1, 2], "as if one by one")
    pub.pub("y", "m", 2).expect(5)
    equal(r.get(ack=False)["qos"], 2, "the last one holds")
    r.quiet()


@normative("MQTT-3.1.2-7", "MQTT-3.1.2-11", "MQTT-3.1.2-12", "MQTT-3.1.2-13", "MQTT-3.1.2-14", "MQTT-3.1.2-15")
def will_flags(t):
    s = t.baetyl()
    sub = five(t, s, "sub", ("w", 2))
    for qos in (0, 1, 2):
        r = Five(t, s.port)
        r.send(will_connect("w", "w", "gone", qos=qos, retain=qos == 2))
        r.connack()
        r.close()
        m = sub.get(ack=False)
        equal((m["qos"], m["retain"]), (qos, 0), "will")
        if qos:
            sub.send(ack(4 if qos == 1 else 5, m["pid"]))
        if qos == 2:
            sub.expect(6)
            sub.send(ack(7, m["pid"]))
        late = five(t, s, "late")
        late.sub(("w", 0))
        if qos == 2:
            equal(late.get()["retain"], 1, "retained")
        late.quiet(0.1)
    for flags in (0x02 | 0x08, 0x02 | 0x10, 0x02 | 0x20, 0x02 | 0x04 | 0x18):
        check(refused(t, s, raw.connect("c", level=5, flags=flags)) in (None, 0x81), "flags %#x" % flags)


@normative("MQTT-3.1.2-22", "MQTT-3.2.2-22", "MQTT-4.1.0-2", "MQTT-3.1.3-2")
def keep_alive_and_expiry(t):
    import time
    s = t.baetyl()
    begin = time.monotonic()
    r = five(t, s, "c", keepalive=1, clean=False, session_expiry=1)
    other = five(t, s, "d", keepalive=1)
    while time.monotonic() < begin + 1.2:
        other.ping()
        time.sleep(0.1)
    r.ended(0x8d)
    check(1.4 < time.monotonic() - begin < 2.6, "one and a half times: %g s" % (time.monotonic() - begin))
    equal(Five(t, s.port).open("c", clean=False)[0], 1, "kept as if the network had failed")
    r = Five(t, s.port)
    equal(r.open("c", clean=False, session_expiry=1)[0], 0, "ended with its connection")
    r.close()
    time.sleep(1.1)
    equal(Five(t, s.port).open("c", clean=False)[0], 0, "expired")


@normative("MQTT-3.9.2-1", "MQTT-3.11.2-1", "MQTT-3.5.2-2", "MQTT-3.14.2-1", "MQTT-3.14.2-3", "MQTT-3.2.2-19")
def words_never_make_a_packet_too_large(t):
    s = t.baetyl()
    for most in range(8, 40):
        r = Five(t, s.port)
        r.send(raw.connect("c", level=5, props=props(max_packet=most)))
        got = r.packet()
        if got is None:
            continue
        check(2 + len(got[2]) <= most, "CONNACK of %d, at most %d" % (2 + len(got[2]), most))
        for kind, data in ((9, raw.subscribe(("a/#/b", 0), level=5)), (11, raw.unsubscribe("a#", level=5)),
                           (4, raw.publish("$SYS/x", "m", qos=1, level=5)),
                           (5, raw.publish("$SYS/x", "m", qos=2, pid=2, level=5)),
                           (14, raw.publish("", "m", level=5))):
            body = r.send(data).expect(kind)
            check(2 + len(body) <= most, "packet of %d, at most %d" % (2 + len(body), most))
    check(Raw(t, s.port).login("alive") == 0)
