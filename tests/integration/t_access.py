"""Logins and permissions: hashes, back-off, %c and %u, denies, nothing told to strangers."""
import concurrent.futures
import hashlib
import base64
import os
import pty
import select
import subprocess
import time

import raw
from harness import BAETYL, RUNNER, SLOW, check, contains, equal, need_tool, test, until
from raw import Raw, session

LISTEN = "hub:\n  listen: ['tcp://127.0.0.1:0']\n  principals:\n"


def b64(data):
    return base64.b64encode(data).decode().rstrip("=")


def pbkdf2(password, iterations=1000):
    salt = os.urandom(16)
    return "$pbkdf2-sha512$i=%d$%s$%s" % (iterations, b64(salt), b64(
        hashlib.pbkdf2_hmac("sha512", password.encode(), salt, iterations, 64)))


def user(name, password, pub="'#'", sub="'#'", more=""):
    return ("    - username: '%s'\n      password: '%s'\n%s      permissions:\n"
            "        - {action: pub, permit: [%s]}\n        - {action: sub, permit: [%s]}\n"
            % (name, password, more, pub, sub))


def login(t, s, name, password, code=0, client_id=None, **options):
    r = Raw(t, s.port)
    r.login(client_id or name, user=name, password=password, code=code, **options)
    return r


@test
def passwd_makes_what_start_reads(t):
    code, out, err = t.command("passwd", "--iterations", "1000", "ann", stdin=b"se cret\n")
    equal((code, err), (0, b""), "exit and errors")
    contains(out, "- username: 'ann'\n  password: '$pbkdf2-sha512$i=1000$")
    entry = "".join("    " + line + "\n" for line in out.decode().splitlines())
    s = t.baetyl(LISTEN + entry + "      permissions: [{action: pub, permit: ['#']}]\n")
    login(t, s, "ann", "se cret").ping()
    login(t, s, "ann", "secret", code=4)
    check("plain text" not in s.log(), "no warning for a hash")
    for bad in (b"", b"\n", b"x" * 1025 + b"\n"):
        equal(t.command("passwd", stdin=bad)[0], 1, "exit")
    equal(t.command("passwd", "a", "b", stdin=b"x\n")[0], 2, "exit")
    equal(t.command("passwd", "-i", "0", stdin=b"x\n")[0], 2, "exit")


@test
def passwd_on_a_terminal_shows_nothing(t):
    ours, theirs = pty.openpty()
    p = subprocess.Popen(RUNNER + [BAETYL, "passwd", "-i", "1000"], stdin=theirs, stdout=subprocess.PIPE,
                         stderr=theirs)
    t.processes.append(p)
    os.close(theirs)
    shown = b""
    for prompt in (b"Password: ", b"Again: "):
        end = time.monotonic() + 5 * SLOW
        while prompt not in shown and time.monotonic() < end:
            if select.select([ours], [], [], 0.1)[0]:
                shown += os.read(ours, 1000)
        contains(shown, prompt.decode())
        time.sleep(0.1 * SLOW)
        os.write(ours, b"topsecret\n")
    contains(p.stdout.read(), "$pbkdf2-sha512$i=1000$")
    equal(p.wait(), 0, "exit")
    if select.select([ours], [], [], 0.1)[0]:
        try:
            shown += os.read(ours, 1000)
        except OSError:
            pass
    check(b"topsecret" not in shown, "echo")
    os.close(ours)


@test
def users_of_mosquitto_come_over(t):
    tool = need_tool("mosquitto_passwd")
    path = os.path.join(t.folder(), "users")
    equal(t.run([tool, "-b", "-c", path, "joe", "pw 1"])[0], 0, "mosquitto_passwd")
    with open(path) as f:
        stored = f.read().strip().split(":", 1)[1]
    s = t.baetyl(LISTEN + user("joe", stored))
    login(t, s, "joe", "pw 1")
    login(t, s, "joe", "pw 2", code=4)


