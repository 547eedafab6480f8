"""Python functions that are forked from a template: what they share, and what happens when parts of it end."""
import json
import os
import re
import signal
import subprocess
import time

import raw
from harness import HUB, SLOW, check, contains, equal, test, until
from raw import session
from t_functions import interpreter

CONFIG = HUB + """functions:
  rules:
    - {{clientid: rule-f, subscribe: {{topic: f, qos: 1}}, function: {{name: f}}, publish: {{topic: f/out, qos: 1}},
       retry: {{max: 1}}}}
  functions:
    - {{name: f, runtime: {runtime}, handler: index.handler, codedir: f, timeout: {timeout}, {more}
       instance: {{min: {min}, max: {max}, fork: {fork}, idletime: {idle}, evicttime: 50ms}}}}
"""

CODE = """
import os, random, sys, time
{imports}
LOADED = os.getpid()
BALLAST = list(range(200000))
def handler(event, context):
    do = event.get('do')
    if do == 'sleep':
        time.sleep(event['s'])
    elif do == 'exit':
        os._exit(7)
    elif do == 'hang':
        time.sleep(3600)
    elif do == 'leak':
        kept = []
        while True:
            kept.append(bytearray(1 << 20))
    elif do == 'files':
        import resource
        return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    elif do == 'print':
        print('words of ' + os.environ['BAETYL_SERVICE_INSTANCE_NAME'])
    return dict(pid=os.getpid(), parent=os.getppid(), group=os.getpgid(0), loaded=LOADED, id=event.get('id'),
                name=os.environ['BAETYL_SERVICE_INSTANCE_NAME'], random=random.random())
"""


class Forked:
    def __init__(self, t, code=CODE, imports="", min=0, max=3, fork="auto", idle="10m", runtime="python3",
                 timeout="30s", more=""):
        self.folder = t.folder()
        os.mkdir(os.path.join(self.folder, "f"))
        self.write(code.replace("{imports}", imports))
        self.s = t.baetyl(CONFIG.format(min=min, max=max, fork=fork, idle=idle, runtime=runtime, timeout=timeout,
                                        more=more), folder=self.folder)
        until(lambda: "id=FUNC-RULE" in self.s.log(), what="the rule is ready")
        self.c = session(t, self.s, "device", ("f/out", 1))
        self.pid = 0

    def write(self, code):
        with open(os.path.join(self.folder, "f", "index.py"), "w") as f:
            f.write(code)

    def send(self, **event):
        self.pid += 1
        self.c.send(raw.publish("f", json.dumps(event).encode(), qos=1, pid=self.pid))

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

    def call(self, **event):
        self.send(**event)
        return self.reply()

    def at_once(self, n, seconds=0.3):
        """n calls in n instances."""
        for i in range(n):
            self.send(do="sleep", s=seconds * SLOW, id=i)
        return [self.reply() for _ in range(n)]

    def template(self):
        found = re.findall(r'id=FUNC-TEMPLATE msg="template ready" function=f pid=(\d+)', self.s.log())
        return int(found[-1]) if found else None


def alive(pid):
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def pss_kb(pid):
    with open("/proc/%d/smaps_rollup" % pid) as f:
        return int(re.search(r"^Pss: +(\d+) kB", f.read(), re.M).group(1))


def are_forked(f, got):
    equal(len(set(g["pid"] for g in got)), len(got), "processes")
    equal(set(g["loaded"] for g in got), {f.template()}, "where the code was loaded")
    equal(set(g["parent"] for g in got), {f.s.process.pid}, "parents")
    equal([g["group"] for g in got], [g["pid"] for g in got], "groups")
    equal(len(set(g["random"] for g in got)), len(got), "random numbers")
    equal(sorted(g["name"] for g in got), ["f.%d" % (i + 1) for i in range(len(got))], "names")


@test
def instances_are_forked(t):
    f = Forked(t)
    got = f.at_once(3)
    are_forked(f, got)
    sizes = [pss_kb(g["pid"]) for g in got]
    # Each has a list of 200,000 numbers, which alone is more than 7 MB.
    check(max(sizes) < 7000, "memory is shared: %s kB" % sizes)
    f.call(do="print")
    until(lambda: re.search(r'instance=f\.[123] line="words of f\.[123]"', f.s.log()), what="output by instance")
    equal(f.s.stop(), 0, "exit status")
    for pid in [f.template()] + [g["pid"] for g in got]:
        check(not alive(pid), "%d has ended" % pid)


