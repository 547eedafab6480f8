#!/usr/bin/env python3
"""Drives runtime-embed/runtime.py and runtime.js over their pipes, without the executable.

    runtime_test.py [INTERPRETER...]

Without arguments: every python2.7, python3, python3.x and node in PATH, under ~/.pyenv/versions and
in BAETYL_TEST_INTERPRETERS (separated by colons). Prints one line per failure and
`N passed, N failed, N skipped`; exit status 1 when something failed, 77 when nothing could run.
"""
import fcntl
import glob
import json
import os
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LIMIT = 4 * 1024 * 1024
SECONDS = 20

PY_HANDLERS = {
    "index.py": '''
import json
def handler(event, context):
    result = {}
    if isinstance(event, dict):
        if "err" in event:
            raise TypeError(event["err"])
        result = event
    elif isinstance(event, bytes):
        result["bytes"] = event.decode("utf-8")
    for k in ("messageQOS", "messageTopic", "messageTimestamp", "functionName",
              "functionInvokeID"):
        result[k] = context[k]
    result["Say"] = "Hello Baetyl"
    return result
''',
    "hostile.py": '''
import os, sys, time
def handler(event, context):
    return globals()["do_" + event["do"]](event)
def do_echo(event): return event["value"]
def do_none(event): return None
def do_raw(event): return b"\\x00\\xff\\x00"
def do_big(event): return b"x" * (5 * 1024 * 1024)
def do_almost(event): return b"x" * (4 * 1024 * 1024 - 100)
def do_print(event):
    print("hello"); sys.stderr.write("world\\n"); sys.stdout.write("x" * 100000)
    return "printed"
def do_exit(event): sys.exit(3)
def do_interrupt(event): raise KeyboardInterrupt()
def do_hard_exit(event): os._exit(5)
def do_unserialisable(event): return object()
def do_deep(event):
    a = []
    a.append(a)
    return a
def do_bad_repr(event):
    class Bad(Exception):
        def __repr__(self): raise ValueError("no")
    raise Bad()
def do_long_error(event): raise ValueError("y" * 6000000)
def do_close_output(event):
    sys.stdout.close(); sys.stdout = None
    return "closed"
def do_fork(event):
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
    return "once"
def do_recurse(event): return do_recurse(event)
def do_stdin(event): return sys.stdin.read()
def context_keys(event, context): return sorted(context)
def do_text(event): return u"\\u00e4"
def do_own(event): return {1: 1, None: 2, "true": 3, 2.5: 4}
def do_nan(event): return [float("nan"), float("inf"), float("-inf")]
def do_own_default(event):
    import json, datetime
    json.JSONEncoder.default = lambda self, o: o.isoformat()
    return [datetime.date(2020, 1, 2)]
def do_hang(event):
    while True: time.sleep(1)
''',
    "logs.py": '''
import os, sys
def handler(event, context):
    import logging
    do = event["do"]
    if do == "levels":
        for n in ("debug", "info", "warning", "error", "critical"):
            getattr(logging.getLogger("a.b"), n)("say %s", n)
    elif do == "debug":
        logging.basicConfig(level=logging.DEBUG, format="%(name)s|%(message)s")
        logging.getLogger("mine").debug("now")
    elif do == "exception":
        try:
            1 // 0
        except ZeroDivisionError:
            logging.exception("caught")
    elif do == "long":
        logging.error("begin" + "x" * 1000000 + "end")
    elif do == "copy":
        pid = os.fork()
        if pid == 0:
            logging.error("from a copy")
            os._exit(0)
        os.waitpid(pid, 0)
    elif do == "stream":
        logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="to stdout: %(message)s")
        logging.info("words")
    elif do == "threads":
        import threading
        def many():
            for i in range(200):
                logging.warning("w" * 2000)
        all = [threading.Thread(target=many) for _ in range(4)]
        for t in all: t.start()
        for t in all: t.join()
    return do
''',
    "speaks.py": '''
import sys, time
def handler(event, context):
    print("line before the sleep")
    if event.get("part"):
        sys.stdout.write("no line end")
    if event.get("sleep"):
        time.sleep(60)
    return None
''',
    "json.py": "import json\nfrom json import decoder\nimport tempfile, random\n"
               "def handler(event, context): return [json.dumps({'a': 1}), __name__, random.random() < 1]\n",
    "random.py": "import tempfile, json, random\n"
                 "def handler(event, context): return [json.dumps(1), random.random() < 1, __name__]\n",
    "code.py": "import sys, helper\ndef handler(event, context):\n"
               "    import code\n    return [hasattr(code, 'interact'), helper.NAME]\n",
    "helper.py": "NAME = 'helper beside the code'\n",
    "test/__init__.py": "from . import inner\n",
    "test/inner.py": "def handler(event, context): return ['inner', event]\n",
    "third/__init__.py": "from third.part import VALUE\n",
    "third/part.py": "VALUE = 42\n",
    "uses.py": "import third\ndef handler(event, context): return third.VALUE\n",
    "pkg/__init__.py": "",
    "pkg/mod.py": "def handler(event, context): return [1, event, context['invokeid'] == "
                  "context['functionInvokeID'], context['messageTimestamp']]\n",
    "broken.py": "raise ValueError('at load')\n",
    "kind.py": "def handler(event, context): return type(event).__name__\n",
}

