"""MQTT over WebSocket: the handshake, frames, closing, limits, and what MQTT needs of them."""
import os
import ssl
import struct
import time

import api
import raw
import rawws
from harness import SLOW, check, contains, equal, test, until
from pahoclient import V4, V5, Client
from raw import Raw, session
from rawws import CLOSE, MORE, PING, PONG, TEXT, WebSocket, close_payload, frame
from tlscerts import Authority

CONFIG = "hub:\n  listen: ['tcp://127.0.0.1:0', 'ws://127.0.0.1:0']\n"


def hub(t, config=CONFIG):
    s = t.baetyl(config)
    return s, s.ports("ws")[0]


def login(t, port, client_id="w", **options):
    w = WebSocket(t, port)
    w.login(client_id, **options)
    return w


def subscribe(w, topic, qos=0, level=4):
    w.send(raw.subscribe((topic, qos), level=level)).expect(raw.SUBACK)
    return w


def refused(t, port, **options):
    """(status, fields) of a handshake that is refused; the connection ends after it."""
    w = WebSocket(t, port, handshake=False)
    w.raw(rawws.request(**options))
    status, fields, body = w.answer()
    check(not w.receive(time.monotonic() + 5 * SLOW), "still open after %d" % status)
    check(body.endswith("\n") and fields["connection"] == "close", "an answer with a sentence")
    return status, fields


# ---- MQTT over it ----


@test
def messages_in_both_versions(t):
    s, port = hub(t)
    tcp = session(t, s, "tcp", ("x", 1))
    for level in (4, 5):
        w = subscribe(login(t, port, "w%d" % level, level=level), "x", 1, level)
        session(t, s, "p").send(raw.publish("x", "over tcp"))
        equal(w.message(level=level)["payload"], b"over tcp")
        w.send(raw.publish("x", "over ws", qos=1, level=level))
        equal(sorted([w.packet()[0], w.packet()[0]]), [raw.PUBLISH, raw.PUBACK])
        equal([tcp.message()["payload"] for _ in range(2)], [b"over tcp", b"over ws"])
        w.ping()
        w.send(raw.packet(0xe0))
        equal(w.close_code(), 1000, "close code after DISCONNECT")


@test
def paho_both_versions(t):
    s, port = hub(t)
    tcp = session(t, s, "tcp", ("#", 0))
    for version in (V4, V5):
        c = Client(t, s, "paho%d" % version, version, transport="websockets", port=port)
        c.subscribe(("a/b", 1))
        c.publish("a/b", "hello", 1)
        equal(c.message().payload, b"hello")
        equal(tcp.message()["payload"], b"hello")


@test
def one_packet_in_many_frames(t):
    s, port = hub(t)
    w = subscribe(login(t, port), "x")
    for cut in (1, 2, 7):
        p = raw.publish("x", b"payload %d" % cut)
        for i in range(0, len(p), cut):
            w.raw(frame(p[i:i + cut]))
        equal(w.message()["payload"], b"payload %d" % cut)


@test
def a_fragmented_message_with_control_frames_in_it(t):
    s, port = hub(t)
    w = subscribe(login(t, port), "x")
    p = raw.publish("x", "in pieces")
    w.raw(frame(p[:3], fin=False) + frame(b"still there", op=PING))
    w.raw(frame(b"", op=MORE, fin=False) + frame(p[3:5], op=MORE, fin=False) + frame(op=PONG))
    w.raw(frame(p[5:], op=MORE))
    equal(w.message()["payload"], b"in pieces")
    equal(w.control(PONG), b"still there")


@test
def many_packets_in_one_frame(t):
    s, port = hub(t)
    tcp = session(t, s, "tcp", ("x", 0))
    w = subscribe(login(t, port), "x")
    w.sizes.clear()
    w.send(*[raw.publish("x", b"%d" % i) for i in range(1000)])
    equal([int(tcp.message()["payload"]) for _ in range(1000)], list(range(1000)))
    equal([int(w.message()["payload"]) for _ in range(1000)], list(range(1000)))
    equal(len(w.sizes), 1000, "frames: some clients read one packet from each")


