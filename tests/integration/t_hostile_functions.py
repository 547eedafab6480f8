"""Functions that do harm: each does it beside a neighbour, which has to go on answering."""
import json
import os
import re
import struct
import sys
import time

import raw
from harness import HUB, SLOW, Skip, check, contains, equal, need_tool, test, until
from raw import session

FUNCTIONS = """functions:
{top}  rules:
    - {{clientid: rule-bad, subscribe: {{topic: bad, qos: 1}}, function: {{name: bad}}, publish: {{topic: bad/out, qos: 1}}, retry: {{max: 1}}}}
    - {{clientid: rule-good, subscribe: {{topic: good, qos: 1}}, function: {{name: good}}, publish: {{topic: good/out, qos: 1}}}}
  functions:
    - {{name: good, runtime: python3, handler: index.handler, codedir: good, instance: {{min: 1}}}}
    - {{name: bad, runtime: {runtime}, handler: index.handler, codedir: bad, timeout: {timeout}{more}}}
"""

GOOD = """def handler(event, context):
    return {'good': event}
"""

BAD = """import os, signal, struct, subprocess, sys, time
def leak(event):
    kept = []
    while True:
        kept.append(bytearray(1 << 20))
def fill(event):
    return len(bytearray(event['n']))
def spin(event):
    end, used = time.time() + event['s'], time.process_time()
    while time.time() < end:
        pass
    return time.process_time() - used
def fork(event):
    n = 0
    try:
        while n < 300:
            if os.fork() == 0:
                time.sleep(1000)
                os._exit(0)
            n += 1
    except OSError as e:
        return {'n': n, 'errno': e.errno}
def child(event):
    done = []
    for leave in (False, True):
        p = subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(1000)'], start_new_session=leave, stdout=subprocess.DEVNULL,
                             env={} if event.get('bare') else None)
        done.append(p.pid)
    return done
def flood(event):
    line = 'x' * 5000 + '\\n'
    for _ in range(event['n']):
        os.write(1, line.encode())
    return 'done'
def log(event):
    import logging
    for n in range(event['n']):
        logging.warning('w%d ' % n + 'y' * 500)
    return 'done'
def files(event):
    return len([open('/dev/null') for _ in range(10000)])
def deaf(event):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(1000)
def write(event):
    with open(event['path'], 'w') as f:
        f.write('x')
    return 'written'
def read(event):
    with open(event['path'], 'rb') as f:
        return len(f.read())
def kill(event):
    os.kill(event['pid'], 0)
    return 'killed'
def close(event):
    os.close(3); os.close(4)
    return 'closed'
def frame(event):
    os.write(4, bytes.fromhex(event['hex']))
    time.sleep(event.get('s', 0))
    if event.get('exit'):
        os._exit(0)
    return 'sent'
def who(event):
    return {'pid': os.getpid(), 'uid': os.getuid(), 'gid': os.getgid(), 'groups': os.getgroups(),
            'env': dict(os.environ), 'home': os.environ['HOME'], 'tmp': os.environ.get('TMPDIR'),
            'group': os.getpgid(0) == os.getpid(), 'fds': sorted(os.listdir('/proc/self/fd')),
            'status': open('/proc/self/status').read()}
def handler(event, context):
    return globals()[event['do']](event)
"""

NODE = """
exports.handler = (event, context, callback) => {
  if (event.do === 'leak') { const kept = []; for (;;) kept.push(new Array(100000).fill(kept.length)); }
  if (event.do === 'write') { require('fs').writeFileSync(event.path, 'x'); return callback(null, 'written'); }
  if (event.do === 'ssl') { require('tls').rootCertificates; require('crypto').randomBytes(8); return callback(null, require('os').cpus().length > 0); }
  callback(null, {pid: process.pid});
};
"""


