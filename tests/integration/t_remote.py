"""Rules whose hub is a broker elsewhere: processes that share one stream, failures of the broker and
of the way to it. The broker is mosquitto where it is installed, and another baetyl."""
import json
import os
import signal
import socket
import subprocess
import time

import raw
from harness import HUB, SLOW, Failed, check, contains, equal, need_tool, test, until
from raw import session
from tlscerts import Authority

WORKER = """functions:
  hub: {{address: '{address}', interval: 500ms, {hub}}}
  rules:
    - clientid: {name}
      subscribe: {{topic: '{filter}', qos: {qos}}}
      function: {{name: f}}
      publish: {{topic: results, qos: {qos}}}
  functions:
    - {{name: f, runtime: python3, handler: index.handler, codedir: f, instance: {{min: 1, max: 2}}}}
"""

HANDLER = """import os, time
def handler(event, context):
    time.sleep(event.get('sleep', 0))
    return {'n': event['n'], 'by': os.environ['WORKER'], 'pid': os.getpid()}
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Mosquitto:
    """A broker on 127.0.0.1 that can be stopped, killed, frozen and started again."""

    def __init__(self, t, lines=(), tls=None):
        need_tool("mosquitto")
        self.t, self.port, self.dir = t, free_port(), t.folder()
        self.path = os.path.join(self.dir, "mosquitto.conf")
        with open(self.path, "w") as f:
            f.write("listener %d 127.0.0.1\npersistence true\npersistence_location %s/\n"
                    "autosave_interval 1\nautosave_on_changes true\nmax_queued_messages 0\nuser root\n"
                    % (self.port, self.dir))
            f.write("\n".join(lines or ["allow_anonymous true"]) + "\n")
            if tls:
                f.write("cafile %s\ncertfile %s\nkeyfile %s\n" % tls)
        self.process = None
        self.start()

    def start(self):
        self.process = self.t.spawn(["mosquitto", "-c", self.path], stderr=subprocess.STDOUT)
        until(self.answers, 5, "mosquitto listens")

    def answers(self):
        if self.process.poll() is not None:
            raise Failed("mosquitto ended: %r" % self.process.stdout.read()[-500:])
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def stop(self, signum=signal.SIGTERM):
        self.process.send_signal(signum)
        self.process.wait(10)

    @property
    def address(self):
        return "tcp://127.0.0.1:%d" % self.port


def worker(t, address, name, hub="", filter_="$share/g/jobs", qos=1, wait=True, config=None, folder=None, **environ):
    """A process with one rule and no hub of its own."""
    server = t.baetyl((config or WORKER).format(address=address, name=name, hub=hub, filter=filter_, qos=qos),
                      start=False, folder=folder)
    os.makedirs(os.path.join(server.dir, "f"), exist_ok=True)
    with open(os.path.join(server.dir, "f", "index.py"), "w") as f:
        f.write(HANDLER.replace("os.environ['WORKER']", repr(name)))
    server.start(wait=False)
    if wait:
        until(lambda: ready(server), 10, "the rule is ready")
    return server


def ready(server):
    if not server.alive():
        raise Failed("baetyl ended with %s" % server.process.returncode)
    return "rule ready" in server.log()


class Results:
    """Collects what the workers publish."""

    def __init__(self, t, broker):
        self.c = session(t, broker, "collector", ("results", 1))
        self.by = {}   # n: [name of the worker, ...]

    def take(self, seconds=5.0):
        m = json.loads(self.c.message(seconds)["payload"])
        self.by.setdefault(m["n"], []).append(m["by"])
        return m

    def until(self, n, seconds=10.0):
        """Until all of 0..n-1 came."""
        end = time.monotonic() + seconds * SLOW
        while len(self.by) < n:
            left = end - time.monotonic()
            if left <= 0:
                raise Failed("%d of %d results" % (len(self.by), n))
            try:
                self.take(min(left, 1))
            except Failed:
                pass
        return self

    def extra(self, seconds=0.3):
        try:
            while True:
                self.take(seconds)
        except Failed:
            return self

    def workers(self):
        return sorted({name for names in self.by.values() for name in names})

    def copies(self):
        return sum(len(names) for names in self.by.values())


class Source:
    """Publishes numbered jobs and waits for the acknowledgements."""

    def __init__(self, t, broker, qos=1):
        self.c, self.n, self.qos = session(t, broker, "source"), 0, qos

    def send(self, n, **more):
        for _ in range(n):
            body = json.dumps(dict(more, n=self.n)).encode()
            self.c.send(raw.publish("jobs", body, qos=self.qos, pid=self.n + 1))
            if self.qos == 2:
                self.c.acked(raw.PUBREC, self.n + 1)
                self.c.send(raw.ack(raw.PUBREL, self.n + 1))
            self.c.acked(raw.PUBACK if self.qos == 1 else raw.PUBCOMP, self.n + 1)
            self.n += 1


def share(t, broker):
    """Two processes share a stream; one is killed, the other one takes over."""
    results, source = Results(t, broker), Source(t, broker)
    a, b = worker(t, broker.address, "a"), worker(t, broker.address, "b")
    source.send(60, sleep=0.002)
    results.until(60).extra()
    equal(results.copies(), 60, "results")
    equal(results.workers(), ["a", "b"], "workers")
    a.kill()
    source.send(40)
    return a, b, results, source


@test
def share_a_hub(t):
    """The simplest cluster: the broker is a third baetyl. What the dead one had goes to the other."""
    broker = t.baetyl(HUB)
    broker.address = "tcp://127.0.0.1:%d" % broker.port
    results, source = Results(t, broker), Source(t, broker)
    a, b = [worker(t, broker.address, n, hub="cleansession: true") for n in "ab"]
    source.send(60, sleep=0.002)
    results.until(60).extra()
    equal(results.copies(), 60, "results")
    equal(results.workers(), ["a", "b"], "workers")
    source.send(30, sleep=0.02)
    a.kill()
    source.send(30)
    results.until(120)
    equal(b.stop(), 0, "exit status")


@test
def share_a_hub_at_qos_2(t):
    broker = t.baetyl(HUB)
    address = "tcp://127.0.0.1:%d" % broker.port
    results, source = Results(t, broker), Source(t, broker, 2)
    for name in "ab":
        worker(t, address, name, qos=2)
    source.send(40)
    results.until(40).extra()
    equal(results.copies(), 40, "results")
    equal(results.workers(), ["a", "b"], "workers")


@test
def share_mosquitto(t):
    """A persistent session: mosquitto keeps what it has given to the dead one until that is back."""
    broker = Mosquitto(t)
    a, b, results, source = share(t, broker)
    results.extra(0.5)
    equal(sorted({n for names in list(results.by.values())[60:] for n in names}), ["b"], "who goes on")
    worker(t, broker.address, "a", folder=a.dir, wait=False)
    results.until(100)
    equal(b.stop(), 0, "exit status")


@test
def broker_restarts(t):
    """Nothing that was acknowledged to the publisher is lost, and the workers come back by themselves."""
    broker = Mosquitto(t)
    source = Source(t, broker)
    a = worker(t, broker.address, "a")
    results = Results(t, broker)
    source.send(20)
    results.until(20)
    broker.stop()
    until(lambda: "the connection to a broker was lost" in a.log(), 5, "the loss is noticed")
    time.sleep(0.3)
    broker.start()
    until(lambda: a.log().count("rule ready") == 2, 5, "the rule is back")
    contains(a.log(), "session=kept")
    again, source2 = Results(t, broker), Source(t, broker)
    again.by = results.by
    source2.n = 20
    source2.send(20)
    again.until(40)


@test
def broker_killed_while_it_works(t):
    """A persistent session of a hub that is killed: every job that it took is done."""
    broker = t.baetyl("hub:\n  listen: ['tcp://127.0.0.1:%d']\n" % free_port())
    address = "tcp://127.0.0.1:%d" % broker.port
    # Subscribed once, so that nothing is lost while the collector is away.
    c = session(t, broker, "collector", ("results", 1), clean=False)
    a = worker(t, address, "a", filter_="jobs")
    source = Source(t, broker)
    source.send(40, sleep=0.02)
    c.close()
    broker.kill()
    broker.start()
    until(lambda: a.log().count("rule ready") == 2, 10, "the rule is back")
    collector = Results.__new__(Results)
    collector.c, collector.by = raw.Raw(t, broker.port), {}
    collector.c.login("collector", clean=False)
    collector.until(40)


@test
def broker_is_away_at_the_start(t):
    """The start does not wait for it, a clear line says why, and it is tried again."""
    port = free_port()
    a = worker(t, "tcp://127.0.0.1:%d" % port, "a", wait=False)
    until(lambda: "a broker could not be reached" in a.log(), 5, "a line in the log")
    contains(a.log(), "cannot connect: Connection refused")
    broker = t.baetyl("hub:\n  listen: ['tcp://127.0.0.1:%d']\n" % port)
    until(lambda: ready(a), 5, "the rule is ready")
    results, source = Results(t, broker), Source(t, broker)
    source.send(1)
    results.until(1)


@test
def tls_with_a_private_authority(t):
    authority = Authority(t)
    good, other = authority.issue("good"), authority.issue("other", san="DNS:other.example")
    client = authority.issue("client", san="DNS:client")
    broker = t.baetyl("hub:\n  listen: ['tcp://127.0.0.1:0', 'ssl://127.0.0.1:0']\n"
                      "  certificate: {ca: %s, cert: %s, key: %s, require: required}\n" % ((authority.ca,) + good))
    address = "ssl://localhost:%d" % broker.ports("ssl")[0]
    files = "ca: %s, cert: %s, key: %s" % ((authority.ca,) + client)
    worker(t, address, "a", hub=files)
    results, source = Results(t, broker), Source(t, broker)
    source.send(3)
    results.until(3)
    # An authority that nobody knows, no certificate of ours, a name that is not in the certificate.
    strangers = Authority(t, "strangers")
    for hub, why in (("ca: %s, cert: %s, key: %s" % ((strangers.ca,) + client), "TLS failed"),
                     ("ca: %s" % authority.ca, "")):
        b = worker(t, address, "b", hub=hub, wait=False)
        until(lambda: "a broker could not be reached" in b.log(), 5, "a refusal")
        contains(b.log(), why)
        check("rule ready" not in b.log(), "not ready")
        b.kill()
    wrong = t.baetyl("hub:\n  listen: ['ssl://127.0.0.1:0']\n  certificate: {cert: %s, key: %s}\n" % other)
    address = "ssl://localhost:%d" % wrong.ports("ssl")[0]
    c = worker(t, address, "c", hub="ca: %s" % authority.ca, wait=False)
    until(lambda: "a broker could not be reached" in c.log(), 5, "a refusal")
    contains(c.log(), "TLS failed")
    c.kill()
    worker(t, address, "d", hub="insecure: true")


@test
def certificates_are_checked(t):
    authority = Authority(t)
    cert, key = authority.issue("client", san="DNS:client")
    folder = t.folder()
    path = os.path.join(folder, "baetyl.yml")
    for hub, where in (("ca: /nonexistent.pem", "ca"), ("cert: %s, key: /nonexistent.key" % cert, "key"),
                       ("cert: %s, key: %s, ca: %s" % (cert, key, authority.ca), None)):
        with open(path, "w") as f:
            f.write("functions:\n  hub: {address: 'ssl://broker.example', %s}\n" % hub)
        code, out, err = t.command("check", "-c", path)
        equal(code, 1 if where else 0, "exit status: %s" % (out + err))
        if where:
            contains(err, "error: functions.%s: /nonexistent" % where)


@test
def wrong_password(t):
    broker = t.baetyl("""hub:
  listen: ['tcp://127.0.0.1:0']
  principals:
    - {username: u, password: p, permissions: [{action: pub, permit: ['#']}, {action: sub, permit: ['#']}]}
