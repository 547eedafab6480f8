"""TLS: versions, certificates, resumption, reload, back-pressure, what is not TLS."""
import os
import random
import signal
import socket
import ssl
import struct
import time

import raw
from harness import SLOW, check, contains, equal, need_tool, test, until
from raw import Raw
from tlscerts import Authority

VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)


def hub(t, ca, listeners="[{address: 'ssl://127.0.0.1:0'}]", certificate="", more="", **options):
    """A hub with a TLS listener; certificate: keys beside the three files."""
    if not os.path.exists(ca.path("server.pem")):
        ca.issue("server")
    return t.baetyl("hub:\n  certificate: {ca: %s, cert: %s, key: %s%s}\n  anonymous: true\n%s  listeners: %s\n" % (
        ca.ca, ca.path("server.pem"), ca.path("server.key"), certificate and ", " + certificate, more, listeners),
        **options)


def context(ca, client=None, version=None, verify=True):
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if verify:
        c.load_verify_locations(ca.ca)
    else:
        c.check_hostname, c.verify_mode = False, ssl.CERT_NONE
    if client:
        c.load_cert_chain(*client)
    if version:
        c.minimum_version = c.maximum_version = version
    return c


class Tls(Raw):
    """Raw packets through TLS."""

    def __init__(self, t, port, c, session=None, buffer=None):
        s = socket.socket()
        if buffer:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        s.settimeout(5 * SLOW)
        s.connect(("127.0.0.1", port))
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.data = b""
        t.clients.append(self)
        self.s = s
        self.s = c.wrap_socket(s, server_hostname="localhost", session=session)


def tls_session(t, port, c, client_id, *filters, **options):
    r = Tls(t, port, c, **{k: options.pop(k) for k in ("session", "buffer") if k in options})
    r.login(client_id, **options)
    if filters:
        r.send(raw.subscribe(*filters)).expect(raw.SUBACK)
    return r


def refused(t, port, c, session=None):
    """Whether the handshake or the first answer fails: in 1.3 a client hears late that it is not wanted."""
    try:
        r = Tls(t, port, c, session=session)
        r.s.sendall(raw.connect("x"))
        return r.s.recv(100) == b""
    except (ssl.SSLError, ConnectionError):
        return True


@test
def both_versions_and_key_kinds(t):
    ca = Authority(t)
    for rsa in (False, True):
        ca.issue("server", rsa=rsa)
        s = hub(t, ca)
        port = s.ports("ssl")[0]
        for version in VERSIONS:
            c = context(ca, version=version)
            a = tls_session(t, port, c, "a", ("t/#", 1))
            equal(a.s.version(), version.name.replace("_", "."), "version")
            tls_session(t, port, c, "b").send(raw.publish("t/x", "hello", qos=1)).expect(raw.PUBACK)
            equal(a.message()["payload"], b"hello", "payload")
            a.send(raw.packet(0xe0)).closed()


@test
def only_the_newest_version(t):
    ca = Authority(t)
    s = hub(t, ca, certificate="version: 1.3")
    port = s.ports("ssl")[0]
    check(refused(t, port, context(ca, version=VERSIONS[0])), "1.2 is refused")
    tls_session(t, port, context(ca), "a").ping()
    contains(s.log(), "no version of TLS in common", "log")


@test
def client_certificates(t):
    ca, other = Authority(t), Authority(t, "other")
    good, old = ca.issue("good"), ca.issue("old", days=(-10, -1))
    gone, foreign = ca.issue("gone"), other.issue("foreign")
    crl = ca.revoke("gone")
    s = hub(t, ca, "[%s]" % ", ".join(
        "{address: 'ssl://127.0.0.1:0', certificate: {require: %s, crl: %s}}" % (r, crl)
        for r in ("none", "optional", "required")))
    none, optional, required = s.ports("ssl")
    for version in VERSIONS:
        def takes(port, client):
            return not refused(t, port, context(ca, client, version))
        for client in (None, good, old, gone, foreign):
            check(takes(none, client), "a certificate that nobody asks for")
        check(takes(optional, None) and takes(optional, good), "optional")
        check(takes(required, good), "required")
        check(not takes(required, None), "required and not there")
        for port in (optional, required):
            for client in (old, gone, foreign):
                check(not takes(port, client), "a bad certificate is refused")
    for cause in ("the client showed no certificate", "has expired", "revoked", "not correctly signed"):
        contains(s.log(), cause, "log")
    contains(s.log(), "peer=127.0.0.1:", "log")


