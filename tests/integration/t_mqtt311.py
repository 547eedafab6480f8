"""MQTT 3.1 and 3.1.1: what differs from version 5. Statement numbers of 3.1.1 stand in the comments."""
import struct

import raw
from harness import HUB, check, equal, test
from raw import Raw, session

USER = HUB + """  principals:
    - {username: u, password: p, permissions: [{action: pub, permit: ['a']}, {action: sub, permit: ['a/#', 'a']}]}
"""


def code(t, s, data):
    """The CONNACK return code, or None when closed without a word."""
    r = Raw(t, s.port).send(data)
    got = r.packet()
    if got is None:
        return None
    equal((got[0], got[2][0]), (raw.CONNACK, 0), "CONNACK without session")
    if got[2][1]:
        check(r.packet() is None, "closed")
    return got[2][1]


@test
def return_codes(t):
    """[MQTT-3.1.2-2] [MQTT-3.1.3-8] [MQTT-3.1.3-9] [MQTT-3.2.2-4] [MQTT-3.2.2-5]"""
    s = t.baetyl(USER)
    login = {"user": "u", "password": "p"}
    for level, name in ((4, "MQTT"), (3, "MQIsdp")):
        v = {"level": level, "name": name}
        equal(code(t, s, raw.connect("c", **v, **login)), 0, "accepted")
        equal(code(t, s, raw.connect("c", **v)), 4, "no login")
        equal(code(t, s, raw.connect("c", **v, user="u", password="x")), 4, "wrong password")
        equal(code(t, s, raw.connect("", clean=False, **v, **login)), 2, "no identifier")
        equal(code(t, s, raw.connect("c", **v, **login, will=("not/permitted", b"x", 0))), 5, "will")
    equal(code(t, s, raw.connect("", **login)), 0, "empty identifier, clean session")
    equal(code(t, s, raw.connect("", level=3, name="MQIsdp", **login)), 2, "not in 3.1")
    equal(code(t, s, raw.connect("x" * 100, level=3, name="MQIsdp", **login)), 0, "more than 23 bytes")
    for level, name in ((2, "MQTT"), (6, "MQTT"), (4, "MQIsdp"), (3, "MQTT"), (0x84, "MQTT")):
        equal(code(t, s, raw.connect("c", level=level, name=name, **login)), 1, "%s %d" % (name, level))


@test
def connect_that_is_wrong(t):
    """[MQTT-3.1.0-1] [MQTT-3.1.0-2] [MQTT-3.1.2-3] [MQTT-3.1.2-11..15] [MQTT-3.1.2-18..22] [MQTT-3.1.4-1]"""
    s = t.baetyl()
    whole = raw.connect("c")
    for what, data in {
            "reserved flag": raw.connect("c", flags=3), "will QoS without will": raw.connect("c", flags=0x0a),
            "will retain without will": raw.connect("c", flags=0x22), "will QoS 3": raw.connect("c", flags=0x1e),
            "password without user name": raw.connect("c", flags=0x42, password="p"),
            "flag without user name": raw.connect("c", flags=0x82), "too long": raw.packet(0x10, whole[2:] + b"x"),
            "user name without flag": raw.connect("c", flags=2, user="u"), "PINGREQ": raw.packet(0xc0),
            "SUBSCRIBE": raw.subscribe(("a", 0)), "fixed header flags": raw.packet(0x11, whole[2:]),
            "identifier with U+0000": raw.connect("a\0b"), "surrogate": raw.connect(b"\xed\xa0\x80")}.items():
        check(code(t, s, data) is None, what)
    r = session(t, s, "c")
    check(r.send(whole).closed(), "a second CONNECT")


@test
def session_present(t):
    """[MQTT-3.1.2-4..6] [MQTT-3.2.2-1..3]"""
    s = t.baetyl()
    for clean, present in ((False, 0), (False, 1), (True, 0), (False, 0)):
        r = Raw(t, s.port)
        equal(r.login("c", clean=clean), present, "session present")
        r.send(raw.packet(0xe0)).closed()
    r = Raw(t, s.port)
    r.send(raw.connect("c", clean=False, level=3, name="MQIsdp"))
    equal(r.expect(raw.CONNACK), b"\0\0", "3.1 has no such flag")