@test
def byte_by_byte(t):
    s, port = hub(t)
    w = WebSocket(t, port, handshake=False)
    data = rawws.request() + frame(raw.connect("w")) + frame(b"p", op=PING) + frame(raw.packet(0xc0))
    for b in data:
        w.raw(bytes([b]))
    equal(w.answer()[0], 101)
    w.expect(raw.CONNACK)
    w.expect(raw.PINGRESP)
    equal(w.control(PONG), b"p")


@test
def frames_right_behind_the_request(t):
    s, port = hub(t)
    w = WebSocket(t, port, handshake=False)
    w.raw(rawws.request() + frame(raw.connect("w") + raw.subscribe(("x", 0))) + frame(raw.publish("x", "y" * 7000)))
    equal(w.answer()[0], 101)
    equal(sorted(w.packet()[0] for _ in range(3)), [raw.CONNACK, raw.PUBLISH, raw.SUBACK])


@test
def large_messages(t):
    s, port = hub(t)
    tcp = session(t, s, "tcp", ("big", 0))
    w = subscribe(login(t, port), "big")
    for n in (120, 126, 65530, 65536, 200000, 4 * 1024 * 1024 - 100):
        payload = os.urandom(n)
        w.send(raw.publish("big", payload))
        equal(w.message(20)["payload"], payload, "%d bytes over ws" % n)
        equal(tcp.message(20)["payload"], payload, "%d bytes over tcp" % n)


@test
def a_slow_reader_gets_all_of_it(t):
    s, port = hub(t, CONFIG + "  limits: {queue: {bytes: 64m}}\n")
    w = subscribe(login(t, port), "x")
    p = session(t, s, "p")
    for i in range(8):
        p.send(raw.publish("x", struct.pack(">I", i) * 250000))
        w.raw(frame(b"%d" % i, op=PING))
    p.ping()
    time.sleep(0.5)
    for i in range(8):
        equal(w.message(20)["payload"], struct.pack(">I", i) * 250000)
    check(w.frames and all(op == PONG for op, _ in w.frames), "pongs between frames: %r" % w.frames)


@test
def sessions_of_every_worker(t):
    s, port = hub(t, CONFIG + "  workers: 4\n")
    clients = [subscribe(login(t, port, "client %d" % i, clean=False), "all", 1) for i in range(40)]
    p = session(t, s, "p")
    p.send(raw.publish("all", "x", qos=1)).expect(raw.PUBACK)
    for c in clients:
        equal(c.message()["payload"], b"x")
    for i, c in enumerate(clients):
        c.raw(frame(op=CLOSE))
        equal(c.close_code(), None)
        w = WebSocket(t, port)
        equal(w.login("client %d" % i, clean=False), 1, "session present")


@test
def will_when_it_closes_without_disconnect(t):
    s, port = hub(t)
    tcp = session(t, s, "tcp", ("will", 0))
    for i, how in enumerate((frame(close_payload(1001), op=CLOSE), frame(b"text", op=TEXT))):
        w = login(t, port, will=("will", "gone %d" % i, 0))
        w.raw(how)
        equal(tcp.message()["payload"], b"gone %d" % i)
    w = login(t, port, will=("will", "not this one", 0))
    w.raw(frame(raw.packet(0xe0)) + frame(close_payload(1000), op=CLOSE))
    equal(w.close_code(), 1000)
    tcp.quiet()


# ---- Handshake ----


@test
def handshakes_refused(t):
    s, port = hub(t)
    equal(refused(t, port, upgrade=None)[0], 426)
    equal(refused(t, port, connection="keep-alive")[0], 426)
    equal(refused(t, port, method="POST")[1]["allow"], "GET")
    status, fields = refused(t, port, version="8")
    equal((status, fields["sec-websocket-version"]), (426, "13"))
    equal(refused(t, port, key="short")[0], 400)
    equal(refused(t, port, protocol="amqp")[0], 400)
    equal(refused(t, port, http="1.0")[0], 426)
    equal(refused(t, port, http="3.0")[0], 505)
    equal(refused(t, port, host=None)[0], 400)
    equal(refused(t, port, extra=[("X", "y" * 9000)])[0], 431)
    equal(refused(t, port, path="/" + "y" * 9000)[0], 414)
    equal(refused(t, port, extra=[("Content-Length", "1")])[0], 400)
    contains(s.log(), "a WebSocket handshake was refused")
    login(t, port)