class Caller:
    """One function of a server, by its topic."""

    def __init__(self, t, server, topic):
        self.topic, self.pid = topic, 0
        self.c = session(t, server, "device-" + topic, (topic + "/out", 1))

    def send(self, **event):
        self.pid += 1
        self.c.send(raw.publish(self.topic, json.dumps(event).encode(), qos=1, pid=self.pid))

    def reply(self, seconds=10):
        end = time.monotonic() + seconds * SLOW
        while True:
            got = self.c.packet(max(0.01, (end - time.monotonic()) / SLOW))
            check(got is not None, "connection is open")
            if got[0] == raw.PUBLISH:
                body = got[2]
                n = 2 + int.from_bytes(body[:2], "big")
                self.c.send(raw.packet(0x40, body[n:n + 2]))
                return json.loads(body[n + 2:])

    def call(self, seconds=10, **event):
        self.send(**event)
        return self.reply(seconds)

    def error(self, part, seconds=10, **event):
        got = self.call(seconds, **event)
        check(isinstance(got, dict) and "errorMessage" in got, "an error message: %r" % (got,))
        contains(got["errorMessage"], part, "errorMessage")


class Pair:
    """A bad function and a good one in one server."""

    def __init__(self, t, more="", runtime="python3", timeout="10s", backend=None, folder=None, start=True):
        folder = folder or t.folder()
        for name, code in (("good", GOOD), ("bad", BAD)):
            os.makedirs(os.path.join(folder, name), exist_ok=True)
            with open(os.path.join(folder, name, "index.py"), "w") as f:
                f.write(code)
        with open(os.path.join(folder, "bad", "index.js"), "w") as f:
            f.write(NODE)
        os.chmod(folder, 0o755)
        text = HUB + FUNCTIONS.format(
            more=more and ", " + more, runtime=runtime, timeout=timeout,
            top="  limits: {backend: %s}\n" % backend if backend else "")
        self.t, self.folder, self.s = t, folder, t.baetyl(text, folder=folder, start=False)
        if start:
            self.start()

    def start(self, **options):
        self.s.start(**options)
        until(lambda: self.s.log().count("id=FUNC-RULE") >= 2, what="the rules are ready")
        self.bad, self.good = Caller(self.t, self.s, "bad"), Caller(self.t, self.s, "good")
        self.good.call(n=0)

    def neighbour(self):
        """The other function answers, and at once."""
        start = time.monotonic()
        for n in range(5):
            equal(self.good.call(n=n), {"good": {"n": n}}, "the neighbour's answer")
        check(time.monotonic() - start < 2 * SLOW, "the neighbour answers at once")

    def held(self, limit):
        """Who enforces a limit, as the log says."""
        for line in self.s.log().splitlines():
            if "id=FUNC-LIMITS " in line and "function=bad" in line and " %s_by=" % limit in line:
                return line.split(" %s_by=" % limit)[1].split()[0]
        return "none"

    def need(self, limit):
        if not self.held(limit).startswith("cgroup"):
            raise Skip("no control group that can be written to holds %s here" % limit)


def gone(pid):
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rsplit(") ", 1)[1][0] in "ZX"
    except OSError:
        return True


def our_folder(pid):
    """The name of our folder in the trees of control groups, or None."""
    with open("/proc/%d/cgroup" % pid) as f:
        found = re.search(r"baetyl-[0-9a-f]{16}", f.read())
    return found and found.group()


def exists(name):
    return any(name in names for _, names, _ in os.walk("/sys/fs/cgroup"))


# Limits.


@test
def memory(t):
    p = Pair(t, "limits: {memory: 32m}")
    p.need("memory")
    first = p.bad.call(do="who")["pid"]
    p.bad.send(do="leak")
    p.neighbour()
    got = p.bad.reply()
    equal(got["errorMessage"], "rpc error: code = Unavailable desc = the function was ended: memory limit of 32 MiB reached")
    equal(p.bad.call(do="fill", n=1 << 20), 1 << 20, "a new instance")
    check(p.bad.call(do="who")["pid"] != first, "another process")
    p.neighbour()
    equal(p.s.stop(), 0)


