"""Everything at once: functions of all kinds at QoS 0, 1 and 2 while instances and templates are killed, code and
configuration change, and handlers throw, hang, end and answer too much. What was acknowledged has its result."""
import base64
import json
import os
import random
import shutil
import signal
import struct
import threading
import time

import raw
from harness import HUB, ROOT, RUNNER, SLOW, Skip, check, equal, need_tool, test, until

SECONDS = float(os.environ.get("STORM_S", 4))
SEED = int(os.environ.get("STORM_SEED", 0))

PYTHON = """import json, os, time
def handler(event, context):
    do = event['do']
    if do == 'throw':
        raise ValueError('no')
    if do == 'hang':
        time.sleep(60)
    if do == 'slow':
        time.sleep(0.05)
    if do == 'exit':
        os._exit(3)
    return {'n': event['n'], 'x': 'x' * 300000 if do == 'huge' else ''}
"""
NODE = """exports.handler = (event, context, callback) => {
    const done = () => callback(null, {n: event.n, x: event.do === 'huge' ? 'x'.repeat(300000) : ''});
    if (event.do === 'throw')
        throw new Error('no');
    if (event.do === 'exit')
        process.exit(3);
    if (event.do === 'hang')
        return;
    setTimeout(done, event.do === 'slow' ? 50 : 0);
};
"""
KINDS = ["plain", "forked", "strict", "node", "sql", "exec"]
WHAT = ["ok"] * 200 + ["slow"] * 10 + ["throw"] * 10 + ["huge"] * 3 + ["exit"] * 3 + ["hang"]


class Config:
    def __init__(self, rng):
        self.rng = rng

    def function(self, name):
        r = self.rng
        common = "timeout: %dms, message: {length: {max: 200k}}, " % (1000 if SLOW > 1 else 300)
        common += "instance: {max: %d, idletime: 300ms, evicttime: 100ms%%s}" % r.choice([1, 2, 3, 4])
        common += ", env: ['X=%d'], backoff: {max: 300ms}" % r.randrange(3)
        if name == "sql":
            return "{name: sql, runtime: sql, handler: 'select n'}"
        if name == "exec":
            return "{name: exec, runtime: exec, codedir: bin, handler: shell, args: [cat], %s}" % common % ""
        if name == "node":
            return "{name: node, runtime: node, handler: index.handler, codedir: node, %s}" % (
                common % ", concurrency: 8")
        more = {"plain": ", fork: off", "forked": ", fork: on", "strict": ""}[name]
        text = "{name: %s, runtime: python3, handler: index.handler, codedir: python, %s%s}"
        return text % (name, common % more, ", order: strict" if name == "strict" else ", limits: {files: 200}")

    def rule(self, name):
        r = self.rng
        text = "{clientid: r-%s, subscribe: {topic: in/%s/+, qos: 2}, function: {name: %s}, " % (name, name, name)
        text += "publish: {topic: out/%s, qos: 2}" % name
        text += ", retry: {max: %d, delay: %s, on: %s}" % (r.choice([2, 3]), r.choice(["0s", "10ms", "100ms"]),
                                                        r.choice(["instance", "any"]))
        return text + (", deadletter: {topic: out/dead, qos: 2}}" if r.random() < 0.5 else "}")

    def text(self, kinds):
        return HUB + "functions:\n  rules:\n%s  functions:\n%s" % (
            "".join("    - %s\n" % self.rule(k) for k in kinds), "".join("    - %s\n" % self.function(k) for k in kinds))


