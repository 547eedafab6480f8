"""Functions end to end: device, hub, Python or Node, device. Handlers that misbehave."""
import base64
import glob
import json
import os
import shutil
import time

import raw
from harness import HUB, ROOT, RUNNER, BAETYL, SLOW, Skip, check, contains, equal, need_tool, test, until
from raw import session

RULES = """functions:
  rules:
    - clientid: rule-{name}
      subscribe: {{topic: {topic}, qos: {qos}}}
      function: {{name: {name}}}
      publish: {{topic: {topic}/out, qos: {qos}}}
  functions:
    - {{name: {name}, runtime: {runtime}, handler: index.handler, codedir: {name}, timeout: {timeout}, instance: {{min: 0, max: {max}}}}}
"""

PYTHON = """# -*- coding: utf-8 -*-
import os, sys, time
def handler(event, context):
    do = event.get('do') if isinstance(event, dict) else None
    if do == 'throw':
        raise ValueError('boom')
    if do == 'print':
        print('words on stdout'); sys.stderr.write('words on stderr\\n'); sys.stdout.flush()
    if do == 'sysexit':
        sys.exit(3)
    if do == 'exit':
        os._exit(3)
    if do == 'hang':
        time.sleep(3600)
    if do == 'nonsense':
        return set([1])
    if do == 'nothing':
        return None
    if do == 'big':
        return b'x' * event['n']
    if do == 'bytes':
        return b'\\x00\\xff'
    if do == 'falsy':
        return 0
    if do == 'context':
        return dict(context)
    if isinstance(event, bytes):
        return {'bytes': len(event)}
    return {'event': event, 'pid': os.getpid()}
"""

NODE = """
exports.handler = (event, context, callback) => {
  const go = event && event.do;
  if (go === 'throw') throw new TypeError('boom');
  if (go === 'error') return callback(new TypeError('boom'));
  if (go === 'print') { console.log('words on stdout'); console.error('words on stderr'); }
  if (go === 'exit') process.exit(3);
  if (go === 'hang') return;
  if (go === 'loop') for (;;) ;
  if (go === 'nonsense') { const a = {}; a.a = a; return callback(null, a); }
  if (go === 'nothing') return callback(null);
  if (go === 'big') return callback(null, Buffer.alloc(event.n, 120));
  if (go === 'bytes') return callback(null, Buffer.from([0, 255]));
  if (go === 'falsy') return callback(null, 0);
  if (go === 'context') return callback(null, context);
  if (go === 'promise') return Promise.resolve({promised: true});
  if (Buffer.isBuffer(event)) return callback(null, {bytes: event.length});
  callback(null, {event: event, pid: process.pid});
};
"""


class Function:
    """A hub with one function, and a client that calls it."""

    def __init__(self, t, language, runtime=None, qos=1, timeout="30s", instances=1):
        name = "py" if language == "python" else "js"
        runtime = runtime or ("python3" if language == "python" else "node")
        folder = t.folder()
        os.mkdir(os.path.join(folder, name))
        with open(os.path.join(folder, name, "index." + name), "w") as f:
            f.write(PYTHON if language == "python" else NODE)
        text = HUB + "  message: {length: {max: 8m}}\n" + RULES.format(
            name=name, topic=name, qos=qos, runtime=runtime, timeout=timeout, max=instances)
        self.s = t.baetyl(text, folder=folder)
        until(lambda: "id=FUNC-RULE" in self.s.log(), what="the rule is ready")
        self.qos, self.topic, self.pid = qos, name, 0
        self.c = session(t, self.s, "device", (name + "/out", 1))

    def send(self, payload):
        self.pid += 1
        data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        self.c.send(raw.publish(self.topic, data, qos=self.qos, pid=self.pid))

    def reply(self, seconds=10):
        end = time.monotonic() + seconds * SLOW
        while True:
            got = self.c.packet(max(0.01, (end - time.monotonic()) / SLOW))
            check(got is not None, "connection is open")
            if got[0] == raw.PUBLISH:
                _, flags, body = got
                n = 2 + int.from_bytes(body[:2], "big")
                if flags >> 1 & 3:
                    self.c.send(raw.packet(0x40, body[n:n + 2]))
                    n += 2
                return body[n:]

    def call(self, payload, seconds=10):
        self.send(payload)
        return self.reply(seconds)

    def works(self):
        return json.loads(self.call({"works": 1}))["pid"]

    def error(self, payload, *parts, seconds=10):
        """The error message has the documented members and names these parts."""
        got = json.loads(self.call(payload, seconds))
        equal(sorted(got), ["errorMessage", "errorType", "functionMessage"], "keys")
        message = got["functionMessage"]
        if self.qos:
            check(message["ID"] > 0 and message["QOS"] == 1, "ID and QOS")
        else:
            check("ID" not in message and "QOS" not in message, "no ID and QOS")
        equal(message["Topic"], self.topic, "Topic")
        equal(json.loads(base64.b64decode(message["Payload"])), payload, "Payload")
        check(abs(message["Timestamp"] - time.time()) < 100 and message["FunctionName"] == self.topic)
        equal(len(message["FunctionInvokeID"]), 36, "FunctionInvokeID")
        for part in parts:
            contains(got["errorMessage"], part, "errorMessage")


