"""QoS 2 by raw packets: every packet of the exchange twice, on one connection and across several."""
import raw
from harness import equal, test
from raw import PUBCOMP, PUBREC, PUBREL, Raw, ack, session

WORKERS = "hub: {listen: ['tcp://127.0.0.1:0'], workers: 3}\n"
EXPIRY = b"\5\x11\0\0\1\0"


def both(fn):
    """The test for version 3.1.1 and 5."""
    def run(t):
        s = t.baetyl(WORKERS)
        for level in (4, 5):
            fn(t, s, level)
    run.__name__, run.__module__ = fn.__name__, fn.__module__
    return test(run)


def again(t, s, name, level, present=1):
    """A new connection of a persistent client."""
    r = Raw(t, s.port)
    equal(r.login(name, clean=False, level=level, props=EXPIRY), present, "session present")
    return r


def lasting(t, s, name, level, *filters):
    return session(t, s, name, *filters, clean=False, level=level, props=EXPIRY)


def take(r, level, payload, dup=0):
    """The next message, not yet answered."""
    m = r.message(level=level)
    equal((m["payload"], m["qos"], m["dup"]), (payload, 2, dup), "payload, QoS, DUP")
    return m["pid"]


def finish(r, pid):
    """The rest of the exchange with the receiver."""
    r.send(ack(PUBREC, pid)).acked(PUBREL, pid).send(ack(PUBCOMP, pid))


def unknown(level):
    return 0x92 if level == 5 else 0


@both
def an_exchange_in_both_directions(t, s, level):
    sub = session(t, s, "sub", ("a", 2), level=level)
    pub = session(t, s, "pub", level=level)
    for i in range(1, 40):
        pub.send(raw.publish("a", str(i), qos=2, pid=i, level=level)).acked(PUBREC, i)
        pub.send(ack(PUBREL, i)).acked(PUBCOMP, i)
        finish(sub, take(sub, level, str(i).encode()))
    sub.ping().quiet(0.1)


@both
def the_lower_of_both_levels_counts(t, s, level):
    subs = [session(t, s, "sub%d" % qos, ("l", qos), level=level) for qos in (0, 1, 2)]
    pub = session(t, s, "pub", level=level)
    for qos in (0, 1, 2):
        pub.send(raw.publish("l", "x", qos=qos, pid=1, level=level))
        if qos:
            pub.acked(raw.PUBACK if qos == 1 else PUBREC, 1)
        if qos == 2:
            pub.send(ack(PUBREL, 1)).acked(PUBCOMP, 1)
        for i, sub in enumerate(subs):
            m = sub.message(level=level)
            equal(m["qos"], min(qos, i), "QoS")
            if m["qos"] == 2:
                finish(sub, m["pid"])


@both
def repeated_packets_of_a_publisher(t, s, level):
    sub = session(t, s, "sub", ("r", 0), level=level)
    pub = session(t, s, "pub", level=level)
    for dup in (False, True, True):
        pub.send(raw.publish("r", "one", qos=2, pid=7, dup=dup, level=level)).acked(PUBREC, 7)
    pub.send(ack(PUBREL, 7)).acked(PUBCOMP, 7)
    pub.send(ack(PUBREL, 7)).acked(PUBCOMP, 7, unknown(level))
    pub.send(raw.publish("r", "two", qos=2, pid=7, level=level)).acked(PUBREC, 7)
    equal(sub.message(level=level)["payload"], b"one", "payload")
    equal(sub.message(level=level)["payload"], b"two", "payload")
    sub.quiet(0.1)


@both
def repeated_packets_of_a_receiver(t, s, level):
    sub = session(t, s, "sub", ("q", 2), level=level)
    session(t, s, "pub", level=level).send(raw.publish("q", "x", qos=2, pid=1, level=level)).acked(PUBREC, 1)
    pid = take(sub, level, b"x")
    for _ in range(3):
        sub.send(ack(PUBREC, pid)).acked(PUBREL, pid)
    sub.send(ack(PUBCOMP, pid), ack(PUBCOMP, pid)).ping()
    sub.send(ack(PUBREC, pid)).acked(PUBREL, pid, unknown(level))
    sub.quiet(0.1)