@test
def a_client_checks_the_server(t):
    ca, other = Authority(t), Authority(t, "other")
    s = hub(t, ca)
    check(refused(t, s.ports("ssl")[0], context(other)), "another CA")
    until(lambda: "the other side refused: it does not know the CA" in s.log(), what="a log line")


@test
def resumption(t):
    ca = Authority(t)
    client = ca.issue("pump")
    s = hub(t, ca, certificate="require: required", more="  workers: 3\n")
    port = s.ports("ssl")[0]
    for version in VERSIONS:
        c = context(ca, client, version)
        first = tls_session(t, port, c, "first")
        first.ping()
        check(not first.s.session_reused, "the first is a new session")
        kept = first.s.session
        for i in range(3):
            again = tls_session(t, port, c, "again%d" % i, session=kept)
            again.ping()
            check(again.s.session_reused, "resumed")


@test
def plain_bytes_on_a_tls_port(t):
    ca = Authority(t)
    s = hub(t, ca)
    port = s.ports("ssl")[0]
    for bytes_, cause in ((raw.connect("x"), "speaks MQTT without TLS"),
                          (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "speaks HTTP without TLS"),
                          (os.urandom(1000), ""), (b"\x16\x03\x01\xff\xff" + b"x" * 1000, ""),
                          (b"\x16\x03\x01\x40\x00" + b"\1\0\x3f\xfc" + b"\0" * 20000, "")):
        r = Raw(t, port)
        r.send(bytes_)
        r.closed()
        contains(s.log(), cause, "log")
    tls_session(t, port, context(ca), "a").ping()
    # And TLS where MQTT is spoken.
    plain = t.baetyl()
    check(refused(t, plain.port, context(ca)), "a plain port")
    raw.session(t, plain, "b").ping()


@test
def half_a_handshake_is_timed_out(t):
    ca = Authority(t)
    s = hub(t, ca, more="  connect: {timeout: 1s}\n")
    port = s.ports("ssl")[0]
    silent, half, slow = Raw(t, port), Raw(t, port), Raw(t, port)
    half.send(b"\x16\x03\x01\x02\x00\x01")
    made = Tls(t, port, context(ca))
    start = time.monotonic()
    while time.monotonic() - start < 0.8:
        slow.send(b"\x16" if time.monotonic() - start < 0.1 else b"\x03")
        time.sleep(0.2)
    for r in (silent, half, slow, made):
        r.closed()
    check(time.monotonic() - start < 4 * SLOW, "in time")
    contains(s.log(), "the handshake was not finished in time", "log")


@test
def fragments(t):
    """A handshake and packets that come a few bytes at a time."""
    ca = Authority(t)
    s = hub(t, ca)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    o = context(ca).wrap_bio(incoming, outgoing, server_hostname="localhost")
    plain = Raw(t, s.ports("ssl")[0])

    def push(piece):
        data = outgoing.read()
        for i in range(0, len(data), piece):
            plain.s.sendall(data[i:i + piece])
            time.sleep(0.001)

    def call(fn, *args):
        while True:
            try:
                return fn(*args)
            except ssl.SSLWantReadError:
                push(7)
                incoming.write(plain.s.recv(65536))
    call(o.do_handshake)
    o.write(raw.connect("slow"))
    equal(call(o.read, 100)[0] >> 4, raw.CONNACK, "packet")
    o.write(raw.subscribe(("f", 0)) + raw.publish("f", "x" * 300))
    push(3)
    got = b""
    while len(got) < 5 + 300 + 6:
        got += call(o.read, 1000)
    contains(got, "x" * 300, "packets")


@test
def large_messages(t):
    ca = Authority(t)
    s = hub(t, ca, more="  message: {length: {max: 5m}}\n  limits: {queue: {bytes: 64m}}\n")
    port = s.ports("ssl")[0]
    payload = os.urandom(4 * 1024 * 1024)
    for version in VERSIONS:
        c = context(ca, version=version)
        a = tls_session(t, port, c, "a", ("big", 1))
        b = tls_session(t, port, c, "b")
        for qos in (0, 1):
            b.send(raw.publish("big", payload, qos=qos))
            check(a.message()["payload"] == payload, "the same bytes")
        b.expect(raw.PUBACK)