@test
def python27_is_forked_or_falls_back(t):
    f = Forked(t, runtime=interpreter("PYTHON27"))
    got = f.at_once(3)
    if f.template():
        are_forked(f, got)
    else:
        contains(f.s.log(), "id=FUNC-FORK")
        equal([g["loaded"] for g in got], [g["pid"] for g in got], "loaded by itself")


@test
def auto_is_for_several_instances(t):
    f = Forked(t, max=1)
    got = f.call()
    equal(got["loaded"], got["pid"], "loaded by itself")
    equal(f.template(), None, "template")


@test
def on_and_off(t):
    f = Forked(t, max=1, fork="on")
    are_forked(f, [f.call()])
    f.s.stop()
    f = Forked(t, max=3, fork="off")
    got = f.at_once(2)
    equal([g["loaded"] for g in got], [g["pid"] for g in got], "loaded by itself")


@test
def a_crash_is_one_instances(t):
    f = Forked(t)
    before = f.at_once(3)
    f.send(do="exit")
    error = f.reply()
    contains(error["errorMessage"], "transport is closing")
    after = f.at_once(3)
    equal(len({g["pid"] for g in before} & {g["pid"] for g in after}), 2, "instances that live on")
    equal({g["loaded"] for g in after}, {f.template()}, "the same template")


@test
def a_late_call_is_killed(t):
    f = Forked(t, timeout="400ms")
    before = f.call()
    f.send(do="hang")
    contains(f.reply()["errorMessage"], "DeadlineExceeded")
    until(lambda: not alive(before["pid"]), 5, "it is ended")
    equal(f.call()["loaded"], f.template(), "the next one is forked")


@test
def template_is_killed(t):
    f = Forked(t)
    first = f.call()
    f.send(do="sleep", s=0.5 * SLOW)
    old = f.template()
    os.kill(old, signal.SIGKILL)
    got = f.reply()
    equal(got["pid"], first["pid"], "an instance outlives the template")
    got = f.at_once(3)
    equal(len({g["pid"] for g in got}), 3, "instances")
    new = until(lambda: f.template() != old and f.template(), what="a new template")
    check(any(g["loaded"] == new for g in got), "forked again")


@test
def template_dies_again_and_again(t):
    """Code that ends every template by a fork hook: ordinary instances serve."""
    f = Forked(t, imports="os.register_at_fork(before=lambda: os._exit(1))")
    got = f.at_once(3)
    equal([g["loaded"] for g in got], [g["pid"] for g in got], "loaded by itself")


@test
def threads_at_import_fall_back(t):
    f = Forked(t, imports="import threading\nthreading.Thread(target=lambda: time.sleep(1000), daemon=True).start()")
    got = f.at_once(3)
    equal([g["loaded"] for g in got], [g["pid"] for g in got], "loaded by itself")
    contains(f.s.log(), 'reason="a thread runs"')
    equal(f.s.log().count("id=FUNC-FORK"), 1, "told once")
    equal(f.s.stop(), 0, "exit status")


@test
def code_that_does_not_load(t):
    f = Forked(t, code="raise ValueError('at load')\n")
    f.send()
    contains(until(lambda: "at load" in f.s.log() and f.s.log(), what="a reason"), "ValueError: at load")
    f.write(CODE.replace("{imports}", ""))
    got = f.reply(20)
    equal(got["loaded"], f.template(), "it is tried again, with the new code")


@test
def kill_of_baetyl_leaves_nothing(t):
    f = Forked(t)
    got = f.at_once(3)
    f.s.kill()
    for pid in [f.template()] + [g["pid"] for g in got]:
        until(lambda p=pid: not alive(p), 5, "%d has ended" % pid)


@test
def idle_templates_end(t):
    f = Forked(t, idle="100ms")
    template = f.call()["loaded"]
    until(lambda: not alive(template), 5, "the template has ended")
    equal(f.call()["loaded"], f.template(), "a new one is started")
    check(f.template() != template, "another one")


