"""How long a function takes from no instance to its first reply, and what an idle instance costs in memory."""
import json
import os
import re
import socket
import struct
import time

from rows import Row

STARTS = 15
IDLE = 0.3  # seconds after which an instance ends; a template lives as long again
INSTANCES = 6
TEXT = """functions:
  rules:
    - {{clientid: bench-start, subscribe: {{topic: t, qos: 0}}, function: {{name: f}}, publish: {{topic: t/out, qos: 0}}}}
  functions:
    - {{name: f, runtime: {runtime}, handler: index.handler, codedir: f,
       instance: {{min: {min}, max: 8, fork: {fork}, spare: {spare}, idletime: {idle}, evicttime: 10ms}}}}
"""
SOURCE = {
    "python3": ("f/index.py", "import os, time\ndef handler(event, context):\n    time.sleep(event.get('s', 0))\n"
                              "    return {'pid': os.getpid()}\n"),
    "node": ("f/index.js", "exports.handler = (e, c, cb) => setTimeout(() => cb(null, {pid: process.pid}), (e.s || 0) * 1000);\n"),
}


class Starts:
    def __init__(self, runtime, fork="off", min=0, spare=0, idle="%dms" % (IDLE * 1000)):
        name, source = SOURCE[runtime]
        self.text = TEXT.format(runtime=runtime, fork=fork, min=min, spare=spare, idle=idle)
        self.files = {name: source}


def text(s):
    return struct.pack(">H", len(s)) + s


class Caller:
    """A client at QoS 0 that publishes on t and waits for t/out."""

    def __init__(self, server):
        self.s = server.connect()
        self.s.settimeout(30)
        self.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.data = b""
        self.s.sendall(b"\x10\x12" + text(b"MQTT") + b"\x04\x02\x00\x3c" + text(b"caller"))
        self.packet()
        self.s.sendall(b"\x82\x0a\x00\x01" + text(b"t/out") + b"\x00")
        self.packet()

    def packet(self):
        while len(self.data) < 2 or len(self.data) < 2 + self.data[1]:
            got = self.s.recv(65536)
            if not got:
                raise RuntimeError("the hub closed the connection")
            self.data += got
        n = 2 + self.data[1]
        out, self.data = self.data[:n], self.data[n:]
        return out

    def send(self, **event):
        body = text(b"t") + json.dumps(event).encode()
        self.s.sendall(bytes([0x30, len(body)]) + body)

    def reply(self):
        return json.loads(self.packet()[2 + 2 + len("t/out"):].decode())


def starts(runtime, **options):
    """Each call finds no instance, except the template or the spare ones."""
    def run(bench, make):
        times, seen = [], set()
        with make(functions=Starts(runtime, **options)) as server:
            c = Caller(server)
            for _ in range(STARTS):
                began = time.perf_counter()
                c.send()
                pid = c.reply()["pid"]
                if pid not in seen and seen:
                    times.append((time.perf_counter() - began) * 1000)
                seen.add(pid)
                time.sleep(IDLE + 0.1)
        if len(times) < STARTS // 2:
            raise RuntimeError("only %d of %d calls met no instance" % (len(times), STARTS))
        return {"min_ms": min(times), "p50_ms": sorted(times)[len(times) // 2]}
    return run


def spares(runtime):
    """The one instance is busy, and a spare one takes the call, for the first time."""
    def run(bench, make):
        times, seen = [], set()
        with make(functions=Starts(runtime, spare=1)) as server:
            c = Caller(server)
            while len(times) < STARTS // 2:
                c.send(s=0.5)
                time.sleep(0.3)
                began = time.perf_counter()
                c.send()
                pid = c.reply()["pid"]
                if pid not in seen:
                    times.append((time.perf_counter() - began) * 1000)
                seen |= {pid, c.reply()["pid"]}
                time.sleep(IDLE + 0.1)
        return {"p50_ms": sorted(times)[len(times) // 2]}
    return run


def pss_mb(pid):
    with open("/proc/%d/smaps_rollup" % pid) as f:
        return int(re.search(r"^Pss: +(\d+) kB", f.read(), re.M).group(1)) / 1024


def memory(runtime, **options):
    """What each further idle instance adds: the sum over all processes with many, less that with two."""
    def run(bench, make):
        sums = []
        with make(functions=Starts(runtime, idle="10m", **options)) as server:
            c = Caller(server)
            for n in (2, INSTANCES):
                for _ in range(n):
                    c.send(s=0.3)
                pids = {c.reply()["pid"] for _ in range(n)}
                if len(pids) != n:
                    raise RuntimeError("%d instances instead of %d" % (len(pids), n))
                with open("/proc/%d/task/%d/children" % (server.process.pid, server.process.pid)) as f:
                    children = set(map(int, f.read().split()))
                for task in os.listdir("/proc/%d/task" % server.process.pid):
                    with open("/proc/%d/task/%s/children" % (server.process.pid, task)) as f:
                        children |= set(map(int, f.read().split()))
                sums.append(sum(pss_mb(pid) for pid in children))
        return {"pss_mb": (sums[1] - sums[0]) / (INSTANCES - 2)}
    return run


ROWS = [
    Row("startcold", starts("python3"), ("Python, no instance to first reply, p50 ms", "p50_ms", 1, -25, None),
        ("the same, fastest, ms", "min_ms", 1, None, None), original={"p50_ms": 1000}, most=2),
    Row("startfork", starts("python3", fork="on"), ("Python, forked, p50 ms", "p50_ms", 1, -2, None),
        ("the same, fastest, ms", "min_ms", 1, None, None), only_baetyl=True, most=2),
    Row("startnode", starts("node"), ("Node, no instance to first reply, p50 ms", "p50_ms", 1, -100, None),
        only_baetyl=True, most=2),
    Row("sparepython", spares("python3"), ("Python, a spare's first call, ms", "p50_ms", 1, -2, None),
        only_baetyl=True, most=2),
    Row("sparenode", spares("node"), ("Node, a spare's first call, ms", "p50_ms", 1, -3, None),
        only_baetyl=True, most=2),
    Row("pss", memory("python3"), ("Python, a further idle instance, PSS MB", "pss_mb", 1, -10, None),
        original={"pss_mb": 35}, most=2),
    Row("pssfork", memory("python3", fork="on"), ("the same, forked, PSS MB", "pss_mb", 1, -3, None),
        only_baetyl=True, most=2),
]
