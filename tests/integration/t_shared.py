"""Shared subscriptions: who gets what, and that nothing is lost when a member goes."""
import time

import raw
from harness import HUB, Failed, check, equal, until
from mqtt5 import Five, five, normative

WORKERS = HUB + "  workers: 3\n"


def ack(client, m):
    client.send(raw.packet(0x40, m["pid"].to_bytes(2, "big")))


def publish(t, s, topic, first, count, qos=1):
    pub = five(t, s)
    for start in range(first, first + count, 100):
        part = range(start, min(start + 100, first + count))
        for i in part:
            pub.pub(topic, str(i), qos, pid=i % 60000 + 1)
        for i in part if qos else ():
            pub.expect(raw.PUBACK, 10)
    pub.ping()
    pub.close()


def drain(client, seconds=0.5):
    """All messages until it is quiet."""
    got = []
    while True:
        try:
            got.append(int(client.get(seconds)["payload"]))
        except Failed:
            return got


def take(client, n):
    return [int(client.get(10)["payload"]) for _ in range(n)]


def numbers(*lists):
    return sorted(n for part in lists for n in part)


@normative("MQTT-4.8.2-3")
def fair_distribution(t):
    s = t.baetyl(WORKERS)
    members = [five(t, s, "m%d" % i, ("$share/g/s/+", i % 2)) for i in range(3)]
    alone = five(t, s, "alone", ("$share/h/s/#", 0))
    plain = five(t, s, "plain", ("s/#", 0))
    counts = [0, 0, 0]
    for first in range(0, 3000, 300):
        publish(t, s, "s/%d" % (first % 900), first, 300)
        for i in range(100):
            for n, m in enumerate(members):
                got = m.get()
                counts[n] += 1
                equal(got["qos"], n % 2, "the member's QoS")
    equal(counts, [1000] * 3, "messages of each member")
    for m in members:
        m.quiet(0.2)
    for client in (alone, plain):
        equal(take(client, 3000), list(range(3000)), "the other group, the plain subscription")


@normative("MQTT-4.8.2-1", "MQTT-4.8.2-2", "MQTT-3.8.3-4")
def names_and_options(t):
    s = t.baetyl()
    five(t, s, "ret").pub1("s/a", "kept", retain=True)
    r = five(t, s, "c", ("$share/g/s/a", 1))
    r.quiet()
    for group in ("", "a+", "#", "a#b", "+"):
        equal(r.sub(("$share/%s/s" % group, 0)), [0x8f], "group %r" % group)
    equal(r.unsub("$share/g/s/a", "$share/g/s/a"), [0, 0x11], "UNSUBACK")
    r.send(raw.subscribe(("$share/g/s/a", 4), level=5)).ended(0x82)


@normative("MQTT-4.8.2-3")
def online_members_come_first(t):
    s = t.baetyl(WORKERS)
    for i in range(3):
        five(t, s, "m%d" % i, ("$share/g/s", 1), clean=False, session_expiry=1000).leave()
    on = Five(t, s.port)
    on.open("m1", clean=False, session_expiry=1000)
    publish(t, s, "s", 0, 50)
    equal(take(on, 50), list(range(50)), "all for the one that is there, in order")
    on.leave()
    publish(t, s, "s", 0, 30)
    back = []
    for i in range(3):
        r = Five(t, s.port)
        r.open("m%d" % i, clean=False, session_expiry=1000)
        back.append(r)
    equal(numbers(*[take(r, 10) for r in back]), list(range(30)), "nobody there: all kept, in equal parts")


@normative("MQTT-4.8.2-3")
def a_full_window_is_passed_over(t):
    s = t.baetyl(WORKERS)
    slow = five(t, s, "slow", ("$share/g/s", 1), receive_max=5)
    fast = five(t, s, "fast", ("$share/g/s", 1))
    got = []
    for i in range(0, 200, 4):
        publish(t, s, "s", i, 4)
        got += drain(fast, 0.02)
    held = []
    for _ in range(6):
        try:
            held.append(slow.get(0.2, ack=False))
        except Failed:
            break
    equal(len(held), 5, "the slow one holds its window")
    check(len(got) >= 190, "%d for the fast one" % len(got))
    slow.close()
    got += drain(fast)
    equal(numbers(got), list(range(200)), "nothing is lost when it goes")


