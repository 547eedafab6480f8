"""MQTT 5.0, statement by statement, with raw packets: what the server owes a client."""
import os
import sqlite3
import time

import raw
from harness import HUB, check, equal
from mqtt5 import Five, five, normative, props, will_connect
from raw import Raw


@normative("MQTT-4.7.0-1", "MQTT-4.7.1-1", "MQTT-4.7.1-2", "MQTT-4.7.3-1", "MQTT-4.8.2-1", "MQTT-4.8.2-2",
           "MQTT-3.8.4-6", "MQTT-3.8.4-7")
def a_bad_filter_fails_alone(t):
    s = t.baetyl()
    bad = ["", "a/#/b", "a#", "a+/b", "#/a", "$share//a", "$share/g", "$share/g/", "$share/+/a", "$share/g#/a"]
    r = five(t, s, "c")
    codes = r.sub(("good", 1), *[(f, 0) for f in bad], ("also/+/good/#", 0))
    equal(codes, [1] + [0x8f] * len(bad) + [0], "SUBACK")
    r.pub("good", "m")
    equal(r.get()["payload"], b"m", "payload")
    equal(r.unsub("good", "a/#/b", "never"), [0, 0x8f, 0x11], "UNSUBACK")
    old = raw.session(t, s, "old")
    old.send(raw.subscribe(("x", 1), ("a/#/b", 0), ("y", 0)))
    equal(list(old.expect(raw.SUBACK)[2:]), [1, 0x80, 0], "SUBACK of 3.1.1")
    old.send(raw.unsubscribe("x", "a/#/b"))
    equal(old.expect(raw.UNSUBACK), b"\0\1", "UNSUBACK of 3.1.1")


# ---- CONNECT and CONNACK ----

@normative("MQTT-3.1.3-6", "MQTT-3.1.3-7", "MQTT-3.2.2-16")
def connack_says_what_is_not_default(t):
    s = t.baetyl()
    r = Five(t, s.port)
    _, p = r.open("")
    check(p.pop("assigned_client_id").startswith(b"auto-"), "an assigned identifier")
    check(0 < p.pop("receive_max") < 65535, "receive maximum")
    equal(p.pop("alias_max"), 10, "topic alias maximum")
    check(p.pop("max_packet") > 65536, "maximum packet size")
    p.pop("max_qos", None)
    equal(p, {}, "the rest")
    _, p = Five(t, s.port).open("named", session_expiry=77)
    check("assigned_client_id" not in p and "session_expiry" not in p, "not answered when as asked")


@normative("MQTT-3.1.2-22", "MQTT-3.2.2-22")
def limits_are_answered(t):
    s = t.baetyl(HUB + "  limits: {session: {expiry: 100s}, keepalive: 1s, topic: {aliases: 0}}\n")
    r = Five(t, s.port)
    _, p = r.open("a", session_expiry=0xffffffff, keepalive=60)
    equal((p["session_expiry"], p["server_keepalive"]), (100, 1), "limits")
    check("alias_max" not in p, "no aliases granted")
    r.pub("t", "x", alias=1).ended(0x94)
    _, p = Five(t, s.port).open("b", session_expiry=99, keepalive=1)
    check("session_expiry" not in p and "server_keepalive" not in p, "as asked")
    r = Five(t, s.port)
    r.open("c", keepalive=0)
    r.ended(0x8d, 4)
    old = raw.session(t, s, "old", keepalive=0)
    r = five(t, s, "zero")
    r.send(raw.packet(0xe0, b"\0" + props(session_expiry=5))).ended(0x82)
    old.ping()


