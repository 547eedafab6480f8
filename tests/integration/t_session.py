"""Persistent sessions: offline delivery, redelivery, restart after SIGTERM and SIGKILL."""
import raw
from harness import check, equal, test
from pahoclient import V4, V5, Client
from raw import Raw, session


def offline(t, s, client_id, *filters, **options):
    """A persistent session whose client has gone."""
    r = session(t, s, client_id, *filters, clean=False, **options)
    r.send(raw.packet(0xe0)).closed()
    r.close()


def publish_q1(t, s, topic, count, client_id="pub"):
    pub = session(t, s, client_id)
    for i in range(count):
        pub.send(raw.publish(topic, str(i), qos=1, pid=i + 1)).expect(raw.PUBACK)
    pub.close()


@test
def offline_delivery(t):
    s = t.baetyl()
    offline(t, s, "off", ("o/+", 1))
    publish_q1(t, s, "o/a", 50)
    session(t, s, "pub0").send(raw.publish("o/a", "qos 0 is not kept")).ping()
    r = Raw(t, s.port)
    equal(r.login("off", clean=False), 1, "session present")
    for i in range(50):
        equal(r.message()["payload"], str(i).encode(), "payload")
    r.quiet()


@test
def clean_forgets(t):
    s = t.baetyl()
    offline(t, s, "off", ("o", 1))
    publish_q1(t, s, "o", 3)
    r = Raw(t, s.port)
    equal(r.login("off", clean=True), 0, "session present")
    r.quiet()
    r.send(raw.packet(0xe0)).closed()
    again = Raw(t, s.port)
    equal(again.login("off", clean=False), 0, "session present")
    again.quiet()


@test
def unacknowledged_comes_again(t):
    s = t.baetyl()
    offline(t, s, "off", ("o", 1))
    publish_q1(t, s, "o", 5)
    r = Raw(t, s.port)
    r.login("off", clean=False)
    got = [r.message(ack=False) for _ in range(5)]
    for i in (0, 2):
        r.send(raw.packet(0x40, got[i]["pid"].to_bytes(2, "big")))
    r.ping()
    r.close()
    r = Raw(t, s.port)
    equal(r.login("off", clean=False), 1, "session present")
    again = [r.message() for _ in range(3)]
    equal([m["payload"] for m in again], [b"1", b"3", b"4"], "payloads")
    equal([m["dup"] for m in again], [1, 1, 1], "DUP")
    r.quiet()


def survives(t, end):
    s = t.baetyl()
    offline(t, s, "off", ("o/#", 1), ("p", 0))
    pub = session(t, s, "ret")
    pub.send(raw.publish("r", "kept", qos=1, retain=True)).expect(raw.PUBACK)
    publish_q1(t, s, "o/a", 100)
    end(s)
    s.start()
    r = Raw(t, s.port)
    equal(r.login("off", clean=False), 1, "session present")
    for i in range(100):
        equal(r.message()["payload"], str(i).encode(), "payload")
    publish_q1(t, s, "o/b", 1, "pub2")
    equal(r.message()["topic"], "o/b", "the subscription is there")
    equal(session(t, s, "x", ("r", 1)).message()["payload"], b"kept", "retained")


@test
def survives_sigkill(t):
    survives(t, lambda s: s.kill())


@test
def survives_sigterm(t):
    survives(t, lambda s: equal(s.stop(), 0, "exit status"))


@test
def acknowledged_is_not_sent_again_after_sigterm(t):
    s = t.baetyl()
    offline(t, s, "off", ("o", 1))
    publish_q1(t, s, "o", 10)
    r = Raw(t, s.port)
    r.login("off", clean=False)
    for _ in range(10):
        r.message()
    r.ping()
    equal(s.stop(), 0, "exit status")
    s.start()
    r = Raw(t, s.port)
    equal(r.login("off", clean=False), 1, "session present")
    r.quiet()


@test
def backlog_larger_than_memory_window(t):
    s = t.baetyl()
    offline(t, s, "off", ("o", 1))
    pub = session(t, s, "pub")
    n = 5000
    for start in range(0, n, 100):
        pub.send(*[raw.publish("o", str(i), qos=1, pid=i + 1) for i in range(start, start + 100)])
        for _ in range(100):
            pub.expect(raw.PUBACK)
    r = Raw(t, s.port)
    r.login("off", clean=False)
    for i in range(n):
        equal(r.message()["payload"], str(i).encode(), "payload")
    r.quiet()


@test
def online_and_offline_share_a_message(t):
    s = t.baetyl()
    offline(t, s, "off", ("o", 1))
    on = session(t, s, "on", ("o", 1), clean=False)
    publish_q1(t, s, "o", 5)
    for i in range(5):
        equal(on.message()["payload"], str(i).encode(), "online")
    r = Raw(t, s.port)
    r.login("off", clean=False)
    for i in range(5):
        equal(r.message()["payload"], str(i).encode(), "offline")


@test
def slow_reader_holds_up_nobody(t):
    s = t.baetyl()
    slow = session(t, s, "slow", ("o", 1))
    fast = session(t, s, "fast", ("o", 1))
    pub = session(t, s, "pub")
    for start in range(0, 2000, 100):
        pub.send(*[raw.publish("o", b"z" * 1000, qos=1, pid=i + 1) for i in range(start, start + 100)])
        for _ in range(100):
            pub.expect(raw.PUBACK)
        for _ in range(100):
            fast.message()
    slow.close()


@test
def paho_offline(t):
    s = t.baetyl()
    for version in (V4, V5):
        properties = None
        if version == V5:
            from paho.mqtt.packettypes import PacketTypes
            from paho.mqtt.properties import Properties
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = 300
        name = "paho-off-%d" % version
        c = Client(t, s, name, version, clean=False, properties=properties)
        c.subscribe(("o", 1))
        c.close()
        Client(t, s, name + "-pub", version).publish("o", "waiting", 1)
        c = Client(t, s, name, version, clean=False, properties=properties)
        check(c.flags.session_present, "session present")
        equal(c.message().payload, b"waiting", "payload")
        c.close()


@test
def version_5_session_expiry(t):
    s = t.baetyl()
    for props, present in ((b"\0", 0), (b"\5\x11\0\0\1\0", 1)):
        r = session(t, s, "e", ("x", 1), level=5, clean=False, props=props)
        r.send(raw.packet(0xe0)).closed()
        r.close()
        equal(Raw(t, s.port).login("e", level=5, clean=False, props=props), present, "session present")