@both
def a_publisher_comes_back_between_the_steps(t, s, level):
    sub = session(t, s, "sub", ("p", 2), level=level)
    lasting(t, s, "pub", level).send(raw.publish("p", "x", qos=2, pid=9, level=level)).acked(PUBREC, 9).close()
    pub = again(t, s, "pub", level)
    pub.send(raw.publish("p", "x", qos=2, pid=9, dup=True, level=level)).acked(PUBREC, 9)
    pub.send(ack(PUBREL, 9)).acked(PUBCOMP, 9).close()
    again(t, s, "pub", level).send(ack(PUBREL, 9)).acked(PUBCOMP, 9, unknown(level))
    finish(sub, take(sub, level, b"x"))
    sub.quiet(0.1)


@both
def a_receiver_comes_back_between_the_steps(t, s, level):
    lasting(t, s, "off", level, ("o", 2)).close()
    pub = session(t, s, "pub", level=level)
    for i in (1, 2, 3):
        pub.send(raw.publish("o", str(i), qos=2, pid=i, level=level)).acked(PUBREC, i)
    sub = again(t, s, "off", level)
    pids = [take(sub, level, str(i).encode()) for i in (1, 2, 3)]
    sub.send(ack(PUBREC, pids[1])).acked(PUBREL, pids[1]).close()
    sub = again(t, s, "off", level)
    equal(take(sub, level, b"1", dup=1), pids[0], "identifier")
    sub.acked(PUBREL, pids[1])
    equal(take(sub, level, b"3", dup=1), pids[2], "identifier")
    for pid in (pids[0], pids[2]):
        sub.send(ack(PUBREC, pid)).acked(PUBREL, pid)
    sub.close()
    sub = again(t, s, "off", level)
    for pid in pids:
        sub.acked(PUBREL, pid).send(ack(PUBCOMP, pid))
    sub.ping().close()
    sub = again(t, s, "off", level)
    sub.quiet(0.1)


@test
def a_receiver_that_refuses(t):
    s = t.baetyl(WORKERS)
    sub = lasting(t, s, "off", 5, ("o", 2))
    pub = session(t, s, "pub")
    pub.send(raw.publish("o", "no", qos=2, pid=1)).acked(PUBREC, 1)
    sub.send(ack(PUBREC, take(sub, 5, b"no"), 0x97)).ping().close()
    again(t, s, "off", 5).quiet(0.1)


@test
def more_than_the_receive_maximum_is_told(t):
    s = t.baetyl(WORKERS)
    sub = session(t, s, "sub", ("m", 0))
    pub = session(t, s, "pub", level=5)
    for i in range(1, 1025):
        pub.send(raw.publish("m", str(i), qos=2, pid=i, level=5))
    for i in range(1, 1025):
        pub.acked(PUBREC, i)
    pub.send(raw.publish("m", "1", qos=2, pid=1, dup=True, level=5)).acked(PUBREC, 1)
    pub.send(ack(PUBREL, 1)).acked(PUBCOMP, 1)
    pub.send(raw.publish("m", "1025", qos=1, pid=1, level=5)).acked(raw.PUBACK, 1)
    pub.send(raw.publish("m", "1026", qos=2, pid=1, level=5)).acked(PUBREC, 1)
    pub.send(raw.publish("m", "too much", qos=1, pid=2000, level=5))
    equal(pub.expect(raw.DISCONNECT)[0], 0x93, "reason")
    pub.closed()
    for i in range(1, 1027):
        equal(sub.message()["payload"], str(i).encode(), "payload")
    sub.quiet(0.1)