@normative("MQTT-3.1.0-2", "MQTT-4.12.0-1", "MQTT-4.12.0-6", "MQTT-4.13.1-1", "MQTT-3.1.2-29", "MQTT-3.2.2-19")
def refusals_have_words(t):
    s = t.baetyl()
    r = Five(t, s.port)
    r.send(raw.connect("a", level=5, props=props(auth_method="SCRAM-SHA-1")))
    equal(r.connack(0x8c)[1]["reason_string"], b"bad authentication method", "reason string")
    r.closed()
    r = Five(t, s.port)
    r.send(raw.connect("a", level=5, props=props(auth_method="SCRAM-SHA-1", max_packet=10)))
    equal(r.connack(0x8c)[1], {}, "no room for words")
    r = five(t, s, "a")
    equal(r.send(raw.packet(0xf0, b"\x19" + props(auth_method="x"))).ended(0x82)["reason_string"],
          b"protocol error", "AUTH")
    r = five(t, s, "a", request_problem=0)
    equal(r.sub(("a/#/b", 0)), [0x8f], "SUBACK")
    equal(r.suback_props, {}, "no words asked for")
    equal(five(t, s, "b").send(raw.connect("b", level=5)).ended(0x82)["reason_string"], b"protocol error")
    r = five(t, s, "c")
    equal(r.sub(("a", 0), ("a/#/b", 0)), [0, 0x8f], "SUBACK")
    equal(r.suback_props["reason_string"], b"topic filter invalid", "SUBACK")


# ---- Topic aliases ----

@normative("MQTT-3.3.2-7", "MQTT-3.3.2-8", "MQTT-3.3.2-12")
def topic_aliases_from_the_client(t):
    s = t.baetyl()
    sub = five(t, s, "sub", ("#", 1))
    old = raw.session(t, s, "old", ("#", 0))
    r = five(t, s, "pub")
    r.pub("alpha", "1", alias=1)
    r.pub("beta", "2", alias=10)
    r.pub("", "3", alias=1)
    equal(r.pub1("", "4", alias=10), 0, "PUBACK")
    r.pub("gamma", "5", alias=1)
    r.pub("", "6", alias=1)
    want = ["alpha", "beta", "alpha", "beta", "gamma", "gamma"]
    got = [sub.get() for _ in want]
    equal([m["topic"] for m in got], want, "topics")
    check(not any("alias" in m["props"] for m in got), "not forwarded")
    equal([old.message()["topic"] for _ in want], want, "topics of 3.1.1")
    for bad in (0, 11, 65535):
        equal(five(t, s, "bad").pub("t", "x", alias=bad).ended(0x94)["reason_string"], b"topic alias invalid")
    five(t, s, "bad").pub("", "x", alias=3).ended(0x82)
    five(t, s, "bad").pub("", "x").ended(0x82)
    again = five(t, s, "pub2")
    again.pub("", "x", alias=1).ended(0x82)


@normative("MQTT-3.1.2-26", "MQTT-3.1.2-27", "MQTT-3.3.2-11")
def topic_aliases_to_the_client(t):
    s = t.baetyl()
    a = five(t, s, "a", ("#", 0), alias_max=3)
    plain = five(t, s, "plain", ("#", 0))
    pub = five(t, s, "pub")
    known, saved = {}, 0
    topics = ["a/long/topic/%d" % (i % 5) for i in range(40)] + ["short"] * 3
    for i, topic in enumerate(topics):
        pub.pub(topic, str(i))
    for i, topic in enumerate(topics):
        m = a.get()
        alias = m["props"].get("alias")
        if m["topic"]:
            if alias:
                known[alias] = m["topic"]
        else:
            saved += 1
            m["topic"] = known[alias]
        check(alias is None or 1 <= alias <= 3, "alias in range")
        equal((m["topic"], m["payload"]), (topic, str(i).encode()), "message")
        m = plain.get()
        equal((m["topic"], m["props"]), (topic, {}), "without aliases")
    check(saved > 5, "aliases are used: %d" % saved)


# ---- Subscriptions ----

