"""Code that changes while its function is at work."""
import json
import os
import shutil
import signal
import threading
import time

import raw
from harness import HUB, SLOW, check, equal, need_tool, test, until
from raw import session

CONFIG = HUB + """functions:
  rules:
    - clientid: rule-f
      subscribe: {{topic: t, qos: 1}}
      function: {{name: f}}
      publish: {{topic: t/out, qos: 1}}
  functions:
    - {{name: f, runtime: {runtime}, handler: index.handler, codedir: code, {more}instance: {{min: {min}, max: {max}}}}}
"""

PYTHON = """import time
STATE = {}
def handler(event, context):
    time.sleep(event.get('sleep', 0))
    return {'version': VERSION, 'n': event.get('n')}
"""

NODE = """exports.handler = (event, context, callback) => callback(null, {version: VERSION, n: event.n});
"""


def write(folder, name, text):
    """As an editor does it: a temporary file, then a rename."""
    path = os.path.join(folder, "code", name)
    with open(path + ".tmp", "w") as f:
        f.write(text)
    os.rename(path + ".tmp", path)


def put(folder, version, text=PYTHON, name="index.py"):
    # Python takes a file of the same second and size for unchanged.
    comment = ("//" if name.endswith(".js") else "#") + "x" * version + "\n"
    write(folder, name, text.replace("VERSION", str(version)) + comment)


class Function:
    def __init__(self, t, runtime="python3", more="", low=0, high=1, text=PYTHON, name="index.py"):
        self.folder = t.folder()
        os.mkdir(os.path.join(self.folder, "code"))
        put(self.folder, 1, text, name)
        self.s = t.baetyl(CONFIG.format(runtime=runtime, more=more, min=low, max=high), folder=self.folder)
        until(lambda: "id=FUNC-RULE" in self.s.log(), what="the rule is ready")
        self.c, self.pid = session(t, self.s, "device", ("t/out", 1)), 0

    def send(self, **event):
        self.pid += 1
        self.c.send(raw.publish("t", json.dumps(event), qos=1, pid=self.pid % 65535 + 1))

    def reply(self, seconds=10):
        while True:
            got = self.c.packet(seconds)
            check(got is not None, "connection is open")
            if got[0] == raw.PUBLISH:
                _, flags, body = got
                n = 2 + int.from_bytes(body[:2], "big")
                if flags >> 1 & 3:
                    self.c.send(raw.packet(0x40, body[n:n + 2]))
                    n += 2
                return json.loads(body[n:])

    def version(self):
        self.send()
        got = self.reply()
        return got.get("version", got.get("errorMessage"))

    def becomes(self, version, seconds=8):
        until(lambda: self.version() == version, seconds, "version %s" % version)

    def renewals(self):
        return self.s.log().count("id=FUNC-RELOAD")


@test
def python_code_is_loaded_again(t):
    f = Function(t)
    equal(f.version(), 1, "version")
    put(f.folder, 2)
    f.becomes(2)
    equal(f.renewals(), 1, "renewals")


@test
def python_code_of_the_same_second_and_size(t):
    """Python's own cache would take it for unchanged."""
    f = Function(t)
    path, second = os.path.join(f.folder, "code", "index.py"), int(time.time())
    for version in range(5, 8):
        write(f.folder, "index.py", PYTHON.replace("VERSION", str(version)))
        os.utime(path, (second, second))
        f.becomes(version)


@test
def node_code_is_loaded_again(t):
    need_tool("node")
    f = Function(t, "node", text=NODE, name="index.js")
    equal(f.version(), 1, "version")
    put(f.folder, 2, NODE, "index.js")
    f.becomes(2)


@test
def file_in_a_folder_below(t):
    f = Function(t)
    put(f.folder, 2, "from lib.part import VALUE\n" + PYTHON.replace("VERSION", "VALUE"))
    os.mkdir(os.path.join(f.folder, "code", "lib"))
    write(f.folder, "lib/part.py", "VALUE = 5\n")
    f.becomes(5)
    time.sleep(0.1)
    write(f.folder, "lib/part.py", "VALUE = 66\n")
    f.becomes(66)


@test
def whole_folder_is_replaced(t):
    f = Function(t)
    equal(f.version(), 1, "version")
    code = os.path.join(f.folder, "code")
    shutil.copytree(code, code + ".new")
    with open(os.path.join(code + ".new", "index.py"), "w") as out:
        out.write(PYTHON.replace("VERSION", "2") + "# two\n")
    os.rename(code, code + ".old")
    os.rename(code + ".new", code)
    f.becomes(2)
    put(f.folder, 3)
    f.becomes(3)


