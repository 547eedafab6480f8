"""`baetyl why`: every cause for which a message is not delivered is provoked and explained."""
import signal
import time

import api
import raw
from harness import check, contains, equal, test, until
from raw import Raw, session

HUB = """
hub:
  listen: ['tcp://127.0.0.1:0']
  limits: {queue: {messages: 8, bytes: 4096}}
  message.egress.qos1.buffer.size: 2
  anonymous: true
  principals:
    - username: meter
      password: secret
      permissions:
        - {action: pub, permit: ['m/#']}
        - {action: sub, permit: ['cmd/#']}
"""
LOGIN = {"user": "meter", "password": "secret"}


def why(s, **params):
    from urllib.parse import urlencode
    return api.get_json(s, "/v1/hub/why?" + urlencode(params))


def events(s, client, **params):
    return why(s, client=client, **params)["events"]


def event(s, client, kind, **want):
    """The newest event of this kind, once it is there."""
    def find():
        for e in reversed(events(s, client)):
            if e["event"] == kind and all(e.get(k) == v for k, v in want.items()):
                return e
        return None
    return until(find, what="an event %s %r of %s" % (kind, want, client))


def says(t, s, part, *args):
    code, out, errors = t.command("why", "-w", s.dir, *args)
    equal((code, errors), (0, b""), "status and errors")
    contains(out, part)
    return out.decode()


@test
def it_would_arrive(t):
    s = t.baetyl()
    session(t, s, "c", ("a/+/x", 1), ("$share/g/a/#", 0))
    got = why(s, client="c", topic="a/b/x")
    equal((got["known"], got["would_reach"]), (True, True), "verdict")
    contains(str(got["because"]), "its subscription a/+/x matches, QoS 1")
    contains(str(got["because"]), "one of its members only")
    check(got["session"]["address"].startswith("127.0.0.1:"), "address")
    equal(got["events"], [], "events")
    says(t, s, "would reach it", "--client", "c", "--topic", "a/b/x")


@test
def nothing_matches(t):
    s = t.baetyl()
    session(t, s, "c", ("a", 1))
    got = why(s, client="c", topic="b")
    equal(got["would_reach"], False, "verdict")
    contains(str(got["because"]), "none of its 1 subscriptions matches b")
    says(t, s, "it subscribes to a", "--client", "c", "--topic", "b")


@test
def no_such_client(t):
    s = t.baetyl()
    got = why(s, client="nobody", topic="b")
    equal((got["known"], got["would_reach"], got["events"]), (False, False, []), "answer")
    says(t, s, "there is no session of that client", "-c", "nobody")


@test
def a_topic_that_cannot_be(t):
    s = t.baetyl()
    session(t, s, "c", ("#", 1))
    for topic in ("a/+", "$x/y", "a/#"):
        got = why(s, client="c", topic=topic)
        equal(got["would_reach"], False, topic)
        contains(str(got["because"]), "nobody can publish to " + topic)


@test
def login_refused(t):
    s = t.baetyl(HUB)
    for _ in range(3):
        Raw(t, s.port).login("thief", code=4, user="meter", password="wrong")
    e = event(s, "thief", "login_refused", code=0x86)
    equal(e["text"], "login refused: bad user name or password", "text")
    # One that has a session keeps it in its own ring.
    session(t, s, "known", clean=False, **LOGIN)
    Raw(t, s.port).login("known", code=4, user="meter", password="wrong")
    event(s, "known", "login_refused", code=0x86)
    m = api.metrics(s)
    equal(m['baetyl_hub_refused_total{what="connect",reason="bad_login"}'], 4, "counted")
    says(t, s, "login refused: bad user name or password", "--client", "thief")


@test
def a_flood_of_strangers_displaces_nobody(t):
    s = t.baetyl(HUB)
    c = session(t, s, "c", **LOGIN)
    c.send(raw.publish("not/mine", "x")).closed()
    event(s, "c", "publish_refused")
    for i in range(150):
        Raw(t, s.port).send(raw.connect("s%d" % i, level=5, props=b"\x04\x15\0\x01x"))
    until(lambda: api.metrics(s)['baetyl_hub_refused_total{what="connect",reason="bad_auth_method"}'] == 150,
          what="150 refused")
    event(s, "c", "publish_refused")