@normative("MQTT-3.3.4-3", "MQTT-3.3.4-4", "MQTT-3.3.4-5", "MQTT-3.3.4-6", "MQTT-3.8.2-1")
def subscription_identifiers(t):
    s = t.baetyl()
    r = five(t, s, "c", clean=False, session_expiry=1000)
    want = {1: 268435455, 2: 7, 3: 7, 4: 1}
    for i, f in enumerate(("a/b", "a/+", "+/b", "#")):
        equal(r.sub((f, 1), subid=want[i + 1]), [1], "SUBACK")
    r.sub(("a/#", 1))
    for i in range(20):
        r.sub(("a/b/#" if i % 2 else "+/b/#", 1), subid=100 + i)
    pub = five(t, s, "pub")
    pub.pub1("a/b", "1")
    all_ids = [1, 7, 7, 118, 119, 268435455]
    m = r.get()
    equal(sorted(m["props"]["subid"]), all_ids, "of all matching subscriptions")
    pub.pub("a/b", "0")
    equal(sorted(r.get()["props"]["subid"]), all_ids, "at QoS 0")
    pub.pub("c", "only one")
    equal(r.get()["props"]["subid"], [1], "of one")
    r.leave()
    pub.pub1("a/b", "2")
    s.kill()
    s.start()
    r = Five(t, s.port)
    equal(r.open("c", clean=False, session_expiry=1000)[0], 1, "session present")
    equal(sorted(r.get()["props"]["subid"]), all_ids, "from the disk")
    r.send(raw.subscribe(("a", 0), level=5, props=props(subid=0))).ended(0x82)
    r = five(t, s, "pub2")
    r.pub("a/b", "x", subid=3).ended(0x82)


@normative("MQTT-3.8.3-3", "MQTT-3.3.4-2", "MQTT-3.3.1-12", "MQTT-3.3.1-13")
def no_local_and_retain_as_published(t):
    s = t.baetyl()
    r = five(t, s, "c")
    equal(r.sub(("x", 4), ("y", 0), ("z", 4 | 8), ("+/+", 8)), [0, 0, 0, 0], "SUBACK")
    other = five(t, s, "o")
    for topic in ("x", "y", "z"):
        r.pub(topic, "mine", retain=True)
        other.pub(topic, "other", retain=True)
    got = sorted((m["topic"], m["payload"], m["retain"]) for m in (r.get() for _ in range(4)))
    equal(got, [("x", b"other", 0), ("y", b"mine", 0), ("y", b"other", 0), ("z", b"other", 1)], "messages")
    r = five(t, s, "d", ("a/b", 0))
    r.sub(("a/#", 4))
    r.pub("a/b", "mine")
    equal(r.get()["payload"], b"mine", "another subscription wants it")
    r.quiet()


@normative("MQTT-3.3.1-9", "MQTT-3.3.1-10", "MQTT-3.3.1-11", "MQTT-3.8.4-3", "MQTT-3.8.4-4")
def retain_handling(t):
    s = t.baetyl()
    pub = five(t, s, "pub")
    pub.pub1("r/a", "kept", retain=True)
    for handling, first, again in ((0, True, True), (1, True, False), (2, False, False)):
        r = five(t, s, "c")
        for wanted in (first, again):
            equal(r.sub(("r/+", 1 | handling << 4)), [1], "SUBACK")
            if wanted:
                m = r.get()
                equal((m["payload"], m["retain"]), (b"kept", 1), "handling %d" % handling)
            r.quiet(0.1)
        pub.pub1("r/b", "live", retain=False)
        equal(r.get()["payload"], b"live", "still one subscription")
        r.quiet(0.1)
    five(t, s, "d").send(raw.subscribe(("r", 0x30), level=5)).ended(0x82)
    five(t, s, "e").send(raw.subscribe(("r", 0x40), level=5)).ended(0x81)
    five(t, s, "f").send(raw.subscribe(("r", 3), level=5)).ended(0x82)


# ---- Message expiry ----

