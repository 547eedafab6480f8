"""SIGHUP: functions and rules that are added, changed and removed while messages come."""
import json
import os
import signal
import threading
import time

import raw
from harness import HUB, SLOW, check, contains, equal, test, until
from raw import session

HANDLER = """import os, time
def handler(event, context):
    time.sleep(event.get('sleep', 0) if isinstance(event, dict) else 0)
    return {'n': event.get('n'), 'who': os.environ.get('WHO', ''), 'pid': os.getpid()}
"""
FUNCTION = "{name: %s, runtime: python3, handler: index.handler, codedir: code, env: ['WHO=%s'], instance: {max: %d}}"
RULE = "{clientid: '%s', subscribe: {topic: '%s', qos: 1}, function: {name: %s}, publish: {topic: '%s', qos: 1}%s}"


def function(name="f", who="one", high=1):
    return FUNCTION % (name, who, high)


def rule(client="r1", topic="t", name="f", out="out/1", more=""):
    return RULE % (client, topic, name, out, more)


class Manager:
    def __init__(self, t, rules, functions, **options):
        self.t, self.folder, self.pid, self.reloads = t, t.folder(), 0, 0
        os.mkdir(os.path.join(self.folder, "code"))
        with open(os.path.join(self.folder, "code", "index.py"), "w") as f:
            f.write(HANDLER)
        self.s = t.baetyl(self.text(rules, functions), folder=self.folder, **options)
        until(lambda: self.s.log().count("id=FUNC-RULE ") == len(rules), what="rules are ready")
        self.c = session(t, self.s, "device", ("out/#", 1))

    @staticmethod
    def text(rules, functions):
        return HUB + "functions:\n  rules: [%s]\n  functions: [%s]\n" % (", ".join(rules), ", ".join(functions))

    def reload(self, rules, functions, what="configuration taken over"):
        with open(self.s.config, "w") as f:
            f.write(self.text(rules, functions))
        self.reloads += 1
        before = self.s.log().count(what)
        self.s.process.send_signal(signal.SIGHUP)
        until(lambda: self.s.log().count(what) > before, what=what)

    def says(self, what):
        until(lambda: what in self.s.log(), what=what)

    def send(self, topic="t", **event):
        self.pid += 1
        self.c.send(raw.publish(topic, json.dumps(event), qos=1, pid=self.pid % 60000 + 1))

    def reply(self, seconds=5):
        while True:
            got = self.c.packet(seconds)
            check(got is not None, "connection is open")
            if got[0] == raw.PUBLISH:
                _, flags, body = got
                n = int.from_bytes(body[:2], "big")
                topic, at = body[2:2 + n].decode(), 2 + n
                if flags >> 1 & 3:
                    self.c.send(raw.packet(0x40, body[at:at + 2]))
                    at += 2
                return topic, json.loads(body[at:])

    def call(self, topic="t", **event):
        self.send(topic, **event)
        return self.reply()

    def silent(self, topic):
        """Nothing answers there; something answers at `t`."""
        self.send(topic, n="silent")
        equal(self.call(n="loud")[1]["n"], "loud", "only the other topic answers")


@test
def nothing_changed(t):
    m = Manager(t, [rule()], [function()])
    pid = m.call(n=1)[1]["pid"]
    m.reload([rule()], [function()])
    equal(m.call(n=2)[1]["pid"], pid, "instance")
    check("FUNC-CONF" not in m.s.log() and "FUNC-SESSION" not in m.s.log(), "nothing is touched")


@test
def added_and_removed(t):
    m = Manager(t, [rule()], [function()])
    equal(m.call(n=1)[0], "out/1", "topic")
    m.reload([rule(), rule("r2", "u", "g", "out/2")], [function(), function("g", "two")])
    m.says("rule added")
    until(lambda: m.s.log().count("id=FUNC-RULE ") == 2, what="the new rule is ready")
    topic, got = m.call("u", n=2)
    equal((topic, got["who"]), ("out/2", "two"), "the new function")
    m.reload([rule()], [function()])
    m.says("function removed")
    m.silent("u")
    # The session of r2 kept the message.
    m.reload([rule(), rule("r2", "u", "g", "out/3")], [function(), function("g", "three")])
    topic, got = m.reply()
    equal((topic, got["who"], got["n"]), ("out/3", "three", "silent"), "what waited")


@test
def rule_changes_in_place(t):
    m = Manager(t, [rule()], [function(), function("g", "two")])
    equal(m.call(n=1)[0], "out/1", "topic")
    m.reload([rule(out="out/9")], [function(), function("g", "two")])
    m.says("rule changed")
    equal(m.call(n=2)[0], "out/9", "target")
    m.reload([rule(out="out/9", name="g")], [function(), function("g", "two")])
    until(lambda: m.call(n=3)[1]["who"] == "two", what="the other function")
    m.reload([rule(out="out/9", name="g", topic="u")], [function(), function("g", "two")])
    until(lambda: m.s.log().count("id=FUNC-RULE ") == 2, what="the session is opened again")
    equal(m.call("u", n=4)[1]["n"], 4, "the other subscription")
    m.send("t", n=5)
    equal(m.call("u", n=6)[1]["n"], 6, "the old subscription is gone")
    check("FUNC-SESSION" not in m.s.log(), "no session was lost")