@test
def subscription_refused(t):
    s = t.baetyl(HUB)
    c = session(t, s, "c", **LOGIN)
    equal(c.send(raw.subscribe(("private/#", 1), ("a/#/b", 0))).expect(raw.SUBACK)[2:], b"\x80\x80", "codes")
    equal(event(s, "c", "subscribe_refused", topic="private/#")["code"], 0x87, "code")
    equal(event(s, "c", "subscribe_refused", topic="a/#/b")["code"], 0x8f, "code")
    got = why(s, client="c", topic="private/x")
    equal(got["would_reach"], False, "verdict")
    m = api.metrics(s)
    equal(m['baetyl_hub_refused_total{what="subscribe",reason="not_authorized"}'], 1, "counted")
    equal(m['baetyl_hub_refused_total{what="subscribe",reason="bad_filter"}'], 1, "counted")


@test
def publish_refused(t):
    s = t.baetyl(HUB)
    c = session(t, s, "c", **LOGIN)
    c.send(raw.publish("other", "x")).closed()
    event(s, "c", "publish_refused", topic="other", code=0x87)
    # The receiver's side finds it by the topic.
    got = why(s, topic="other")["others"]
    equal([(e["event"], e["client"]) for e in got], [("publish_refused", "c")], "by topic")
    says(t, s, "c: its publish was refused: not authorized: other", "--topic", "other")


@test
def nobody_subscribes(t):
    s = t.baetyl()
    c = session(t, s, "c")
    for i in range(5):
        c.send(raw.publish("void", "x", qos=1, pid=i + 1)).expect(raw.PUBACK)
    e = event(s, "c", "nobody", topic="void")
    equal(e["times"], 5, "the same again is counted")
    says(t, s, "its publish went nowhere: nobody subscribes to that: void (5 times)", "-c", "c")


@test
def qos_0_while_offline(t):
    s = t.baetyl()
    c = session(t, s, "off", ("o", 1), clean=False)
    c.send(raw.packet(0xe0)).closed()
    pub = session(t, s, "pub")
    pub.send(raw.publish("o", "x")).ping()
    equal(event(s, "off", "dropped")["reason"], "qos0_offline", "reason")
    got = why(s, client="off", topic="o")
    equal(got["would_reach"], True, "QoS 1 would wait")
    contains(str(got["because"]), "of QoS 0 not")
    contains(str(got["because"]), "it is not connected")


@test
def queue_full(t):
    s = t.baetyl(HUB)
    c = session(t, s, "c", ("q", 1))
    pub = session(t, s, "pub")
    for i in range(20):
        pub.send(raw.publish("q", "x", qos=1, pid=i + 1)).expect(raw.PUBACK)
    e = event(s, "c", "dropped", reason="queue_full")
    equal((e["topic"], e["times"]), ("q", 12), "topic and times")
    got = str(why(s, client="c", topic="q")["because"])
    contains(got, "it owes 2 acknowledgements")
    contains(got, "its queue is full")
    equal(api.metrics(s)['baetyl_hub_messages_dropped_total{reason="queue_full"}'], 12, "counted")
    says(t, s, "not delivered: the queue of the session was full: q (12 times)", "-c", "c", "-t", "q")
    c.close()


@test
def slow_reader(t):
    s = t.baetyl(HUB)
    c = session(t, s, "slow", ("q", 0))
    pub = session(t, s, "pub")

    def dropped():
        for _ in range(50):
            pub.send(raw.publish("q", b"x" * 60000))
        pub.ping()
        return ("messages of QoS 0 are dropped" in str(why(s, client="slow", topic="q")["because"]) and
                api.metrics(s)["baetyl_hub_output_bytes"] > 0)
    until(dropped, 20, "output that waits")
    event(s, "slow", "dropped", reason="slow_reader", topic="q")
    c.close()
    until(lambda: api.metrics(s)["baetyl_hub_output_bytes"] == 0, what="nothing waits")


@test
def too_large_for_the_client(t):
    s = t.baetyl()
    c = Raw(t, s.port)
    c.login("small", level=5, props=b"\x05\x27\x00\x00\x00\x80")
    c.send(raw.subscribe(("q", 1), level=5)).expect(raw.SUBACK)
    pub = session(t, s, "pub")
    pub.send(raw.publish("q", b"x" * 500, qos=1)).expect(raw.PUBACK)
    event(s, "small", "dropped", reason="too_large", topic="q")
    contains(str(why(s, client="small", topic="q")["because"]), "packets above 128 bytes are not sent")


