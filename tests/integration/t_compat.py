"""Users come with the configuration of the original hub and with their devices: both must work as before.

The files in compat/ are read as they are, but for the ports. Defects of the original that must not come
back have a test here, too.
"""
import os
import re
import ssl
import time

import raw
from harness import BAETYL, SLOW, check, contains, equal, need_tool, test, until
from raw import PUBACK, SUBACK, Raw
from rawws import WebSocket, request
from t_tls import Tls, context
from tlscerts import Authority

FILES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "compat")
USER = {"user": "test", "password": "hahaha"}


def text_of(name):
    """A file with port 0 for every port."""
    with open(os.path.join(FILES, name)) as f:
        return re.sub(r"(://[^:'\s]*):\d+", r"\1:0", f.read())


def folder(t):
    """A working folder with certificates where the files look for them, and the authority."""
    ca, work = Authority(t), t.folder()
    ca.issue("server")
    os.makedirs(os.path.join(work, "var/db/baetyl"))
    os.symlink(ca.dir, os.path.join(work, "var/db/baetyl/cert"))
    return work, ca


def hub(t, name, **options):
    return t.baetyl(text_of(name), **options)


def custom(t, text):
    """A hub of lines behind the listener, with one user who may do everything."""
    return t.baetyl("listen: ['tcp://127.0.0.1:0']\nprincipals:\n  - {username: test, password: hahaha, "
                    "permissions: [{action: pub, permit: ['#']}, {action: sub, permit: ['#']}]}\n" + text)


def login(t, s, client_id="raw", **options):
    r = Raw(t, s.port)
    r.present = r.login(client_id, **dict(USER, **options))
    return r


def granted(r, *filters):
    return list(r.send(raw.subscribe(*filters)).expect(SUBACK)[2:])


def listener(t, s, *filters, client_id="listener", **options):
    r = login(t, s, client_id, **options)
    equal(granted(r, *filters), [q for _, q in filters], "granted")
    return r


def sync(*clients):
    for c in clients:
        c.ping()


def checked(t, text):
    """(exit status, messages) of `baetyl check`."""
    path = os.path.join(t.folder(), "service.yml")
    with open(path, "w") as f:
        f.write(text)
    code, _, err = t.command("check", "-c", path)
    return code, err.decode().replace(path, "F")


# ---- Configuration ----


@test
def every_key_of_the_original_is_known(t):
    work, _ = folder(t)
    path = os.path.join(work, "service.yml")
    with open(path, "w") as f:
        f.write(text_of("every_key.yml"))
    code, out, err = t.command("check", "-w", work, "-c", path)
    equal(code, 0, err)
    contains(out, "OK!")
    lines = [x.replace(path, "F") for x in err.decode().splitlines()]
    equal(len(lines), 2, lines)
    contains(lines[0], "F:2:1: warning: unknown key")
    contains(lines[0], "name")
    contains(lines[1], "F:7:22: warning: ")
    contains(lines[1], "plain text")


@test
def every_key_is_served(t):
    work, ca = folder(t)
    s = hub(t, "every_key.yml", folder=work)
    equal(len(s.ports("(?:mqtt|tcp)")) + len(s.ports("(?:tls|mqtts|ssl)")), 3, "addresses")
    a = listener(t, s, ("t/topic", 1))
    login(t, s, "p").send(raw.publish("t", b"x" * 60000, qos=1)).expect(PUBACK)
    equal(len(a.message()["payload"]), 60000, "length of the routed copy")
    for port in s.ports("(?:tls|mqtts|ssl)"):
        Tls(t, port, context(ca)).login("tls", **USER)
    check(os.path.isdir(os.path.join(work, "var/db/baetyl/data")), "storage.dir")
    with open(os.path.join(work, "var/log/baetyl/service.log")) as f:
        check(f.readline().startswith("{"), "a log of JSON")


@test
def a_zero_is_the_default(t):
    code, messages = checked(t, text_of("zeros.yml"))
    equal(code, 0, messages)
    s = hub(t, "zeros.yml")
    Raw(t, s.port).login("c")
    check(os.path.isdir(os.path.join(s.dir, "var/db/baetyl/data")), "the default of storage.dir")