@test
def what_is_not_code_changes_nothing(t):
    f = Function(t)
    equal(f.version(), 1, "version")
    os.makedirs(os.path.join(f.folder, "code", "__pycache__"), exist_ok=True)
    for name in ("state.json", "data.txt", "x.log", ".index.py.swp", "__pycache__/index.py", "index.py~", "counter"):
        with open(os.path.join(f.folder, "code", name), "w") as out:
            out.write("x")
    os.utime(os.path.join(f.folder, "code"))
    time.sleep(1.5 * SLOW)
    equal(f.renewals(), 0, "renewals")
    # At the signal files of every kind count, once.
    f.s.process.send_signal(signal.SIGHUP)
    until(lambda: f.renewals() == 1, what="new instances")
    f.s.process.send_signal(signal.SIGHUP)
    until(lambda: f.s.log().count("configuration taken over") == 2, what="second signal")
    time.sleep(1 * SLOW)
    equal(f.renewals(), 1, "renewals")


@test
def half_copied_code_is_not_loaded(t):
    """While the copy goes on the old code serves; no call fails."""
    f = Function(t, low=1)
    equal(f.version(), 1, "version")
    text = PYTHON.replace("VERSION", "2") + "# two\n"
    path = os.path.join(f.folder, "code", "index.py")
    with open(path, "w") as out:
        for i in range(0, len(text), 16):
            out.write(text[i:i + 16])
            out.flush()
            time.sleep(0.1)
            if i % 64 == 0:
                equal(f.version(), 1, "version")
    f.becomes(2)
    equal(f.renewals(), 1, "renewals")


@test
def broken_code_leaves_the_old_serving(t):
    f = Function(t, low=1)
    equal(f.version(), 1, "version")
    write(f.folder, "index.py", "def handler(event, context:\n")
    until(lambda: f.renewals() == 1, what="renewal")
    until(lambda: "SyntaxError" in f.s.log(), what="start fails")
    for _ in range(5):
        equal(f.version(), 1, "version")

    def said():
        return t.command("functions", "-w", f.folder, "f")[1].decode()
    until(lambda: "degraded" in said() and "SyntaxError" in said(), what="it is degraded, and why")
    put(f.folder, 3)
    f.becomes(3)
    until(lambda: "degraded" not in said(), what="it is well again")


@test
def signal_only(t):
    f = Function(t, more="reload: signal, ")
    equal(f.version(), 1, "version")
    put(f.folder, 2)
    time.sleep(1.3 * SLOW)
    equal(f.version(), 1, "version")
    f.s.process.send_signal(signal.SIGHUP)
    f.becomes(2)


@test
def never(t):
    f = Function(t, more="reload: off, ")
    equal(f.version(), 1, "version")
    put(f.folder, 2)
    f.s.process.send_signal(signal.SIGHUP)
    until(lambda: "configuration taken over" in f.s.log(), what="signal")
    time.sleep(1.3 * SLOW)
    equal(f.version(), 1, "version")


@test
def running_calls_end_on_the_old_code(t):
    f = Function(t, high=2)
    f.send(sleep=2.0 * SLOW, n=1)
    time.sleep(0.3 * SLOW)
    put(f.folder, 2)
    until(lambda: f.renewals() == 1, what="renewal")
    f.send(n=2)
    f.send(n=3)
    got = {r["n"]: r["version"] for r in (f.reply(), f.reply(), f.reply())}
    equal(got, {1: 1, 2: 2, 3: 2}, "versions")


@test
def no_message_is_lost_under_load(t):
    """QoS 1, 20 in flight, three versions: each input has exactly one result."""
    f = Function(t, low=1, high=2)
    total, results = [0], {}
    stop = threading.Event()

    def send():
        while not stop.is_set():
            if total[0] - len(results) < 20:
                total[0] += 1
                f.send(n=total[0])
            else:
                time.sleep(0.001)

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    seen, end = set(), time.monotonic() + 20 * SLOW
    version = 1
    while len(seen) < 3 and time.monotonic() < end:
        r = f.reply()
        check("n" in r, "a result: %r" % r)
        check(r["n"] not in results, "one result of %r" % r["n"])
        results[r["n"]] = r["version"]
        seen.add(r["version"])
        if len(results) % 300 == 0 and version < 3 and version in seen:
            version += 1
            put(f.folder, version)
    stop.set()
    sender.join(5 * SLOW)
    while len(results) < total[0]:
        r = f.reply()
        check(r["n"] not in results, "one result of %r" % r["n"])
        results[r["n"]] = r["version"]
    equal(seen, {1, 2, 3}, "versions")
    equal(sorted(results), list(range(1, total[0] + 1)), "results")