@test
def memory_of_one_call_after_another(t):
    """What was freed does not count, and a reply that is small enough arrives."""
    p = Pair(t, "limits: {memory: 64m}")
    p.need("memory")
    for _ in range(10):
        equal(p.bad.call(do="fill", n=20 << 20), 20 << 20)
    equal(p.s.log().count("id=FUNC-READY") , 2, "no instance was replaced: starts")


@test
def forked_instances(t):
    """What the fork server makes has its limits, too, before its first call."""
    p = Pair(t, "limits: {memory: 48m, pids: 20, files: 64}, instance: {max: 3, fork: 'on'}")
    p.need("memory")
    folders = set()
    for n in range(4):
        pid = p.bad.call(do="who")["pid"]
        with open("/proc/%d/cgroup" % pid) as f:
            folders.add(re.search(r"/bad\.[0-9]+(~[0-9]+)?$", f.read(), re.M).group())
        with open("/proc/%d/limits" % pid) as f:
            contains(f.read(), "Max open files            64                   64")
        p.bad.send(do="leak")
        p.neighbour()
        contains(p.bad.reply()["errorMessage"], "memory limit of 48 MiB reached")
    equal(len(folders), 4, "control groups of four instances")
    pids = [p.bad.call(do="who")["pid"]] + p.bad.call(do="child")
    p.s.kill()
    for pid in pids:
        until(lambda: gone(pid), what="%d of %r is gone" % (pid, pids))


@test
def cpu(t):
    p = Pair(t, "limits: {cpu: 20%}")
    p.need("cpu")
    p.bad.send(do="spin", s=2)
    p.neighbour()
    used = p.bad.reply()
    check(0.2 < used < 0.7, "20 %% of 2 s were used: %g s" % used)


@test
def processes(t):
    p = Pair(t, "limits: {pids: 20}")
    p.need("pids")
    p.bad.send(do="fork")
    p.neighbour()
    got = p.bad.reply()
    equal(got["errno"], 11, "EAGAIN")
    check(got["n"] < 20, "children: %d" % got["n"])
    p.neighbour()
    pid = p.bad.call(do="who")["pid"]
    p.s.stop()
    until(lambda: gone(pid), what="all are gone")


@test
def files(t):
    p = Pair(t, "limits: {files: 64}")
    p.bad.error("Too many open files", do="files")
    p.neighbour()
    check(p.bad.call(do="who")["pid"] > 0, "the instance goes on")


@test
def output(t):
    p = Pair(t, "limits: {log: {rate: 10, line: 64}}")
    p.bad.send(do="flood", n=20000)
    p.neighbour()
    equal(p.bad.reply(20), "done")
    lines = [line for line in p.s.log().splitlines() if "id=FUNC-OUTPUT " in line and "instance=bad" in line]
    check(10 <= len(lines) < 200, "%d lines" % len(lines))
    contains(lines[0] + "\n", ' line=%s\n' % ("x" * 64), "the line is cut")
    until(lambda: p.bad.call(do="flood", n=1) and "id=FUNC-OUTPUT-HELD" in p.s.log(), what="the rest is counted")
    p.neighbour()


@test
def without_control_groups(t):
    """Limits of the process hold memory and files; the log says what nobody holds."""
    p = Pair(t, "limits: {memory: 64m, cpu: 0.5, pids: 30, files: 64}, user: nobody", backend="rlimit")
    for limit, by in (("memory", "rlimit"), ("pids", "rlimit"), ("files", "rlimit")):
        equal(p.held(limit), by, limit)
    contains(p.s.log(), "limit=cpu instead=\"a lower priority\"", "the warning")
    first = p.bad.call(do="who")["pid"]
    p.bad.error("MemoryError", do="leak")
    p.neighbour()
    got = p.bad.call(do="fork")
    check(got["n"] <= 30, "children: %d" % got["n"])
    equal(p.bad.call(do="who")["pid"], first, "the same process")