@test
def slow_reader(t):
    """One that does not read loses QoS 0 messages, costs bounded memory and holds nobody up."""
    ca = Authority(t)
    s = hub(t, ca, more="  workers: 1\n")
    port = s.ports("ssl")[0]
    c = context(ca)
    slow = tls_session(t, port, c, "slow", ("flood", 0), buffer=4096)
    fast = tls_session(t, port, c, "fast", ("flood", 0))
    pub = tls_session(t, port, c, "pub")
    for i in range(300):
        pub.send(raw.publish("flood", b"%08d" % i + b"x" * 32768))
        equal(fast.message()["payload"][:8], b"%08d" % i, "payload")
    got = []
    while not got or got[-1] != 299:
        pub.send(raw.publish("flood", b"%08d" % 299 + b"x" * 100))
        try:
            while True:
                got.append(int(slow.message(seconds=0.3)["payload"][:8]))
        except Exception:  # pylint: disable=broad-except
            pass
    check(got == sorted(got) and len(got) < 300, "in order, with gaps")
    slow.ping()


@test
def goodbyes(t):
    ca = Authority(t)
    s = hub(t, ca)
    c = context(ca)
    c.options |= ssl.OP_IGNORE_UNEXPECTED_EOF if hasattr(ssl, "OP_IGNORE_UNEXPECTED_EOF") else 0
    # Ours: what we send before we leave arrives, then close_notify.
    a = tls_session(t, s.ports("ssl")[0], context(ca), "a")
    watcher = tls_session(t, s.ports("ssl")[0], c, "w", ("will", 0))
    a.send(raw.packet(0xf0))  # AUTH is not for 3.1.1
    equal(a.s.recv(10), b"", "the end, and no error: close_notify came")
    # Theirs: without DISCONNECT the will is published.
    b = Tls(t, s.ports("ssl")[0], context(ca))
    b.login("b", will=("will", "gone", 0))
    b.s.unwrap()
    equal(watcher.message()["payload"], b"gone", "will")


@test
def reload_under_live_connections(t):
    ca = Authority(t)
    client = ca.issue("pump")
    ca.issue("server", days=(-1, 5.5))
    crl = ca.revoke()
    s = hub(t, ca, certificate="require: required, crl: %s" % crl)
    port = s.ports("ssl")[0]
    contains(s.log(), "expires soon", "log")
    contains(s.log(), "days=5", "log")
    c = context(ca, client)
    live = tls_session(t, port, c, "live", ("t", 0))
    first = live.s.getpeercert()["serialNumber"]
    kept = live.s.session

    def reload(what):
        before = s.log().count(what)
        s.process.send_signal(signal.SIGHUP)
        until(lambda: s.log().count(what) > before, what=what)
    ca.issue("server")
    reload("certificate read again")
    fresh = tls_session(t, port, c, "fresh")
    check(fresh.s.getpeercert()["serialNumber"] != first, "the new certificate")
    # A bad file changes nothing.
    with open(ca.path("server.key"), "w") as f:
        f.write("nonsense")
    reload("the new certificate cannot be used, the old one stays")
    fresh.send(raw.publish("t", "still here")).ping()
    equal(live.message()["payload"], b"still here", "payload")
    tls_session(t, port, c, "more").ping()
    # Revoked from now on: also for a ticket from before.
    ca.issue("server")
    ca.revoke("pump")
    reload("certificate read again")
    check(refused(t, port, c), "revoked")
    check(refused(t, port, c, session=kept), "a ticket from before")
    live.ping()


@test
def move_between_workers_under_load(t):
    ca = Authority(t)
    s = hub(t, ca, more="  workers: 3\n")
    port = s.ports("ssl")[0]
    c = context(ca)
    subs = [tls_session(t, port, c, "s%d" % i, ("m/#", 1)) for i in range(6)]
    pubs = []
    for i in range(6):
        # CONNECT and what follows in one record: the rest moves with the connection.
        p = Tls(t, port, c)
        p.send(raw.connect("p%d" % i) + b"".join(
            raw.publish("m/%d" % i, b"%d" % n, qos=1, pid=n + 1) for n in range(100)))
        pubs.append(p)
    for p in pubs:
        p.expect(raw.CONNACK)
        for _ in range(100):
            p.expect(raw.PUBACK)
    for r in subs:
        got = {}
        for _ in range(600):
            m = r.message()
            got.setdefault(m["topic"], []).append(int(m["payload"]))
        check(all(v == list(range(100)) for v in got.values()) and len(got) == 6, "all, in order")


