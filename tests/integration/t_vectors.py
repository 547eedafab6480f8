"""Vectors that the original's own tests had, and that no other file here has: routes from one topic to
several and back, and answers to lists of good and bad filters.
"""
import raw
from harness import check, equal, test
from raw import PUBACK, SUBACK
from t_compat import custom, granted, listener, login, sync

ROUTES = "subscriptions:\n" + "".join("  - {source: {topic: %s, qos: %d}, target: {topic: '%s', qos: %d}}\n" % r for r in (
    ("all", 0, "00", 0), ("all", 1, "11", 1), ("20", 0, "one", 0), ("21", 1, "one", 1),
    ("head", 0, "next", 0), ("next", 0, "tail", 0)))


def receive(r, n):
    """(topic, QoS) of n messages, in order of topics."""
    got = sorted((m["topic"], m["qos"]) for m in (r.message() for _ in range(n)))
    r.quiet()
    return got


@test
def fan_out(t):
    s = custom(t, ROUTES)
    low, high, p = listener(t, s, ("#", 0)), listener(t, s, ("#", 1), client_id="high"), login(t, s, "p")
    for qos in (1, 0):
        p.send(raw.publish("all", "m", qos=qos))
        if qos:
            p.expect(PUBACK)
        equal(receive(low, 3), [("00", 0), ("11", 0), ("all", 0)], "at QoS 0")
        equal(receive(high, 3), [("00", 0), ("11", qos), ("all", qos)], "at QoS 1")


@test
def fan_in(t):
    s = custom(t, ROUTES)
    a, p = listener(t, s, ("one", 1)), login(t, s, "p")
    p.send(raw.publish("20", "from 20", qos=1), raw.publish("21", "from 21", qos=1, pid=2))
    p.expect(PUBACK)
    p.expect(PUBACK)
    equal(receive(a, 2), [("one", 0), ("one", 1)], "copies")


@test
def a_chain_ends_at_the_lowest_qos(t):
    s = custom(t, ROUTES)
    a, p = listener(t, s, ("head", 1), ("next", 1), ("tail", 1)), login(t, s, "p")
    p.send(raw.publish("head", "m", qos=1)).expect(PUBACK)
    equal(receive(a, 3), [("head", 1), ("next", 0), ("tail", 0)], "the chain")


@test
def answers_to_lists_of_filters(t):
    s = custom(t, "")
    r = login(t, s)
    for filters, codes in (((("$bad", 0), ("a", 0), ("b", 1)), [128, 0, 1]),
                           ((("a/#/b", 0), ("+b/#", 1), ("c", 1)), [128, 128, 1]),
                           ((("a", 1), ("a", 0)), [1, 0]),
                           ((("", 0), ("a", 1)), None)):
        if codes is None:
            body = r.send(raw.subscribe(*filters)).packet()
            check(body is None or list(body[2][-2:]) == [128, 1], "an empty filter")
        else:
            equal(granted(r, *filters), codes, filters)


@test
def packet_ids_of_a_session(t):
    """From 1 on, each once; one that is acknowledged may come again."""
    s = custom(t, "")
    a, p = listener(t, s, ("x", 1)), login(t, s, "p")
    for i in range(12):
        p.send(raw.publish("x", str(i), qos=1, pid=i + 1)).expect(PUBACK)
    got = [a.message(ack=False) for _ in range(12)]
    equal([m["pid"] for m in got], list(range(1, 13)), "identifiers")
    a.send(*[raw.ack(PUBACK, m["pid"]) for m in got])
    sync(a)
    p.send(raw.publish("x", "next", qos=1)).expect(PUBACK)
    check(a.message()["pid"] not in (0,), "the next")
    login(t, s, "other").send(raw.subscribe(("x", 1))).expect(SUBACK)