@test
def plain_text_is_read_with_a_warning(t):
    s = t.baetyl(LISTEN + user("ann", "plain"))
    login(t, s, "ann", "plain")
    contains(s.log(), "baetyl.yml:5:7: warning: ")
    contains(s.log(), "plain text")
    for bad in ("$pbkdf2-sha512$i=x$a$b", "$6$salt$hash", "$argon2id$v=19$x"):
        code, _, err = t.command("check", "-c", write(t, LISTEN + user("ann", bad)))
        equal(code, 1, "exit")
        contains(err, ":5:7: error: ")


def write(t, text):
    path = os.path.join(t.folder(), "c.yml")
    with open(path, "w") as f:
        f.write(text)
    return path


@test
def a_hash_holds_up_nobody(t):
    """A slow hash is computed away from the workers; its connection alone waits."""
    s = t.baetyl(LISTEN + user("slow", pbkdf2("one", 1500000)) + user("fast", "two"))
    live = login(t, s, "fast", "two")
    r = Raw(t, s.port)
    start = time.monotonic()
    # What follows the CONNECT waits with it.
    r.send(raw.connect("slow", user="slow", password="one"), raw.packet(0xc0))
    worst = 0
    while not select.select([r.s], [], [], 0)[0]:
        before = time.monotonic()
        live.ping()
        worst = max(worst, time.monotonic() - before)
        check(time.monotonic() - start < 50 * SLOW, "an answer")
    took = time.monotonic() - start
    equal(r.expect(raw.CONNACK)[1], 0, "CONNACK")
    r.expect(raw.PINGRESP)
    check(took > 0.2, "hashing took %.3f s" % took)
    check(worst < took / 3 + 0.05 * SLOW, "a ping took %.3f s while hashing took %.3f s" % (worst, took))
    # The second time it was right lately.
    start = time.monotonic()
    login(t, s, "slow", "one", client_id="slow")
    check(time.monotonic() - start < took / 3, "known logins are quick")
    # Gone while its password is looked at.
    for _ in range(3):
        gone = Raw(t, s.port)
        gone.send(raw.connect("gone", user="slow", password="bad"))
        gone.close()
    live.ping()
    equal(s.stop(), 0, "exit status")


@test
def an_unknown_user_costs_what_a_wrong_password_costs(t):
    s = t.baetyl(LISTEN + user("ann", pbkdf2("one", 200000)))
    times = {}
    for name in ("ann", "nobody"):
        start = time.monotonic()
        r = Raw(t, s.port)
        body = r.send(raw.connect("x", user=name, password="bad", level=5)).expect(raw.CONNACK)
        times[name] = time.monotonic() - start
        equal(body[1], 0x86, "reason")
    check(times["nobody"] > times["ann"] / 3, "times %r" % times)


@test
def failures_slow_the_address(t):
    s = t.baetyl(LISTEN + user("ann", "one") + user("bob", "two"))
    login(t, s, "ann", "one")
    times = []
    for i in range(5):
        start = time.monotonic()
        login(t, s, "ann", "bad%d" % i, code=4, client_id="x%d" % i)
        times.append(time.monotonic() - start)
    check(max(times[:3]) < 0.2 * SLOW, "the first are free: %r" % times)
    check(times[3] > 0.2 and times[4] > 0.4, "then it grows: %r" % times)
    # Who was right here before does not suffer; nor does a client that is connected.
    start = time.monotonic()
    login(t, s, "ann", "one")
    check(time.monotonic() - start < 0.2 * SLOW, "a known login waits")
    # A right password waits as a wrong one would.
    start = time.monotonic()
    login(t, s, "bob", "two")
    check(time.monotonic() - start > 0.5, "no slot for a right password")
    contains(s.log(), "id=HUB-REFUSE")
    contains(s.log(), "address=127.0.0.1")
    contains(s.log(), "bad user name or password")
    check("bad4" not in s.log(), "no password in the log")