@test
def version_3_may_have_any_number_on_its_way(t):
    s = t.baetyl(WORKERS)
    sub = session(t, s, "sub", ("m", 0))
    pub = session(t, s, "pub")
    for i in range(1, 5001):
        pub.send(raw.publish("m", str(i), qos=2, pid=i)).acked(PUBREC, i)
    for i in range(1, 5001):
        pub.send(ack(PUBREL, i)).acked(PUBCOMP, i)
        equal(sub.message()["payload"], str(i).encode(), "payload")


@both
def the_receiver_gives_the_window(t, s, level):
    props = b"\3\x21\0\2"
    sub = Raw(t, s.port)
    sub.login("sub", level=level, props=props)
    sub.send(raw.subscribe(("w", 2), level=level)).expect(raw.SUBACK)
    pub = session(t, s, "pub", level=level)
    for i in range(1, 6):
        pub.send(raw.publish("w", str(i), qos=2, pid=i, level=level)).acked(PUBREC, i)
    if level == 4:
        return
    first = [take(sub, level, b"1"), take(sub, level, b"2")]
    sub.quiet(0.1)
    sub.send(ack(PUBREC, first[0])).acked(PUBREL, first[0]).quiet(0.1)
    sub.send(ack(PUBCOMP, first[0]))
    finish(sub, take(sub, level, b"3"))
    finish(sub, take(sub, level, b"4"))
    take(sub, level, b"5")


@both
def will_and_retained(t, s, level):
    sub = session(t, s, "sub", ("w/+", 2), level=level)
    dying = Raw(t, s.port)
    dying.login("dying", level=level, will=("w/l", "bye", 2))
    dying.close()
    finish(sub, take(sub, level, b"bye"))
    pub = session(t, s, "pub", level=level)
    pub.send(raw.publish("w/r", "kept", qos=2, pid=1, retain=True, level=level)).acked(PUBREC, 1)
    finish(sub, take(sub, level, b"kept"))
    late = session(t, s, "late", ("w/r", 2), level=level)
    m = late.message(level=level)
    equal((m["payload"], m["qos"], m["retain"]), (b"kept", 2, 1), "retained")
    finish(late, m["pid"])
    pub.send(raw.publish("w/r", retain=True, level=level)).ping()


@test
def wrong_packets_close(t):
    s = t.baetyl(WORKERS)
    for bad in (raw.ack(PUBREC, 0), raw.ack(PUBCOMP, 0), raw.packet(0x60, b"\0\1"), raw.packet(0x50, b"\0")):
        session(t, s, "bad").send(bad).closed()
    session(t, s, "bad", level=5).send(raw.publish("a", qos=2, pid=0, level=5)).closed()
    session(t, s, "good").send(ack(PUBREC, 5)).acked(PUBREL, 5).send(ack(PUBCOMP, 5)).ping()


@test
def the_command_line(t):
    s = t.baetyl(WORKERS)
    off = lasting(t, s, "off", 4, ("c", 2))
    code, _, text = t.command("pub", "--address", "tcp://127.0.0.1:%d" % s.port, "-t", "c", "-m", "x", "-q", "2")
    equal(code, 0, text)
    finish(off, take(off, 4, b"x"))


@test
def topic_rules_copy_at_their_own_level(t):
    s = t.baetyl(WORKERS.rstrip("}\n") + """, subscriptions: [{source: {topic: from, qos: 1}, target: {topic: to, qos: 1}}]}
""")
    lasting(t, s, "off", 4, ("to", 2), ("from", 2)).close()
    pub = lasting(t, s, "pub", 4)
    pub.send(raw.publish("from", "x", qos=2, pid=1)).acked(PUBREC, 1)
    s.kill()
    s.start()
    pub = again(t, s, "pub", 4)
    pub.send(raw.publish("from", "x", qos=2, pid=1, dup=True)).acked(PUBREC, 1).send(ack(PUBREL, 1)).acked(PUBCOMP, 1)
    sub = again(t, s, "off", 4)
    got = sorted((m["topic"], m["qos"]) for m in (sub.message(), sub.message()))
    equal(got, [("from", 2), ("to", 1)], "topics and QoS")
    sub.quiet(0.1)
