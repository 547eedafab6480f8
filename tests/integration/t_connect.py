"""Logging in: versions, refusals, principals, permits, takeover, keep-alive, Unix socket."""
import os
import time

import raw
from harness import HUB, SLOW, check, equal, test, until
from pahoclient import V4, V5, Client
from raw import Raw, session

USERS = HUB + """  principals:
    - username: test
      password: hahaha
      permissions:
        - {action: pub, permit: ['#']}
        - {action: sub, permit: ['#']}
    - username: little
      password: secret
      permissions:
        - {action: pub, permit: ['out/+']}
        - {action: sub, permit: ['in/+', 'one']}
"""


@test
def anonymous_on_loopback(t):
    s = t.baetyl()
    equal(Raw(t, s.port).login("a"), 0, "session present")


@test
def empty_client_id(t):
    s = t.baetyl()
    Raw(t, s.port).login("")
    r = Raw(t, s.port)
    r.send(raw.connect("", clean=False))
    equal(r.expect(raw.CONNACK)[1], 2, "code for a persistent session without a name")
    check(r.closed())


@test
def anonymous_refused_with_principals(t):
    s = t.baetyl(USERS)
    r = Raw(t, s.port)
    check(r.login("a", code=4) == 0 and r.closed())


@test
def password(t):
    s = t.baetyl(USERS)
    Raw(t, s.port).login("a", user="test", password="hahaha")
    for user, word in (("test", "wrong"), ("test", ""), ("nobody", "hahaha"), ("test", None)):
        r = Raw(t, s.port)
        code = r.send(raw.connect("b", user=user, password=word)).expect(raw.CONNACK, 10)[1]
        equal(code, 4, "code for %s" % user)
        check(r.closed(10))


@test
def password_version_5(t):
    s = t.baetyl(USERS)
    Raw(t, s.port).login("a", user="test", password="hahaha", level=5)
    r = Raw(t, s.port)
    equal(r.send(raw.connect("b", user="test", password="x", level=5)).expect(raw.CONNACK, 10)[1], 0x86)


@test
def subscribe_permits(t):
    s = t.baetyl(USERS)
    r = Raw(t, s.port)
    r.login("a", user="little", password="secret")
    body = r.send(raw.subscribe(("in/a", 1), ("in/+", 0), ("in/#", 1), ("#", 0), ("one", 1), ("two", 1)))
    equal(list(body.expect(raw.SUBACK)[2:]), [1, 0, 128, 128, 1, 128], "SUBACK")


@test
def publish_permits(t):
    s = t.baetyl(USERS)
    sub = session(t, s, "sub", ("#", 0), user="test", password="hahaha")
    r = Raw(t, s.port)
    r.login("a", user="little", password="secret")
    r.send(raw.publish("out/a", "yes"))
    equal(sub.message()["payload"], b"yes")
    r.send(raw.publish("out/a/b", "no"))
    sub.quiet()


@test
def unknown_protocol_level(t):
    s = t.baetyl()
    r = Raw(t, s.port)
    r.send(raw.connect("a", level=9))
    got = r.packet()
    check(got is None or got[2][1] in (1, 0x84), "CONNACK 1 or closed, got %r" % (got,))
    check(r.closed())


@test
def version_3_1(t):
    s = t.baetyl()
    r = Raw(t, s.port)
    r.send(raw.connect("a", level=3, name="MQIsdp"))
    got = r.packet()
    check(got is None or got[2][1] in (0, 1), "accepted, or refused by the rules")


@test
def packet_before_connect(t):
    s = t.baetyl()
    for p in (raw.publish("a", "b"), raw.subscribe(("a", 0)), raw.packet(0xc0)):
        check(Raw(t, s.port).send(p).closed())


@test
def second_connect(t):
    s = t.baetyl()
    r = Raw(t, s.port)
    r.login("a")
    check(r.send(raw.connect("a")).closed())
    Raw(t, s.port).login("a")


@test
def takeover(t):
    s = t.baetyl()
    old = session(t, s, "same", ("x", 0))
    new = session(t, s, "same", ("x", 0))
    check(old.closed())
    session(t, s, "pub").send(raw.publish("x", "1"))
    equal(new.message()["payload"], b"1")


@test
def takeover_persistent_keeps_subscriptions(t):
    s = t.baetyl()
    old = session(t, s, "same", ("x", 1), clean=False)
    new = Raw(t, s.port)
    equal(new.login("same", clean=False), 1, "session present")
    check(old.closed())
    session(t, s, "pub").send(raw.publish("x", "1", qos=1))
    equal(new.message()["payload"], b"1")


@test
def takeover_version_5_reason(t):
    s = t.baetyl()
    old = session(t, s, "same", level=5)
    session(t, s, "same", level=5)
    equal(old.expect(raw.DISCONNECT)[:1], b"\x8e", "reason")


@test
def keepalive_enforced(t):
    s = t.baetyl()
    r = Raw(t, s.port)
    r.login("a", keepalive=1)
    start = time.monotonic()
    check(r.closed(4))
    took = time.monotonic() - start
    check(1.2 < took < 2.8 * SLOW, "closed after %.2f s instead of 1.5 s" % took)


@test
def keepalive_kept_by_pings(t):
    s = t.baetyl()
    r = Raw(t, s.port)
    r.login("a", keepalive=1)
    for _ in range(5):
        time.sleep(0.5)
        r.ping()


@test
def keepalive_zero_is_off(t):
    s = t.baetyl()
    r = Raw(t, s.port)
    r.login("a", keepalive=0)
    r.quiet(2.5)
    r.ping()


@test
def unix_socket(t):
    folder = t.folder()
    path = os.path.join(folder, "hub.sock")
    s = t.baetyl("hub:\n  listen: ['tcp://127.0.0.1:0', 'unix://%s']\n" % path)
    until(lambda: os.path.exists(path), what="the socket")
    sub = Raw(t, path)
    sub.login("u")
    sub.send(raw.subscribe(("x", 1))).expect(raw.SUBACK)
    session(t, s, "pub").send(raw.publish("x", "over tcp"))
    equal(sub.message()["payload"], b"over tcp")


@test
def two_listeners(t):
    s = t.baetyl("hub:\n  listen: ['tcp://127.0.0.1:0', 'tcp://127.0.0.1:0']\n")
    equal(len(s.ports()), 2, "ports")
    a, b = Raw(t, s.ports()[0]), Raw(t, s.ports()[1])
    a.login("a")
    b.login("b")
    a.send(raw.subscribe(("x", 0))).expect(raw.SUBACK)
    b.send(raw.publish("x", "1"))
    equal(a.message()["payload"], b"1")


@test
def paho_logs_in(t):
    s = t.baetyl(USERS)
    for version in (V4, V5):
        Client(t, s, "ok%d" % version, version, user="test", password="hahaha")
        c = Client(t, s, "no%d" % version, version, user="test", password="x", connect=False)
        c.connect(ok=False)
        equal(c.code.value, 0x86, "reason")
        c.close()


@test
def many_connections(t):
    s = t.baetyl()
    clients = [Raw(t, s.port) for _ in range(200)]
    for i, c in enumerate(clients):
        c.login("c%d" % i)
    for c in clients:
        c.ping()
