"""Wills: when they are published, when not, and that they survive."""
import time

import raw
from harness import HUB, check, equal, until
from mqtt5 import Five, five, normative, props, will_connect
from raw import Raw, session

USERS = HUB + """  principals:
    - {username: a, password: a, permissions: [{action: pub, permit: ['may/#']}, {action: sub, permit: ['#']}]}
"""


def will(t, s, client_id, topic="w", payload="gone", level=5, code=0, **values):
    """A connected client with a will."""
    r = Five(t, s.port)
    r.send(will_connect(client_id, topic, payload, level=level, **values))
    if level == 5:
        r.present, _ = r.connack(code)
    else:
        equal(r.expect(raw.CONNACK)[1], code, "CONNACK")
    return r


@normative("MQTT-3.1.2-7", "MQTT-3.1.2-8", "MQTT-3.1.2-14", "MQTT-3.14.4-3")
def will_is_published_or_discarded(t):
    s = t.baetyl()
    sub = five(t, s, "sub", ("w/#", 1))
    for level in (4, 5):
        will(t, s, "lost", "w/lost", level=level, qos=1).close()
        m = sub.get()
        equal((m["topic"], m["qos"], m["retain"]), ("w/lost", 1, 0), "will")
        r = will(t, s, "bye", "w/bye", level=level)
        r.send(raw.packet(0xe0)).closed()
        will(t, s, "bad", "w/bad", level=level).send(b"\x00\x00").closed()
        equal(sub.get()["topic"], "w/bad", "after a protocol violation")
    will(t, s, "4", "w/4").leave(4)
    equal(sub.get()["topic"], "w/4", "DISCONNECT with will")
    will(t, s, "none", "w/none", "").close()
    equal(sub.get()["payload"], b"", "a will without payload")
    will(t, s, "silent", "w/silent", keepalive=1)
    equal(sub.get()["topic"], "w/silent", "keep-alive")
    sub.quiet()


@normative("MQTT-3.3.2-4", "MQTT-3.3.2-15", "MQTT-3.3.2-16", "MQTT-3.3.2-17", "MQTT-3.3.2-18", "MQTT-3.3.2-20",
           "MQTT-3.1.3-10")
def will_carries_its_properties(t):
    s = t.baetyl()
    sub = five(t, s, "sub", ("w", 1))
    block = props(("user", ("b", "2")), ("user", ("a", "1")), ("user", ("b", "3")), payload_format=1,
                  message_expiry=100, content_type="text", response_topic="r", correlation_data=b"\0c",
                  will_delay=0)
    will(t, s, "lost", retain=True, will_props=block).close()
    p = sub.get()["props"]
    equal(p.pop("user"), [(b"b", b"2"), (b"a", b"1"), (b"b", b"3")], "user properties")
    check(p.pop("message_expiry") in (99, 100), "expiry counts from publication")
    equal(p, {"payload_format": 1, "content_type": b"text", "response_topic": b"r", "correlation_data": b"\0c"})
    late = five(t, s, "late")
    late.sub(("w", 0))
    m = late.get()
    equal((m["payload"], m["retain"]), (b"gone", 1), "retained")


@normative("MQTT-3.1.3-9", "MQTT-3.1.2-8", "MQTT-3.1.4-3")
def will_delay(t):
    s = t.baetyl()
    sub = five(t, s, "sub", ("w/#", 1))
    block = props(will_delay=1)
    begin = time.monotonic()
    will(t, s, "late", "w/late", will_props=block, session_expiry=100).close()
    back = will(t, s, "back", "w/back", will_props=block, session_expiry=100, clean=False)
    back.close()
    back = five(t, s, "back", session_expiry=100, clean=False)
    will(t, s, "ends", "w/ends", will_props=block, session_expiry=0).close()
    equal(sub.get()["topic"], "w/ends", "the session ends first")
    will(t, s, "short", "w/short", will_props=props(will_delay=60), session_expiry=1).close()
    got = sorted(sub.get()["topic"] for _ in range(2))
    equal(got, ["w/late", "w/short"], "after the delay, or with the session")
    check(0.9 < time.monotonic() - begin < 4, "took %g s" % (time.monotonic() - begin))
    sub.quiet(0.8)
    back.ping()