def interpreter(variable):
    path = os.environ.get(variable)
    if not path:
        raise Skip("no %s here" % variable)
    return path


def answers(f):
    equal(json.loads(f.call({"a": [1, u"\u00fc", None]}))["event"], {"a": [1, u"\u00fc", None]}, "JSON")
    equal(json.loads(f.call(b"not json \xff")), {"bytes": 10}, "bytes")
    equal(json.loads(f.call(b""))["event"], {}, "empty")
    equal(f.call({"do": "bytes"}), b"\x00\xff", "bytes out")
    equal(f.call({"do": "falsy"}), b"0", "falsy")
    context = json.loads(f.call({"do": "context"}))
    equal(context["messageTopic"], f.topic, "messageTopic")
    equal(context["functionName"], f.topic, "functionName")
    equal(context["messageQOS"], f.qos, "messageQOS")
    equal(context["functionInvokeID"], context["invokeid"], "invokeid")
    f.send({"do": "nothing"})
    equal(json.loads(f.call({"next": 1}))["event"], {"next": 1}, "nothing is published for None")


@test
def python_contract(t):
    answers(Function(t, "python"))


@test
def python_contract_qos_0(t):
    answers(Function(t, "python", qos=0))


@test
def python27_contract(t):
    f = Function(t, "python", interpreter("PYTHON27"))
    equal(json.loads(f.call({"a": 1}))["event"], {"a": 1}, "JSON")
    equal(f.call({"do": "bytes"}), b"\x00\xff", "bytes out")
    f.error({"do": "throw"}, "[UserCodeInvoke]", "boom")
    f.works()


