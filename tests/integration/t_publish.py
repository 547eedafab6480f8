"""Publishing: QoS 0 and 1, retained, wildcards, $ topics, overlapping subscriptions, limits."""
import raw
from harness import HUB, check, equal, need_tool, test
from pahoclient import V4, V5, Client
from raw import Raw, session


@test
def qos_is_the_lower_of_two(t):
    s = t.baetyl()
    subs = [session(t, s, "s0", ("x", 0)), session(t, s, "s1", ("x", 1))]
    pub = session(t, s, "pub")
    for qos in (0, 1):
        pub.send(raw.publish("x", "m", qos=qos, pid=7))
        if qos:
            equal(pub.expect(raw.PUBACK), b"\0\7", "PUBACK")
        for granted, sub in enumerate(subs):
            equal(sub.message()["qos"], min(qos, granted), "delivered QoS")


@test
def order_and_count(t):
    s = t.baetyl()
    sub = session(t, s, "sub", ("x", 1))
    pub = session(t, s, "pub")
    for start in range(0, 1000, 50):
        pub.send(*[raw.publish("x", str(i), qos=1, pid=i + 1) for i in range(start, start + 50)])
        for i in range(start, start + 50):
            equal(pub.expect(raw.PUBACK), bytes([(i + 1) >> 8, (i + 1) & 255]), "PUBACK")
    for i in range(1000):
        equal(sub.message()["payload"], str(i).encode(), "payload")
    sub.quiet()


@test
def large_and_empty_payloads(t):
    s = t.baetyl(HUB + "  message: {length: {max: 4m}}\n")
    sub = session(t, s, "sub", ("x", 1))
    pub = session(t, s, "pub")
    for n in (0, 1, 127, 128, 16384, 70000, 3000000):
        pub.send(raw.publish("x", b"z" * n, qos=1)).expect(raw.PUBACK, 10)
        equal(len(sub.message(10)["payload"]), n, "length")


@test
def too_large_packet_closes(t):
    s = t.baetyl(HUB + "  message: {length: {max: 32k}}\n")
    sub = session(t, s, "sub", ("x", 0))
    ok = session(t, s, "ok")
    ok.send(raw.publish("x", b"z" * 32700))
    equal(len(sub.message()["payload"]), 32700, "length")
    r = session(t, s, "bad")
    check(r.send(raw.publish("x", b"z" * 33000)).closed())
    ok.ping()
    sub.quiet()


@test
def wildcards(t):
    s = t.baetyl()
    rows = [("a", "a/#", 1), ("a/", "a/+", 1), ("a", "a/+", 0), ("/", "+", 0), ("/", "+/+", 1),
            ("/", "/+", 1), ("/a/b", "/a/b/#", 1), ("/a/b", "/a/b/+", 0), ("//", "+/#", 1),
            ("a/b/c", "a/+/c", 1), ("a/b/c", "a/+", 0), ("a/b/c", "#", 1), ("A", "a", 0)]
    pub = session(t, s, "pub")
    for i, (topic, pattern, want) in enumerate(rows):
        sub = session(t, s, "s%d" % i, (pattern, 0))
        pub.send(raw.publish(topic, "m")).ping()
        sub.send(raw.packet(0xc0))
        kind = sub.packet()[0]
        equal(kind, raw.PUBLISH if want else raw.PINGRESP, "%s on %s" % (pattern, topic))
        sub.close()


@test
def bad_filters_and_topics(t):
    s = t.baetyl()
    for pattern in ("a/#/c", "a/##", "a/b+", "#a", ""):
        r = session(t, s, "f")
        r.send(raw.subscribe((pattern, 0)))
        got = r.packet()
        check(got is None or (got[0] == raw.SUBACK and got[2][2] == 128) or got[0] == raw.DISCONNECT,
              "%r gave %r" % (pattern, got))
        r.close()
    for topic in ("a/+", "#", "", "a\0b"):
        r = session(t, s, "p")
        check(r.send(raw.publish(topic, "m")).closed(), topic)


@test
def dollar_topics_are_hidden_from_wildcards(t):
    s = t.baetyl()
    sub = session(t, s, "sub", ("#", 0), ("+/x", 0))
    pub = session(t, s, "pub")
    pub.send(raw.publish("$other/x", "m"))
    sub.quiet()


@test
def overlapping_subscriptions_one_copy(t):
    s = t.baetyl()
    sub = session(t, s, "sub", ("a/#", 0), ("a/b", 1), ("+/b", 0))
    session(t, s, "pub").send(raw.publish("a/b", "m", qos=1)).expect(raw.PUBACK)
    got = sub.message()
    equal((got["payload"], got["qos"]), (b"m", 1), "message")
    sub.quiet()


@test
def subscribe_again_replaces(t):
    s = t.baetyl()
    sub = session(t, s, "sub", ("a", 0))
    equal(sub.send(raw.subscribe(("a", 1), pid=2)).expect(raw.SUBACK), b"\0\2\1", "SUBACK")
    session(t, s, "pub").send(raw.publish("a", "m", qos=1)).expect(raw.PUBACK)
    equal(sub.message()["qos"], 1, "QoS")
    sub.quiet()