@test
def guessing_side_by_side_gains_nothing(t):
    s = t.baetyl(LISTEN + user("ann", "one"))
    for i in range(7):
        Raw(t, s.port).send(raw.connect("g%d" % i, user="ann", password="x")).closed(seconds=15)
    answers = []

    def guess(i):
        r = Raw(t, s.port)
        got = r.send(raw.connect("p%d" % i, user="ann", password="x", level=5)).packet(seconds=15)
        answers.append(got[2][1])

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        list(pool.map(guess, range(20)))
    check(answers.count(0x9f) >= 15, "refused unseen: %r" % answers)
    check(s.log().count("id=HUB-REFUSE") < 60, "lines in the log")


@test
def a_reload_while_a_password_is_looked_at(t):
    import signal
    s = t.baetyl(LISTEN + user("ann", pbkdf2("one", 800000)))
    r = Raw(t, s.port)
    r.send(raw.connect("a", user="ann", password="one"))
    time.sleep(0.02)
    with open(s.config, "w") as f:
        f.write(LISTEN + user("ann", pbkdf2("two", 1000)))
    s.process.send_signal(signal.SIGHUP)
    until(lambda: "configuration taken over" in s.log(), what="the reload")
    equal(r.expect(raw.CONNACK, seconds=20)[1], 4, "CONNACK")


@test
def client_and_user_names_in_permits(t):
    s = t.baetyl(LISTEN + user("ann", "one", "'dev/%c/#', 'u/%u'", "'dev/%c/#', 'u/%u/+'"))
    r = login(t, s, "ann", "one", client_id="d1", level=5)
    granted = r.send(raw.subscribe(("dev/d1/#", 0), ("dev/d1", 0), ("dev/+/x", 0), ("dev/d2/#", 0),
                                   ("u/ann/+", 0), ("u/bob/x", 0), ("dev/%c/x", 0), ("#", 0), level=5)
                     ).expect(raw.SUBACK)
    equal(list(granted[-8:]), [0, 0, 0x87, 0x87, 0, 0x87, 0x87, 0x87], "SUBACK")
    r.send(raw.publish("dev/d1/a", "1", level=5))
    equal(r.message(level=5)["payload"], b"1", "payload")
    equal(r.send(raw.publish("dev/d2/a", "2", qos=1, level=5)).expect(raw.PUBACK)[2], 0x87, "PUBACK")
    for odd in ("+", "#", "d1/a", "$SYS"):
        r = login(t, s, "ann", "one", client_id=odd, level=5)
        granted = r.send(raw.subscribe(("dev/+/#", 0), ("dev/d1/#", 0), ("dev/#", 0), ("dev/%s/x" % odd, 0),
                                       level=5)).expect(raw.SUBACK)
        check(all(code >= 0x80 for code in granted[-4:]), "client id %s: %r" % (odd, granted))
        equal(r.send(raw.publish("dev/d1/a", "2", qos=1, level=5)).expect(raw.PUBACK)[2], 0x87, "PUBACK")


@test
def denies_win(t):
    more = "'#'], deny: ['secret/#', '+/%c/no'"
    s = t.baetyl(LISTEN + user("ann", "one", "'#'], deny: ['secret/#'", more) + user("adm", "two"))
    adm = login(t, s, "adm", "two")
    adm.send(raw.publish("secret/a", "hidden", retain=True), raw.publish("open/a", "shown", retain=True)).ping()
    r = login(t, s, "ann", "one", client_id="d1")
    granted = r.send(raw.subscribe(("#", 0), ("+/a", 0), ("secret/a", 0), ("open/+/no", 0), ("open/d1/no", 0),
                                   ("open/d2/no", 0), ("open/#", 0), ("open/+", 0))).expect(raw.SUBACK)
    equal(list(granted[-8:]), [0x80, 0x80, 0x80, 0x80, 0x80, 0, 0x80, 0], "SUBACK")
    equal(r.message()["payload"], b"shown", "payload")
    r.quiet()
    check(r.send(raw.publish("secret/b", "x")).closed(), "closed")


