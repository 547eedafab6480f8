"""Pools of instances: several calls at once, order, spares, and functions that do not start."""
import json
import os
import time

import raw
from harness import HUB, check, contains, equal, need_tool, test, until
from raw import session

CONFIG = """functions:
  rules:
    - clientid: rule-f
      subscribe: {{topic: f, qos: {qos}}}
      function: {{name: f}}
      publish: {{topic: f/out, qos: {qos}}}
  functions:
    - {{name: f, runtime: {runtime}, handler: index.handler, codedir: f, timeout: 2s, backoff: {{max: 300ms}}, instance: {instance}}}
"""

HANDLER = """
import os, time
def handler(event, context):
    if event.get('exit'):
        os._exit(1)
    time.sleep(event.get('sleep', 0))
    return {'n': event.get('n'), 'pid': os.getpid()}
"""

# A runtime that takes the contract of docs/frames.md at its word: every call in a thread of its own.
RUNTIME = """#!/usr/bin/env python3
import json, os, struct, threading, time

def varint(n):
    out = b''
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])

def field(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data

def fields(data):
    out, pos = {}, 0
    def number():
        nonlocal pos
        n = shift = 0
        while True:
            byte, pos = data[pos], pos + 1
            n, shift = n | (byte & 127) << shift, shift + 7
            if byte < 128:
                return n
    while pos < len(data):
        key = number()
        value = number()
        if key & 7 == 2:
            value, pos = data[pos:pos + value], pos + value
        out[key >> 3] = value
    return out

calls, replies = os.fdopen(3, 'rb'), os.fdopen(4, 'wb', 0)

def read():
    prefix = calls.read(5)
    return fields(calls.read(struct.unpack('>xI', prefix)[0])) if len(prefix) == 5 else None

def send(number, body):
    message = field(number, body)
    replies.write(struct.pack('>xI', len(message)) + message)

def run(call):
    event = json.loads(fields(call[2])[4].decode())
    if event.get('exit'):
        os._exit(1)
    time.sleep(event.get('sleep', 0))
    other = event.get('reply', 0)
    result = json.dumps({'n': event.get('n'), 'pid': os.getpid(), 'concurrency': hello.get(8)})
    send(3, b'\\x08' + varint(call[1] + other) + field(2, result.encode()))

hello = fields(read()[1])
send(1, b'\\x08\\x01' + field(6, b'threads 1'))
while True:
    frame = read()
    if frame is None:
        os._exit(0)
    threading.Thread(target=run, args=(fields(frame[2]),)).start()
"""


class Function:
    def __init__(self, t, instance="{max: 1}", qos=1, code=HANDLER, threads=False, runtime="python3"):
        self.t, self.qos, self.pid = t, qos, 0
        folder = t.folder()
        os.mkdir(os.path.join(folder, "f"))
        self.source = "index.js" if runtime == "node" else "index.py"
        if threads:
            runtime = os.path.join(folder, "python3-threads")
            with open(runtime, "w") as f:
                f.write(RUNTIME.replace("\\\\", "\\"))
            os.chmod(runtime, 0o755)
        self.folder = folder
        self.write(code)
        self.s = t.baetyl(HUB + CONFIG.format(qos=qos, runtime=runtime, instance=instance), folder=folder)
        until(lambda: "id=FUNC-RULE" in self.s.log(), what="the rule is ready")
        self.c = session(t, self.s, "device", ("f/out", 1))

    def write(self, code):
        with open(os.path.join(self.folder, "f", self.source), "w") as f:
            f.write(code)

    def send(self, **event):
        self.pid += 1
        self.c.send(raw.publish("f", json.dumps(event).encode(), qos=self.qos, pid=self.pid))

    def replies(self, count, seconds=10):
        got = []
        while len(got) < count:
            kind, flags, body = self.c.packet(seconds)
            if kind != raw.PUBLISH:
                continue
            n = 2 + int.from_bytes(body[:2], "big")
            if flags >> 1 & 3:
                self.c.send(raw.packet(0x40, body[n:n + 2]))
                n += 2
            got.append(json.loads(body[n:]))
        return got

    def instances(self):
        """Process ids of those that got ready and did not end."""
        log = self.s.log()
        pids = [line.split(" pid=")[1].split()[0] for line in log.splitlines() if "id=FUNC-READY" in line]
        return [int(p) for p in pids if os.path.exists("/proc/" + p)]


def numbers(got):
    return [m.get("n") for m in got]


@test
def several_calls_run_at_once_in_one_instance(t):
    f = Function(t, "{max: 1, concurrency: 8}", threads=True)
    f.send(n=0)
    equal(f.replies(1)[0]["concurrency"], 8, "concurrency in the hello")
    start = time.monotonic()
    for i in range(8):
        f.send(n=i, sleep=0.4)
    equal(sorted(numbers(f.replies(8))), list(range(8)), "replies")
    check(time.monotonic() - start < 2, "they ran at once")
    for i in range(4):
        f.send(n=i, sleep=0.4 - i * 0.1)
    equal(numbers(f.replies(4)), [3, 2, 1, 0], "replies come in any order")


@test
def crash_among_calls_that_run_at_once(t):
    f = Function(t, "{max: 2, concurrency: 8}", threads=True)
    for i in range(6):
        f.send(n=i, sleep=0.2)
    f.send(n=6, exit=True)
    for i in range(7, 20):
        f.send(n=i)
    got = f.replies(20, 15)
    equal(sorted(m["n"] for m in got if "n" in m), [i for i in range(20) if i != 6], "all the others")
    bad = [m for m in got if "errorMessage" in m]
    contains(bad[0]["errorMessage"], "transport is closing")