@test
def node_memory_without_control_groups(t):
    if not os.path.exists("/usr/bin/node"):
        raise Skip("no node here")
    p = Pair(t, "limits: {memory: 32m}", runtime="node", backend="rlimit")
    equal(p.held("memory"), "runtime")
    p.bad.error("the function was ended: memory limit of 32 MiB reached", do="leak", seconds=20)
    p.neighbour()
    check(p.bad.call(do="pid")["pid"] > 0, "a new instance")


@test
def user(t):
    if os.geteuid() != 0:
        raise Skip("only root can change the user")
    p = Pair(t, "user: nobody")
    got = p.bad.call(do="who")
    check(got["uid"] == 65534 and got["gid"] == 65534 and 0 not in got["groups"], "ids: %r" % got)
    check(got["home"] != "/root", "HOME")
    p.s.stop()
    p = Pair(t, "user: '1234:5678'")
    got = p.bad.call(do="who")
    equal((got["uid"], got["gid"], got["groups"]), (1234, 5678, [5678]))
    p.s.kill()
    until(lambda: gone(got["pid"]), what="dies with baetyl also as another user")


@test
def unknown_user(t):
    p = Pair(t, "user: no-such-user", start=False)
    p.s.start(wait=False)
    p.s.process.wait(10)
    contains(p.s.log(), 'there is no user' if os.geteuid() == 0 else "no-such-user")


@test
def log_records(t):
    """What a function logs shares the limit of what it prints."""
    p = Pair(t, "limits: {log: {rate: 10, line: 64}}")
    equal(p.bad.call(do="log", n=2000), "done")
    p.neighbour()
    lines = [line for line in p.s.log().splitlines() if "instance=bad" in line and "yyyy" in line]
    check(0 < len(lines) < 100, "%d lines" % len(lines))
    check(max(map(len, lines)) < 300, "lines are cut")


@test
def delegated_group(t):
    """Alone in a control group that is not the root: the process moves into a leaf below it."""
    group = "/sys/fs/cgroup/service-%d" % os.getpid()
    try:
        with open("/sys/fs/cgroup/cgroup.subtree_control") as f:
            controllers = f.read().split()
        os.mkdir(group)
    except OSError as why:
        raise Skip("no cgroup v2 that can be written to: %s" % why)
    try:
        if "memory" not in controllers:
            raise Skip("the root of cgroup v2 hands on %s" % controllers)
        p = Pair(t, "limits: {memory: 32m}", start=False)
        enter = "import os, sys; open('%s/cgroup.procs', 'w').write('0'); os.execv(sys.argv[1], sys.argv[1:])" % group
        p.start(prefix=[sys.executable, "-c", enter])
        equal(p.held("memory"), "cgroup2")
        with open("/proc/%d/cgroup" % p.s.process.pid) as f:
            contains(f.read(), group[len("/sys/fs/cgroup"):] + "/baetyl.main")
        p.bad.error("memory limit of 32 MiB reached", do="leak")
        p.neighbour()
        equal(p.s.stop(), 0)
    finally:
        for folder in (group + "/baetyl.main", group):
            if os.path.isdir(folder):
                until(lambda: not open(folder + "/cgroup.procs").read(), what="%s is empty" % folder)
                os.rmdir(folder)


# Isolation.


@test
def isolation(t):
    """What every instance has."""
    p = Pair(t)
    got = p.bad.call(do="who")
    check(got["group"], "its own process group")
    contains(got["status"], "NoNewPrivs:\t1")
    check(set(got["fds"]) <= set("0123456"), "descriptors: %r" % got["fds"])
    check("BAETYL" not in got["env"] and "INVOCATION_ID" not in got["env"], "a clean environment")


