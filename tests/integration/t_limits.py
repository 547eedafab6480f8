"""Limits of one client, and floods: bounded, timed out, counted, and nobody else suffers."""
import select
import signal
import socket
import time

import raw
from harness import SLOW, check, contains, equal, test, until
from raw import Raw, session

LISTEN = "hub:\n  listen: ['tcp://127.0.0.1:0']\n"


def users(limits):
    return (LISTEN + "  principals:\n" + "".join(
        "    - username: %s\n      password: pw\n%s      permissions:\n"
        "        - {action: pub, permit: ['#']}\n        - {action: sub, permit: ['#']}\n"
        % (name, "      limits: {%s}\n" % limits if name == "small" else "") for name in ("small", "big")))


def login(t, s, name, client_id=None, code=0, **options):
    r = Raw(t, s.port)
    r.login(client_id or name, user=name, password="pw", code=code, **options)
    return r


def send_timed(t, s, name, count, size=10):
    """How long a receiver waits for count messages of a publisher that does not wait."""
    sub = session(t, s, "rx-" + name, ("r/" + name, 0), user="big", password="pw")
    pub = login(t, s, name)
    start = time.monotonic()
    pub.send(*[raw.publish("r/" + name, "%04d" % i + "." * size) for i in range(count)])
    for i in range(count):
        equal(sub.message(seconds=20)["payload"][:4], b"%04d" % i, "payload")
    took = time.monotonic() - start
    pub.ping()
    return took


@test
def message_rate_is_held_by_waiting(t):
    s = t.baetyl(users("messages: {rate: 50, burst: 10}"))
    took = send_timed(t, s, "small", 60)
    check(0.9 < took < 3 * SLOW, "60 messages at 50/s after 10 at once took %.2f s" % took)
    took = send_timed(t, s, "big", 60)
    check(took < 0.5 * SLOW, "no limit: %.2f s" % took)
    contains(s.log(), "cause=message_rate client=small address=127.0.0.1")
    check(s.log().count("cause=message_rate") <= 30, "lines in the log")


@test
def byte_rate_is_held_by_waiting(t):
    s = t.baetyl(users("bytes: {rate: 20k}"))
    took = send_timed(t, s, "small", 40, 1000)
    check(0.8 < took < 4 * SLOW, "40 KiB at 20 KiB/s took %.2f s" % took)
    contains(s.log(), "cause=byte_rate client=small")


@test
def a_limited_publisher_holds_up_nobody(t):
    s = t.baetyl(users("messages: {rate: 5, burst: 1}"))
    flood = login(t, s, "small")
    flood.send(*[raw.publish("x", str(i)) for i in range(200)])
    live = login(t, s, "big")
    for _ in range(20):
        before = time.monotonic()
        live.ping()
        check(time.monotonic() - before < 0.2 * SLOW, "a ping took too long")
    equal(s.stop(), 0, "exit status")


@test
def defaults_of_the_hub_and_exceptions(t):
    s = t.baetyl(users("subscriptions: 2") + "  limits: {client: {subscriptions: 1}}\n")
    for name, granted in (("big", 1), ("small", 2)):
        r = login(t, s, name, level=5)
        codes = r.send(raw.subscribe(*[("f%d" % i, 0) for i in range(4)], level=5)).expect(raw.SUBACK)[-4:]
        equal(list(codes), [0] * granted + [0x97] * (4 - granted), "SUBACK of " + name)
        # One that is there may be changed.
        equal(r.send(raw.subscribe(("f0", 1), level=5)).expect(raw.SUBACK)[-1], 1, "SUBACK")
    contains(s.log(), "cause=subscriptions client=big")


@test
def connections_of_one_user(t):
    s = t.baetyl(users("connections: 2"))
    a, b = login(t, s, "small", "a"), login(t, s, "small", "b")
    r = Raw(t, s.port)
    equal(r.send(raw.connect("c", user="small", password="pw", level=5)).expect(raw.CONNACK)[1], 0x97, "CONNACK")
    login(t, s, "small", "c", code=3)
    # The same client again takes its own place.
    a2 = login(t, s, "small", "a")
    check(a.closed(), "taken over")
    b.send(raw.packet(0xe0)).closed()
    login(t, s, "small", "c")
    for i in range(5):
        login(t, s, "big", "big%d" % i)
    contains(s.log(), "cause=principal_connections")
    # The count goes on over a reload.
    with open(s.config, "w") as f:
        f.write(users("connections: 3"))
    s.process.send_signal(signal.SIGHUP)
    until(lambda: "configuration taken over" in s.log(), what="the reload")
    login(t, s, "small", "d")
    login(t, s, "small", "e", code=3)
    a2.ping()


@test
def packet_size_of_one_user(t):
    s = t.baetyl(users("packet: 200"))
    r = Raw(t, s.port)
    body = r.send(raw.connect("c", user="small", password="pw", level=5)).expect(raw.CONNACK)
    check(b"\x27\0\0\0\xc8" in body, "maximum packet size in CONNACK: %r" % body)
    r.send(raw.publish("x", "." * 150, level=5), raw.packet(0xc0)).expect(raw.PINGRESP)
    r.send(raw.publish("x", "." * 250, level=5))
    equal(r.expect(raw.DISCONNECT)[0], 0x95, "reason")
    login(t, s, "big").send(raw.publish("x", "." * 250)).ping()
    contains(s.log(), "cause=packet client=c")