PY3_HANDLERS = {
    "coro.py": '''
import asyncio, sys
running = most = 0
gate = None
async def handler(event, context):
    global running, most
    do = event["do"]
    running += 1
    most = max(most, running)
    try:
        if do == "sleep":
            await asyncio.sleep(event["s"])
        elif do == "throw":
            await asyncio.sleep(0)
            raise ValueError("late")
        elif do == "exit":
            sys.exit(3)
        elif do == "most":
            return most
        return [do, context["messageTopic"]]
    finally:
        running -= 1
def plain(event, context):
    async def inner():
        await asyncio.sleep(0.01)
        return {"inner": event}
    return inner()
''',
}

JS_HANDLERS = {
    "index.js": '''
exports.handler = (event, context, callback) => {
    let result = {};
    if (Buffer.isBuffer(event)) {
        result.bytes = event.toString();
    } else {
        if (event.err) return callback(new TypeError(event.err));
        result = event;
    }
    for (const k of ['messageQOS', 'messageTopic', 'messageTimestamp', 'functionName',
        'functionInvokeID']) result[k] = context[k];
    result.Say = 'Hello Baetyl';
    callback(null, result);
};
''',
    "hostile.js": '''
const all = {
    echo: (e, c, cb) => cb(null, e.value),
    none: (e, c, cb) => cb(null),
    raw: (e, c, cb) => cb(null, Buffer.from([0, 255, 0])),
    big: (e, c, cb) => cb(null, Buffer.alloc(5 * 1024 * 1024)),
    almost: (e, c, cb) => cb(null, Buffer.alloc(4 * 1024 * 1024 - 100)),
    print: (e, c, cb) => { console.log('hello'); console.error('world'); cb(null, 'printed'); },
    throw: () => { throw new TypeError('sync'); },
    late: (e, c, cb) => { setTimeout(() => { throw new Error('later'); }, 5); },
    twice: (e, c, cb) => { cb(null, 1); cb(null, 2); },
    circular: (e, c, cb) => { const a = {}; a.a = a; cb(null, a); },
    func: (e, c, cb) => cb(null, () => 1),
    text_error: (e, c, cb) => cb('plain'),
    promise: () => Promise.resolve({ a: 1 }),
    reject: () => Promise.reject(new RangeError('no')),
    stray: (e, c, cb) => { Promise.reject(new Error('stray')); },
    timer: (e, c, cb) => { setTimeout(() => cb(null, 'after'), 20); },
    exit: () => process.exit(4),
    bad_error: (e, c, cb) => cb({ toString() { throw new Error('x'); } }),
    hang: () => { for (;;); },
    log: (e, c, cb) => {
        console.log('plain'); console.error('bad %d', 1); console.warn('odd', { a: 1 }); console.info('fine');
        console.debug('detail'); cb(null, 1);
    },
    wait: (e, c, cb) => { setTimeout(() => e.throw ? strayed(e) : cb(null, e.ms), e.ms); },
};
function strayed(e) { throw new Error('stray ' + e.ms); }
exports.handler = (event, context, callback) => all[event.do](event, context, callback);
exports.two = async (event) => ({ two: event });
exports.sync = (event, context) => ({ sync: event });
exports.async3 = async (event, context, callback) => { setTimeout(() => callback(null, 7), 5); };
exports.notfunction = 5;
''',
    "module.mjs": "export const handler = async (event) => ({ module: event });\n",
    "plain.js": "export const handler = 5;\n",
    "broken.js": "throw new Error('at load');\n",
    "kind.js": "exports.handler = (e, c, cb) => cb(null, Buffer.isBuffer(e) ? 'Buffer' : typeof e);",
}


# ---- a second, independent codec for the frames ----

def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def num(field, n):
    return varint(field << 3) + varint(n)