@test
def refusals_of_a_running_connection(t):
    """[MQTT-3.3.5-2] [MQTT-3.8.4-5] [MQTT-3.9.3-2] [MQTT-4.7.2-1] [MQTT-4.7.3-2]"""
    s = t.baetyl(USER)
    login = {"user": "u", "password": "p"}
    r = session(t, s, "c", **login)
    r.send(raw.subscribe(("a/+", 2), ("b", 0), ("a/#/b", 0), ("$SYS/#", 0), ("a", 1)))
    equal(list(r.expect(raw.SUBACK)[2:]), [2, 0x80, 0x80, 0x80, 1], "SUBACK")
    for topic in ("b", "$SYS/x", "a/+", "", b"\xff", "a\0"):
        for qos in (0, 1):
            bad = session(t, s, "bad", **login)
            check(bad.send(raw.publish(topic, "m", qos=qos)).closed(), "PUBLISH to %r" % topic)
    r.ping()


@test
def reserved_bits(t):
    """[MQTT-2.2.2-1] [MQTT-2.2.2-2] [MQTT-3.3.1-4] [MQTT-3.6.1-1] [MQTT-3.8.1-1] [MQTT-3.8.3-4] [MQTT-3.10.1-1]
    [MQTT-3.14.1-1] [MQTT-2.3.1-1]"""
    s = t.baetyl()
    for what, data in {
            "PUBREL": b"\x60\2\0\1", "SUBSCRIBE": b"\x80\6\0\1\0\1a\0", "UNSUBSCRIBE": b"\xa0\5\0\1\0\1a",
            "PINGREQ": b"\xc1\0", "DISCONNECT": b"\xe2\0", "PUBACK": b"\x41\2\0\1", "QoS 3": b"\x36\5\0\1a\0\1",
            "DUP at QoS 0": b"\x38\4\0\1am", "requested QoS 3": raw.subscribe(("a", 3)),
            "options of version 5": raw.subscribe(("a", 4)), "identifier 0": raw.publish("a", "m", qos=1, pid=0),
            "SUBSCRIBE 0": raw.subscribe(("a", 0), pid=0), "no filter": raw.subscribe(), "AUTH": b"\xf0\0",
            "type 0": b"\0\0", "PINGRESP": b"\xd0\0"}.items():
        r = session(t, s, "c")
        check(r.send(data).closed(), what)
    old = Raw(t, s.port)
    old.login("old", level=3, name="MQIsdp")
    old.send(raw.packet(0x8a, b"\0\1\0\1a\0"))
    equal(old.expect(raw.SUBACK), b"\0\1\0", "3.1 may set DUP on SUBSCRIBE")


@test
def qos_2_and_versions(t):
    """[MQTT-4.3.3-1] [MQTT-4.3.3-2]: from 3.1 to 3.1.1 and back."""
    s = t.baetyl()
    for a, b in ((3, 4), (4, 3)):
        names = {3: "MQIsdp", 4: "MQTT"}
        sub = Raw(t, s.port)
        sub.login("s%d" % a, level=a, name=names[a])
        sub.send(raw.subscribe(("t", 2)))
        equal(sub.expect(raw.SUBACK), b"\0\1\2", "SUBACK")
        pub = Raw(t, s.port)
        pub.login("p%d" % b, level=b, name=names[b])
        pub.send(raw.publish("t", "m", qos=2, pid=9))
        equal(pub.expect(5), b"\0\11", "PUBREC")
        equal(pub.send(b"\x62\2\0\11").expect(7), b"\0\11", "PUBCOMP")
        m = sub.message(ack=False)
        pid = struct.pack(">H", m["pid"])
        equal((m["payload"], m["qos"]), (b"m", 2), "message")
        equal(sub.send(b"\x50\2" + pid).expect(6), pid, "PUBREL")
        sub.send(b"\x70\2" + pid).ping()


@test
def version_5_extras_do_not_reach_version_3(t):
    from mqtt5 import five, props
    s = t.baetyl()
    old = session(t, s, "old", ("#", 1))
    r = five(t, s, "new")
    r.pub1("t", "m", message_expiry=100, content_type="x", user=("a", "b"), alias=1, payload_format=1)
    equal(old.message()["payload"], b"m", "payload")
    r.pub1("", "n", alias=1)
    m = old.message()
    equal((m["topic"], m["payload"]), ("t", b"n"), "message")
    check(props() == b"\0")