class Sender(threading.Thread):
    """One message after the other, so what is acknowledged is known."""

    def __init__(self, t, s, name, qos, numbers, seed):
        super().__init__(daemon=True)
        self.rng, self.qos, self.kind, self.numbers = random.Random(seed), qos, name, numbers
        self.c = raw.Raw(t, s.port)
        self.c.login("send-%s-%d" % (name, qos))
        self.sent, self.over = {}, threading.Event()
        self.wrong = None

    def one(self):
        n = next(self.numbers)
        do = self.rng.choice(WHAT)
        pid = n % 65535 + 1
        topic = "in/%s/%d" % (self.kind, self.rng.randrange(1000))
        self.c.send(raw.publish(topic, json.dumps({"n": n, "do": do}), qos=self.qos, pid=pid))
        if self.qos == 1:
            self.c.expect(raw.PUBACK, 10)
        if self.qos == 2:
            self.c.expect(raw.PUBREC, 10)
            self.c.send(raw.ack(raw.PUBREL, pid))
            self.c.expect(raw.PUBCOMP, 10)
        self.sent[n] = do

    def run(self):
        try:
            while not self.over.is_set():
                self.one()
                time.sleep(self.rng.choice([0, 0, 0.002, 0.01]))
        except Exception as e:  # pylint: disable=broad-except
            self.wrong = e


class Taker(threading.Thread):
    def __init__(self, t, s):
        super().__init__(daemon=True)
        self.c = raw.session(t, s, "taker", ("out/#", 2))
        self.got, self.over, self.wrong = {}, False, None

    def take(self, body, qos):
        n = struct.unpack(">H", body[:2])[0]
        at = 2 + n
        pid = struct.unpack(">H", body[at:at + 2])[0] if qos else 0
        result = json.loads(body[at + (2 if qos else 0):])
        if "errorMessage" in result:
            result = json.loads(base64.b64decode(result["functionMessage"]["Payload"]))
        self.got[result["n"]] = self.got.get(result["n"], 0) + 1
        return pid

    def run(self):
        try:
            while not self.over:
                kind, flags, body = self.c.packet(3600)
                if kind == raw.PUBLISH:
                    qos = flags >> 1 & 3
                    pid = self.take(body, qos)
                    if qos:
                        self.c.send(raw.ack(raw.PUBACK if qos == 1 else raw.PUBREC, pid))
                elif kind == raw.PUBREL:
                    self.c.send(raw.ack(raw.PUBCOMP, struct.unpack(">H", body[:2])[0]))
        except Exception as e:  # pylint: disable=broad-except
            self.wrong = None if self.over else e


def children(pid):
    """Processes of functions: (process id, name of the instance)."""
    found = []
    for p in os.listdir("/proc"):
        if not p.isdigit():
            continue
        try:
            with open("/proc/%s/stat" % p) as f:
                parent = int(f.read().rsplit(")", 1)[1].split()[1])
            with open("/proc/%s/environ" % p, "rb") as f:
                if parent == pid and b"BAETYL_SERVICE_INSTANCE_NAME=" in f.read():
                    found.append(int(p))
        except (OSError, IndexError):
            pass
    return found


def descriptors(pid):
    return len(os.listdir("/proc/%d/fd" % pid))