@test
def call_that_runs_survives_its_rule(t):
    """The filter changes: the session is opened again, the message comes again, one call, one result."""
    m = Manager(t, [rule(topic="t")], [function()])
    m.send(n=1, sleep=1.0 * SLOW)
    time.sleep(0.3 * SLOW)
    m.reload([rule(topic="t/#")], [function()])
    equal(m.reply()[1]["n"], 1, "result")
    equal(m.call("t/x", n=2)[1]["n"], 2, "the new filter")
    m.send(n=3, sleep=1.0 * SLOW)
    time.sleep(0.3 * SLOW)
    m.reload([], [])
    equal(m.reply()[1]["n"], 3, "result of a rule that was removed")
    m.says("function removed")
    m.send("t/x", n=4)
    m.reload([rule(topic="t/#")], [function()])
    equal(m.reply()[1]["n"], 4, "what came in between")


@test
def function_changes_under_load(t):
    """QoS 1, 20 in flight: environment, number of instances and order change; one result for each input."""
    m = Manager(t, [rule()], [function(who="w0")])
    total, results, stop = [0], {}, threading.Event()

    def send():
        while not stop.is_set():
            if total[0] - len(results) < 20:
                total[0] += 1
                m.send(n=total[0])
            else:
                time.sleep(0.001)

    def take():
        got = m.reply()[1]
        check("n" in got, "a result: %r" % got)
        check(got["n"] not in results, "one result of %r" % got["n"])
        results[got["n"]] = got["who"]
        return got["who"]

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    for i in range(1, 6):
        more = ", retry: {delay: 1s}" if i % 2 else ""
        m.reload([rule(more=more)], [function(who="w%d" % i, high=1 + i % 3)])
        end = time.monotonic() + 8 * SLOW
        while take() != "w%d" % i:
            check(time.monotonic() < end, "w%d in time" % i)
        for _ in range(100):
            take()
    stop.set()
    sender.join(5 * SLOW)
    while len(results) < total[0]:
        take()
    equal(sorted(results), list(range(1, total[0] + 1)), "results")


@test
def kind_of_runtime_changes(t):
    sql = "{name: f, runtime: sql, handler: \"select topic() as topic, n\"}"
    m = Manager(t, [rule()], [function()])
    equal(m.call(n=1)[1]["who"], "one", "Python")
    m.reload([rule()], [sql])
    m.says("function changed")
    equal(m.call(n=2)[1], {"topic": "t", "n": 2}, "SQL")
    m.reload([rule()], ["{name: f, runtime: sql, handler: \"select n + 1 as n\"}"])
    until(lambda: m.call(n=2)[1] == {"n": 3}, what="another statement")
    m.reload([rule()], [function(who="again")])
    until(lambda: m.call(n=3)[1].get("who") == "again", what="Python")


@test
def wrong_configuration_changes_nothing(t):
    m = Manager(t, [rule()], [function()])
    pid = m.call(n=1)[1]["pid"]
    m.reload([rule(name="nobody")], [function()], "the old one stays")
    m.reload([rule(out="out/5")], [function().replace("codedir: code", "codedir: nowhere")], "FUNC-CODEDIR")
    m.reload([rule(out="out/5")], [function().replace("python3", "python9.9")], "FUNC-RUNTIME msg=\"a function's runtime")
    topic, got = m.call(n=2)
    equal((topic, got["pid"]), ("out/1", pid), "all is as it was")
    m.reload([rule(out="out/5")], [function()])
    until(lambda: m.call(n=3)[0] == "out/5", what="the right one")


@test
def what_needs_a_restart_is_named(t):
    m = Manager(t, [rule()], [function()])
    with open(m.s.config, "w") as f:
        f.write(m.text([rule()], [function()]) + "  http: {listen: ['tcp://127.0.0.1:0'], token: abcdefghijklmnop}\n")
    m.s.process.send_signal(signal.SIGHUP)
    m.says("FUNC-RESTART")
    contains(m.s.log(), "key=functions.http.listen")
    equal(m.call(n=1)[1]["n"], 1, "the rest goes on")


@test
def many_reloads_and_a_stop(t):
    m = Manager(t, [rule()], [function()])
    for i in range(8):
        m.reload([rule(out="out/%d" % i), rule("r%d" % (i + 10), "u", "g")][:1 + i % 2],
                 [function(who="w%d" % i), function("g")][:1 + i % 2])
        m.send(n=i)
    equal(sorted(m.reply()[1]["n"] for _ in range(8)), list(range(8)), "results")
    m.reload([], [])
    equal(m.s.stop(), 0, "exit status")


@test
def rules_that_look_alike(t):
    """Without a client id, with the same subscription and function: each keeps its own target."""
    alike = [rule(client="", out="out/a"), rule(client="", out="out/b")]
    m = Manager(t, alike, [function()])

    def topics(n, want):
        m.send(n=n)
        got = sorted(m.reply()[0] for _ in want)
        equal(got, want, "targets")

    topics(1, ["out/a", "out/b"])
    m.reload(alike, [function(who="two")])
    m.says("function changed")
    topics(2, ["out/a", "out/b"])
    m.reload([alike[1], rule(client="", out="out/c")], [function(who="two")])
    m.says("rule changed")
    topics(3, ["out/b", "out/c"])
    m.reload([alike[1]], [function(who="two")])
    m.says("rule removed")
    topics(4, ["out/b"])
    m.send(n=5)
    equal(m.reply()[0], "out/b", "only one answers")
    equal(m.s.log().count("FUNC-SESSION"), 0, "no session was lost")