@test
def listener_options(t):
    ca = Authority(t)
    s = hub(t, ca, "[{address: 'ssl://127.0.0.1:0', anonymous: false}, {address: 'tcp://127.0.0.1:0', "
            "limits: {connections: 2, packet: 1k}}, {address: 'mqtts://[::]:0'}, {address: 'tcp://:0'}]")
    r = Tls(t, s.ports("ssl")[0], context(ca))
    r.send(raw.connect("a"))
    equal(r.expect(raw.CONNACK)[1], 4, "bad user name or password")
    plain = s.ports("tcp")
    two = [raw.session(t, s, "x%d" % i) for i in range(2)] if plain[0] == s.port else []
    equal(len(two), 2, "connections")
    Raw(t, s.port).send(raw.connect("y")).closed()
    until(lambda: "too many connections" in s.log(), what="a log line")
    two[0].send(raw.publish("t", "x" * 2000)).closed()
    until(lambda: Raw(t, s.port).send(raw.connect("z")).packet() is not None, what="room for another")
    # All addresses, old and new.
    for host in ("127.0.0.1", "::1"):
        for port, wrap in ((s.ports("mqtts")[0], True), (plain[1], False)):
            c = socket.create_connection((host, port), 5)
            t.clients.append(c)
            c = context(ca).wrap_socket(c, server_hostname=host) if wrap else c
            c.sendall(raw.connect("h"))
            equal(c.recv(2)[:1], b"\x20", "CONNACK")
            c.close()


@test
def mosquitto_clients(t):
    need_tool("mosquitto_sub")
    ca = Authority(t)
    pump = ca.issue("pump")
    s = hub(t, ca, certificate="require: required")
    args = ["-h", "localhost", "-p", str(s.ports("ssl")[0]), "--cafile", ca.ca, "--cert", pump[0], "--key", pump[1]]
    # Retained, so that it does not matter when the other one subscribes.
    for options in (["-t", "m/1", "-m", "one"], ["-t", "m/2", "-m", "two", "-V", "5", "--tls-version", "tlsv1.2"]):
        equal(t.run(["mosquitto_pub", "-q", "1", "-r"] + options + args)[0], 0, "exit status")
    code, out, _ = t.run(["mosquitto_sub", "-t", "m/#", "-C", "2", "-v", "-q", "1"] + args)
    equal((code, sorted(out.split(b"\n"))), (0, [b"", b"m/1 one", b"m/2 two"]), "output")


@test
def does_not_start_without_its_files(t):
    ca = Authority(t)
    ca.issue("server")
    os.unlink(ca.path("server.key"))
    s = hub(t, ca, start=False)
    s.start(wait=False)
    equal(s.process.wait(10 * SLOW), 1, "exit status")
    contains(s.log(), "server.key: No such file", "log")


@test
def own_clients(t):
    ca, other = Authority(t), Authority(t, "other")
    pump = ca.issue("pump")
    s = hub(t, ca, "[{address: 'ssl://127.0.0.1:0', certificate: {require: required}}, {address: 'ssl://127.0.0.1:0'}]")
    port, free = s.ports("ssl")
    mine = ["--cafile", ca.ca, "--cert", pump[0], "--key", pump[1]]
    # Retained, so that it does not matter when the other one subscribes.
    equal(t.command("pub", "--address", "ssl://localhost:%d" % port, "-t", "c/1", "-m", "one", "-q", "1", "-r",
                    *mine)[0], 0, "exit status")
    big = os.urandom(300000).hex().encode()
    equal(t.command("pub", "-L", "mqtts://127.0.0.1:%d/c/2" % free, "--cafile", ca.ca, "-s", "-q", "2", "-r",
                    stdin=big)[0], 0, "exit status")
    equal(t.command("pub", "--address", "tls://127.0.0.2:%d" % free, "-t", "c/3", "-m", "three", "--insecure")[0], 1,
          "nobody listens there")
    equal(t.command("pub", "--address", "tls://[::ffff:127.0.0.1]:%d" % free, "-t", "c/3", "-m", "three", "-r",
                    "--insecure")[0], 0, "exit status")
    code, out, _ = t.command("sub", "-h", "127.0.0.1", "-p", str(port), "-t", "c/#", "-C", "3", "-v", *mine)
    equal(code, 0, "exit status")
    check(b"c/1 one" in out and b"c/2 " + big in out and b"c/3 three" in out, "messages")
    for args, why in ((["--cafile", other.ca], "not correctly signed"), (["--cafile", "/nowhere"], "/nowhere: No such"),
                      (["--cafile", ca.ca, "--cert", pump[0]], "both"), ([], "not correctly signed")):
        code, _, error = t.command("pub", "--address", "ssl://127.0.0.1:%d" % free, "-t", "x", "-n", *args)
        equal(code, 1, "exit status")
        contains(error, why, "error")
    code, _, error = t.command("pub", "--address", "ssl://127.0.0.1:%d" % port, "-t", "x", "-n", "--cafile", ca.ca)
    equal(code, 1, "without a certificate")
    code, _, error = t.command("pub", "--address", "ssl://[::ffff:127.0.0.1]:%d" % free, "-t", "x", "-n", "--cafile",
                               ca.ca)
    contains(error, "does not match", "another name")
    equal(t.command("pub", "--address", "tcp://127.0.0.1:1", "-t", "x", "-n", "--insecure")[0], 2, "exit status")