@normative("MQTT-3.3.2-5", "MQTT-3.3.2-6")
def message_expiry(t):
    s = t.baetyl()
    five(t, s, "off", ("x/#", 1), clean=False, session_expiry=1000).leave()
    old = raw.session(t, s, "old", ("x/#", 1), clean=False)
    old.send(raw.packet(0xe0)).closed()
    busy = five(t, s, "busy", ("x/#", 1), receive_max=1)
    pub = five(t, s, "pub")
    pub.pub1("x/1", "keeps", retain=True)
    pub.pub1("x/2", "short", message_expiry=1, retain=True)
    pub.pub1("x/3", "long", message_expiry=100, retain=True)
    zero = five(t, s, "zero", ("x/4", 0))
    pub.pub1("x/4", "now", message_expiry=0)
    equal(zero.get()["props"], {"message_expiry": 0}, "an interval of 0")
    held = busy.get(ack=False)
    time.sleep(2.1)
    want = [b"keeps", b"long"]
    equal(held["payload"], want[0], "in flight")
    busy.send(raw.packet(0x40, held["pid"].to_bytes(2, "big")))
    m = busy.get()
    equal((m["payload"], 97 <= m["props"]["message_expiry"] <= 98), (want[1], True), "behind the window")
    busy.quiet()
    s.kill()
    s.start()
    r = Five(t, s.port)
    r.open("off", clean=False, session_expiry=1000)
    got = [r.get() for _ in range(2)]
    equal([m["payload"] for m in got], want, "from the disk")
    check("message_expiry" not in got[0]["props"], "none")
    check(90 <= got[1]["props"]["message_expiry"] <= 98, "what is left of it")
    r.quiet()
    r = Raw(t, s.port)
    r.login("old", clean=False)
    equal([r.message()["payload"] for _ in range(2)], want, "3.1.1")
    r.quiet()
    late = five(t, s, "late")
    late.sub(("x/#", 0))
    equal(sorted(late.get()["payload"] for _ in range(2)), want, "retained")
    late.quiet()


# ---- PUBLISH and its acknowledgement ----

@normative("MQTT-3.4.2-1", "MQTT-3.4.2-2", "MQTT-3.1.2-29")
def puback_reasons(t):
    s = t.baetyl(HUB + """  limits: {topic: {length: 20}}
  principals:
    - {username: u, password: p, permissions: [{action: pub, permit: ['may/#', 'x']}, {action: sub, permit: ['#']}]}
""")
    r = five(t, s, "c", user="u", password="p")
    quiet = five(t, s, "q", user="u", password="p", request_problem=0)
    small = five(t, s, "s", user="u", password="p", max_packet=20)
    five(t, s, "sub", ("may/x", 1), user="u", password="p")
    rows = (("may/x", 0, None), ("may/y", 0x10, None), ("no", 0x87, b"not authorized"),
            ("may/" + "x" * 20, 0x90, b"topic name invalid"), ("$SYS/x", 0x87, b"not authorized"))
    for topic, code, words in rows:
        for client, want in ((r, words), (quiet, None), (small, None)):
            equal(client.pub1(topic, "m"), code, "PUBACK for %s" % topic)
            equal(client.puback_props.get("reason_string"), want, "reason string for %s" % topic)
    r.pub("no", "QoS 0 has no answer")
    r.ping()
    five(t, s, "off", ("x", 1), clean=False, session_expiry=100, user="u", password="p").leave()
    equal(r.pub1("x", "stored"), 0, "for a session that is away")


@normative("MQTT-3.3.2-4", "MQTT-3.1.3-10")
def payload_format(t):
    s = t.baetyl(HUB + "  message: {payload: {check: true}}\n")
    sub = five(t, s, "sub", ("t", 0))
    r = five(t, s, "pub")
    for good in (b"plain", "grün \U0001f600".encode(), b"a\0b", b""):
        r.pub1("t", good, payload_format=1)
        m = sub.get()
        equal((m["payload"], m["props"]), (good, {"payload_format": 1}), "delivered")
    for bad in (b"\xff", b"a\0\xc0\x80", b"\xed\xa0\x80"):
        equal(r.pub1("t", bad, payload_format=1), 0x99, "PUBACK")
        equal(r.pub1("t", bad, payload_format=0), 0, "PUBACK")
        equal(sub.get()["payload"], bad, "unspecified bytes")
        five(t, s, "zero").pub("t", bad, payload_format=1).ended(0x99)
    w = Five(t, s.port)
    w.send(will_connect("w", "t", b"\xff", will_props=props(payload_format=1)))
    w.connack(0x99)
    r.pub("t", "x", payload_format=2).ended(0x82)
    free = t.baetyl()
    equal(five(t, free, "c").pub1("t", b"\xff", payload_format=1), 0x10, "not checked by default")