@test
def children_end_with_the_instance(t):
    for limits in ("limits: {pids: 50}", ""):
        p = Pair(t, limits)
        pids = p.bad.call(do="child")
        p.bad.error("transport is closing", do="frame", hex="", exit=1)
        for pid in pids:
            until(lambda: gone(pid), what="%d of %r is gone" % (pid, pids))
        p.neighbour()
        p.s.stop()


def leaves_no_orphan(t, limits, **event):
    p = Pair(t, limits)
    pids = [p.bad.call(do="who")["pid"]] + p.bad.call(do="child", **event)
    folder = our_folder(pids[0])
    p.s.kill()
    for pid in pids:
        until(lambda: gone(pid), what="%d of %r is gone" % (pid, pids))
    until(lambda: not folder or not exists(folder), what="no folder of control groups is left")
    p.start()
    p.neighbour()
    equal(p.s.stop(), 0)


@test
def kill_9_leaves_no_orphan(t):
    leaves_no_orphan(t, "")


@test
def kill_9_leaves_no_orphan_in_control_groups(t):
    """Also not one that has left its process group and has wiped its environment."""
    p = Pair(t, "limits: {pids: 50}")
    p.need("pids")
    p.s.stop()
    leaves_no_orphan(t, "limits: {pids: 50}", bare=True)


@test
def ignores_sigterm(t):
    p = Pair(t, timeout="%dms" % (500 * SLOW))
    p.bad.send(do="deaf")
    p.neighbour()
    contains(p.bad.reply()["errorMessage"], "DeadlineExceeded")
    check(p.bad.call(do="who")["pid"] > 0, "a new instance while the old one is being ended")
    p.neighbour()


# The sandbox.


def sandbox(t, more="", **options):
    with open("/sys/kernel/security/lsm" if os.path.exists("/sys/kernel/security/lsm") else os.devnull) as f:
        lsm = f.read()
    if lsm and "landlock" not in lsm:
        raise Skip("this kernel has no Landlock")
    p = Pair(t, "sandbox: {enable: true, data: data/bad%s}" % more, start=False, **options)
    p.s.start(wait=False)
    until(lambda: "id=FUNC-RULE" in p.s.log() or "id=FUNC-SANDBOX" in p.s.log(), what="it runs, or says why not")
    if "has no Landlock" in p.s.log():
        raise Skip("this kernel has no Landlock")
    until(p.s.ready, what="ready")
    p.bad, p.good = Caller(t, p.s, "bad"), Caller(t, p.s, "good")
    return p


@test
def sandboxed(t):
    p = sandbox(t)
    data = os.path.join(p.folder, "data", "bad", "file")
    equal(p.bad.call(do="write", path=data), "written")
    equal(p.bad.call(do="read", path=data), 1)
    for path in ("bad/index.py", "new", "/tmp/new", "/etc/new", os.path.join(p.folder, "baetyl.yml")):
        p.bad.error("Permission denied", do="write", path=path)
    check(not os.path.exists("/tmp/new"), "nothing was written")
    for path in filter(os.path.exists, (p.folder + "/baetyl.yml", p.folder + "/good/index.py", "/etc/shadow",
                                        "/proc/1/environ", "/usr/local/etc", "/etc/ssl/private")):
        p.bad.error("Permission denied", do="read", path=path)
    check(p.bad.call(do="read", path="bad/index.py") > 0, "its code")
    equal(p.bad.call(do="who")["tmp"], os.path.join(p.folder, "data", "bad"))
    p.neighbour()


@test
def sandboxed_with_more(t):
    other = t.folder()
    p = sandbox(t, ", read: [baetyl.yml], write: [%s]" % other)
    check(p.bad.call(do="read", path="baetyl.yml") > 0)
    equal(p.bad.call(do="write", path=os.path.join(other, "x")), "written")


