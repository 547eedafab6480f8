"""The store from outside: durability, retention, damage, a full disk."""
import time

import raw
from harness import HUB, check, equal, test
from raw import Raw, session


def offline(t, s, client_id, *filters, **options):
    """A persistent session whose client has gone."""
    r = session(t, s, client_id, *filters, clean=False, **options)
    r.send(raw.packet(0xe0)).closed()
    r.close()


def publish(t, s, topic, count, client_id="pub", size=0, retain=False):
    """QoS 1, a window of 100 at a time, all acknowledged."""
    pub = session(t, s, client_id)
    for start in range(0, count, 100):
        some = range(start, min(start + 100, count))
        pub.send(*[raw.publish(topic, str(i).ljust(size), qos=1, pid=i % 60000 + 1, retain=retain)
                   for i in some])
        for _ in some:
            pub.expect(raw.PUBACK)
    pub.close()


def drain(t, s, client_id, seconds=0.5):
    """The payloads that wait for a session."""
    r = Raw(t, s.port)
    r.login(client_id, clean=False)
    got = []
    while True:
        try:
            got.append(r.message(seconds)["payload"].decode().strip())
        except Exception:  # pylint: disable=broad-except
            r.close()
            return got


@test
def batched_survives_what_is_older_than_the_interval(t):
    s = t.baetyl(HUB + "  durability: batched(200ms)\n")
    offline(t, s, "off", ("o", 1))
    start = time.monotonic()
    publish(t, s, "o", 1000)
    check(time.monotonic() - start < 5, "acknowledged without waiting for commits")
    time.sleep(0.6)
    s.kill()
    s.start()
    equal(drain(t, s, "off"), [str(i) for i in range(1000)], "messages")


@test
def batched_stops_clean(t):
    s = t.baetyl(HUB + "  durability: batched(1m)\n")
    offline(t, s, "off", ("o", 1))
    publish(t, s, "o", 50)
    equal(s.stop(), 0, "exit status")
    s.start()
    equal(drain(t, s, "off"), [str(i) for i in range(50)], "messages")


@test
def batched_is_read_at_once(t):
    s = t.baetyl(HUB + "  durability: batched(1m)\n")
    offline(t, s, "off", ("o", 1))
    publish(t, s, "o", 2000)
    equal(drain(t, s, "off"), [str(i) for i in range(2000)], "messages")


@test
def retention_removes_what_waits_too_long(t):
    s = t.baetyl(HUB + "  message.ingress.qos1.cleanup: {retention: 1s, interval: 200ms}\n")
    offline(t, s, "off", ("o", 1))
    publish(t, s, "o", 3)
    time.sleep(1.6)
    publish(t, s, "o", 1, "pub2")
    equal(drain(t, s, "off"), ["0"], "messages")