@test
def where_a_service_yml_is_found(t):
    work, _ = folder(t)
    os.makedirs(os.path.join(work, "etc/baetyl"))
    with open(os.path.join(work, "etc/baetyl/service.yml"), "w") as f:
        f.write(text_of("device.yml"))
    equal(t.command("check", "-w", work)[0], 0, "exit status")


@test
def files_of_the_master_are_told_apart(t):
    """The original's conf.yml and application.yml; t_guides has whole trees of them."""
    for text, parts in (
            ("mode: native\nserver: {address: 'unix:///var/run/baetyl.sock'}\nlogger: {level: debug}\n",
             ("var/db/baetyl/application.yml: error: cannot be read: No such file or directory",)),
            ("version: v0\nservices:\n  - {name: localhub, image: baetyl-hub}\n  - {name: x, image: other}\n",
             ("the service \"localhub\" is not run: its replica is 0", "the service \"x\" is not run: ",
              "nothing to run: expected a section hub: or functions:, or services that are modules of this program")),
            ("mode: both\n", ("mode: expected one of docker, native, found \"both\"",))):
        code, messages = checked(t, text)
        equal(code, 1, "exit status")
        for part in parts:
            contains(messages, part)


@test
def texts_of_wrong_values(t):
    """The sentences that the original had are in ours."""
    base = "listen: ['tcp://127.0.0.1:0']\n"
    rule = base + "subscriptions: [{source: {topic: '%s'}, target: {topic: '%s'}}]\n"
    for text, part in (
            ("listen: ['http://127.0.0.1:1']\n", "unsupported protocol"),
            (base + "principals: [{username: X, password: a}, {username: X, password: b}]\n",
             "username (X) duplicate"),
            (base + "principals: [{username: X, password: a, permissions: [{action: sub, permit: ['$x']}]}]\n",
             "sub topic($x) invalid"),
            (rule % ("a/#/b", "t"), "[{Topic:a/#/b QOS:0}] source topic invalid"),
            (rule % ("$a", "t"), "[{Topic:$a QOS:0}] source topic invalid"),
            (rule % ("a", "t/+"), "[{Topic:t/+ QOS:0}] target topic invalid"),
            (base + "subscriptions: [{source: {topic: a, qos: 2}, target: {topic: b}}]\n", "from 0 to 1"),
            (base + "message: {length: {max: 1x}}\n", "expected a size"),
            (base + "message: {egress: {qos1: {batch: {max: 10001}}}}\n", "to 10000"),
            (base + "principals: [{username: a, permissions: [{action: read}]}]\n", "one of pub, sub")):
        code, messages = checked(t, text)
        equal(code, 1, messages)
        contains(messages, part)
        check(re.match(r"F:\d+:\d+: ", messages), "a place: " + messages)


def rules(*pairs):
    return "listen: ['tcp://127.0.0.1:0']\nsubscriptions:\n" + "".join(
        "  - {source: {topic: '%s'}, target: {topic: '%s'}}\n" % p for p in pairs)


@test
def cycles_are_found_in_any_order(t):
    """The original's answer for wildcards changed from run to run."""
    wild = [("a/+", "b/x"), ("b/#", "c"), ("c", "d"), ("d", "a/y")]
    turns = [wild[i:] + wild[:i] for i in range(4)] + [wild[::-1]]
    for pairs in [[("test", "test")], [("+", "test")], [("#", "x/y")], [("a", "b"), ("b", "a")]] + turns * 2:
        code, messages = checked(t, rules(*pairs))
        equal(code, 1, pairs)
        contains(messages, "found cycle in source and target config")
    for pairs in ([("a", "b"), ("b", "c"), ("a", "c")], [("a/+", "t"), ("a/#", "t")], [("a/+", "a/b/c")]):
        equal(checked(t, rules(*pairs))[0], 0, pairs)
    contains(checked(t, rules(("a", "b"), ("a", "b")))[1], "duplicate source and target config")