@test
def in_flight_and_queue_of_one_user(t):
    s = t.baetyl(users("inflight: 3, queue: 5"))
    r = login(t, s, "small")
    r.send(raw.subscribe(("x", 1))).expect(raw.SUBACK)
    pub = login(t, s, "big")
    for i in range(20):
        pub.send(raw.publish("x", str(i), qos=1, pid=i + 1)).expect(raw.PUBACK)
    got = [r.message(ack=False) for _ in range(3)]
    r.quiet()
    r.send(*[raw.packet(0x40, m["pid"].to_bytes(2, "big")) for m in got])
    equal([r.message()["payload"] for _ in range(2)], [b"3", b"4"], "the queue held five")
    r.quiet()


@test
def a_reload_changes_rates(t):
    s = t.baetyl(users("messages: {rate: 1, burst: 1}"))
    pub = login(t, s, "small")
    sub = session(t, s, "rx", ("x", 0), user="big", password="pw")
    pub.send(*[raw.publish("x", str(i)) for i in range(50)])
    sub.message()
    with open(s.config, "w") as f:
        f.write(users("messages: {rate: 0}"))
    s.process.send_signal(signal.SIGHUP)
    for i in range(1, 50):
        equal(sub.message()["payload"], str(i).encode(), "payload")
    pub.ping()


@test
def half_open_connections_push_out_themselves(t):
    s = t.baetyl(LISTEN + "  limits: {connect: {pending: 20}}\n")
    live = session(t, s, "live")
    silent = [socket.create_connection(("127.0.0.1", s.port)) for _ in range(300)]
    for i in range(5):
        session(t, s, "new%d" % i)
    live.ping()
    until(lambda: len(select.select(silent, [], [], 0)[0]) >= 270, what="silent ones closed")
    check(len(select.select(silent, [], [], 0)[0]) < 300, "the newest may stay")
    contains(s.log(), "cause=half_open")
    check(s.log().count("cause=half_open") <= 30, "lines in the log")
    for c in silent:
        c.close()


@test
def silent_connections_time_out(t):
    s = t.baetyl(LISTEN + "  connect: {timeout: 1s}\n")
    one, half = Raw(t, s.port), Raw(t, s.port)
    half.send(raw.connect("x")[:5])
    start = time.monotonic()
    check(one.closed() and half.closed(), "closed")
    check(time.monotonic() - start < 3 * SLOW, "in time")


@test
def a_packet_that_was_begun_must_arrive(t):
    s = t.baetyl(LISTEN + "  limits: {stall: {receive: 1s}}\n")
    r, slow = session(t, s, "dribble", keepalive=0), session(t, s, "slow", keepalive=0)
    packet = raw.publish("x", "." * 8000)
    start = time.monotonic()
    r.send(packet[:10])
    # Slow, but as fast as a link has to be.
    for at in range(0, len(packet), 1000):
        slow.send(packet[at:at + 1000])
        time.sleep(0.25)
    slow.ping()
    check(r.closed(), "closed")
    check(time.monotonic() - start < 5 * SLOW, "in time")
    contains(s.log(), "cause=stalled_writer client=dribble address=127.0.0.1")


@test
def a_client_that_does_not_read_is_closed(t):
    s = t.baetyl(LISTEN + "  limits: {stall: {send: 2s}, queue: {bytes: 64k}}\n")
    r = Raw(t, s.port)
    r.s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    r.login("deaf", keepalive=0)
    r.send(raw.subscribe(("x", 0))).expect(raw.SUBACK)
    pub = session(t, s, "pub")
    end = time.monotonic() + 20 * SLOW
    while "cause=stalled_reader" not in s.log() and time.monotonic() < end:
        pub.send(*[raw.publish("x", "." * 30000) for _ in range(20)]).ping()
        time.sleep(0.1)
    contains(s.log(), "cause=stalled_reader client=deaf")
    pub.ping()


@test
def connection_rates(t):
    s = t.baetyl(LISTEN + "  limits: {connect: {rate: 10}}\n")
    codes = []
    for i in range(60):
        r = Raw(t, s.port)
        got = r.send(raw.connect("c%d" % i, level=5)).packet()
        codes.append(got[2][1] if got else None)
    check(codes[:15].count(0) == 15, "the first are let in: %r" % codes)
    check(codes.count(0x9f) >= 10, "the others are told: %r" % codes)
    contains(s.log(), "cause=connect_rate")
    s = t.baetyl(LISTEN + "  limits: {connect: {address: 5}}\n")
    codes = [Raw(t, s.port).send(raw.connect("c%d" % i)).packet() for i in range(30)]
    check(any(c and c[2][1] == 3 for c in codes), "refused")
    contains(s.log(), "cause=address_rate client=\"\" address=127.0.0.1")


@test
def ten_thousand_connections_starve_nobody(t):
    s = t.baetyl(LISTEN + "  limits: {connections: 500}\n")
    live = session(t, s, "live")
    sub = session(t, s, "sub", ("x", 0))
    worst, made = 0, 0
    end = time.monotonic() + 25 * SLOW
    while made < 10000 and time.monotonic() < end:
        batch = []
        for _ in range(100):
            c = socket.socket()
            c.setblocking(False)
            c.connect_ex(("127.0.0.1", s.port))
            batch.append(c)
        made += len(batch)
        before = time.monotonic()
        live.send(raw.publish("x", str(made)))
        equal(sub.message()["payload"], str(made).encode(), "payload")
        worst = max(worst, time.monotonic() - before)
        for c in batch:
            c.close()
    check(made == 10000, "only %d connections" % made)
    check(worst < 0.25 * SLOW, "a message took %.3f s" % worst)
    session(t, s, "after")
