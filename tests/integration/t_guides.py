"""The original's guides about functions, with its tree of files: conf.yml, application.yml, a service.yml
for each service, code in volumes. The trees are in compat/; only the ports are changed, so that they are free.
"""
import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import struct
import sys
import time

import api
import raw
from harness import Baetyl, SLOW, Skip, check, contains, equal, need_tool, test, until
from raw import PUBACK, Raw
from tlscerts import Authority

TREES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "compat")
USER = {"user": "test", "password": "hahaha"}
CONTEXT = ["messageQOS", "messageTopic", "messageTimestamp", "functionName", "functionInvokeID"]
HELLO = CONTEXT + ["Say"]


class Tree(Baetyl):
    """A copy of a tree. change: (file, pattern, replacement), before it starts."""

    def __init__(self, t, name, change=(), python27=True):
        folder = t.folder()
        self.db = os.path.join(folder, "var/db/baetyl")
        shutil.copytree(os.path.join(TREES, name), folder, dirs_exist_ok=True)
        super().__init__(t, None, folder=folder)
        self.config = "etc/baetyl/conf.yml"
        t.servers.append(self)
        self.edit("localhub-conf/service.yml", r"://0\.0\.0\.0:\d+", "://127.0.0.1:0")
        for file, pattern, text in change:
            self.edit(file, pattern, text)
        self.bin = os.path.join(folder, "bin")
        os.mkdir(self.bin)
        self.path = self.bin + ":" + os.environ["PATH"]
        if python27 and os.environ.get("PYTHON27"):
            os.symlink(os.environ["PYTHON27"], os.path.join(self.bin, "python2.7"))

    def edit(self, file, pattern, text):
        path = os.path.join(self.db, file)
        with open(path) as f:
            old = f.read()
        new = re.sub(pattern, lambda _: text, old)
        check(new != old, "%s has %s" % (file, pattern))
        with open(path, "w") as f:
            f.write(new)

    def write(self, file, text):
        path = os.path.join(self.db, file)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write(text)

    def start(self, wait=True, prefix=()):
        prefix = list(prefix) + ["env", "PATH=" + self.path]
        super().start(wait, prefix)
        if wait:
            until(lambda: "id=CORE-READY" in self.says(), 10, "all modules are ready")
        return self

    def only_here(self):
        """Only Python 3 and Node are installed."""
        os.symlink(os.path.realpath(sys.executable), os.path.join(self.bin, "python3"))
        os.symlink(os.path.realpath(need_tool("node")), os.path.join(self.bin, "node"))
        self.path = self.bin + ":/bin/no-such-folder"

    def check(self, *args):
        """(exit status, output, messages) of `baetyl check`."""
        code, out, err = self.t.run(["env", "PATH=" + self.path] + self.program + ["check", "-w", self.dir] + list(args))
        return code, out.decode(), err.decode()

    def says(self):
        """What the log has, from the start on."""
        path = os.path.join(self.dir, "var/log/baetyl/baetyl.log")
        with open(path, "rb") as f:
            return f.read().decode("utf-8", "replace")

    def device(self, *filters, client_id="device"):
        r = Raw(self.t, self.port)
        r.login(client_id, **USER)
        if filters:
            body = r.send(raw.subscribe(*filters)).expect(raw.SUBACK)
            equal(list(body[-len(filters):]), [q for _, q in filters], "granted")
        return r

    def children(self):
        """Command lines of the processes that it started."""
        found = []
        for pid in os.listdir("/proc"):
            try:
                with open("/proc/%s/stat" % pid) as f:
                    parent = int(f.read().rsplit(")", 1)[1].split()[1])
                with open("/proc/%s/cmdline" % pid) as f:
                    line = f.read()
            except (OSError, IndexError, ValueError):
                continue
            if parent == self.process.pid and "\0start\0" not in line:  # its own helper
                found.append(line)
        return found


def certificates(t, s):
    """The folder of certificates, which the tree does not have."""
    ca = Authority(t)
    ca.issue("server")
    shutil.copytree(ca.dir, os.path.join(s.db, "localhub-cert-only-for-test"))
    return ca


def functions_docker(t, *change, start=True, **options):
    s = Tree(t, "functions-docker", change, **options)
    certificates(t, s)
    return s.start() if start else s