@test
def no_local(t):
    s = t.baetyl()
    c = Raw(t, s.port)
    c.login("c", level=5)
    c.send(raw.subscribe(("q", 4), level=5)).expect(raw.SUBACK)
    c.send(raw.publish("q", "x", level=5)).ping()
    event(s, "c", "no_local", topic="q")
    contains(str(why(s, client="c", topic="q")["because"]), "no-local")


@test
def how_connections_ended(t):
    s = t.baetyl("hub:\n  listen: ['tcp://127.0.0.1:0']\n")
    c = session(t, s, "bye")
    c.send(raw.packet(0xe0)).closed()
    contains(event(s, "bye", "disconnected")["text"], "said goodbye")
    session(t, s, "lost").close()
    contains(event(s, "lost", "disconnected")["text"], "was lost")
    session(t, s, "twice")
    session(t, s, "twice").ping()
    contains(event(s, "twice", "disconnected")["text"], "session taken over")
    event(s, "twice", "connected")
    c = session(t, s, "wrong")
    c.send(raw.packet(0x50, b"\0\1\0")).closed()
    session(t, s, "silent", keepalive=1)
    e = event(s, "silent", "disconnected")
    contains(e["text"], "keep alive timeout")
    equal(e["code"], 0x8d, "code")


@test
def expired_while_it_waited(t):
    s = t.baetyl()
    c = session(t, s, "off", ("e", 1), clean=False)
    c.send(raw.packet(0xe0)).closed()
    pub = Raw(t, s.port)
    pub.login("pub", level=5)
    pub.send(raw.publish("e", "x", qos=1, level=5, props=b"\x05\x02\0\0\0\x01")).expect(raw.PUBACK)
    time.sleep(1.3)
    c = Raw(t, s.port)
    equal(c.login("off", clean=False), 1, "session present")
    event(s, "off", "dropped", reason="expired", topic="e")


@test
def no_longer_permitted(t):
    s = t.baetyl(HUB)
    c = session(t, s, "c", ("cmd/x", 1), clean=False, **LOGIN)
    c.send(raw.packet(0xe0)).closed()
    session(t, s, "pub").send(raw.publish("cmd/x", "x", qos=1)).expect(raw.PUBACK)
    with open(s.config, "w") as f:
        f.write(HUB.replace("cmd/#", "other/#"))
    s.process.send_signal(signal.SIGHUP)
    until(lambda: "HUB-NARROW" in s.log(), what="the reload")
    c = Raw(t, s.port)
    c.login("c", clean=False, **LOGIN)
    event(s, "c", "dropped", reason="forbidden", topic="cmd/x")


@test
def the_session_ended_first(t):
    s = t.baetyl()
    c = session(t, s, "c", ("q", 1))
    pub = session(t, s, "pub")
    for i in range(3):
        pub.send(raw.publish("q", "x", qos=1, pid=i + 1)).expect(raw.PUBACK)
    for _ in range(3):
        c.message(ack=False)
    c.close()
    event(s, "c", "dropped", reason="session_ended", topic="q")
    until(lambda: api.metrics(s)['baetyl_hub_messages_dropped_total{reason="session_ended"}'] == 3, what="3 counted")


@test
def waiting_on_disk(t):
    s = t.baetyl(HUB)
    c = session(t, s, "off", ("q", 1), clean=False)
    c.send(raw.packet(0xe0)).closed()
    pub = session(t, s, "pub")
    pub.send(raw.publish("q", "x", qos=1)).expect(raw.PUBACK)
    event(s, "off", "on_disk")
    contains(str(why(s, client="off", topic="q")["because"]), "more messages wait on disk")


@test
def traced(t):
    s = t.baetyl()
    c = session(t, s, "c", ("q", 1))
    says(t, s, "From now on everything about it is recorded", "-c", "c", "--trace", "60")
    pub = session(t, s, "pub")
    pub.send(raw.publish("q", "x", qos=1)).expect(raw.PUBACK)
    c.message()
    c.send(raw.publish("q", "y")).message()
    c.ping()
    kinds = [e["event"] for e in events(s, "c")]
    for kind in ("queued", "sent", "acknowledged", "routed"):
        check(kind in kinds, "%s in %r" % (kind, kinds))
    two = session(t, s, "two", ("w", 2))
    why(s, client="two", trace=60)
    pub.send(raw.publish("w", "x", qos=2, pid=9)).expect(5)
    pub.send(raw.packet(0x62, b"\0\x09")).expect(7)
    pid = two.message()["pid"].to_bytes(2, "big")
    two.send(raw.packet(0x50, pid)).expect(6)
    two.send(raw.packet(0x70, pid)).ping()
    check("acknowledged" in [e["event"] for e in events(s, "two")], "QoS 2")
    equal(why(s, client="c", trace=0)["traced"], False, "no longer")
    before = len(events(s, "c"))
    pub.send(raw.publish("q", "x", qos=1, pid=2)).expect(raw.PUBACK)
    equal(len(events(s, "c")), before, "events")
    for i in range(20):
        session(t, s, "t%d" % i)
    results = [why(s, client="t%d" % i, trace=5)["traced"] for i in range(20)]
    check(False in results and True in results, "a few at a time")