def data(field, value):
    value = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(value)) + value


def parse(message):
    out, pos = {}, 0

    def number(pos):
        n = shift = 0
        while True:
            n |= (message[pos] & 127) << shift
            pos += 1
            if message[pos - 1] < 128:
                return n, pos
            shift += 7

    while pos < len(message):
        key, pos = number(pos)
        value, pos = number(pos)
        if key & 7 == 2:
            value, pos = message[pos:pos + value], pos + value
        out[key >> 3] = value
    return out


def framed(message):
    return struct.pack(">BI", 0, len(message)) + message


def source(*names):
    """A descriptor with what the build embeds."""
    parts = []
    for name in names:
        with open(os.path.join(ROOT, "runtime-embed", name), "rb") as f:
            parts.append(f.read())
    with tempfile.NamedTemporaryFile() as f:
        f.write(b"#-#\n".join(parts))
        f.flush()
        return os.open(f.name, os.O_RDONLY)


class Gone(Exception):
    pass


class Runtime(object):
    def __init__(self, interpreter, folder, handler, hello=True, limit=LIMIT, concurrency=0):
        node = "node" in os.path.basename(interpreter)
        self.node = node
        if node:
            args = ["-e", "require('vm').runInThisContext(require('fs').readFileSync("
                    "'/proc/self/fd/5','utf8'),{filename:'runtime.js'})"
                    "(require,m=>eval('import(m)'))"]
        else:
            args = ["-E", "-s", "-S", "-c",
                    "s=open('/proc/self/fd/5','rb').read().split(b'\\n#-#\\n');MORE=s[1];"
                    "exec(compile(s[0],'runtime.py','exec'))"]
        calls, replies = os.pipe(), os.pipe()
        src = source("runtime.js") if node else source("runtime.py", "runtime_more.py")
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 20) for fd in (calls[0], replies[1], src)]
        for fd in (calls[0], replies[1], src):
            os.close(fd)

        def place():
            os.setpgid(0, 0)
            for fd, at in zip(high, (3, 4, 5)):
                os.dup2(fd, at)

        self.output = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [interpreter] + args, stdin=subprocess.DEVNULL, stdout=self.output,
            stderr=subprocess.STDOUT, cwd=os.path.dirname(folder), preexec_fn=place,
            close_fds=False, env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"})
        for fd in high:
            os.close(fd)
        self.calls, self.replies, self.buf, self.id, self.logs = calls[1], replies[0], b"", 0, []
        if hello:
            self.send(data(1, num(1, 1) + num(2, limit) + data(3, "f") + data(4, handler) +
                           data(5, os.path.basename(folder)) + num(8, concurrency)))
            self.hello = parse(self.read()[1])

    def send(self, message, step=None):
        raw = framed(message)
        step = step or len(raw)
        for i in range(0, len(raw), step):
            part = raw[i:i + step]
            while part:
                part = part[os.write(self.calls, part):]

    def read(self):
        end = time.time() + SECONDS
        while len(self.buf) < 5 or len(self.buf) < 5 + struct.unpack(">I", self.buf[1:5])[0]:
            ready = select.select([self.replies], [], [], max(0, end - time.time()))[0]
            if not ready:
                raise Gone("no answer in time")
            chunk = os.read(self.replies, 1 << 20)
            if not chunk:
                raise Gone("end of file")
            self.buf += chunk
        size = struct.unpack(">I", self.buf[1:5])[0]
        message, self.buf = self.buf[5:5 + size], self.buf[5 + size:]
        frame = parse(message)
        if 4 not in frame:
            return frame
        self.logs.append(parse(frame[4]))
        return self.read()

    def message(self, payload, function="f", topic="t", qos=0):
        self.id += 1
        return data(2, num(1, self.id) + data(2, num(2, qos) + data(3, topic) +
                    data(4, payload) + num(10, 1700000000 << 1) + data(11, function) +
                    data(12, "e2e87da2-0000-4000-8000-000000000000")))

    def major(self):
        return int(self.hello[6].split()[1].split(b".")[0])

    def reply_id(self):
        return parse(self.read()[3]).get(1)

    def result(self):
        """(payload, None) or (None, error text)."""
        reply = parse(self.read()[3])
        assert reply.get(1) == self.id, reply
        if 3 in reply:
            error = parse(reply[3])
            return None, (error.get(2, b"").decode() + " " + error.get(1, b"").decode()).strip()
        return reply.get(2, b""), None

    def call(self, payload, **more):
        if not isinstance(payload, bytes):
            payload = json.dumps(payload).encode()
        self.send(self.message(payload, **more))
        return self.result()

    def do(self, what, **more):
        return self.call(dict(more, do=what))

    def lines(self):
        """What was logged, as (level, text)."""
        return [(log.get(1, 0), log.get(2, b"").decode("utf-8", "replace")) for log in self.logs]

    def printed(self):
        self.output.seek(0)
        return self.output.read()

    def close(self):
        for fd in (self.calls, self.replies):
            if fd >= 0:
                os.close(fd)
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.output.close()