@test
def unsubscribe(t):
    s = t.baetyl()
    sub = session(t, s, "sub", ("a", 0), ("b", 0))
    equal(sub.send(raw.unsubscribe("a", "unknown", pid=9)).expect(raw.UNSUBACK), b"\0\x09", "UNSUBACK")
    session(t, s, "pub").send(raw.publish("a", "1"), raw.publish("b", "2"))
    equal(sub.message()["payload"], b"2", "payload")


@test
def retained(t):
    s = t.baetyl()
    live = session(t, s, "live", ("r/#", 1))
    pub = session(t, s, "pub")
    pub.send(raw.publish("r/a", "old", retain=True), raw.publish("r/a", "new", qos=1, retain=True))
    pub.expect(raw.PUBACK)
    for payload in (b"old", b"new"):
        got = live.message()
        equal((got["payload"], got["retain"]), (payload, 0), "live delivery")
    late = session(t, s, "late")
    late.send(raw.subscribe(("r/+", 1)))
    late.expect(raw.SUBACK)
    got = late.message()
    equal((got["payload"], got["retain"], got["qos"]), (b"new", 1, 1), "retained")
    late.quiet()
    pub.send(raw.publish("r/a", "", retain=True)).ping()
    equal(live.message()["payload"], b"", "the deletion is delivered")
    session(t, s, "later", ("r/#", 0)).quiet()


@test
def empty_without_retain_deletes_nothing(t):
    s = t.baetyl()
    pub = session(t, s, "pub")
    pub.send(raw.publish("r", "keep", retain=True), raw.publish("r", "")).ping()
    equal(session(t, s, "sub", ("r", 0)).message()["payload"], b"keep", "payload")


@test
def retained_respects_permits(t):
    s = t.baetyl(HUB + """  principals:
    - {username: a, password: a, permissions: [{action: pub, permit: ['#']}, {action: sub, permit: ['#']}]}
    - {username: b, password: b, permissions: [{action: sub, permit: ['in/+']}]}
""")
    session(t, s, "a", user="a", password="a").send(
        raw.publish("secret", "m", retain=True), raw.publish("in/x", "ok", retain=True)).ping()
    r = Raw(t, s.port)
    r.login("b", user="b", password="b")
    r.send(raw.subscribe(("#", 0), ("in/+", 0)))
    equal(list(r.expect(raw.SUBACK)[2:]), [128, 0], "SUBACK")
    equal(r.message()["topic"], "in/x", "topic")
    r.quiet()


@test
def will_on_lost_connection(t):
    s = t.baetyl()
    sub = session(t, s, "sub", ("will/#", 1))
    for name, clean_end in (("w1", False), ("w2", True)):
        r = Raw(t, s.port)
        r.login(name, will=("will/" + name, b"gone", 1))
        if clean_end:
            r.send(raw.packet(0xe0)).closed()
        r.close()
        if not clean_end:
            equal(sub.message()["topic"], "will/w1", "topic")
    sub.quiet()


@test
def paho_both_versions(t):
    s = t.baetyl()
    for sub_version in (V4, V5):
        for pub_version in (V4, V5):
            sub = Client(t, s, "s%d%d" % (sub_version, pub_version), sub_version)
            sub.subscribe(("p/#", 1))
            pub = Client(t, s, "p%d%d" % (sub_version, pub_version), pub_version)
            for qos in (0, 1):
                pub.publish("p/a", "hi %d" % qos, qos)
                m = sub.message()
                equal((m.topic, m.payload, m.qos), ("p/a", b"hi %d" % qos, qos), "message")
            sub.close()


@test
def mosquitto_clients(t):
    sub = need_tool("mosquitto_sub")
    pub = need_tool("mosquitto_pub")
    s = t.baetyl()
    for version in ("311", "5"):
        for qos in ("0", "1"):
            equal(t.run([pub, "-p", str(s.port), "-V", version, "-t", "m/" + qos, "-q", qos, "-r",
                         "-m", "hello"])[0], 0, "exit status")
        code, out, _ = t.run([sub, "-p", str(s.port), "-V", version, "-t", "m/#", "-q", "1", "-C", "2",
                              "-W", "10", "-F", "%t %q %r %p"])
        equal(code, 0, "exit status")
        equal(sorted(out.decode().split("\n")), ["", "m/0 0 1 hello", "m/1 1 1 hello"], "output")


@test
def rules_of_the_hub(t):
    s = t.baetyl(HUB + """  subscriptions:
    - {source: {topic: t}, target: {topic: t/topic}}
    - {source: {topic: q, qos: 1}, target: {topic: q/copy, qos: 1}}
""")
    sub = session(t, s, "sub", ("#", 1))
    pub = session(t, s, "pub")
    pub.send(raw.publish("t", "m"))
    equal([(m["topic"], m["qos"]) for m in (sub.message(), sub.message())], [("t", 0), ("t/topic", 0)])
    pub.send(raw.publish("q", "m", qos=1)).expect(raw.PUBACK)
    equal(sorted((m["topic"], m["qos"]) for m in (sub.message(), sub.message())), [("q", 1), ("q/copy", 1)])