def resident(pid):
    with open("/proc/%d/status" % pid) as f:
        return next(int(line.split()[1]) // 1024 for line in f if line.startswith("VmRSS"))


class Numbers:
    def __init__(self):
        self.lock, self.n = threading.Lock(), 0

    def __next__(self):
        with self.lock:
            self.n += 1
            return self.n


class Storm:
    def __init__(self, t):
        self.seed = SEED or int(time.time() * 1000) % 1000000
        self.rng = random.Random(self.seed)
        print("storm: STORM_SEED=%d STORM_S=%g" % (self.seed, SECONDS))
        self.folder = t.folder()
        self.write("python/index.py", PYTHON)
        self.write("node/index.js", NODE)
        os.mkdir(os.path.join(self.folder, "bin"))
        shutil.copy(os.path.join(ROOT, "example/exec-python/shell"), os.path.join(self.folder, "bin"))
        self.config = Config(self.rng)
        self.s = t.baetyl(self.config.text(KINDS), folder=self.folder)
        until(lambda: self.s.log().count("id=FUNC-RULE ") >= len(KINDS), what="rules are ready")
        self.counts = {}

    def write(self, path, text):
        path = os.path.join(self.folder, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path + ".new", "w") as f:
            f.write(text)
        os.rename(path + ".new", path)

    # ---- what happens ----

    def kill(self):
        victims = children(self.s.process.pid)
        if not victims:
            return
        try:
            os.kill(self.rng.choice(victims), self.rng.choice([signal.SIGKILL] * 4 + [signal.SIGTERM]))
        except OSError:
            pass

    def change_code(self):
        mark = self.rng.randrange(1 << 30)
        if self.rng.random() < 0.7:
            self.write("python/index.py", PYTHON + "# %d\n" % mark)
        else:
            self.write("node/index.js", NODE + "// %d\n" % mark)

    def change_configuration(self):
        with open(self.s.config, "w") as f:
            f.write(self.config.text(KINDS))
        self.hang_up()

    def hang_up(self):
        for _ in range(self.rng.choice([1, 1, 5])):
            self.s.process.send_signal(signal.SIGHUP)

    def run(self):
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            what = self.rng.choice([self.kill] * 8 + [self.change_code, self.change_configuration, self.hang_up])
            what()
            self.counts[what.__name__] = self.counts.get(what.__name__, 0) + 1
            time.sleep(self.rng.choice([0.01, 0.03, 0.1, 0.2]))
            check(self.s.alive(), "baetyl lives")


def settled(value):
    """The value when it has stayed the same for a while: threads open what they need when they begin."""
    last, since = value(), time.monotonic()
    while time.monotonic() - since < 0.3:
        time.sleep(0.02)
        now = value()
        if now != last:
            last, since = now, time.monotonic()
    return last


def missing(senders, taker):
    return [n for s in senders if s.qos > 0 for n in list(s.sent) if n not in taker.got]


@test
def nothing_is_lost_in_a_storm(t):
    need_tool("node")
    if RUNNER:
        raise Skip("an emulated processor is too slow")
    storm = Storm(t)
    pid = storm.s.process.pid
    taker = Taker(t, storm.s)
    numbers = Numbers()
    before = settled(lambda: descriptors(pid))
    taker.start()
    senders = [Sender(t, storm.s, k, q, numbers, storm.seed + i * 3 + q) for i, k in enumerate(KINDS)
               for q in range(3)]
    for s in senders:
        s.start()
    storm.run()
    memory = resident(pid)
    for s in senders:
        s.over.set()
    for s in senders:
        s.join(10 * SLOW)
        check(s.wrong is None, "%s at QoS %d: %r" % (s.kind, s.qos, s.wrong))
        s.c.s.close()
    n, since = 0, time.monotonic()
    while missing(senders, taker) and time.monotonic() - since < 15 * SLOW and not taker.wrong:
        time.sleep(0.05)
        if len(taker.got) > n:
            n, since = len(taker.got), time.monotonic()
    equal([(n, s.kind, s.qos, s.sent[n]) for s in senders for n in missing([s], taker)], [], "messages without result")
    check(taker.wrong is None, "results are taken: %r" % taker.wrong)
    twice = [n for s in senders if s.qos == 2 for n in s.sent if taker.got.get(n, 0) > 1]
    print("storm: %d messages, %r, %d MiB, QoS 2 twice: %d" % (
        sum(len(s.sent) for s in senders), storm.counts, memory, len(twice)))
    equal(twice, [], "results of QoS 2 that came twice")
    check(memory < 120 or SLOW > 1, "memory is bounded: %d MiB" % memory)
    # Idle instances and templates end, and with them their descriptors.
    until(lambda: not children(pid), 15, "idle instances end")
    until(lambda: descriptors(pid) <= before, 5, "descriptors are given back: %d, %d" % (before, descriptors(pid)))
    taker.over = True
    senders[0].c = raw.Raw(t, storm.s.port)
    senders[0].c.login("last")
    for i, k in enumerate(KINDS):
        text = json.dumps({"n": next(numbers), "do": "slow"})
        senders[0].c.send(raw.publish("in/%s/last" % k, text, qos=1, pid=i + 1))
    running = until(lambda: len(children(pid)) > 3 and children(pid), what="instances at the stop")
    equal(storm.s.stop(), 0, "exit status")
    equal([p for p in running if os.path.exists("/proc/%d" % p)], [], "processes that outlive baetyl")