@normative("MQTT-4.8.2-4", "MQTT-4.8.2-5")
def unacknowledged_goes_to_the_others(t):
    s = t.baetyl(WORKERS)
    for end in ("close", "leave", "unsubscribe"):
        a = five(t, s, "a", ("$share/g/s", 1), receive_max=3)
        b = five(t, s, "b", ("$share/g/s", 1), receive_max=3)
        publish(t, s, "s", 0, 40)
        first = [a.get(ack=False) for _ in range(3)]
        ack(a, first[0])
        if end == "close":
            a.close()
        elif end == "leave":
            a.leave()
        else:
            a.send(raw.unsubscribe("$share/g/s", level=5))
            while a.packet()[0] != raw.UNSUBACK:
                pass
        done = [int(first[0]["payload"])]
        got = drain(b, 2)
        if end == "unsubscribe":
            check(len(got) + 4 >= 40, "%d moved" % len(got))
        else:
            got_again = numbers(got, done)
            equal(sorted(set(got_again)), list(range(40)), end)
        a.close()
        b.close()


@normative("MQTT-4.8.2-3")
def the_queue_of_an_ended_session_goes_to_the_others(t):
    """Online, on disk, after a restart; by expiry and by a clean start."""
    s = t.baetyl(WORKERS + "  limits: {queue: {messages: 200}}\n")
    for how in ("clean", "expiry", "restart"):
        five(t, s, "off", ("$share/g/s", 1), clean=False,
             session_expiry=1 if how == "expiry" else 1000).leave()
        publish(t, s, "s", 0, 1000)
        if how == "restart":
            s.kill()
            s.start()
        other = five(t, s, "other", ("$share/g/s", 1))
        if how != "expiry":
            other.quiet(0.2)
            five(t, s, "off").leave()
        equal(numbers(take(other, 1000)), list(range(1000)), how)
        other.quiet(0.2)
        other.leave()
    r = Five(t, s.port)
    equal(r.open("off", clean=False, session_expiry=10)[0], 0, "session present")
    r.quiet()


@normative("MQTT-4.8.2-3")
def a_filter_that_was_left_on_disk(t):
    s = t.baetyl(WORKERS)
    five(t, s, "off", ("$share/g/s", 1), clean=False, session_expiry=1000).leave()
    publish(t, s, "s", 0, 500)
    r = Five(t, s.port)
    r.open("off", clean=False, session_expiry=1000, receive_max=1)
    first = r.get(ack=False)
    other = five(t, s, "other", ("$share/g/s", 1))
    equal(r.unsub("$share/g/s"), [0], "UNSUBACK")
    ack(r, first)
    got, mine = drain(other, 2), drain(r, 1)
    equal(numbers(got, mine), list(range(1, 500)), "all others")
    check(len(got) > 100, "%d moved" % len(got))


@normative("MQTT-4.8.2-6")
def a_refusal_ends_it(t):
    s = t.baetyl()
    a = five(t, s, "a", ("$share/g/s", 1))
    b = five(t, s, "b", ("$share/g/s", 1))
    publish(t, s, "s", 0, 2)
    first = a.get(ack=False)
    b.get()
    a.send(raw.packet(0x40, first["pid"].to_bytes(2, "big") + b"\x83"))
    a.ping()
    a.leave()
    b.quiet()


@normative("MQTT-4.8.2-5")
def sent_qos_2_stays_with_its_member(t):
    s = t.baetyl()
    a = five(t, s, "a")
    b = five(t, s, "b")
    for r in (a, b):
        granted = r.sub(("$share/g/s", 2))
    if granted != [2]:
        return
    pub = five(t, s)
    pub.pub("s", "1", 2, pid=1).expect(5)
    holder, other = (a, b) if until(lambda: a.data or _peek(a) or _peek(b)) and a.data else (b, a)
    holder.get(ack=False)
    holder.close()
    other.quiet(0.5)


def _peek(r):
    end = time.monotonic() + 0.05
    try:
        r.more(end)
    except Failed:
        pass
    return bool(r.data)


@normative("MQTT-4.8.2-3")
def a_crash_while_a_queue_moves(t):
    """Twice delivered is allowed, lost is not."""
    for wait in (1.3, 1.5, 1.7):
        s = t.baetyl(WORKERS)
        five(t, s, "off", ("$share/g/s", 1), clean=False, session_expiry=1).leave()
        publish(t, s, "s", 0, 1500)
        five(t, s, "other", ("$share/g/s", 1), clean=False, session_expiry=1000).leave()
        begin = time.monotonic()
        five(t, s, "off", clean=False, session_expiry=1, receive_max=1).leave()
        time.sleep(max(0, begin + wait - time.monotonic()))
        s.kill()
        s.start()
        time.sleep(1.2)
        r = Five(t, s.port)
        equal(r.open("other", clean=False, session_expiry=1000)[0], 1, "session present")
        missing = set(range(1500))
        while missing:
            missing.discard(int(r.get(10)["payload"]))
        s.kill()