@test
def python_every_version_here(t):
    found = sorted(glob.glob(os.path.expanduser("~/.pyenv/versions/3.*/bin/python3")))
    found += [p for p in map(shutil.which, ["python3.%d" % n for n in range(6, 14)]) if p]
    paths = {}
    for path in found:
        code, out, _ = t.run([path, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"])
        if code == 0:
            paths.setdefault(out.decode().strip(), path)
    if not paths:
        raise Skip("no other Python 3 here")
    for version, path in sorted(paths.items()):
        f = Function(t, "python", path)
        equal(json.loads(f.call({"a": 1}))["event"], {"a": 1}, "JSON on " + version)
        f.error({"do": "throw"}, "boom")
        f.s.stop()


@test
def node_contract(t):
    need_tool("node")
    f = Function(t, "node")
    answers(f)
    equal(json.loads(f.call({"do": "promise"})), {"promised": True}, "Promise")


@test
def node8_contract(t):
    f = Function(t, "node", interpreter("NODE8"))
    answers(f)
    f.error({"do": "throw"}, "boom")
    f.works()


@test
def python_throws(t):
    f = Function(t, "python")
    before = f.works()
    f.error({"do": "throw"}, "rpc error: code = Unknown desc = Exception calling application", "[UserCodeInvoke]",
            "ValueError('boom'")
    f.error({"do": "sysexit"}, "SystemExit")
    f.error({"do": "nonsense"}, "[UserCodeReturn]")
    equal(f.works(), before, "the instance is kept")


@test
def python_throws_qos_0(t):
    Function(t, "python", qos=0).error({"do": "throw"}, "boom")


@test
def node_throws(t):
    need_tool("node")
    f = Function(t, "node")
    before = f.works()
    f.error({"do": "throw"}, "[UserCodeInvoke]", "TypeError: boom")
    f.error({"do": "error"}, "[UserCodeInvoke]", "TypeError: boom")
    f.error({"do": "nonsense"}, "[UserCodeReturn]")
    equal(f.works(), before, "the instance is kept")


def misbehaves(f):
    check("event" in json.loads(f.call({"do": "print"})), "printing does not disturb the frames")
    until(lambda: "words on stdout" in f.s.log() and "words on stderr" in f.s.log(), what="words in the log")
    f.error({"do": "exit"}, "rpc error", seconds=20)
    f.works()
    other = f.c.ping
    other()


@test
def python_prints_and_exits(t):
    misbehaves(Function(t, "python"))


@test
def node_prints_and_exits(t):
    need_tool("node")
    misbehaves(Function(t, "node"))


def hangs(f, how):
    f.works()
    start = time.monotonic()
    f.error({"do": how}, "DeadlineExceeded", seconds=15)
    check(time.monotonic() - start < 6 * SLOW, "the time-out is kept")
    f.works()


@test
def python_hangs(t):
    hangs(Function(t, "python", timeout="1s"), "hang")


@test
def node_hangs(t):
    need_tool("node")
    hangs(Function(t, "node", timeout="1s"), "hang")
    hangs(Function(t, "node", timeout="1s"), "loop")


def big(f):
    equal(len(f.call({"do": "big", "n": 3000000}, 20)), 3000000, "3 MB")
    f.error({"do": "big", "n": 5000000}, "ResourceExhausted", seconds=20)
    f.works()


@test
def python_returns_5_mb(t):
    big(Function(t, "python"))


@test
def node_returns_5_mb(t):
    need_tool("node")
    big(Function(t, "node"))


@test
def parallel_instances(t):
    f = Function(t, "python", instances=4)
    for i in range(100):
        f.send({"i": i})
    got = [json.loads(f.reply(20)) for _ in range(100)]
    equal(sorted(m["event"]["i"] for m in got), list(range(100)), "replies")


@test
def order_with_one_instance(t):
    f = Function(t, "python")
    for i in range(200):
        f.send({"i": i})
    equal([json.loads(f.reply(20))["event"]["i"] for _ in range(200)], list(range(200)), "order")


@test
def qos_1_survives_sigkill(t):
    f = Function(t, "python")
    f.works()
    f.s.kill()
    f.s.start()
    f.c = session(t, f.s, "device", ("py/out", 1))
    f.works()


@test
def waiting_calls_are_made_after_a_crash(t):
    f = Function(t, "python", timeout="10s")
    f.works()
    f.send({"do": "hang"})
    f.send({"late": 1})
    for _ in range(2):
        f.c.expect(raw.PUBACK)
    f.s.kill()
    # The hanging handler's successor does not hang.
    path = os.path.join(f.s.dir, "py", "index.py")
    with open(path) as code:
        text = code.read().replace("time.sleep(3600)", "pass")
    with open(path, "w") as code:
        code.write(text)
    f.s.start()
    f.c = session(t, f.s, "device2", ("py/out", 1))
    # The replies may have been published before the subscription, so a third call follows.
    f.works()


@test
def stop_with_a_hanging_call(t):
    f = Function(t, "python", timeout="60s")
    pid = f.works()
    f.send({"do": "hang"})
    time.sleep(0.3)
    f.s.stop(15)
    until(lambda: not os.path.exists("/proc/%d" % pid), what="the instance is gone")


@test
def instances_die_with_the_process(t):
    f = Function(t, "python")
    pid = f.works()
    f.s.kill()
    until(lambda: not os.path.exists("/proc/%d" % pid), what="the instance is gone")


@test
def handler_that_does_not_load(t):
    folder = t.folder()
    os.mkdir(os.path.join(folder, "py"))
    with open(os.path.join(folder, "py", "index.py"), "w") as f:
        f.write("import no_such_module\n")
    text = HUB + RULES.format(name="py", topic="py", qos=0, runtime="python3", timeout="5s", max=1)
    s = t.baetyl(text, folder=folder)
    c = session(t, s, "device", ("py/out", 1))
    c.send(raw.publish("py", "{}"))
    contains(c.message(20)["payload"], "failed to start an instance of function py: ModuleNotFoundError")
    check(s.alive(), "alive")


@test
def unknown_function_is_a_config_error(t):
    path = os.path.join(t.folder(), "c.yml")
    with open(path, "w") as f:
        f.write(HUB + RULES.format(name="py", topic="py", qos=1, runtime="python3", timeout="5s", max=1)
                .replace("function: {name: py}", "function: {name: nobody}"))
    code, out, err = t.command("check", "-c", path)
    equal(code, 1, "exit status")
    contains(out + err, "nobody")


def example(t):
    source = os.path.join(ROOT, "example", "hello")
    if not os.path.exists(os.path.join(source, "baetyl.yml")):
        raise Skip("no example here")
    need_tool("node")
    folder = t.folder()
    shutil.copytree(source, folder, dirs_exist_ok=True)
    with open(os.path.join(folder, "baetyl.yml")) as f:
        text = f.read()
    return t.baetyl(text.replace("127.0.0.1:1883", "127.0.0.1:0"), folder=folder)


def example_through(t, publish, subscribe):
    """The printed lines: a subscriber on t/#, a message to t, the answers of two functions."""
    s = example(t)
    watch = session(t, s, "watch", ("t/+", 1))
    p = t.spawn(subscribe + ["-p", str(s.port), "-t", "t/#", "-v", "-C", "3", "-W", "20"])
    time.sleep(0.7 * SLOW)
    code, _, err = t.run(publish + ["-p", str(s.port), "-t", "t", "-m", '{"id":1}'])
    equal(code, 0, "exit status: %s" % err)
    equal(sorted(watch.message(20)["topic"] for _ in range(2)), ["t/hello", "t/hello-js"], "topics")
    lines = p.communicate(timeout=30)[0].decode().strip().split("\n")
    equal(p.returncode, 0, "exit status")
    equal(sorted(line.split(" ")[0] for line in lines), ["t", "t/hello", "t/hello-js"], "printed topics")


@test
def example_with_own_clients(t):
    example_through(t, RUNNER + [BAETYL, "pub"], RUNNER + [BAETYL, "sub"])


@test
def example_with_mosquitto_clients(t):
    example_through(t, [need_tool("mosquitto_pub")], [need_tool("mosquitto_sub")])