""")
    address = "tcp://127.0.0.1:%d" % broker.port
    a = worker(t, address, "a", hub="username: u, password: q", wait=False)
    until(lambda: a.log().count("a broker could not be reached") >= 3, 10, "three attempts")
    contains(a.log(), "the broker refused the login: ")
    check("password: q" not in a.log() and '"q"' not in a.log(), "the password is in the log")
    worker(t, address, "b", hub="username: u, password: p")


@test
def no_such_host(t):
    """Names are looked up beside the loop: another rule goes on meanwhile."""
    broker = t.baetyl(HUB)
    config = WORKER.replace("  functions:\n", """    - clientid: nowhere
      hub: {{address: 'tcp://no-such-host.invalid:1883', interval: 100ms}}
      subscribe: {{topic: t}}
      function: {{name: f}}
      publish: {{topic: r}}
  functions:
""", 1)
    a = worker(t, "tcp://127.0.0.1:%d" % broker.port, "a", config=config)
    until(lambda: "the host no-such-host.invalid cannot be found" in a.log(), 30, "a line in the log")
    results, source = Results(t, broker), Source(t, broker)
    source.send(5)
    results.until(5)
    equal(a.stop(), 0, "exit status")


@test
def frozen_broker(t):
    """A broker that is there and says nothing is given up; its jobs are done when it is back."""
    broker = Mosquitto(t)
    a = worker(t, broker.address, "a", hub="keepalive: 1s, timeout: 1s")
    results, source = Results(t, broker), Source(t, broker)
    broker.process.send_signal(signal.SIGSTOP)
    try:
        until(lambda: "the broker has not answered for" in a.log(), 8, "the silence is noticed")
        until(lambda: "a broker could not be reached" in a.log(), 8, "attempts go on")
        contains(a.log(), "no answer to the login in time")
    finally:
        broker.process.send_signal(signal.SIGCONT)
    until(lambda: a.log().count("rule ready") == 2, 10, "the rule is back")
    source.send(5)
    results.until(5)


@test
def beside_the_hub_of_the_process(t):
    """One rule takes from a broker elsewhere, one from the hub of its process, which is shared, too."""
    broker = t.baetyl(HUB)
    config = HUB + """functions:
  rules:
    - clientid: local
      subscribe: {{topic: '$share/g/jobs', qos: 1}}
      function: {{name: f}}
      publish: {{topic: results, qos: 1}}
    - clientid: far
      hub: {{address: '{address}'}}
      subscribe: {{topic: '{filter}', qos: 1}}
      function: {{name: f}}
      publish: {{topic: results, qos: 1}}
  functions:
    - {{name: f, runtime: python3, handler: index.handler, codedir: f}}