# ---- Devices come in (guide "device connect") ----


@test
def devices_connect_over_every_transport(t):
    work, ca = folder(t)
    device = ca.issue("device")
    s = hub(t, "device.yml", folder=work)
    for options, code in ((USER, 0), ({"user": "test", "password": "no"}, 4), ({"user": "test"}, 4),
                          ({}, 4), ({"user": "nobody", "password": "x"}, 4), ({"user": "two-way-tls"}, 4)):
        r = Raw(t, s.port)
        r.login("c", code=code, **options)
        check(code == 0 or r.closed(), "closed")
    tls, version = s.ports("ssl")[0], ssl.TLSVersion.TLSv1_2
    r = Tls(t, tls, context(ca, device, version))
    r.login("d", user="two-way-tls", password="")
    equal(granted(r, ("tls/a", 1), ("x", 0)), [1, 0x80], "granted")
    r.send(raw.publish("x", "no")).closed()
    Tls(t, tls, context(ca)).login("e", **USER)
    Tls(t, tls, context(ca, device)).login("f", user="two-way-tls", password="x", code=4)
    Tls(t, tls, context(ca, device)).login("g", user="two-way-tls")
    for password in (None, ""):
        Tls(t, tls, context(ca)).login("g", user="two-way-tls", password=password, code=4)
    for path in ("/mqtt", "/", "/any/other?x=y"):
        WebSocket(t, s.ports("ws")[0], path=path).login("ws", keepalive=10, **USER)
    w = WebSocket(t, s.ports("wss")[0],
                  wrap=lambda c: context(ca).wrap_socket(c, server_hostname="localhost"))
    w.login("wss", keepalive=10, **USER)
    w.ping()
    plain = WebSocket(t, s.ports("ws")[0], handshake=False)
    plain.raw(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    check(400 <= plain.answer()[0] < 500, "an answer to plain HTTP")
    old = WebSocket(t, s.ports("ws")[0], handshake=False)
    old.raw(request(protocol="mqttv3.1"))
    equal(old.answer()[1].get("sec-websocket-protocol"), "mqttv3.1", "subprotocol")
    bare = WebSocket(t, s.ports("ws")[0], handshake=False)
    bare.raw(request(protocol=None))
    equal(bare.answer()[0], 101, "status without a subprotocol")
    bare.login("bare", **USER)
    check(os.path.exists(os.path.join(work, "var/log/baetyl/service.log")), "a log file")


@test
def certificates_of_the_first_version(t):
    """The original's example files have no X.509 extensions, and RSA keys in their own form."""
    work, ca = folder(t)
    for name in ("old", "dev"):
        ca.key(name, rsa=True)
        ca.ssl("rsa", "-in", ca.path(name + ".key"), "-traditional", "-out", ca.path(name + ".key"))
    ca.ssl("req", "-new", "-key", ca.path("old.key"), "-subj", "/CN=old ca", "-out", ca.path("old.csr"))
    ca.ssl("x509", "-req", "-in", ca.path("old.csr"), "-signkey", ca.path("old.key"), "-days", "30",
           "-out", ca.path("ca.pem"))
    for name in ("server", "dev"):
        if name == "server":
            os.replace(ca.path("old.key"), ca.path("ca.key"))
            ca.key("server", rsa=True)
        ca.ssl("req", "-new", "-key", ca.path(name + ".key"), "-subj", "/CN=" + name, "-out", ca.path("x.csr"))
        ca.ssl("x509", "-req", "-in", ca.path("x.csr"), "-CA", ca.path("ca.pem"), "-CAkey", ca.path("ca.key"),
               "-set_serial", "7", "-days", "30", "-out", ca.path(name + ".pem"))
    s = hub(t, "device.yml", folder=work)
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        c = context(ca, (ca.path("dev.pem"), ca.path("dev.key")), version, verify=False)
        Tls(t, s.ports("ssl")[0], c).login("d", user="two-way-tls")


@test
def message_transfer_with_real_clients(t):
    """Guide "message transferring among devices"."""
    sub, pub = need_tool("mosquitto_sub"), need_tool("mosquitto_pub")
    work, _ = folder(t)
    s = hub(t, "device.yml", folder=work)
    who = ["-h", "127.0.0.1", "-p", str(s.port), "-u", "test", "-P", "hahaha"]
    lines = t.spawn([sub] + who + ["-t", "t", "-t", "t/topic", "-F", "%t %q %r %p", "-C", "2", "-i", "sub"])
    probe = login(t, s, "probe")

    def there():
        time.sleep(0.05)
        return "sub" in s.log() or probe.ping() is None
    until(there, 5, "the subscriber")
    time.sleep(0.3 * SLOW)
    code, _, err = t.run([pub] + who + ["-t", "t", "-m", "This is a new message."])
    equal(code, 0, err)
    out = lines.communicate(timeout=10 * SLOW)[0].decode().splitlines()
    equal(sorted(out), ["t 0 0 This is a new message.", "t/topic 0 0 This is a new message."], "lines")


# ---- Permissions ----

VECTORS = (
    ("one", ("a",), ("/", "a/", "a/b", "/a")),
    ("under", ("test/", "test/a"), ("test", "/test/a", "a/b/c")),
    ("middle", ("a/c/b", "a//b"), ("a/c/d/b", "a///b")),
    ("tree", ("test", "test/", "test/a/b"), ("/", "a")),
    ("all", ("a", "/", "a/b//c", " ", "/$a"), ()),
)


@test
def permits(t):
    s = hub(t, "permits.yml")
    for user, good, bad in VECTORS:
        who = {"user": user, "password": "p"}
        r = login(t, s, user, **who)
        equal(granted(r, *[(f, 1) for f in good + bad]), [1] * len(good) + [0x80] * len(bad), user)
        for topic in good:
            r.send(raw.publish(topic, "x", qos=1))
            equal(sorted([r.packet()[0], r.packet()[0]]), [3, 4], topic)
        for topic in bad:
            r = login(t, s, user, **who)
            r.send(raw.publish(topic, "x", qos=1)).closed()


@test
def a_permit_covers_the_whole_filter(t):
    """The original let `a/+` subscribe `a/#`, and `+` all of `#`."""
    s = hub(t, "permits.yml")
    for user, good, bad in (("one", ("+",), ("#", "+/#", "+/a")), ("under", ("test/+",), ("test/#", "#", "+/a")),
                            ("tree", ("test/#", "test/+", "test/+/a/#"), ("+", "#", "+/a")),
                            ("player", ("sport/tennis/player1/#", "sport/tennis/player1", "a/b"), ("a/+", "sport/#")),
                            ("nothing", (), ("a",))):
        r = login(t, s, user, user=user, password="p")
        equal(granted(r, *[(f, 0) for f in good + bad]), [0] * len(good) + [0x80] * len(bad), user)


@test
def retained_of_a_refused_filter_stays(t):
    s = hub(t, "permits.yml")
    a = login(t, s, "a", user="all", password="p")
    a.send(raw.publish("secret", "s", retain=True), raw.publish("test/x", "open", retain=True)).ping()
    r = login(t, s, "r", user="under", password="p")
    equal(granted(r, ("#", 0), ("test/+", 0)), [0x80, 0], "granted")
    equal(r.message()["topic"], "test/x", "topic")
    r.quiet()


# ---- Routes ----


@test
def route_qos(t):
    s = hub(t, "routes.yml")
    a = listener(t, s, ("out/#", 1))
    p = login(t, s, "p")
    for message in (0, 1):
        for source in (0, 1):
            for target in (0, 1):
                p.send(raw.publish("in/%d/%d" % (source, target), "x", qos=message, retain=True))
                if message:
                    p.expect(PUBACK)
                got = a.message()
                equal((got["topic"], got["qos"], got["retain"]),
                      ("out/%d/%d" % (source, target), target if min(message, source) else 0, 0), "the copy")
    equal(granted(login(t, s, "late"), ("out/#", 1)), [1], "granted")
    login(t, s, "later").send(raw.subscribe(("out/#", 1))).expect(SUBACK)
    r = login(t, s, "last")
    granted(r, ("out/#", 1))
    r.quiet()


@test
def copies_follow_their_source(t):
    """Wills are routed like any message; the copy comes after what it was made of."""
    work, _ = folder(t)
    s = hub(t, "device.yml", folder=work)
    a = listener(t, s, ("t/#", 1))
    p = login(t, s, "p")
    for i in range(3):
        p.send(raw.publish("t", str(i), qos=i % 2))
        if i % 2:
            p.expect(PUBACK)
    p.ping()
    login(t, s, "w", will=("t", "will", 0)).ping().close()
    got = [a.message() for _ in range(8)]
    equal([(m["topic"], m["payload"]) for m in got],
          [(topic, x) for x in (b"0", b"1", b"2", b"will") for topic in ("t", "t/topic")], "messages")


@test
def routes_in_a_row_and_to_one_target(t):
    """A chain lowers the QoS once and for all; several rules make one copy; no permit is needed."""
    s = hub(t, "routes.yml")
    a = listener(t, s, ("head", 1), ("next", 1), ("tail", 1), ("one", 1))
    p = login(t, s, "p")
    p.send(raw.publish("head", "m", qos=1)).expect(PUBACK)
    got = {m["topic"]: m["qos"] for m in (a.message() for _ in range(3))}
    equal(got, {"head": 1, "next": 1, "tail": 0}, "the chain")
    p.send(raw.publish("wild/a", "m", qos=1)).expect(PUBACK)
    m = a.message()
    equal((m["topic"], m["qos"]), ("one", 1), "the copy")
    a.quiet()
    login(t, s, "p").send(raw.publish("out/x", "not permitted", qos=1)).closed()


# ---- Retained, wills ----


@test
def retained(t):
    s = custom(t, "")
    p = login(t, s, "p")
    a = listener(t, s, ("r/#", 1))
    p.send(raw.publish("r/0", "zero", retain=True), raw.publish("r/1", "one", qos=1, retain=True)).expect(PUBACK)
    for _ in range(2):
        equal(a.message()["retain"], 0, "retain of a live message")
    for _ in range(2):  # also for a filter that is there already
        a.send(raw.subscribe(("r/#", 1))).expect(SUBACK)
        equal(sorted((m["topic"], m["qos"], m["retain"]) for m in (a.message(), a.message())),
              [("r/0", 0, 1), ("r/1", 1, 1)], "replayed")
    p.send(raw.publish("r/1", b"")).ping()
    equal(a.message()["payload"], b"", "an empty message")
    equal(granted(login(t, s, "b"), ("r/1", 0)), [0], "granted")
    b = login(t, s, "b2")
    granted(b, ("r/1", 0))
    m = b.message()
    equal((m["payload"], m["qos"]), (b"one", 0), "an empty message without the flag deletes nothing")
    p.send(raw.publish("r/1", b"", retain=True)).ping()
    equal((a.message()["payload"], b.message()["payload"]), (b"", b""), "live")
    c = login(t, s, "c")
    granted(c, ("r/1", 0))
    c.quiet()
    s.stop()
    s.start()
    c = login(t, s, "c")
    granted(c, ("#", 1))
    m = c.message()
    equal((m["topic"], m["payload"], m["retain"]), ("r/0", b"zero", 1), "retained at QoS 0, after a restart")
    c.quiet()


@test
def wills(t):
    s = hub(t, "permits.yml")
    every = {"user": "all", "password": "p"}
    a = login(t, s, "a", **every)
    granted(a, ("w/#", 1))
    for end in ("takeover", "cut", "violation", "goodbye"):
        r = login(t, s, "dev", will=("w/" + end, "gone", 1), **every)
        if end == "takeover":
            login(t, s, "dev", **every)
        elif end == "cut":
            r.close()
        elif end == "violation":
            r.send(b"\x00\x00").closed()
        else:
            r.send(raw.packet(0xe0)).closed()
            a.quiet()
            continue
        equal(a.message()["topic"], "w/" + end, "will")
    Raw(t, s.port).login("n", code=5, user="under", password="p", will=("w/x", "gone", 0))
    Raw(t, s.port).send(raw.connect("n", will=("w/+", "gone", 0), **every)).closed()
    a.quiet()
    keeper = login(t, s, "keeper", clean=False, **every)
    granted(keeper, ("w/#", 1))
    login(t, s, "dev", will=("w/stop", "gone", 1), **every).ping()
    s.stop()
    s.start()
    keeper = Raw(t, s.port)
    equal(keeper.login("keeper", clean=False, **every), 1, "session present")
    equal(keeper.message()["topic"], "w/stop", "the will of a stop")


@test
def wills_of_a_stop_are_kept(t):
    """They go to sessions of other workers, which stop at the same time."""
    s = custom(t, "workers: 4\n")
    for _ in range(6):
        keepers = [listener(t, s, ("w", 1), client_id="keeper%d" % i, clean=False) for i in range(3)]
        sync(*[login(t, s, "dev%d" % i, will=("w", "gone", 1)) for i in range(4)])
        s.stop()
        s.start()
        for i in range(len(keepers)):
            r = login(t, s, "keeper%d" % i, clean=False)
            equal([r.message()["payload"] for _ in range(4)], [b"gone"] * 4, "wills")
            r.ping()


@test
def a_stale_will_is_nobody_elses(t):
    """After a crash the original published the old will for a later connection that had none."""
    s = custom(t, "")
    login(t, s, "dev", will=("w", "old", 1), clean=False).ping()
    s.kill()
    s.start()
    a = listener(t, s, ("w", 1))
    login(t, s, "dev", clean=False).ping().close()
    sync(a)
    a.quiet(0.6)


# ---- Sessions ----


@test
def sessions_and_acknowledgements(t):
    s = custom(t, "message: {egress: {qos1: {retry: {interval: 1s}}}}\n")
    a = listener(t, s, ("q", 1), client_id="a", clean=False)
    p = login(t, s, "p")
    for i in range(5):
        p.send(raw.publish("q", "m%d" % i, qos=1)).expect(PUBACK)
    got = [a.message(ack=False) for _ in range(5)]
    a.send(raw.ack(PUBACK, got[0]["pid"]), raw.ack(PUBACK, got[2]["pid"])).ping()
    a.quiet(1.5)  # the standard: again only after a reconnect
    a.close()
    p.send(raw.publish("q", "zero")).ping()
    s.stop()
    s.start()
    a = login(t, s, "a", clean=False)
    equal(a.present, 1, "session present")
    again = [a.message() for _ in range(3)]
    equal([m["payload"] for m in again], [b"m1", b"m3", b"m4"], "what was not acknowledged")
    equal([m["dup"] for m in again], [1, 1, 1], "DUP")
    a.ping().quiet()
    login(t, s, "a", clean=True).ping()
    a = login(t, s, "a", clean=False)
    equal(a.present, 0, "session present after a clean one")
    login(t, s, "p").send(raw.publish("q", "x", qos=1)).expect(PUBACK)
    a.quiet()


@test
def order_over_topics(t):
    """What one client publishes at one QoS arrives in that order, whatever the topics."""
    s = custom(t, "")
    receivers = [listener(t, s, ("o/#", 1), client_id="r%d" % i, clean=i % 2 == 0) for i in range(4)]
    p = login(t, s, "p")
    for i in range(400):
        p.send(raw.publish("o/%d" % (i % 7), str(i), qos=1, pid=i + 1))
    for r in receivers:
        got = [int(r.message()["payload"]) for _ in range(400)]
        equal(got, list(range(400)), "order")


@test
def takeover(t):
    s = custom(t, "")
    first = listener(t, s, ("x", 1), client_id="same")
    second = listener(t, s, ("x", 1), client_id="same")
    check(first.closed(), "the first is closed")
    login(t, s, "p").send(raw.publish("x", "m", qos=1)).expect(PUBACK)
    m = second.message()
    equal((m["payload"], m["pid"]), (b"m", 1), "message")
    second.quiet()


@test
def one_copy_for_overlapping_filters(t):
    s = custom(t, "")
    a = listener(t, s, ("x/+", 0), ("x/#", 1), ("x/y", 0))
    login(t, s, "p").send(raw.publish("x/y", "m", qos=1)).expect(PUBACK)
    equal(a.message()["qos"], 1, "the highest QoS")
    a.quiet()
    equal(a.send(raw.unsubscribe("never/there")).expect(raw.UNSUBACK), b"\0\1", "UNSUBACK")


@test
def a_client_that_does_not_read_holds_up_nobody(t):
    """In the original nobody got a PUBACK any more, the stalled client could not be taken over, and a stop hung."""
    s = custom(t, "")
    stalled = listener(t, s, ("big", 1), client_id="stalled")
    p = login(t, s, "p")
    for _ in range(60):
        p.send(raw.publish("big", b"x" * 100000, qos=1)).expect(PUBACK)
    other = listener(t, s, ("small", 1))
    login(t, s, "q").send(raw.publish("small", "m", qos=1)).expect(PUBACK)
    equal(other.message()["payload"], b"m", "payload")
    start = time.monotonic()
    login(t, s, "stalled")
    check(time.monotonic() - start < 2 * SLOW, "taken over at once")
    stalled.close()
    listener(t, s, ("big", 1), client_id="stalled2")
    for _ in range(60):
        p.send(raw.publish("big", b"x" * 100000, qos=1)).expect(PUBACK)
    equal(s.stop(), 0, "exit status")


@test
def wills_of_many_at_once(t):
    """Under load the original published 0 of 30."""
    s = custom(t, "")
    a = listener(t, s, ("w/+", 1))
    clients = [login(t, s, "c%d" % i, will=("w/%d" % i, "gone", 1)) for i in range(30)]
    for c in clients:
        c.send(raw.subscribe(("load", 1))).expect(SUBACK)
    p = login(t, s, "p")
    for _ in range(20):
        p.send(raw.publish("load", b"x" * 10000, qos=1)).expect(PUBACK)
    for c in clients:
        c.close()
    equal({a.message()["topic"] for _ in range(30)}, {"w/%d" % i for i in range(30)}, "wills")


# ---- The protocol ----


@test
def protocol_errors(t):
    s = custom(t, "")
    for name in ("MQTT", "MQIsdp"):
        for level in (3, 4):
            if (name, level) in (("MQTT", 4), ("MQIsdp", 3)):
                login(t, s, "v", name=name, level=level).ping()
    r = Raw(t, s.port).send(raw.connect("v", level=6, **USER))
    equal(r.expect(raw.CONNACK)[1], 1, "the code for an unknown version")
    r.closed()
    Raw(t, s.port).send(raw.packet(0xc0)).closed()
    for bad in (raw.connect("same", **USER), raw.connect("another", **USER), raw.publish("$x", "no"),
                raw.publish("a/+", "no"), raw.subscribe(("x", 3)), raw.subscribe(), raw.subscribe(("x", 0), pid=0)):
        r = login(t, s, "same")
        r.send(bad).closed()
        login(t, s, "same").ping()  # the original refused it once
        login(t, s, "another").ping()
    equal(granted(login(t, s, "d"), ("$x/#", 0), ("a/#/b", 0), ("a", 1)), [0x80, 0x80, 1], "granted")
    Raw(t, s.port).login("", **USER)
    r = Raw(t, s.port)
    r.login("", code=2, clean=False, **USER)
    r.closed()


@test
def the_originals_limits_by_keys(t):
    s = hub(t, "limits.yml")
    a = listener(t, s, ("#", 0))
    for topic in ("/a/b/c/d/e/f/g/h", "x" * 255, " /", "/$"):
        login(t, s, "p").send(raw.publish(topic, "m")).ping()
        equal(a.message()["topic"], topic, "topic")
    for topic in ("/a/b/c/d/e/f/g/h/", "x" * 256, "$", "$baidu/x", "/a/b#b/c", "/a+a/b/"):
        login(t, s, "p").send(raw.publish(topic, "m")).closed()
    equal(granted(a, *[(f, 0) for f in ("+/a/#", "/+", "/a/+/", "#")]), [0] * 4, "good filters")
    f = login(t, s, "f")
    equal(granted(f, *[(x, 0) for x in ("/a/#/c", "/a/##", "/a/b/+#", "/a/b+c/", "1/2/3/4/5/6/7/8/9/10")]),
          [0x80] * 5, "bad filters")
    login(t, s, "x" * 128)
    for client_id in ("x" * 129, "a.b", "a/b"):
        Raw(t, s.port).login(client_id, code=2, **USER)
    body = 32768 - 4 - 2 - 3
    p = login(t, s, "p").send(raw.publish("len", b"x" * (body + 0)))
    equal(len(a.message()["payload"]), body, "a packet of exactly 32 KiB")
    p.send(raw.publish("len", b"x" * (body + 1))).closed()


@test
def deep_topics_and_free_names_by_default(t):
    s = custom(t, "")
    a = listener(t, s, ("deep/#", 0), client_id="site/7:a.b")
    topic = "deep" + "/x" * 50
    login(t, s, "p").send(raw.publish(topic, b"x" * 100000)).ping()
    equal(a.message()["topic"], topic, "topic")


@test
def the_window_of_a_client(t):
    s = custom(t, "message: {egress: {qos1: {buffer: {size: 5}}}}\n")
    a = listener(t, s, ("x", 1))
    p = login(t, s, "p")
    for i in range(8):
        p.send(raw.publish("x", str(i), qos=1)).expect(PUBACK)
    got = [a.message(ack=False) for _ in range(5)]
    a.quiet()
    a.send(*[raw.ack(PUBACK, m["pid"]) for m in got])
    equal([a.message()["payload"] for _ in range(3)], [b"5", b"6", b"7"], "the rest")


@test
def old_messages_are_removed(t):
    s = custom(t, "message: {ingress: {qos1: {cleanup: {retention: 1s, interval: 500ms}}}}\n")
    listener(t, s, ("x", 1), client_id="away", clean=False).send(raw.packet(0xe0)).closed()
    p = login(t, s, "p")
    p.send(raw.publish("x", "old", qos=1)).expect(PUBACK)
    time.sleep(2.5)
    p.send(raw.publish("x", "new", qos=1)).expect(PUBACK)
    a = login(t, s, "away", clean=False)
    equal(a.message()["payload"], b"new", "what is left")
    a.quiet()


@test
def status_is_logged(t):
    """The original's documentation has it, the original had not."""
    s = custom(t, "status: {logging: {enable: true, interval: 100ms}}\nmetrics: {report: {interval: 50ms}}\n")
    listener(t, s, ("x", 0))
    login(t, s, "p").send(raw.publish("x", "m")).ping()
    until(lambda: " connections=2 sessions=2 subscriptions=1 received=1 sent=1 dropped=0 " in s.log(), 5, "a line")
    check(s.log().count("id=HUB-STATUS") >= 1, s.log())


@test
def files_of_the_original_stay(t):
    """They are named once, and left alone."""
    work, _ = folder(t)
    data = os.path.join(work, "var/db/baetyl/data")
    os.makedirs(data)
    for name in ("session.db", "offset.db", "msgqos1.db"):
        with open(os.path.join(data, name), "wb") as f:
            f.write(name.encode() * 1000)
    s = hub(t, "device.yml", folder=work)
    login(t, s, "c", clean=False).ping()
    s.stop()
    equal(s.log().count("id=HUB-OLDSTORE"), 1, "warnings")
    for name in ("session.db", "offset.db", "msgqos1.db"):
        with open(os.path.join(data, name), "rb") as f:
            equal(f.read(), name.encode() * 1000, name)