@normative("MQTT-3.3.2-13", "MQTT-3.3.2-14", "MQTT-3.3.2-15", "MQTT-3.3.2-16", "MQTT-3.3.2-17", "MQTT-3.3.2-18",
           "MQTT-3.3.2-19", "MQTT-3.3.2-20", "MQTT-3.1.2-28")
def request_and_response(t):
    s = t.baetyl(HUB + "  response: {topic: answers}\n")
    asker = Five(t, s.port)
    _, p = asker.open("asker", request_response=1)
    equal(p["response_info"], b"answers/asker", "response information")
    check("response_info" not in Five(t, s.port).open("b", request_response=0)[1], "not asked")
    check("response_info" not in Five(t, s.port).open("b")[1], "not asked")
    check("response_info" not in Five(t, s.port).open("a+b", request_response=1)[1], "not a topic")
    asker.sub(("answers/asker", 1))
    server = five(t, s, "server", ("ask", 1))
    users = [("b", "1"), ("a", "2"), ("b", "3"), ("", "")]
    asker.pub1("ask", "what", response_topic="answers/asker", correlation_data=b"\0\xff",
               content_type="text/plain", more=[("user", u) for u in users])
    m = server.get()
    equal(m["props"].pop("user"), [(a.encode(), b.encode()) for a, b in users], "user properties in order")
    equal(m["props"], {"response_topic": b"answers/asker", "correlation_data": b"\0\xff",
                       "content_type": b"text/plain"}, "properties")
    server.pub1(m["props"]["response_topic"].decode(), "this", correlation_data=m["props"]["correlation_data"])
    equal(asker.get()["props"], {"correlation_data": b"\0\xff"}, "answer")
    for bad in ("a/+", "#", ""):
        five(t, s, "bad").pub("t", "x", response_topic=bad).ended(0x82)
    five(t, s, "bad").send(raw.publish("t", "x", level=5, props=b"\4\x03\0\1\xff")).ended(0x81)


# ---- Limits of the client ----

@normative("MQTT-3.1.2-24", "MQTT-3.1.2-25")
def maximum_packet_size(t):
    s = t.baetyl(HUB + "  message: {length: {max: 1k}}\n")
    r = Five(t, s.port)
    _, p = r.open("c", max_packet=100)
    equal(p["max_packet"], 1024, "the hub's own")
    r.sub(("t", 1))
    pub = five(t, s, "pub")
    for n in (50, 92, 93, 200, 60):
        pub.pub1("t", b"x" * n)
    equal([len(r.get()["payload"]) for _ in range(3)], [50, 92, 60], "too large ones are left out")
    r.quiet()
    filters = [("a/%d/#/b" % i, 0) for i in range(85)]
    equal(r.sub(*filters), [0x8f] * 85, "SUBACK without words")
    equal(r.suback_props, {}, "no words")
    r.send(raw.subscribe(*[("a/%d" % i, 0) for i in range(120)], level=5)).closed()
    big = five(t, s, "big")
    equal(big.pub("t", b"x" * 2000).ended(0x95)["reason_string"], b"packet too large", "inbound")
    tiny = Five(t, s.port)
    tiny.send(raw.connect("tiny", level=5, props=props(max_packet=5))).closed()
    Five(t, s.port).send(raw.connect("x", level=5, props=props(max_packet=0))).closed()