"""
    a = worker(t, "tcp://127.0.0.1:%d" % broker.port, "a", config=config, wait=False)
    until(lambda: a.log().count("rule ready") == 2, 10, "both rules are ready")
    for server in (broker, a):
        results, source = Results(t, server), Source(t, server)
        source.send(5)
        results.until(5).extra(0.1)
        equal(results.copies(), 5, "results")


@test
def qos_0_waits_at_the_broker(t):
    """More at once than a rule keeps (1024): it stops reading, and none is lost."""
    broker = t.baetyl(HUB)
    worker(t, "tcp://127.0.0.1:%d" % broker.port, "a", filter_="jobs", qos=0)
    results, source = Results(t, broker), session(t, broker, "source")
    n = 4000
    source.send(*[raw.publish("jobs", b'{"n":%d}' % i) for i in range(n)])
    results.until(n)


@test
def older_broker(t):
    """3.1.1 by configuration, and by the broker's refusal of version 5."""
    broker = Mosquitto(t)
    a = worker(t, broker.address, "a", hub="version: 3.1.1")
    contains(a.log(), "version=4")
    results, source = Results(t, broker), Source(t, broker)
    source.send(5)
    results.until(5)


@test
def nats(t):
    """A broker that refuses version 5 in its own words."""
    program, port, folder = need_tool("nats-server"), free_port(), t.folder()
    with open(os.path.join(folder, "nats.conf"), "w") as f:
        f.write("server_name: n\nhost: 127.0.0.1\nport: -1\njetstream { store_dir: '%s' }\n"
                "mqtt { host: 127.0.0.1, port: %d }\n" % (folder, port))
    t.spawn([program, "-c", os.path.join(folder, "nats.conf")])
    a = worker(t, "tcp://127.0.0.1:%d" % port, "a", filter_="jobs")
    contains(a.log(), "version=4")

    class Where:
        pass
    Where.port = port
    results, source = Results(t, Where), Source(t, Where)
    source.send(5)
    results.until(5)