@test
def sandboxed_node(t):
    if not os.path.exists("/usr/bin/node"):
        raise Skip("no node here")
    p = sandbox(t, runtime="node")
    equal(p.bad.call(do="ssl"), True)
    equal(p.bad.call(do="write", path=os.path.join(p.folder, "data", "bad", "x")), "written")
    p.bad.error("permission denied", do="write", path="new")


@test
def sandbox_of_a_folder_that_is_not_there(t):
    p = Pair(t, "sandbox: {enable: true, read: [no-such-folder]}", start=False)
    p.s.start(wait=False)
    check(p.s.process.wait(10) != 0, "it does not start")
    contains(p.s.log(), "id=FUNC-SANDBOX")


# What is written to the frames' pipe.


def reply_frame(call, text):
    message = b"\x08" + bytes([call]) + b"\x12" + bytes([len(text)]) + text
    message = b"\x1a" + bytes([len(message)]) + message
    return struct.pack(">xI", len(message)) + message


FRAMES = [
    ("half a frame", reply_frame(1, b"x")[:9], {"exit": 1}, "transport is closing"),
    ("a wrong length", struct.pack(">xI", 3) + reply_frame(1, b"x")[5:], {}, "invalid frame"),
    ("a length of 4 GB", struct.pack(">xI", 0xffffffff) + b"x" * 100, {}, "larger than max"),
    ("another request's id", reply_frame(77, b"x"), {}, "invalid frame"),
    ("no frame", b"\xff" * 64, {}, "invalid frame"),
]


@test
def frames(t):
    p = Pair(t)
    for name, data, more, message in FRAMES:
        got = p.bad.call(do="frame", hex=data.hex(), **more)
        check("errorMessage" in got, "%s: %r" % (name, got))
        contains(got["errorMessage"], message, name)
        p.neighbour()
        check(p.bad.call(do="who")["pid"] > 0, "a new instance after " + name)


@test
def closes_its_descriptors(t):
    p = Pair(t, timeout="3s")
    p.bad.error("code = Unavailable", do="close")
    p.neighbour()
    check(p.bad.call(do="who")["pid"] > 0, "a new instance")


@test
def signals(t):
    """A sandboxed function cannot signal the others (Landlock version 6)."""
    p = sandbox(t)
    got = p.bad.call(do="kill", pid=p.s.process.pid)
    if got == "killed":
        raise Skip("this kernel's Landlock does not hold signals")
    contains(got["errorMessage"], "not permitted")


@test
def sandboxed_program_in_bin(t):
    """A program in WORK/bin does not open WORK, as an interpreter in /opt/x/bin would open what belongs to it."""
    need_tool("sh")
    folder = t.folder()
    os.mkdir(os.path.join(folder, "bin"))
    with open(os.path.join(folder, "bin", "spy"), "w") as f:
        f.write("#!/bin/sh\ncat bin/spy >/dev/null && echo its own code\ncat baetyl.yml && echo all the rest\necho done\n")
        os.chmod(f.name, 0o755)
    s = t.baetyl(HUB + "functions:\n  functions:\n    - {name: spy, runtime: exec, codedir: bin, handler: spy, "
                 "sandbox: {enable: true}, instance: {min: 1}}\n", folder=folder, start=False)
    s.start(wait=False)
    log = until(lambda: ('line=done' in s.log() or "id=FUNC-SANDBOX" in s.log()) and s.log(), what="what it saw")
    if "has no Landlock" in log:
        raise Skip("this kernel has no Landlock")
    contains(log, 'line="its own code"')
    check('line="all the rest"' not in log, "the working directory is closed")


@test
def a_user_that_is_not_there(t):
    p = Pair(t, "user: nobody-of-this-name", start=False)
    code, out, err = t.command("check", "-w", p.folder, "-c", p.s.config)
    if os.geteuid() != 0:
        raise Skip("only root can know")
    equal(code, 1, "exit status")
    contains(err, 'there is no user "nobody-of-this-name"')