@normative("MQTT-4.9.0-1", "MQTT-4.9.0-2", "MQTT-4.9.0-3", "MQTT-3.3.4-9", "MQTT-3.3.4-10")
def receive_maximum(t):
    s = t.baetyl()
    r = five(t, s, "c", ("t", 1), receive_max=3)
    pub = five(t, s, "pub")
    for i in range(8):
        pub.pub1("t", str(i))
    held = [r.get(ack=False) for _ in range(3)]
    r.quiet()
    r.ping()
    pub.pub("t", "QoS 0 passes")
    equal(r.get()["qos"], 0, "QoS 0")
    for i in range(5):
        r.send(raw.packet(0x40, held.pop(0)["pid"].to_bytes(2, "big")))
        held.append(r.get(ack=False))
        equal(held[-1]["payload"], str(i + 3).encode(), "one for each PUBACK")
    five(t, s, "bad")
    x = Five(t, s.port)
    x.send(raw.connect("x", level=5, props=props(receive_max=0)))
    got = x.packet()
    check(got is None or got[2][1] == 0x82, "receive maximum 0")


# ---- Identifiers, sessions, the end ----

@normative("MQTT-3.1.3-5", "MQTT-3.1.3-8", "MQTT-3.1.4-3", "MQTT-3.1.2-4", "MQTT-3.1.2-5", "MQTT-3.1.2-6",
           "MQTT-3.2.2-2", "MQTT-3.2.2-3", "MQTT-3.2.2-6")
def identifiers_and_sessions(t):
    s = t.baetyl(HUB + "  limits: {client: {id: {length: 23, plain: true}}}\n")
    for good in ("a", "A-z_0", "x" * 23):
        five(t, s, good).leave()
    for bad in ("x" * 24, "a/b", "a b", "grün"):
        Five(t, s.port).open(bad, code=0x85)
        Raw(t, s.port).login(bad, code=2)
    free = t.baetyl()
    five(t, free, "any/thing ü" + "x" * 500)
    steps = ((False, 100, 0), (False, 100, 1), (True, 100, 0), (False, 0, 1), (False, 100, 0), (False, 1, 1))
    for clean, expiry, present in steps:
        r = Five(t, free.port)
        equal(r.open("s", clean, session_expiry=expiry)[0], present, "%r" % ((clean, expiry, present),))
        r.leave()
    time.sleep(1.2)
    r = Five(t, free.port)
    equal(r.open("s", False, session_expiry=0xffffffff)[0], 0, "expired")
    r.leave(session_expiry=1)
    r = Five(t, free.port)
    equal(r.open("s", False, session_expiry=100)[0], 1, "not yet expired")
    r.leave(session_expiry=0)
    r = Five(t, free.port)
    equal(r.open("s", False, session_expiry=100)[0], 0, "ended by DISCONNECT")
    other = five(t, free, "s", clean=False)
    equal(r.ended(0x8e)["reason_string"], b"session taken over", "takeover")
    other.ping()


@normative("MQTT-3.14.2-2", "MQTT-3.14.4-1", "MQTT-3.14.4-2", "MQTT-4.13.2-1")
def the_server_says_why(t):
    s = t.baetyl()
    r = five(t, s, "c")
    old = raw.session(t, s, "old")
    other = five(t, s, "other", keepalive=1)
    packet = raw.publish("t", b"x" * 1000, level=5)
    for i in range(30):
        other.send(packet[i:i + 1])
        time.sleep(0.1)
    equal(other.ended(0x8d, 0.5)["reason_string"], b"keep alive timeout", "parts of a packet are no sign of life")
    equal(s.stop(), 0, "exit status")
    equal(r.ended(0x8b), {"reason_string": b"server shutting down"}, "stop")
    equal(old.packet(), None, "3.1.1 is closed")