class Scripted:
    """A broker that says what it is told: for what a real one never does."""

    def __init__(self, t):
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(4)
        self.listener.settimeout(10 * SLOW)
        self.port = self.listener.getsockname()[1]
        self.address = "tcp://127.0.0.1:%d" % self.port
        t.clients.append(self)

    def accept(self, answer=b"\x20\x03\x00\x00\x00"):
        """The next connection, its CONNECT answered."""
        self.c = self.listener.accept()[0]
        self.c.settimeout(10 * SLOW)
        equal(self.packet()[0] >> 4, raw.CONNECT, "first packet")
        self.c.sendall(answer)
        return self

    def packet(self):
        """(first byte, body)"""
        first, n, shift = self.read(1)[0], 0, 0
        while True:
            byte = self.read(1)[0]
            n, shift = n | (byte & 127) << shift, shift + 7
            if byte < 128:
                return first, self.read(n)

    def read(self, n):
        data = b""
        while len(data) < n:
            part = self.c.recv(n - len(data))
            if not part:
                raise Failed("the client closed the connection")
            data += part
        return data

    def close(self):
        self.listener.close()


def publish5(topic, payload, pid, dup=False):
    body = raw.text(topic) + bytes([pid >> 8, pid & 255, 0]) + payload
    return raw.packet(0x3a if dup else 0x32, body)