class Suite(object):
    passed = failed = skipped = 0

    def __init__(self, interpreter, base):
        self.interpreter = interpreter
        self.node = "node" in os.path.basename(interpreter)
        self.folder = os.path.join(base, "js" if self.node else "py")

    def start(self, handler="hostile.handler", **more):
        return Runtime(self.interpreter, self.folder, handler, **more)

    def expect(self, name, got, want):
        same = want(got) if callable(want) else got == want
        if same:
            Suite.passed += 1
        else:
            Suite.failed += 1
            shown = repr(got)
            print("FAIL %s: %s: got %s" % (self.interpreter, name, shown[:300]) +
                  ("" if callable(want) else ", expected %s" % repr(want)[:300]))

    def guarded(self, test):
        try:
            test()
        except (Gone, AssertionError, OSError, KeyError, ValueError) as e:
            Suite.failed += 1
            print("FAIL %s: %s: %s: %s" % (self.interpreter, test.__name__, type(e).__name__, e))

    def gone(self, name, action):
        try:
            got = action()
        except Gone as e:
            got = str(e)
        self.expect(name, got, "end of file")

    # ---- the original's own test vectors ----

    def vectors(self):
        rt = self.start("index.handler")
        context = {"messageQOS": 1, "messageTopic": "t", "messageTimestamp": 1700000000,
                   "functionName": "f", "Say": "Hello Baetyl",
                   "functionInvokeID": "e2e87da2-0000-4000-8000-000000000000"}
        for payload, more in ((b"Baetyl Project", {"bytes": "Baetyl Project"}),
                              (b'{"Project":"Baetyl"}', {"Project": "Baetyl"}), (b"", {})):
            result, error = rt.call(payload, qos=1)
            self.expect("vector %r" % payload, (json.loads(result or b"null"), error),
                        (dict(context, **more), None))
        if not self.node and "python2" not in rt.hello[6].decode().replace(" ", ""):
            self.expect("key order", rt.call(b'{"id":1}')[0].decode().startswith(
                '{"id": 1, "messageQOS": 0, "messageTopic": "t", "messageTimestamp": '), True)
        self.expect("vector err", rt.call(b'{"err":"Baetyl"}')[1], self.type_error("Baetyl", rt))
        self.expect("vector unknown function", rt.call(b"{}", function="other")[1],
                    "Exception calling application: function not found")
        self.expect("alive after errors", rt.call(b"{}")[1], None)
        rt.close()

    def type_error(self, text, rt):
        if self.node:
            return "Exception calling application: ('[UserCodeInvoke]', TypeError: %s)" % text
        version = tuple(int(n) for n in rt.hello[6].split()[1].split(b"."))
        inner = "u'%s'" % text if version < (3,) else "'%s'" % text
        inner += "," if version < (3, 7) else ""
        return "Exception calling application: ('[UserCodeInvoke] ', TypeError(%s))" % inner

    # ---- frames ----

    def frames(self):
        rt = self.start("index.handler")
        rt.send(rt.message(b'{"a":1}'), step=1)
        self.expect("one byte at a time", json.loads(rt.result()[0])["a"], 1)
        many = [rt.message(json.dumps({"n": i}).encode()) for i in range(3)]
        os.write(rt.calls, b"".join(framed(m) for m in many))
        got = [parse(rt.read()[3]) for _ in many]
        self.expect("several frames at once", [json.loads(r[2])["n"] for r in got], [0, 1, 2])
        rt.send(rt.message(b'{"later":1}') + num(99, 5) + data(98, b"new") +
                varint(97 << 3 | 1) + b"12345678" + varint(96 << 3 | 5) + b"1234")
        self.expect("unknown fields", json.loads(rt.result()[0])["later"], 1)
        rt.send(rt.message(b"z" * (1 << 20)))
        self.expect("1 MiB in", len(json.loads(rt.result()[0])["bytes"]), 1 << 20)
        os.close(rt.calls)
        rt.calls = -1
        self.expect("ends at end of file", rt.process.wait(SECONDS), 0)
        rt.close()

    def hello(self):
        rt = self.start(hello=False)
        rt.send(data(1, num(1, 99) + data(4, "index.handler")))
        self.expect("version mismatch", b"version 99" in parse(rt.read()[1]).get(7, b""), True)
        rt.close()
        for handler in ("broken.handler", "nothere.handler", "index.nothere"):
            rt = self.start(handler)
            self.expect("load " + handler, len(rt.hello.get(7, b"")) > 0, True)
            self.expect("load %s exit" % handler, rt.process.wait(SECONDS), 1)
            rt.close()

    # ---- handlers ----

    def results(self):
        rt = self.start()
        self.expect("none", rt.do("none"), (b"", None))
        self.expect("raw", rt.do("raw"), (b"\x00\xff\x00", None))
        for value in (0, False, [], {}, "x", 1.5, [1, 2], {"a": None}):
            got = rt.do("echo", value=value)
            want = json.dumps(value, separators=(",", ":") if self.node else None).encode()
            self.expect("echo %r" % (value,), got, (want, None))
        self.expect("null", rt.do("echo", value=None), (b"", None))
        for payload in (b' {"do":"echo","value":[1, {"a" : -2.5e3}]}\r\n\t', b'{"do":"echo","value":"\xc3\xa4\\u0041\\n/"}',
                        b'{"do":"echo","value":[true,false,null,"",0,-0.5,1e100,1234567890123456]}'):
            want = json.loads(payload.decode())["value"]
            self.expect("space and numbers", json.loads(rt.call(payload)[0].decode()), want)
        self.expect("almost too large", len(rt.do("almost")[0]), LIMIT - 100)
        self.expect("too large", rt.do("big")[1], lambda e: e.startswith(
            "ResourceExhausted grpc: received message larger than max (52428") and
            e.endswith(" vs. 4194304)"))
        self.expect("alive after too large", rt.do("echo", value=3), (b"3", None))
        self.expect("prints", rt.do("print")[0].strip(b'"'), b"printed")
        printed = rt.printed() + b"".join(log[2] for log in rt.logs)
        self.expect("print is output", b"hello" in printed and b"world" in printed, True)
        rt.close()
        rt = self.start("kind.handler")
        for payload in (b"abc", b"\xff\xfe", b"1\x00", b"[" * 100000, b"{", b'{"a" 1}', b"[1,]", b"1 2", b" ", b"\n",
                        b"\xef\xbb\xbf1", b"'a'", b'"\\x"', b'"a\nb"', b"01", b"- 1"):
            self.expect("not JSON %r" % payload[:4], rt.call(payload)[0],
                        lambda r: r in (b'"Buffer"', b'"bytes"', b'str'))
        rt.close()

    def python_hostile(self):
        rt = self.start()
        invoke = "Exception calling application: ('[UserCodeInvoke] ', "
        for what, want in (
                ("exit", invoke + "SystemExit(3"), ("interrupt", invoke + "KeyboardInterrupt("),
                ("unserialisable",
                 "Exception calling application: ('[UserCodeReturn] ', TypeError("),
                ("deep", "Exception calling application: ('[UserCodeReturn] ', ValueError("),
                ("bad_repr", invoke), ("long_error", invoke + "ValueError('yyy"),
                ("recurse", invoke), ("nothere", invoke + "KeyError(")):
            self.expect(what, rt.do(what)[1], lambda e: e is not None and e.startswith(want))
        for value in ([1, {"b": []}, u"\u00e4\u20ac\U0001f600\x7f\"\\", 1.0, 1e16, -0.0], {"1": None},
                      u"\u2028", 3.14, [[[]]], ""):
            self.expect("as json.dumps", rt.do("echo", value=value),
                        (json.dumps(value).encode(), None))
        got = rt.do("own")
        self.expect("keys that are no strings", got, (b'{"1": 1, "null": 2, "true": 3, "2.5": 4}', None)
                    if b"python 3" in rt.hello[6] else lambda r: len(json.loads(r[0].decode())) == 4)
        self.expect("own types", rt.do("own_default"), (b'["2020-01-02"]', None))
        self.expect("not a number", rt.do("nan"), (b"[NaN, Infinity, -Infinity]", None))
        self.expect("stdin is empty", rt.do("stdin"),
                    lambda r: r[0] in (b'""', b""))
        self.expect("text", rt.do("text"), (b'"\\u00e4"', None))
        self.expect("fork answers once", rt.do("fork"), (b'"once"', None) if b"python 3" in
                    rt.hello[6] else (b"once", None))
        self.expect("after fork", rt.do("echo", value=1), (b"1", None))
        rt.do("close_output")
        self.expect("after closed output", rt.do("echo", value=1), (b"1", None))
        self.gone("hard exit", lambda: rt.do("hard_exit"))
        self.expect("status", rt.process.wait(SECONDS), 5)
        rt.close()
        rt = self.start("hostile.context_keys")
        self.expect("context", json.loads(rt.call(b"")[0].decode()), [
            "functionInvokeID", "functionName", "invokeid", "messageQOS", "messageTimestamp", "messageTopic"])
        rt.close()
        rt = self.start("pkg.mod.handler")
        self.expect("dotted", json.loads(rt.call(b"5")[0]), [1, 5, True, 1700000000])
        rt.close()

    def python_logging(self):
        rt = self.start("logs.handler")

        def logged(what):
            rt.logs = []
            rt.do(what)
            return rt.lines()

        self.expect("levels", logged("levels"), [(2, "say info"), (1, "say warning"), (0, "say error"),
                                                 (0, "say critical")])
        self.expect("basicConfig", logged("debug"), [(3, "mine|now")])
        self.expect("traceback", logged("exception"), lambda l: len(l) == 1 and l[0][0] == 0 and
                    l[0][1].startswith("root|caught\nTraceback") and "ZeroDivisionError" in l[0][1])
        self.expect("long", logged("long"), lambda l: len(l) == 1 and len(l[0][1]) < 3100 and
                    "begin" in l[0][1] and l[0][1].endswith("end"))
        self.expect("a copy does not write frames", logged("copy"), [])
        self.expect("a copy's words", b"from a copy" in rt.printed(), True)
        self.expect("threads", logged("threads"), lambda l: len(l) == 800 and set(l) ==
                    {(1, "root|" + "w" * 2000)})
        self.expect("to a stream", logged("stream"), [])
        self.expect("on the stream", b"to stdout: words" in rt.printed(), True)
        rt.close()
        rt = self.start()
        rt.do("exit")
        self.expect("traceback of a handler", rt.lines(), lambda l: len(l) == 1 and l[0][0] == 0 and
                    "in do_exit" in l[0][1] and "SystemExit" in l[0][1] and "runtime.py" not in l[0][1])
        rt.close()

    def python_output(self):
        rt = self.start("speaks.handler")
        rt.send(rt.message(b'{"part":1}'))
        rt.result()
        self.expect("a part of a line", self.printed_soon(rt, b"no line end"), True)
        rt.send(rt.message(b'{"sleep":1}'))
        self.expect("while the handler runs", self.printed_soon(rt, b"line before", 2), True)
        rt.close()

    def printed_soon(self, rt, what, times=1):
        end = time.time() + SECONDS
        while rt.printed().count(what) < times and time.time() < end:
            time.sleep(0.01)
        return rt.printed().count(what) == times

    def python_modules(self):
        for handler, want in (
                ("json.handler", ['{"a": 1}', "handler_json", True]),
                ("random.handler", ["1", True, "handler_random"]),
                ("code.handler", [True, "helper beside the code"]), ("test.inner.handler", ["inner", {}]),
                ("uses.handler", 42)):
            rt = self.start(handler)
            got = rt.call(b"")[0] if 7 not in rt.hello else rt.hello[7]
            self.expect(handler, got, json.dumps(want).encode())
            rt.close()

    # ---- frames that the manager does not write ----

    def unusual_frames(self):
        """What the manager does not write, but may: the same answers as for what it writes."""
        rt = self.start("index.handler")
        ask = (data(3, "t"), data(4, b'{"a":1}'), num(10, 3), data(11, "f"), data(12, "i"))
        want = {"a": 1, "messageQOS": 0, "messageTopic": "t", "messageTimestamp": -2, "functionName": "f",
                "functionInvokeID": "i", "Say": "Hello Baetyl"}

        def answer(*parts, **change):
            rt.send(data(2, num(1, 77) + data(2, b"".join(parts))))
            reply = parse(rt.read()[3])
            self.expect("id", reply[1], 77)
            self.expect("unusual %r" % (parts,), json.loads(reply.get(2, b"null")), dict(want, **change))

        for _ in range(2):  # what was remembered from the call before must not show
            answer(*ask)
            answer(num(1, 7), num(2, 1), *ask, messageQOS=1)
            answer(num(2, 2), *ask, messageQOS=2)
            answer(*reversed(ask))
            answer(data(3, "x" * 200), *ask[1:], messageTopic="x" * 200)
            answer(data(3, "tt"), *ask[1:], messageTopic="tt")
            answer(ask[0], ask[1], data(11, "f"), ask[4], messageTimestamp=0)
            answer(*(ask[:4] + (data(12, "j" * 300),)), functionInvokeID="j" * 300)
            answer(*ask[:4], functionInvokeID="")
            answer(data(3, "first"), *ask)
            answer(ask[0], data(4, b'{"a":2}'), *ask[1:])
            answer(data(3, "\u00e4"), *ask[1:], messageTopic="\u00e4")
            answer(num(1, 1 << 40), *ask)
            answer(ask[0], data(4, json.dumps({"a": "y" * 20000})), *ask[2:], a="y" * 20000)
            answer(*ask[1:], messageTopic="")
        rt.send(data(2, num(1, 78) + data(2, b"".join(ask[:3]) + data(11, "ff") + ask[4])))
        self.expect("another function", b"function not found" in parse(parse(rt.read()[3])[3])[1], True)
        rt.close()

    def python_async(self):
        rt = self.start("coro.handler")
        self.expect("awaited", rt.do("sleep", s=0.01), (b'["sleep", "t"]', None))
        invoke = "Exception calling application: ('[UserCodeInvoke] ', "
        for what, want in (("throw", "ValueError("), ("exit", "SystemExit(")):
            self.expect("async " + what, rt.do(what)[1],
                        lambda e: e is not None and e.startswith(invoke + want))
        for n in (0.2, 0):
            rt.send(rt.message(json.dumps({"do": "sleep", "s": n}).encode()))
        got = [parse(rt.read()[3])[1] for _ in range(2)]
        self.expect("one after the other", got, [rt.id - 1, rt.id])
        self.expect("at most one at once", rt.do("most"), (b"1", None))
        os.close(rt.calls)
        rt.calls = -1
        self.expect("async ends at end of file", rt.process.wait(SECONDS), 0)
        rt.close()
        rt = self.start("coro.handler", concurrency=3)
        for n in (0.3, 0.2, 0.1, 0, 0):
            rt.send(rt.message(json.dumps({"do": "sleep", "s": n}).encode()))
        got = [parse(rt.read()[3])[1] for _ in range(5)]
        self.expect("three at once", got, [3, 4, 5, 2, 1])
        self.expect("at most three", rt.do("most"), (b"3", None))
        rt.send(rt.message(json.dumps({"do": "sleep", "s": 0.1}).encode()))
        os.close(rt.calls)
        rt.calls = -1
        self.expect("finishes what runs", rt.result(), (b'["sleep", "t"]', None))
        self.expect("async exit", rt.process.wait(SECONDS), 0)
        rt.close()
        rt = self.start("coro.plain")
        self.expect("awaitable result", rt.call(b"1"), (b'{"inner": 1}', None))
        rt.close()

    def node_hostile(self):
        rt = self.start()
        invoke = "Exception calling application: ('[UserCodeInvoke]', "
        for what, want in (
                ("throw", invoke + "TypeError: sync)"), ("late", invoke + "Error: later)"),
                ("circular", "Exception calling application: ('[UserCodeReturn]', TypeError: "),
                ("func", "Exception calling application: ('[UserCodeReturn]', TypeError: "),
                ("text_error", invoke + "plain)"), ("reject", invoke + "RangeError: no)"),
                ("stray", invoke + "Error: stray)"), ("bad_error", invoke),
                ("nothere", invoke + "TypeError: ")):
            self.expect(what, rt.do(what)[1], lambda e: e is not None and e.startswith(want))
        self.expect("empty text", rt.do("echo", value=""), (b"", None))
        self.expect("callback twice", rt.do("twice"), (b"1", None))
        self.expect("after twice", rt.do("echo", value=4), (b"4", None))
        self.expect("timer", rt.do("timer"), (b'"after"', None))
        self.node_logger(rt)
        self.gone("exit", lambda: rt.do("exit"))
        rt.close()
        self.node_modules()
        self.node_concurrency()
        for handler, want in (("hostile.two", b'{"two":1}'), ("hostile.sync", b'{"sync":1}'),
                              ("hostile.async3", b"7")):
            rt = self.start(handler)
            self.expect(handler, rt.call(b"1"), (want, None))
            rt.close()
        rt = self.start("hostile.notfunction")
        self.expect("not a function", b"is not a function" in rt.hello.get(7, b""), True)
        rt.close()

    def node_logger(self, rt):
        rt.do("log")
        self.expect("levels", [(log.get(1, 0), log[2]) for log in rt.logs[-4:]],
                    [(0, b"bad 1"), (1, b"odd { a: 1 }"), (2, b"fine"), (3, b"detail")])
        self.expect("console.log is output", b"plain" in rt.printed(), True)

    def node_modules(self):
        rt = self.start("module.handler")
        if rt.major() >= 13:
            self.expect("ECMAScript module", rt.call(b"1"), (b'{"module":1}', None))
        else:
            self.expect("no ECMAScript modules", rt.hello.get(7, b"") != b"", True)
        rt.close()

    def node_concurrency(self):
        """Calls that run at once answer when they are done; more of them wait their turn."""
        rt = self.start(concurrency=2)
        first = rt.id + 1
        for ms in (300, 100, 10):
            rt.send(rt.message(json.dumps({"do": "wait", "ms": ms}).encode()))
        self.expect("by time", [rt.reply_id() - first for _ in range(3)], [1, 2, 0])
        if rt.major() >= 20:
            rt.send(rt.message(b'{"do":"wait","ms":50}'))
            rt.send(rt.message(b'{"do":"wait","ms":10,"throw":true}'))
            self.expect("whose error", [rt.reply_id() - first for _ in range(2)], [4, 3])
        rt.close()
        rt = self.start()
        first = rt.id + 1
        for ms in (50, 10, 1):
            rt.send(rt.message(json.dumps({"do": "wait", "ms": ms}).encode()))
        self.expect("in order", [rt.reply_id() - first for _ in range(3)], [0, 1, 2])
        rt.close()

    def ahead(self):
        """Many calls at once, cut anywhere: every one is answered, in order, and a slow one withholds nothing."""
        rt = self.start()
        first = rt.id + 1
        sent = b"".join(framed(rt.message(b'{"do":"echo","value":%d}' % i)) for i in range(500))
        for i in range(0, len(sent), 1999):
            os.write(rt.calls, sent[i:i + 1999])
        self.expect("all in order", [rt.reply_id() - first for _ in range(500)], list(range(500)))
        for what in (b"echo", b"hang"):
            rt.send(rt.message(b'{"do":"%s","value":1}' % what))
        self.expect("not withheld", rt.reply_id() - first, 500)
        rt.close()

    def hang(self):
        rt = self.start()
        rt.send(rt.message(b'{"do":"hang"}'))
        self.expect("hangs", select.select([rt.replies], [], [], 0.3)[0], [])
        os.killpg(rt.process.pid, signal.SIGTERM)
        self.expect("ends by SIGTERM", rt.process.wait(SECONDS), -signal.SIGTERM)
        rt.close()

    def run(self):
        tests = [self.vectors, self.frames, self.hello, self.results, self.ahead, self.hang]
        if self.node:
            tests += [self.node_hostile]
        else:
            tests += [self.python_hostile, self.python_logging, self.python_output, self.python_modules,
                      self.unusual_frames]
            if b"python 2" not in self.version():
                tests += [self.python_async]
        for test in tests:
            self.guarded(test)

    def version(self):
        rt = self.start()
        rt.close()
        return rt.hello[6]


