"""MQTT 5.0, statement by statement, with raw packets: what the server owes a client."""
import time

import raw
from harness import HUB, check, equal
from mqtt5 import Five, five, normative, props
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

@normative("MQTT-3.1.2-23", "MQTT-3.1.3-6", "MQTT-3.1.3-7", "MQTT-3.2.2-16", "MQTT-3.2.2-17")
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


@normative("MQTT-3.2.2-21", "MQTT-3.1.2-21", "MQTT-3.1.2-22", "MQTT-3.14.2-2")
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


@normative("MQTT-3.1.0-2", "MQTT-3.15.1-1", "MQTT-4.12.0-1", "MQTT-4.13.1-1")
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

@normative("MQTT-3.1.2-26", "MQTT-3.1.2-27", "MQTT-3.2.2-18", "MQTT-3.3.2-7", "MQTT-3.3.2-8", "MQTT-3.3.2-9",
           "MQTT-3.3.2-10", "MQTT-3.3.2-11", "MQTT-3.3.2-12")
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


@normative("MQTT-3.1.2-26", "MQTT-3.1.2-27")
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
    pub.pub1("x/4", "now", message_expiry=0)
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