@test
def stop_while_the_template_starts(t):
    f = Forked(t, imports="time.sleep(1)", min=2)
    began = time.monotonic()
    equal(f.s.stop(), 0, "exit status")
    check(time.monotonic() - began < 4 * SLOW, "soon")


@test
def new_code_is_forked_from_a_new_template(t):
    f = Forked(t)
    old = f.call()
    equal(old["loaded"], f.template(), "the first template")
    f.write("import os\nLOADED = os.getpid()\ndef handler(event, context):\n    return {'new': LOADED}\n")
    got = until(lambda: f.call().get("new"), 10, "the new code")
    equal(got, f.template(), "the new template")
    until(lambda: not alive(old["loaded"]), 5, "the old template has ended")


@test
def limits_of_forked_instances(t):
    """Each is held to them alone, also those that only its own process id can be given."""
    f = Forked(t, more="limits: {memory: 96m, files: 77},")
    got = f.at_once(2)
    are_forked(f, got)
    equal(f.call(do="files"), 77, "open files")
    f.send(do="leak")
    error = f.reply(20)["errorMessage"]
    check("memory" in error.lower(), "the error names the limit: %s" % error)
    after = f.at_once(2)
    check({g["pid"] for g in got} & {g["pid"] for g in after}, "the other one lives on")


LOGS = """
import logging
log = logging.getLogger('mine')
def handler(event, context):
    log.debug('a debug line'); log.info('an info line'); log.warning('a warning line'); log.error('an error line')
    try:
        {}['x']
    except KeyError:
        log.exception('caught')
    return {}
"""


@test
def logging_has_its_level(t):
    for fork in ("on", "off"):
        f = Forked(t, code=LOGS, fork=fork)
        f.call()
        log = until(lambda s=f.s: "caught" in s.log() and s.log(), what="log lines")
        for level, words in (("info", "an info line"), ("warn", "a warning line"), ("error", "an error line")):
            check(re.search(r'level=%s\w* id=FUNC-LOG msg="[^"]*" instance=f\.1 text="%s"' % (level, words), log),
                  "%s: %s" % (level, words))
        check("a debug line" not in log, "no debug line")
        check(re.search(r'level=error id=FUNC-LOG .*caught\\u000aTraceback.*KeyError', log), "a traceback")
        f.s.stop()


# A template that says another process id than that of the process it made.
LIAR = CODE + """
if os.path.exists('f/victim'):
    write = os.write
    def lie(fd, said):
        return write(fd, ('P' + open('f/victim').read()).encode() if said[:1] == b'P' else said)
    os.write = lie
"""


@test
def a_template_cannot_name_other_processes(t):
    victim = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    try:
        before = open("/proc/%d/limits" % victim.pid).read()
        f = Forked(t, code="", fork="on", more="limits: {files: 64, memory: 64m, cpu: 50%},")
        guards = [int(p) for p in os.listdir("/proc") if p.isdigit() and is_guard(int(p), f.s.process.pid)]
        equal(len(guards), 1, "the guard")
        for pid in (victim.pid, f.s.process.pid, guards[0], 1 << 30):
            seen = f.s.log().count("id=CORE-ERROR") + f.s.log().count("is not an orphan of ours")
            with open(os.path.join(f.folder, "f", "victim"), "w") as out:
                out.write(str(pid))
            f.write(LIAR.replace("{imports}", "# %d" % pid))
            f.send()
            until(lambda: f.s.log().count("id=CORE-ERROR") + f.s.log().count("is not an orphan of ours") > seen, 20,
                  "process %d is refused" % pid)
            check(victim.poll() is None and f.s.process.poll() is None and alive(guards[0]), "nobody is ended")
        equal(open("/proc/%d/limits" % victim.pid).read(), before, "limits of somebody else's process")
    finally:
        victim.kill()
        victim.wait()


def is_guard(pid, parent):
    try:
        with open("/proc/%d/stat" % pid) as f:
            name, rest = f.read().split("(", 1)[1].rsplit(")", 1)
    except OSError:
        return False
    return name == "baetyl-guard" and int(rest.split()[1]) == parent