@test
def churn(t):
    """Connections that end anywhere, also in the middle of a handshake, by FIN and by RST."""
    ca = Authority(t)
    s = hub(t, ca, more="  workers: 3\n")
    port = s.ports("ssl")[0]
    chance = random.Random(7)
    contexts = [context(ca, version=v) for v in VERSIONS]
    watcher = tls_session(t, port, contexts[1], "watcher", ("live/#", 1))

    def end(c):
        if chance.random() < 0.5:
            c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        c.close()

    for i in range(300):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        o = chance.choice(contexts).wrap_bio(incoming, outgoing, server_hostname="localhost")
        c = socket.create_connection(("127.0.0.1", port), 5)
        stop = chance.choice((0, 1, 50, 200, 400, 700, 1500, 10**6))
        sent = 0
        try:
            for _ in range(6):
                try:
                    o.do_handshake()
                    o.write(raw.connect("c%d" % i) + raw.publish("live/%d" % i, "x" * chance.randrange(5000)))
                    o.read(100)
                except ssl.SSLWantReadError:
                    pass
                data = outgoing.read()[:stop - sent]
                c.sendall(data)
                sent += len(data)
                if sent >= stop:
                    break
                c.settimeout(0.05)
                incoming.write(c.recv(65536))
        except (OSError, ssl.SSLError):
            pass
        end(c)
    watcher.send(raw.publish("live/end", "end", qos=1))
    kinds = [watcher.packet() for _ in range(2)]
    while not any(k[0] == raw.PUBLISH and k[2].endswith(b"end") for k in kinds):
        kinds.append(watcher.packet())
    until(lambda: len(os.listdir("/proc/%d/fd" % s.process.pid)) < 40, what="closed descriptors")


@test
def certificate_logins(t):
    """The original's scenarios: a principal without a password logs in by a certificate only."""
    ca = Authority(t)
    pump = ca.issue("pump")
    ca.issue("server")
    s = t.baetyl("""
hub:
  listen: ['ssl://127.0.0.1:0', 'tcp://127.0.0.1:0']
  certificate: {ca: %s, cert: %s, key: %s}
  principals:
  - username: two-way-tls
    permissions: [{action: pub, permit: ['tls/#']}, {action: sub, permit: ['tls/#']}]
  - username: test
    password: hahaha
    permissions: [{action: pub, permit: ['#']}, {action: sub, permit: ['#']}]
""" % (ca.ca, ca.path("server.pem"), ca.path("server.key")))
    port = s.ports("ssl")[0]
    for version in VERSIONS:
        shown, bare = context(ca, pump, version), context(ca, version=version)
        kept = None
        for i in range(2):  # the second time by a ticket
            r = tls_session(t, port, shown, "a%d" % i, user="two-way-tls", session=kept)
            equal(r.s.session_reused, bool(kept), "resumed")
            equal(r.send(raw.subscribe(("tls/a", 0), ("x", 0))).expect(raw.SUBACK)[2:], b"\0\x80", "granted")
            kept = r.s.session
            r.send(raw.publish("x", "no")).closed()
        tls_session(t, port, bare, "b", user="test", password="hahaha").ping()
        for c, options in ((shown, {"user": "two-way-tls", "password": "x"}), (bare, {"user": "two-way-tls"}),
                           (shown, {"user": "nobody"})):
            Tls(t, port, c).login("c", code=4, **options)
    Raw(t, s.port).login("d", code=4, user="two-way-tls")