@normative("MQTT-3.1.4-3", "MQTT-3.1.2-10")
def takeover_and_clean_start(t):
    s = t.baetyl()
    sub = five(t, s, "sub", ("w/#", 1))
    block = props(will_delay=60)
    first = will(t, s, "x", "w/1", will_props=block, session_expiry=100, clean=False)
    second = will(t, s, "x", "w/2", will_props=block, session_expiry=100, clean=False)
    first.ended(0x8e)
    equal(second.present, 1, "session present")
    sub.quiet()
    third = five(t, s, "x")
    second.ended(0x8e)
    equal(sub.get()["topic"], "w/2", "clean start ends the session")
    third.leave()
    now = will(t, s, "y", "w/3", session_expiry=100, clean=False)
    five(t, s, "y", session_expiry=100, clean=False)
    now.ended(0x8e)
    equal(sub.get()["topic"], "w/3", "no delay")
    sub.quiet()


@normative("MQTT-3.1.2-8")
def will_survives_sigkill(t):
    s = t.baetyl()
    five(t, s, "sub", ("w/#", 1), session_expiry=1000, clean=False).leave()
    will(t, s, "now", "w/now", qos=1, session_expiry=1000, clean=False)
    will(t, s, "later", "w/later", qos=1, session_expiry=1000, clean=False, will_props=props(will_delay=1))
    will(t, s, "gone", "w/gone", qos=1, session_expiry=1000, clean=False).leave()
    will(t, s, "back", "w/back", qos=1, session_expiry=1000, clean=False, will_props=props(will_delay=5))
    will(t, s, "old", "w/old", level=4, qos=1, clean=False)
    will(t, s, "clean", "w/clean", qos=1)
    pub = session(t, s, "pub")
    pub.send(raw.publish("w/kept", "x", qos=1)).expect(raw.PUBACK)
    s.kill()
    s.start()
    five(t, s, "back", session_expiry=1000, clean=False)
    sub = five(t, s, "sub", session_expiry=1000, clean=False)
    got = [sub.get()["topic"] for _ in range(4)]
    equal(sorted(got), ["w/kept", "w/later", "w/now", "w/old"], "wills")
    sub.quiet(1)
    s.kill()
    s.start()
    sub = five(t, s, "sub", session_expiry=1000, clean=False)
    sub.quiet(1)


@normative("MQTT-3.1.2-8")
def will_at_a_clean_stop(t):
    s = t.baetyl()
    five(t, s, "sub", ("w/#", 1), session_expiry=1000, clean=False).leave()
    will(t, s, "now", "w/now", qos=1)
    will(t, s, "later", "w/later", qos=1, session_expiry=1000, clean=False, will_props=props(will_delay=1))
    equal(s.stop(), 0, "exit status")
    s.start()
    sub = five(t, s, "sub", session_expiry=1000, clean=False)
    equal([sub.get()["topic"] for _ in range(2)], ["w/now", "w/later"], "wills")


@normative("MQTT-3.1.2-9", "MQTT-3.1.2-11", "MQTT-3.1.2-12", "MQTT-3.1.2-13", "MQTT-3.1.3-11", "MQTT-4.13.2-1")
def wills_that_are_refused(t):
    s = t.baetyl(USERS)
    for level in (4, 5):
        for topic, code, old in (("may/x", 0, 0), ("not", 0x87, 5), ("$SYS/x", None, None), ("may/+", None, None),
                                 ("", None, None)):
            r = Raw(t, s.port)
            r.send(raw.connect("c", level=level, user="a", password="a", will=(topic, b"x", 0)))
            got = r.packet()
            if code is None:
                check(got is None or got[2][1] != 0, "%r, version %d" % (topic, level))
            else:
                equal(got[2][1], code if level == 5 else old, "CONNACK for %r" % topic)
        for flags in (0xc2 | 0x08, 0xc2 | 0x20, 0xc2 | 0x04 | 0x18, 0xc2 | 0x01):
            r = Raw(t, s.port)
            r.send(raw.connect("c", level=level, user="a", password="a", flags=flags))
            got = r.packet()
            check(got is None or got[2][1] != 0, "flags %#x, version %d" % (flags, level))
    equal(until(s.alive), True)