@test
def other_protocols_on_the_port(t):
    s, port = hub(t)
    for data in (raw.connect("a"), b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\n\n\n\n"):
        w = WebSocket(t, port, handshake=False)
        w.raw(data)
        equal(w.answer()[0], 400)
    check(Raw(t, s.port).send(rawws.request()).closed())


@test
def subprotocols(t):
    s, port = hub(t)
    for offered, chosen in (("mqttv3.1", "mqttv3.1"), ("mqttv3.1, mqtt", "mqtt"), ("x,mqtt", "mqtt")):
        w = WebSocket(t, port, handshake=False)
        w.raw(rawws.request(protocol=offered, path="/any/path?with=query"))
        status, fields, _ = w.answer()
        equal((status, fields["sec-websocket-protocol"]), (101, chosen))
        check("sec-websocket-extensions" not in fields)
        w.login("w")
    w = WebSocket(t, port, handshake=False)
    w.raw(rawws.request(protocol=None))
    status, fields, _ = w.answer()
    equal((status, fields.get("sec-websocket-protocol")), (101, None), "a client that offers none")
    w.login("w")


@test
def path_and_origins_of_a_listener(t):
    s, port = hub(t, """hub:
  listen: ['tcp://127.0.0.1:0']
  listeners:
    - address: 'ws://127.0.0.1:0'
      path: /mqtt
      origins: ['https://good.example', 'http://localhost:8080']
""")
    equal(refused(t, port, path="/")[0], 404)
    equal(refused(t, port, path="/mqtt/")[0], 404)
    equal(refused(t, port, extra=[("Origin", "https://evil.example")])[0], 403)
    equal(refused(t, port, extra=[("Origin", "null")])[0], 403)
    for extra in ((), [("Origin", "https://good.example")], [("Origin", "http://localhost:8080")]):
        WebSocket(t, port, path="/mqtt?x", extra=extra).login("w")


@test
def slow_handshakes_are_timed_out(t):
    s, port = hub(t, CONFIG + "  connect: {timeout: 1s}\n")
    silent = WebSocket(t, port, handshake=False)
    half = WebSocket(t, port, handshake=False)
    half.raw(rawws.request()[:40])
    open_only = WebSocket(t, port)
    start = time.monotonic()
    dripping = WebSocket(t, port, handshake=False)
    while time.monotonic() < start + 8 * SLOW and not dripping.gone:
        dripping.raw(b"G" if dripping.wire else b"X")
        dripping.wire = b"x"
        time.sleep(0.1)
    took = time.monotonic() - start
    check(took < 4 * SLOW, "open for %.1f s" % took)
    equal(half.answer()[0], 408)
    check(not silent.receive(time.monotonic() + 5), "silent one closed")
    check(open_only.close_code() is not None)
    login(t, port)


@test
def many_half_handshakes(t):
    s, port = hub(t, CONFIG + "  connect: {timeout: 2s}\n")
    half = [WebSocket(t, port, handshake=False) for _ in range(200)]
    for i, w in enumerate(half):
        w.raw(rawws.request(extra=[("X", "y" * 30 * i)])[:-1])
    for i in range(5):
        login(t, port, "good %d" % i).ping()
    for w in half:
        w.raw(b"\n")
        equal(w.answer()[0], 101)


# ---- Frames that break the rules ----


@test
def close_codes_for_broken_frames(t):
    s, port = hub(t)
    for what, data, code in (
            ("text", frame(b"hello", op=TEXT), 1003),
            ("not masked", frame(raw.packet(0xc0), mask=None), 1002),
            ("reserved bit", frame(raw.packet(0xc0), reserved=4), 1002),
            ("reserved opcode", frame(b"", op=3), 1002),
            ("reserved control opcode", frame(b"", op=11), 1002),
            ("continuation of nothing", frame(b"", op=MORE), 1002),
            ("message in a message", frame(b"", fin=False) + frame(b""), 1002),
            ("fragmented ping", frame(b"", op=PING, fin=False), 1002),
            ("long ping", frame(b"x" * 126, op=PING), 1002),
            ("length not the shortest", frame(b"", length=b"\xfe\x00\x05"), 1002),
            ("negative length", frame(b"", length=b"\xff\xff" + bytes(7)), 1002),
            ("huge frame", frame(b"", length=b"\xff" + struct.pack(">Q", 1 << 40)), 1009),
            ("close of one byte", frame(b"x", op=CLOSE), 1002),
            ("close code 1005", frame(close_payload(1005), op=CLOSE), 1002),
            ("close code 999", frame(close_payload(999), op=CLOSE), 1002),
            ("close reason not UTF-8", frame(close_payload(1000, b"\xff\xfe"), op=CLOSE), 1007)):
        w = login(t, port)
        w.raw(data)
        equal(w.close_code(), code, "close code for " + what)
    contains(s.log(), "a WebSocket client broke the rules")


@test
def close_is_echoed(t):
    s, port = hub(t)
    for code in (1000, 1001, 3000, 4999):
        w = login(t, port)
        w.raw(frame(close_payload(code, "bye ü".encode()), op=CLOSE))
        equal(w.close_code(), code)
    w = login(t, port)
    w.raw(frame(b"", op=CLOSE))
    equal(w.close_code(), None)


@test
def close_codes_for_mqtt_reasons(t):
    s, port = hub(t, CONFIG + "  message: {length: {max: 1k}}\n")
    for level in (4, 5):
        w = login(t, port, level=level)
        w.send(raw.publish("x", b"y" * 2000, level=level))
        equal(w.close_code(), 1009, "too large")
        w = login(t, port, level=level)
        w.send(raw.packet(0xf1))
        equal(w.close_code(), 1002, "malformed")
        w = login(t, port, level=level)
        other = login(t, port, level=level)
        equal(w.close_code(), 1008, "taken over")
        w = login(t, port, "k", keepalive=1, level=level)
        equal(w.close_code(), 1008, "silent")
        other.send(raw.packet(0xe0))
        equal(other.close_code(), 1000, "DISCONNECT")
    w = login(t, port, level=5)
    s.process.terminate()
    equal(w.expect(raw.DISCONNECT)[0], 0x8b)
    equal(w.close_code(), 1001, "stop")


@test
def close_code_of_a_refused_login(t):
    s, port = hub(t, CONFIG + "  principals: [{username: u, password: right}]\n")
    for level in (4, 5):
        w = WebSocket(t, port)
        w.send(raw.connect("w", user="u", password="wrong", level=level))
        equal(w.expect(raw.CONNACK, 10)[1], 4 if level == 4 else 0x86)
        equal(w.close_code(), 1008)


@test
def pings_are_answered_and_do_not_keep_mqtt_alive(t):
    s, port = hub(t)
    w = login(t, port, keepalive=1)
    for payload in (b"", b"x" * 125):
        equal(w.raw(frame(payload, op=PING)).control(PONG), payload)
    w.raw(frame(b"unasked", op=PONG))
    w.ping()
    start = time.monotonic()
    while not w.gone and time.monotonic() < start + 5 * SLOW:
        w.raw(frame(b"p", op=PING))
        time.sleep(0.2)
    check(w.gone, "closed although pings came")


@test
def flood_of_pings_is_bounded(t):
    s, port = hub(t)
    w = subscribe(login(t, port), "x")
    other = session(t, s, "other", ("x", 0))
    before = memory(s)
    flood = frame(b"x" * 125, op=PING) * 2000
    w.s.settimeout(0.2)
    for _ in range(100):  # 26 MB, and the pongs are not read
        try:
            w.s.sendall(flood)
        except OSError:
            break
    other.send(raw.publish("x", "alive"))
    equal(other.message()["payload"], b"alive")
    grown = memory(s) - before
    check(grown < 8 << 20, "grew by %d bytes" % grown)


def memory(s):
    with open("/proc/%d/statm" % s.process.pid) as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@test
def idle_connections_are_small(t):
    s, port = hub(t)
    n = 400
    login(t, port, "first").ping()
    before = memory(s)
    clients = [login(t, port, "idle %d" % i) for i in range(n)]
    for c in clients:
        c.ping()
    each = (memory(s) - before) / n
    check(SLOW > 1 or each < 2500, "%d bytes for an idle connection" % each)


@test
def stops_at_once_with_connections_of_every_kind(t):
    s, port = hub(t)
    half = WebSocket(t, port, handshake=False)
    half.raw(rawws.request()[:50])
    silent = WebSocket(t, port, handshake=False)
    opened, logged_in = WebSocket(t, port), login(t, port)
    until(lambda: s.alive())
    equal(s.stop(), 0, "exit status")
    equal(half.answer()[0], 503)
    for w in (opened, logged_in):
        equal(w.close_code(), 1001)
    check(not silent.receive(time.monotonic() + 5))


@test
def what_is_counted(t):
    s, port = hub(t)
    w = login(t, port)
    refused(t, port, version="1")
    w.raw(frame(b"", op=TEXT))
    equal(w.close_code(), 1003)
    m = api.metrics(s)
    for name in ("handshakes", "refused", "broken"):
        equal(m["baetyl_hub_websocket_%s_total" % name], 1, name)


@test
def addresses_are_said(t):
    s, port = hub(t, "hub:\n  listen: ['ws://127.0.0.1:0/mqtt']\n")
    contains(s.log(), "address=ws://127.0.0.1:%d" % port)
    equal(s.ports(), [], "tcp ports")
    login(t, port).ping()


# ---- Over TLS ----


def secure(t, ca, more=""):
    cert, key = ca.issue("server")
    s = t.baetyl("hub:\n  listen: ['tcp://127.0.0.1:0', 'wss://127.0.0.1:0']\n  workers: 3\n  anonymous: true\n"
                 "  certificate: {ca: %s, cert: %s, key: %s, require: optional}\n%s" % (ca.ca, cert, key, more))
    c = ssl.create_default_context(cafile=ca.ca)
    return s, s.ports("wss")[0], lambda plain: c.wrap_socket(plain, server_hostname="localhost"), c


@test
def over_tls(t):
    s, port, wrap, _ = secure(t, Authority(t))
    tcp = session(t, s, "tcp", ("#", 0))
    for level in (4, 5):
        w = WebSocket(t, port, wrap=wrap)
        w.login("w%d" % level, level=level)
        subscribe(w, "x", 1, level)
        for n in (0, 125, 16000, 17000, 70000, 1000000):
            payload = os.urandom(n)
            w.send(raw.publish("x", payload, qos=1, level=level))
            got = w.packet(20)
            if got[0] == raw.PUBACK:
                got = w.packet(20)
            else:
                w.expect(raw.PUBACK)
            check(got[0] == raw.PUBLISH and got[2].endswith(payload), "%d bytes over wss" % n)
            equal(tcp.message(20)["payload"], payload, "%d bytes to tcp" % n)
            w.send(raw.packet(0x40, got[2][3:5]))
        equal(w.raw(frame(b"p", op=PING)).control(PONG), b"p")
        w.send(raw.packet(0xe0))
        equal(w.close_code(), 1000)
    w = WebSocket(t, port, wrap=wrap)
    w.login("broken")
    w.raw(frame(b"x", op=TEXT))
    equal(w.close_code(), 1003)
    w = WebSocket(t, port, wrap=wrap, handshake=False)
    w.raw(rawws.request(version="7"))
    equal(w.answer()[0], 426)
    w = WebSocket(t, port, handshake=False)
    w.raw(rawws.request())
    check(not w.receive(time.monotonic() + 5) or w.wire[:1] == b"\x15", "plain HTTP is not answered")
    s.process.terminate()
    equal(s.process.wait(10 * SLOW), 0)


@test
def over_tls_in_small_pieces(t):
    s, port, wrap, _ = secure(t, Authority(t))
    w = WebSocket(t, port, wrap=wrap, handshake=False)
    data = rawws.request() + frame(raw.connect("w")) + frame(raw.subscribe(("x", 0)))
    for b in data:
        w.raw(bytes([b]))  # each in a record of its own
    equal(w.answer()[0], 101)
    w.expect(raw.CONNACK)
    w.expect(raw.SUBACK)
    w.raw(b"".join(frame(raw.publish("x", b"%d" % i)) for i in range(2000)))
    equal([int(w.message()["payload"]) for _ in range(2000)], list(range(2000)))


@test
def certificate_principals_over_wss(t):
    ca = Authority(t)
    s, port, _, c = secure(t, ca, "  principals: [{username: robot, permissions: [{action: pub, permit: ['#']}, "
                                  "{action: sub, permit: ['#']}]}]\n")
    c.load_cert_chain(*ca.issue("robot"))
    w = WebSocket(t, port, wrap=lambda plain: c.wrap_socket(plain, server_hostname="localhost"))
    w.login("w", user="robot")
    subscribe(w, "x").send(raw.publish("x", "known by its certificate"))
    equal(w.message()["payload"], b"known by its certificate")