@test
def anonymous_is_no_default_beyond_loopback(t):
    s = t.baetyl("hub:\n  listen: ['tcp://0.0.0.0:0']\n")
    Raw(t, s.port).login("a", code=4)
    Raw(t, s.port).login("a", user="x", password="y", code=4)
    contains(s.log(), "nobody can log in")
    session(t, t.baetyl("hub:\n  listen: ['tcp://0.0.0.0:0']\n  anonymous: true\n"), "a")
    session(t, t.baetyl(), "a")
    s = t.baetyl(LISTEN + user("ann", "one"))
    Raw(t, s.port).login("a", code=4)
    # A certificate principal cannot log in without one.
    s = t.baetyl(LISTEN + "    - {username: cert, permissions: [{action: pub, permit: ['#']}]}\n")
    for password in (None, "", "x"):
        Raw(t, s.port).login("a", user="cert", password=password, code=4)


@test
def a_session_is_not_handed_to_another_user(t):
    s = t.baetyl(LISTEN + user("ann", "one") + user("bob", "two"))
    r = login(t, s, "ann", "one", client_id="dev", clean=False)
    r.send(raw.subscribe(("x", 1))).expect(raw.SUBACK)
    r.close()
    login(t, s, "bob", "two").send(raw.publish("x", "for ann", qos=1)).expect(raw.PUBACK)
    r = Raw(t, s.port)
    equal(r.login("dev", user="bob", password="two", clean=False), 0, "session present")
    r.quiet()


@test
def certificate_principals(t):
    from t_tls import Tls, context
    from tlscerts import Authority
    ca = Authority(t)
    ca.issue("server")
    certs = {name: ca.issue(name) for name in ("dev", "bound", "other")}
    print_of_other = t.run(["openssl", "x509", "-in", certs["other"][0], "-noout", "-fingerprint", "-sha256"])[1]
    fingerprint = print_of_other.decode().strip().split("=")[1]
    permit = "      permissions: [{action: pub, permit: ['%u/#']}, {action: sub, permit: ['%u/#']}]\n"
    s = t.baetyl(
        "hub:\n  certificate: {ca: %s, cert: %s, key: %s}\n  listen: ['ssl://127.0.0.1:0', 'tcp://127.0.0.1:0']\n"
        "  principals:\n" % (ca.ca, ca.path("server.pem"), ca.path("server.key")) +
        "    - username: dev\n" + permit +
        "    - username: bound\n      certificate: {cn: bound}\n" + permit +
        "    - username: printed\n      certificate: {fingerprint: '%s'}\n" % fingerprint + permit +
        user("pw", "word"))
    tls, plain = s.ports("ssl")[0], s.ports("tcp")[0]

    def tries(cert, name, code, password=None):
        r = Tls(t, tls, context(ca, certs.get(cert)))
        r.login("c", user=name, password=password, code=code)
        return r

    tries("other", "dev", 0)  # the original's contract: any certificate of the CA
    tries("dev", None, 0).send(raw.subscribe(("dev/x", 0))).expect(raw.SUBACK)
    tries("bound", "bound", 0)
    tries("bound", None, 0)
    tries("other", "bound", 4)
    tries("other", "printed", 0)
    tries("bound", "printed", 4)
    tries("other", None, 4)
    tries("dev", "pw", 4)
    tries("dev", "pw", 0, password="word")
    tries(None, "dev", 4)
    tries(None, "dev", 4, password="")
    Raw(t, plain).login("c", user="dev", code=4)
    r = tries("bound", "bound", 0)
    equal(list(r.send(raw.subscribe(("bound/x", 0), ("dev/x", 0))).expect(raw.SUBACK)[-2:]), [0, 0x80], "SUBACK")