@test
def time_out_of_one_among_several(t):
    f = Function(t, "{max: 1, concurrency: 4}", threads=True)
    f.send(n=9)
    f.replies(1, 20)  # the instance is ready, so the first call begins at once
    f.send(n=0, sleep=60)
    time.sleep(1.5)
    for i in range(1, 4):
        f.send(n=i, sleep=0.8)
    got = f.replies(4, 20)
    contains(got[0]["errorMessage"], "DeadlineExceeded")
    equal(sorted(numbers(got[1:])), [1, 2, 3], "the others are tried again")


@test
def reply_to_another_call_ends_the_instance(t):
    f = Function(t, "{max: 1, concurrency: 4}", threads=True)
    f.send(n=0)
    before = f.replies(1)[0]["pid"]
    f.send(n=1, reply=7)
    contains(f.replies(1)[0]["errorMessage"], "the runtime sent an invalid frame")
    f.send(n=2)
    check(f.replies(1)[0]["pid"] != before, "another instance")


@test
def order_is_kept_when_calls_are_sent_ahead(t):
    f = Function(t)
    for i in range(1500):
        f.send(n=i)
    equal(numbers(f.replies(1500)), list(range(1500)), "order")


@test
def crash_with_calls_sent_ahead_loses_none(t):
    f = Function(t)
    for i in range(300):
        f.send(n=i, exit=i == 200)
    got = f.replies(300)
    contains(got[200]["errorMessage"], "transport is closing")
    equal(numbers(got), [i if i != 200 else None for i in range(300)], "order")


@test
def kill_9_with_calls_sent_ahead_loses_none(t):
    f = Function(t)
    f.c = session(t, f.s, "keeper", ("f/out", 1), clean=False)
    f.send(n=-1)
    f.replies(1)
    sent = 600
    for i in range(sent):
        f.send(n=i)
    acked, seen = 0, set()
    while acked < sent:
        kind, flags, body = f.c.packet(10)
        acked += kind == raw.PUBACK
        if kind == raw.PUBLISH and len(seen) < 200:
            n = 2 + int.from_bytes(body[:2], "big")
            f.c.send(raw.packet(0x40, body[n:n + 2]))
            seen.add(json.loads(body[n + 2:])["n"])
    f.s.kill()
    f.s.start()
    f.c = raw.Raw(t, f.s.port)
    f.c.login("keeper", clean=False)
    while len(seen) < sent:
        seen.update(numbers(f.replies(1)))
    equal(seen, set(range(sent)), "every acknowledged message")


@test
def node_runs_asynchronous_handlers_at_once(t):
    need_tool("node")
    f = Function(t, "{max: 1, concurrency: 16}", runtime="node", code="""
exports.handler = async (event) => {
  if (event.exit) process.exit(1);
  await new Promise((resolve) => setTimeout(resolve, event.sleep * 1000 || 0));
  return {n: event.n, pid: process.pid};
};
""")
    f.send(n=0)
    f.replies(1)
    start = time.monotonic()
    for i in range(16):
        f.send(n=i, sleep=0.5 - i * 0.01)
    got = f.replies(16)
    check(time.monotonic() - start < 2, "they ran at once")
    equal(len(set(m["pid"] for m in got)), 1, "in one process")
    equal(sorted(numbers(got)), list(range(16)), "replies")


@test
def slow_calls_do_not_wait_behind_each_other(t):
    f = Function(t, "{max: 2}")
    for i in range(4):
        f.send(n=i, sleep=0.5)
    start = time.monotonic()
    equal(sorted(numbers(f.replies(4))), list(range(4)), "replies")
    check(time.monotonic() - start < 1.6, "two at a time")


@test
def spare_instances_are_ready(t):
    f = Function(t, "{max: 4, spare: 2}")
    until(lambda: len(f.instances()) == 2, what="two spares at the start")
    f.send(n=0, sleep=1)
    until(lambda: len(f.instances()) == 3, what="one more while one is busy")
    f.replies(1)


@test
def a_slow_import_is_not_a_slow_call(t):
    f = Function(t, code="import time\ntime.sleep(2.5)\n" + HANDLER)
    f.send(n=1)
    equal(numbers(f.replies(1)), [1], "reply, with a time-out of 2 s")
    check("id=FUNC-DEGRADED" not in f.s.log(), "it started")


@test
def qos_1_waits_for_a_function_that_cannot_start(t):
    f = Function(t, code="import no_such_module\n")
    for i in range(100):
        f.send(n=i)
    until(lambda: "id=FUNC-DEGRADED" in f.s.log(), what="degraded")
    time.sleep(0.5)
    f.s.kill()
    f.s.start()
    f.c = session(t, f.s, "device", ("f/out", 1))
    until(lambda: f.s.log().count("id=FUNC-DEGRADED") >= 2, what="degraded again")
    time.sleep(0.3)
    equal(f.s.log().count("id=FUNC-DEGRADED"), 2, "it is said once in each life")
    f.write(HANDLER)
    equal(numbers(f.replies(100)), list(range(100)), "every message once the code works")
    contains(f.s.log(), "id=FUNC-RECOVERED")


@test
def qos_0_is_told_at_once_that_a_function_cannot_start(t):
    f = Function(t, qos=0, code="import no_such_module\n")
    for i in range(3):
        f.send(n=i)
        message = f.replies(1)[0]
        contains(message["errorMessage"], "failed to start an instance of function f: ModuleNotFoundError")
        equal(message["errorType"], "*errors.errorString", "errorType")