@test
def memory_is_bounded(t):
    s = t.baetyl("hub:\n  listen: ['tcp://127.0.0.1:0']\n  recorder.clients: 4\n  workers: 1\n")
    for i in range(8):
        c = session(t, s, "c%d" % i)
        c.send(raw.packet(0x50, b"\0\1\0")).closed()
    until(lambda: events(s, "c7"), what="the newest is kept")
    kept = [i for i in range(8) if events(s, "c%d" % i)]
    equal(kept, [4, 5, 6, 7], "kept")
    # Many different topics: a ring of fixed size.
    c = session(t, s, "many")
    for i in range(100):
        c.send(raw.publish("t/%d" % i + "/long" * 50, "x"))
    c.ping()
    check(len(events(s, "many")) <= 16, "a ring")


@test
def long_topics_are_told_apart(t):
    s = t.baetyl()
    c = session(t, s, "c")
    long_one = "p" * 60 + "/one"
    c.send(raw.publish(long_one, "x")).ping()
    e = event(s, "c", "nobody")
    equal((e["topic"], e["cut"]), ("p" * 40, True), "the start is kept")
    kinds = [e["event"] for e in events(s, "c", topic=long_one)]
    equal(kinds, ["nobody"], "found")
    equal([e for e in events(s, "c", topic="p" * 60 + "/two") if e["event"] == "nobody"], [], "another")


@test
def clients_are_listed_in_pages(t):
    s = t.baetyl()
    for i in range(60):
        session(t, s, "c%02d" % i, ("t/%d" % i, 1), clean=i % 2 == 0)
    first = api.get_json(s, "/v1/hub/clients?limit=10")
    check(10 <= len(first["clients"]) < 60 and first["next"], "a page: %d" % len(first["clients"]))
    seen, after = [c["id"] for c in first["clients"]], first["next"]
    while after:
        page = api.get_json(s, "/v1/hub/clients?limit=10&after=" + after)
        seen += [c["id"] for c in page["clients"]]
        after = page["next"]
    equal(sorted(seen), ["c%02d" % i for i in range(60)], "all, once")
    one = [c for c in api.get_json(s, "/v1/hub/clients?limit=100")["clients"] if c["id"] == "c07"][0]
    equal((one["connected"], one["persistent"], one["subscriptions"], one["version"]), (True, True, 1, 4), "c07")
    code, out, _ = t.command("clients", "-w", s.dir)
    equal((code, out.count(b"\n")), (0, 61), "lines")
    for bad in ("limit=0", "limit=x", "limit=99999", "after=1", "after=99.0", "after=x.y"):
        equal(api.request(s, "/v1/hub/clients?" + bad)[0], 400, bad)
    for bad in ("", "client=", "client=x&trace=99999", "client=%00", "topic=" + "x" * 2000):
        equal(api.request(s, "/v1/hub/why?" + bad)[0], 400, bad)


@test
def commands_say_when_nobody_answers(t):
    folder = t.folder()
    for command in (("why", "-c", "x"), ("clients",), ("metrics",)):
        code, out, errors = t.command(*(command + ("-w", folder)))
        equal((code, out), (1, b""), "status")
        contains(errors, "no answer from var/run/baetyl.sock: No such file or directory")
    equal(t.command("why")[0], 2, "status without a question")
    s = t.baetyl()
    code, out, _ = t.command("metrics", "-w", s.dir)
    equal(code, 0, "status")
    contains(out, "baetyl_hub_connections 0")


@test
def hostile_names_stay_on_their_line(t):
    s = t.baetyl()
    c = session(t, s, "a\"b\\c")
    c.send(raw.publish("x\"y", "1")).ping()
    got = why(s, client="a\"b\\c")
    equal(got["client"], "a\"b\\c", "client")
    equal(got["events"][0]["topic"], "x\"y", "topic")


@test
def store_figures(t):
    s = t.baetyl()
    check("commits_total" in api.get_json(s, "/v1/hub/store"), "commits")