@test
def messages_before_a_refused_subscription(t):
    """A kept session delivers before the SUBACK; then that is a refusal, or the end."""
    broker = Scripted(t)
    a = worker(t, broker.address, "a", filter_="jobs", wait=False)
    for end in (b"\x90\x04\xff\xff\x00\x87", b"\xff\xff\xff\xff\xff"):
        broker.accept(b"\x20\x03\x01\x00\x00")
        equal(broker.packet()[0] >> 4, raw.SUBSCRIBE, "packet")
        broker.c.sendall(publish5("jobs", b'{"n":1,"sleep":0.2}', 1) + publish5("jobs", b'{"n":2}', 2) + end)
    # Once more, and all goes well: the jobs' results and then the acknowledgements, in their order.
    broker.accept(b"\x20\x03\x01\x00\x00")
    equal(broker.packet()[0] >> 4, raw.SUBSCRIBE, "packet")
    broker.c.sendall(publish5("jobs", b'{"n":1,"sleep":0.2}', 1, True) + b"\x90\x04\xff\xff\x00\x01"
                     + publish5("jobs", b'{"n":2}', 2, True))
    acked = []
    while acked != [1, 2]:
        first, body = broker.packet()
        if first >> 4 == raw.PUBLISH:
            pid = body[2 + body[1]:4 + body[1]]
            broker.c.sendall(raw.packet(0x40, pid))
        elif first >> 4 == raw.PUBACK:
            acked.append(body[0] << 8 | body[1])
    check(a.alive(), "it lives")
    equal(a.stop(), 0, "exit status")


@test
def same_client_id(t):
    """Two processes with one client id throw each other out; the log says so."""
    broker = t.baetyl(HUB)
    address = "tcp://127.0.0.1:%d" % broker.port
    a = worker(t, address, "a")
    worker(t, address, "a")
    until(lambda: "another client has the same client id" in a.log(), 5, "a line in the log")