def is_real(path):
    with open(path, "rb") as f:
        return f.read(2) != b"#!"


def interpreters():
    found = [p for p in os.environ.get("BAETYL_TEST_INTERPRETERS", "").split(":") if p]
    names = ["python2.7", "python3", "node"] + ["python3.%d" % n for n in range(6, 20)]
    for folder in os.environ.get("PATH", "").split(":"):
        found += [os.path.join(folder, n) for n in names]
    found += sorted(glob.glob(os.path.expanduser("~/.pyenv/versions/*/bin/python")))
    real = {}
    for path in found:
        if os.access(path, os.X_OK) and os.path.isfile(path) and is_real(path):
            real.setdefault(os.path.realpath(path), path)
    return list(real.values())


def write_all(base):
    for folder, files in (("py", PY_HANDLERS), ("py", PY3_HANDLERS), ("js", JS_HANDLERS)):
        for name, text in files.items():
            path = os.path.join(base, folder, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w") as f:
                f.write(text)


def main():
    base = tempfile.mkdtemp()
    write_all(base)
    chosen = sys.argv[1:] or interpreters()
    try:
        for interpreter in chosen:
            Suite(interpreter, base).run()
    finally:
        shutil.rmtree(base)
    print("ran with: %s" % " ".join(chosen))
    print("%d passed, %d failed, %d skipped" % (Suite.passed, Suite.failed, Suite.skipped))
    return 1 if Suite.failed else 0 if chosen else 77


if __name__ == "__main__":
    sys.exit(main())