def collect(device, n, seconds=20):
    """n messages by their topics."""
    got = {}
    end = time.monotonic() + seconds * SLOW
    while len(got) < n:
        m = device.message(max(0.1, (end - time.monotonic()) / SLOW))
        check(m["topic"] not in got, "one message on " + m["topic"])
        got[m["topic"]] = m["payload"]
    device.quiet(0.3)
    return got


def all_topics():
    has27 = bool(os.environ.get("PYTHON27"))
    return ["t", "t/topic", "t/py3hi", "t/node8hi"] + ["t/py2hi"] * has27 + ["t/sqlfilter"]


def is_hello(members, function, first, qos=0):
    check(set(members) == set(first) | set(HELLO), members)
    for name, value in list(first.items()) + [("Say", "Hello Baetyl"), ("functionName", function),
                                              ("messageTopic", "t"), ("messageQOS", qos)]:
        equal(members[name], value, name)
    check(abs(members["messageTimestamp"] - time.time()) < 100, "messageTimestamp")
    check(re.match(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", members["functionInvokeID"]), "functionInvokeID")


# ---- Message handling with functions ----


@test
def function_guide(t):
    """Six messages, in the exact forms of the original."""
    need_tool("node")
    s = functions_docker(t)
    equal(s.children(), [], "instances before the first message")
    device = s.device(("#", 0))
    device.send(raw.publish("t", b'{"id":1}'))
    got = collect(device, len(all_topics()))
    equal(sorted(got), sorted(all_topics()), "topics")
    equal((got["t"], got["t/topic"]), (b'{"id":1}', b'{"id":1}'), "the message and its copy")
    order = ["id"] + HELLO
    for topic, function, form in (("t/py3hi", "python36-sayhi", {}),
                                  ("t/node8hi", "node85-sayhi", {"separators": (",", ":")})):
        members = json.loads(got[topic])
        is_hello(members, function, {"id": 1})
        equal(list(members), order, "order of the members on " + topic)
        equal(got[topic].decode(), json.dumps(members, **form), "form on " + topic)
    if "t/py2hi" in got:
        is_hello(json.loads(got["t/py2hi"]), "python27-sayhi", {"id": 1})
    equal(got["t/sqlfilter"], b'{"id":1,"qos":0,"topic":"t"}', "filtered")
    ready = re.findall(r"id=FUNC-READY .*?instance=(\S+)", s.says())
    equal(len(ready), len(all_topics()) - 3, "instances")
    check({"function-python36-sayhi.python36-sayhi.1", "function-node85-sayhi.node85-sayhi.1"} <= set(ready), ready)
    equal(s.stop(), 0, "exit status")


@test
def function_guide_other_messages(t):
    need_tool("node")
    s = functions_docker(t)
    device = s.device(("t/+", 0))
    sayhi = [x for x in all_topics() if x.endswith("hi")]
    device.send(raw.publish("t", b'{"err":"x"}'))
    got = collect(device, 1 + len(sayhi))
    for topic in sayhi:
        message = json.loads(got[topic])
        equal(sorted(message), ["errorMessage", "errorType", "functionMessage"], topic)
        contains(message["errorMessage"], "rpc error: code = Unknown desc = Exception calling application: "
                 "('[UserCodeInvoke]")
        equal(message["errorType"], "*status.statusError", "errorType")
        equal(message["functionMessage"]["Payload"], "eyJlcnIiOiJ4In0=", "Payload")
        check("ID" not in message["functionMessage"] and "QOS" not in message["functionMessage"], "no ID, no QOS")
    device.send(raw.publish("t", b'{"id":11}'))
    got = collect(device, 1 + len(sayhi))
    check("t/sqlfilter" not in got, "11 does not pass the filter")
    device.send(raw.publish("t", b"abc"))
    got = collect(device, 1 + len(sayhi))
    for topic in sayhi:
        equal(json.loads(got[topic])["bytes"], "abc", topic)


@test
def function_guide_idle_instances_end(t):
    need_tool("node")
    s = functions_docker(t, ("function-manager-conf/service.yml", "idletime: 1m",
                             "idletime: 500ms\n      evicttime: 200ms"))
    device = s.device(("t/node8hi", 0), ("t/py3hi", 0))
    device.send(raw.publish("t", b'{"id":1}'))
    collect(device, 2)
    check(s.children(), "instances after the first message")
    until(lambda: not s.children(), 10, "instances end when they are idle")


@test
def function_guide_unknown_function(t):
    """A clear error before anything starts, with the place of the rule."""
    s = functions_docker(t, ("function-manager-conf/service.yml", "name: python36-sayhi\n    publish",
                             "name: python63-sayhi\n    publish"), start=False)
    code, out, err = s.check()
    equal(code, 1, err)
    check(re.search(r"var/db/baetyl/function-manager-conf/service\.yml:\d+:\d+: error: functions\.rules\[\d\]"
                    r"\.function\.name: there is no function \"python63-sayhi\"", err), err)
    s.start(wait=False)
    equal(s.process.wait(10 * SLOW), 1, "exit status")
    contains(s.log(), "there is no function \"python63-sayhi\"")


@test
def function_guide_native(t):
    """The form of version 1.0 without containers."""
    need_tool("node")
    s = Tree(t, "functions-native")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    s.edit("localhub-conf/service.yml", "127.0.0.1:0", "0.0.0.0:%d" % port)
    s.edit("function-manager-conf/service.yml", "0.0.0.0:1883", "0.0.0.0:%d" % port)
    s.start()
    device = s.device(("#", 0))
    device.send(raw.publish("t", b'{"id":1}'))
    topics = [x for x in all_topics() if x != "t/sqlfilter"]
    got = collect(device, len(topics))
    equal(sorted(got), sorted(topics), "topics")
    is_hello(json.loads(got["t/py3hi"]), "python3-sayhi", {"id": 1})
    is_hello(json.loads(got["t/node8hi"]), "node8-sayhi", {"id": 1})


@test
def services_are_shown(t):
    s = functions_docker(t, start=False)
    code, out, err = s.check()
    equal(code, 0, err)
    for line in ("localhub: hub, from var/db/baetyl/localhub-conf/service.yml",
                 "function-manager: functions, from var/db/baetyl/function-manager-conf/service.yml",
                 "function-node85-sayhi: runtime node85, from var/db/baetyl/function-sayjs-conf/service.yml",
                 "timer: not run (hub.example.com/baetyl-beta/baetyl-timer)", "OK!"):
        check(line in out.splitlines(), line + " in " + out)
    contains(err, "the service \"timer\" is not run: ")
    contains(err, "the process has one log, that of this file; the logger of 2 services is not used")
    code, out, _ = t.command("config", "-w", s.dir)
    for part in (b"cert: var/db/baetyl/localhub-cert-only-for-test/server.pem", b"dir: var/db/baetyl/localhub-data",
                 b"runtime: python36", b"/var/db/baetyl/function-sayjs-code\n",
                 b"path: var/log/baetyl/baetyl.log", b"service: function-python36-sayhi"):
        contains(out, part.decode(), "config")


@test
def a_function_without_its_interpreter(t):
    """It says why; the others run, and its messages wait until the interpreter is there."""
    manager = "function-manager-conf/service.yml"
    s = functions_docker(
        t, (manager, "topic: t/py2hi", "topic: t/py2hi\n      qos: 1"),
        (manager, "topic: t\n(?=    function:\n      name: python27)", "topic: t\n      qos: 1\n"),
        (manager, "  - name: python27-sayhi\n", "  - name: python27-sayhi\n    backoff:\n      max: 500ms\n"),
        python27=False, start=False)
    s.only_here()
    code, _, err = s.check()
    equal(code, 0, err)
    contains(err, "warning: functions.functions[0].runtime: no program python2.7 or python2 in the folders of PATH: ")
    contains(err, "until it is installed the messages of \"python27-sayhi\" wait")
    s.start()
    until(lambda: "a function's runtime is not installed; the others run" in s.says(), what="a word in the log")
    contains(s.says(), "no program python2.7 or python2 in the folders of PATH")
    device = s.device(("t/py3hi", 0), ("t/py2hi", 1))
    device.send(raw.publish("t", b'{"id":1}', qos=1, pid=1)).expect(PUBACK)
    equal(device.message(20)["topic"], "t/py3hi", "the neighbour's answer")
    device.quiet(1)
    if not os.environ.get("PYTHON27"):
        return
    os.symlink(os.environ["PYTHON27"], os.path.join(s.bin, "python2.7"))
    m = device.message(20)
    equal((m["topic"], m["qos"]), ("t/py2hi", 1), "when it is installed")
    is_hello(json.loads(m["payload"]), "python27-sayhi", {"id": 1}, qos=1)


@test
def a_runtime_of_the_users_choice(t):
    """`runtime` beside `service` wins over the image."""
    s = functions_docker(t, ("function-manager-conf/service.yml", "service: function-python27-sayhi",
                             "service: function-python27-sayhi\n    runtime: python3"), python27=False)
    device = s.device(("t/py2hi", 0))
    device.send(raw.publish("t", b'{"id":1}'))
    is_hello(json.loads(device.message(20)["payload"]), "python27-sayhi", {"id": 1})


# ---- Scripts and libraries ----


@test
def python_script_guide(t):
    s = Tree(t, "guide-python").start()
    device = s.device(("py/hi", 0))
    for payload, result in ((b'{"id":5}', b'{"msg": {"id": 5}, "type": "dict", "say": "hello world"}'),
                            (b"MQTTBox", b'{"msg": "MQTTBox", "type": "non-dict", "say": "hello world"}')):
        device.send(raw.publish("py", payload))
        equal(device.message(20)["payload"], result, "result")


@test
def node_script_guide(t):
    """In the compose-like form; the environment of the service is the function's."""
    need_tool("node")
    s = Tree(t, "guide-node").start()
    device = s.device(("t/hi", 0))
    for payload, result in ((b'{"id": 12}', b'{"msg":{"id":12},"type":"dict","say":"hello world"}'),
                            (b"MQTTBox", b'{"msg":"MQTTBox","type":"non-dict","say":"hello world"}')):
        device.send(raw.publish("node", payload))
        equal(device.message(20)["payload"], result, "result")
    _, out, _ = t.command("config", "-w", s.dir)
    contains(out, "        memory: 128m\n", "the limit of the service")
    contains(out, "BAETYL_SERVICE_NAME=function-sayhi", "the environment")


@test
def files_under_the_paths_of_the_service(t):
    """Code runs in a folder with the volumes of its service, under the paths that it knows."""
    s = Tree(t, "guide-python")
    s.write("function-sayhi-code/greeting.txt", "hello file")
    s.write("function-sayhi-code/sayhi.py",
            "def handler(event, context):\n"
            "    with open('var/db/baetyl/function-sayhi/greeting.txt') as f:\n"
            "        text = f.read()\n"
            "    with open('var/db/baetyl/notes/last.txt', 'w') as f:\n"
            "        f.write(event['note'])\n"
            "    return {'text': text}\n")
    s.edit("application.yml", "- name: function-sayhi-code\n        path", "- name: notes\n        path: var/db/baetyl/notes\n"
           "      - name: function-sayhi-code\n        path")
    s.edit("application.yml", "volumes:\n", "volumes:\n  - name: notes\n    path: var/db/baetyl/notes-of-functions\n")
    for _ in range(2):  # the second time over the folder of the first
        s.start()
        device = s.device(("py/hi", 0))
        device.send(raw.publish("py", b'{"note": "kept"}'))
        equal(device.message(20)["payload"], b'{"text": "hello file"}', "result")
        equal(s.stop(), 0, "exit status")
    with open(os.path.join(s.db, "notes-of-functions/last.txt")) as f:
        equal(f.read(), "kept", "what the function wrote")


def add_libraries(s):
    """A package in Python that needs another one beside it, as unpacked wheels lie, and one for Node."""
    code = "function-get-code/"
    s.write(code + "__init__.py", "")
    s.write(code + "fetching/__init__.py", "from .api import get\n")
    s.write(code + "fetching/api.py", "import heading\nclass Answer(object):\n    pass\n\n\ndef get(url):\n"
            "    answer = Answer()\n    answer.headers = heading.of(url)\n    return answer\n")
    s.write(code + "heading/__init__.py", "def of(url):\n    return {'Server': 'test', 'Url': url}\n")
    code = "function-sort-code/node_modules/"
    s.write(code + "lists/package.json", '{"name": "lists", "version": "1.0.0", "main": "lib/main.js"}')
    s.write(code + "lists/lib/main.js", "const once = require('once-only');\n"
            "exports.uniq = once;\n"
            "exports.sortBy = (list, key) => list.slice().sort((a, b) => a[key] - b[key]);\n"
            "exports.filter = (list, fn) => list.filter(fn);\n")
    s.write(code + "once-only/index.js", "module.exports = (list) => Array.from(new Set(list));\n")


USERS = [{"user": "barney", "age": 36, "active": True}, {"user": "fred", "age": 40, "active": False},
         {"user": "Jane", "age": 32, "active": True}]


@test
def libraries_guide(t):
    need_tool("node")
    s = Tree(t, "guide-libraries")
    add_libraries(s)
    s.start()
    device = s.device(("py/hi", 1), ("node/hi", 1))

    def call(topic, event):
        device.send(raw.publish(topic, json.dumps(event).encode(), qos=1, pid=1))
        got = [device.packet(20) for _ in range(2)]
        body = [b for kind, _, b in got if kind == raw.PUBLISH][0]
        n = 2 + int.from_bytes(body[:2], "big")
        device.send(raw.packet(0x40, body[n:n + 2]))
        return json.loads(body[n + 2:])
    equal(call("py", {"action": "A"}), {"info": {"Server": "test", "Url": "http://example.com/"}}, "action A")
    equal(call("py", {"action": "B"}), {"info": "action error"}, "action B")
    equal(call("py", {}), {"error": "action not found"}, "no action")
    got = call("node", {"array": ["Jane", 1, "Jane", 1, 2], "users": USERS})
    equal(got["unique_array"], ["Jane", 1, 2], "unique_array")
    equal([u["user"] for u in got["sorted_users"]], ["Jane", "barney", "fred"], "sorted_users")
    equal([u["user"] for u in got["filtered_users"]], ["fred"], "filtered_users")


@test
def libraries_of_others(t):
    """Real packages beside the code: paho as an unpacked wheel, mqtt-packet with what it needs."""
    node_modules = os.environ.get("NODE_CLIENTS") or ""
    spec = importlib.util.find_spec("paho")
    if spec is None or not os.path.isdir(os.path.join(node_modules, "mqtt-packet")):
        raise Skip("no packages of others here")
    need_tool("node")
    s = Tree(t, "guide-libraries")
    code = os.path.join(s.db, "function-get-code")
    shutil.copytree(list(spec.submodule_search_locations)[0], os.path.join(code, "paho"))
    s.write("function-get-code/get.py", "from paho.mqtt.client import topic_matches_sub\n\n\n"
            "def handler(event, context):\n    return topic_matches_sub(event['filter'], event['topic'])\n")
    os.symlink(node_modules, os.path.join(s.db, "function-sort-code/node_modules"))
    s.write("function-sort-code/index.js", "const packet = require('mqtt-packet');\n"
            "exports.handler = (event, context, callback) => callback(null, packet.generate(event));\n")
    s.start()
    device = s.device(("+/hi", 0))
    device.send(raw.publish("py", b'{"filter": "a/+", "topic": "a/b"}'))
    equal(device.message(20)["payload"], b"true", "of Python")
    device.send(raw.publish("node", b'{"cmd": "pingreq"}'))
    equal(device.message(20)["payload"], b"\xc0\x00", "of Node")


# ---- Files ----


@test
def what_is_wrong_is_told_with_its_place(t):
    """(file, pattern, text): what `check` must say."""
    application = "application.yml"
    manager = "function-manager-conf/service.yml"
    for change, says, *more in (
            ((application, "baetyl-function-python36", "baetyl-function-python36x"),
             (0, "application.yml:26:5: warning: services[2].image: the service \"function-sayhi3\" is not run: ")),
            ((application, "path: etc/baetyl", "path: etc/other"),
             (1, "application.yml:8:5: error: services[0].mounts: the service \"localhub\" has no "
              "etc/baetyl/service.yml: mount a volume that has it")),
            ((application, "- name: function-sayhi-conf\n    path: .*", "- name: function-sayhi-conf\n    path: no/such"),
             (1, "no/such/service.yml, the etc/baetyl/service.yml of the service \"function-sayhi3\", cannot be read: "
              "No such file or directory")),
            ((application, "- name: localhub-data\n    path", "- name: other-data\n    path"),
             (1, "error: services[0].mounts[1].name: there is no volume \"localhub-data\" under `volumes`")),
            ((application, "name: function-sayhi3", "name: localhub"),
             (1, "error: services[2].name: more than one service is \"localhub\"")),
            ((application, "1883:1883", "'x:1883'"), (1, "error: services[0].ports[0]: \"x:1883\": expected [ADDRESS:]")),
            ((manager, "service: function-sayhi3", "service: function-x"),
             (1, "service.yml:15:14: error: functions: the function \"sayhi3\" runs in the service \"function-x\", and "
              "there is none of this name in var/db/baetyl/application.yml")),
            (("function-sayhi-conf/service.yml", "sayhi3", "sayhi5"),
             (1, "error: the service \"function-sayhi3\" has no function \"sayhi3\": add {name: sayhi3, handler: ..., "
              "codedir: ...} to `functions` in var/db/baetyl/function-sayhi-conf/service.yml")),
            (("function-sayhi-conf/service.yml", "codedir: .*", "codedir: 'var/lib/x'"),
             (1, "function-sayhi-conf/service.yml:4:14: warning: no mount of the service \"function-sayhi3\" holds "
              "var/lib/x; it is taken as a path of the working directory")),
            (("function-sayhi-conf/service.yml", "codedir: .*", "codedir: 'var/db/baetyl/function-sayhi/x'"),
             (1, "function-sayhi-conf/service.yml:4:5: error: functions.functions[0].codedir: /"),
             "var/db/baetyl/function-sayhi-code/x: No such file or directory"),
            (("localhub-conf/service.yml", "password: hahaha", "password: [1]"),
             (1, "localhub-conf/service.yml:5:15: error: hub.principals[0].password: "))):
        s = Tree(t, "guide-python")
        s.edit(*change)
        code, _, err = s.check()
        equal(code, says[0], err)
        for part in [says[1]] + more:
            contains(err, part, str(change))


@test
def published_ports(t):
    s = Tree(t, "guide-python")
    s.edit("localhub-conf/service.yml", "127.0.0.1:0", "0.0.0.0:1883\n  - ssl://0.0.0.0:8883\n  - ws://0.0.0.0:8080/mqtt")
    certificates(t, s)
    with open(os.path.join(s.db, "localhub-conf/service.yml"), "a") as f:
        f.write("certificate: {cert: var/db/baetyl/localhub-cert-only-for-test/server.pem, "
                "key: var/db/baetyl/localhub-cert-only-for-test/server.key}\n")
    s.edit("application.yml", "- 1883:1883", "- 127.0.0.1:1884:1883\n      - '8080-8081:8080-8081/tcp'")
    code, out, err = t.command("config", "-w", s.dir)
    equal(code, 0, err)
    contains(out, "listen: [\"tcp://127.0.0.1:1884\", \"ssl://127.0.0.1:8883\", \"ws://0.0.0.0:8080/mqtt\"]")
    contains(err, "the service \"localhub\" does not publish port 8883; it is reached from this machine only")


@test
def the_application_alone(t):
    """Without conf.yml, as the original; and named with -c."""
    s = Tree(t, "guide-python")
    os.unlink(os.path.join(s.dir, "etc/baetyl/conf.yml"))
    code, out, err = s.check()
    equal(code, 0, err)
    contains(out, "localhub: hub, from ")
    equal(s.check("-c", "var/db/baetyl/application.yml"), (code, out, err), "named")
    s.config = "var/db/baetyl/application.yml"
    s.start()
    s.device()
    contains(s.says(), "id=HUB-")


@test
def the_hub_by_any_name(t):
    """The name of the hub's service is its host name."""
    s = Tree(t, "guide-python")
    s.edit("application.yml", "- name: localhub\n", "- name: broker-1\n")
    s.edit("function-manager-conf/service.yml", "tcp://localhub:1883", "tcp://broker-1:1883")
    s.start()
    device = s.device(("py/hi", 0))
    device.send(raw.publish("py", b"x"))
    contains(device.message(20)["payload"], '"msg": "x"')


@test
def other_services_are_told_and_not_run(t):
    s = Tree(t, "guide-python")
    s.edit("application.yml", r"version: v0\nservices:\n", "version: v0\nservices:\n  - name: mosquitto\n    image: "
           "eclipse-mosquitto:1.6\n    replica: 1\n    ports: ['1893:1893']\n    restart: {policy: always}\n")
    code, out, err = s.check()
    equal(code, 0, err)
    contains(err, "application.yml:4:5: warning: services[0].image: the service \"mosquitto\" is not run: "
             "\"eclipse-mosquitto:1.6\" is not built in")
    contains(out, "mosquitto: not run (eclipse-mosquitto:1.6)")


@test
def variables_of_a_service(t):
    s = Tree(t, "guide-python")
    s.edit("application.yml", "  - name: localhub\n    image", "  - name: localhub\n    env:\n      SECRET: 'a=b'\n    image")
    s.edit("localhub-conf/service.yml", "password: hahaha", "password: '{{.SECRET}}{{.BAETYL_SERVICE_NAME}}'")
    s.edit("function-manager-conf/service.yml", "password: hahaha", "password: a=blocalhub")
    s.start()
    Raw(t, s.port).login("device", user="test", password="a=blocalhub")
    code, _, err = t.command("check", "-w", s.dir)
    equal(code, 0, err)
    s.edit("localhub-conf/service.yml", r"\.SECRET", ".SECRETS")
    code, _, err = t.command("check", "-w", s.dir)
    equal(code, 1, err)
    contains(err, "localhub-conf/service.yml:5:16: error: environment variable SECRETS is not set")


@test
def a_signal_reads_all_files_again(t):
    s = Tree(t, "guide-python").start()
    s.device()
    s.edit("localhub-conf/service.yml", "password: hahaha", "password: other")
    s.edit("function-manager-conf/service.yml", "password: hahaha", "password: other")
    s.process.send_signal(signal.SIGHUP)

    def changed():
        r = Raw(t, s.port)
        r.send(raw.connect("c", user="test", password="other"))
        return r.expect(raw.CONNACK)[1] == 0
    until(changed, 5, "the new password")
    s.edit("localhub-conf/service.yml", "password: other", "password: [")
    s.process.send_signal(signal.SIGHUP)
    until(lambda: "the new configuration is wrong; the old one stays" in s.says(), 5, "the complaint")
    check(changed(), "the old configuration serves on")


@test
def a_signal_takes_over_functions(t):
    """What the runtime's service says of a function."""
    s = Tree(t, "guide-python").start()
    device = s.device(("py/hi", 1))
    device.send(raw.publish("py", b"x"))
    contains(device.message(20)["payload"], '"type": "non-dict"')
    with open(os.path.join(s.db, "function-sayhi-code/sayhi.py"), "a") as f:
        f.write("\n\ndef other(event, context):\n    return {'other': True}\n")
    s.edit("function-sayhi-conf/service.yml", "sayhi.handler", "sayhi.other")
    s.process.send_signal(signal.SIGHUP)

    def changed():
        device.send(raw.publish("py", b"x"))
        return b"other" in device.message(20)["payload"]
    until(changed, 10, "the other handler")


@test
def a_runtime_of_another_image(t):
    """The function says that it cannot run, the hub does."""
    s = Tree(t, "guide-python", (("application.yml", "baetyl-function-python36", "my-runtime:2"),))
    code, _, err = s.check()
    equal(code, 0, err)
    contains(err, "the service \"function-sayhi3\" is not run: \"hub.example.com/baetyl/my-runtime:2\" is not built in")
    s.start()
    contains(s.says(), "id=FUNC-RUNTIME msg=\"a function's runtime is not installed; the others run\" function=sayhi3 "
             "runtime=hub.example.com/baetyl/my-runtime:2")
    s.device(("py/hi", 0)).send(raw.publish("py", b"x")).ping()


# ---- Calls of functions by other programs ----


@test
def video_guide(t):
    """Numbers as bytes reach the handler; the caller publishes what it says. The service was one of gRPC."""
    s = Tree(t, "guide-video").start()
    contains(s.log(), "function-manager-conf/service.yml:2:3: warning: functions.server.address: there is no gRPC "
             "service; functions are called by HTTP")
    rows = struct.pack("<14f", 0, 1, .75, 1, 2, 3, 4, 0, 3, .5, 5, 6, 7, 8)
    status, kind, body = api.request(s, "/v1/functions/analyse/call", "POST", rows)
    equal((status, kind), (200, "application/json"), body)
    result = json.loads(body.decode())
    equal(result["imageObjects"], [{"class": "person", "score": .75, "left": 1, "top": 2, "right": 3, "bottom": 4}],
          "imageObjects")
    equal((result["imageDiscard"], result["imageScores"]), (False, [.75]), "imageDiscard, imageScores")
    check(abs(result["messageTimestamp"] / 1000 - time.time()) < 100, "messageTimestamp")
    device = s.device(("video/infer/#", 0))
    device.send(raw.publish(result["publishTopic"], body))
    got = collect(device, 2)
    equal(got["video/infer/mark"], b'{"found": 1}', "the next function")