@normative("MQTT-1.5.4-1", "MQTT-1.5.4-2", "MQTT-1.5.4-3", "MQTT-1.5.5-1", "MQTT-1.5.7-1", "MQTT-4.7.3-2",
           "MQTT-3.3.2-1", "MQTT-3.3.2-2", "MQTT-3.3.2-13", "MQTT-3.3.2-19", "MQTT-3.1.3-4", "MQTT-3.1.3-11", "MQTT-3.8.3-1", "MQTT-3.10.3-1")
def text_is_utf8(t):
    s = t.baetyl()
    bad = (b"\xff", b"a\xc0\x80", b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xf4\x90\x80\x80", b"a\0b", b"\xe2\x82")
    for text in bad:
        five(t, s, "c").pub(text, "x").ended(0x81)
        five(t, s, "c").send(raw.subscribe((text, 0), level=5)).ended(0x81)
        five(t, s, "c").send(raw.unsubscribe(text, level=5)).ended(0x81)
        five(t, s, "c").pub("t", "x", user=(text, "v")).ended(0x81)
        five(t, s, "c").pub("t", "x", content_type=text).ended(0x81)
        check(Five(t, s.port).send(raw.connect(text, level=5)).closed(), "identifier")
        check(Five(t, s.port).send(will_connect("w", text, "x")).closed(), "will topic")
    sub = five(t, s, "sub", ("#", 0))
    r = five(t, s, "pub")
    bom = b"\xef\xbb\xbfa"
    for topic in (bom.decode(), "ÿ/\U0001f600", "\ufffe", "\x01"):
        r.pub(topic, "x")
        equal(sub.get()["topic"], topic, "kept as it is")
    for length in (b"\x80\x80\x80\x80\x01", b"\xff\xff\xff\xff\x7f", b"\x80\x00"):
        five(t, s, "c").send(b"\x30" + length + b"\0\1ax").ended(0x81)


@normative("MQTT-4.7.2-1", "MQTT-4.7.3-4")
def dollar_topics(t):
    s = t.baetyl()
    r = five(t, s, "c", ("#", 0), ("+/x", 0), ("+", 0))
    equal(r.pub1("$x", "m"), 0x87, "PUBACK")
    equal(r.pub1("$SYS/x", "m"), 0x87, "PUBACK")
    r.quiet(1.2)
    old = raw.session(t, s, "old")
    old.send(raw.publish("$SYS/x", "m")).closed()
    pub = five(t, s, "pub")
    pub.pub1("/$x", "inside")
    five(t, s, "inside", ("/+", 0), ("a", 0)).quiet(0.1)
    pub.pub("A", "case")
    pub.pub("a b", "blank")
    equal([r.get()["topic"] for _ in range(3)], ["/$x", "A", "a b"], "topics")


@normative("MQTT-3.3.2-5", "MQTT-3.1.2-10")
def what_is_over_leaves_the_disk(t):
    """Expired retained messages; and a clean session never comes there."""
    s = t.baetyl()
    pub = five(t, s, "pub")
    for i in range(300):
        pub.pub("r/%d" % i, "m", retain=True, **({"message_expiry": 1} if i % 3 else {}))
    pub.pub1("r/0", "kept", retain=True)
    persistent = Five(t, s.port)
    persistent.send(will_connect("p", "w", "x", clean=False, session_expiry=100))
    persistent.connack()
    clean = Five(t, s.port)
    clean.send(will_connect("c", "w", "x", qos=1))
    clean.connack()
    clean.sub(("x/#", 1))
    pub.pub1("x/1", "in flight")
    clean.get(ack=False)
    time.sleep(2.6)
    pub.ping()
    s.kill()
    path = os.path.join(s.dir, "var/db/baetyl/data/hub.db")
    db = sqlite3.connect(path)
    counts = {n: db.execute("SELECT COUNT(*) FROM " + n).fetchone()[0]
              for n in ("retained", "will", "session", "subscription", "queue", "message")}
    db.close()
    equal(counts, {"retained": 100, "will": 1, "session": 1, "subscription": 0, "queue": 0, "message": 0}, "rows")
