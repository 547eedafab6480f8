"""Rules: what is acknowledged when, retries, dead letters, order, and what a kill leaves behind."""
import json
import os
import random
import struct
import threading
import time

import raw
from harness import HUB, SLOW, check, contains, equal, test, until
from raw import session

HANDLER = """import os, time
def handler(event, context):
    with open(os.path.join(os.environ['OUT'], 'calls'), 'a') as f:
        f.write('%s %s\\n' % (event.get('n'), context['functionInvokeID']))
    time.sleep(event.get('sleep', 0))
    runs = os.path.join(os.environ['OUT'], 'runs-%s' % event.get('n'))
    with open(runs, 'a') as f:
        f.write('x')
    done = os.path.getsize(runs)
    if event.get('exit', 0) >= done:
        os._exit(3)
    if event.get('throw', 0) >= done:
        raise ValueError('boom')
    if event.get('nothing'):
        return None
    if event.get('big'):
        return b'x' * event['big']
    return {'n': event.get('n'), 'runs': done}
"""


class Rule:
    def __init__(self, t, rule="", function="", qos=1, out=None, hub="", topic="t", high=1, start=True, user=None):
        self.t, self.folder, self.qos, self.pid = t, t.folder(), qos, 0
        os.mkdir(os.path.join(self.folder, "code"))
        with open(os.path.join(self.folder, "code", "index.py"), "w") as f:
            f.write(HANDLER)
        self.login = {"user": user, "password": "p"} if user else {}
        text = HUB + hub + """functions:
  hub: {interval: 1s%s}
  rules:
    - clientid: rule-f
      subscribe: {topic: '%s', qos: %d}
      function: {name: f}
      publish: {topic: out/good, qos: %d}
%s
  functions:
    - {name: f, runtime: python3, handler: index.handler, codedir: code, env: ['OUT=%s'], %s instance: {max: %d}}
""" % (", username: %s, password: p" % user if user else "", topic, qos, qos if out is None else out,
            "".join("      %s\n" % line for line in rule.splitlines()), self.folder, function, high)
        self.s = t.baetyl(text, folder=self.folder, start=start)
        if start:
            self.ready()

    def ready(self):
        until(lambda: "id=FUNC-RULE" in self.s.log(), what="the rule is ready")
        self.c = session(self.t, self.s, "device", ("out/#", self.qos), **self.login)

    def send(self, topic="t", **event):
        self.pid += 1
        self.c.send(raw.publish(topic, json.dumps(event), qos=self.qos, pid=self.pid % 60000 + 1))

    def reply(self, seconds=10):
        """(topic, payload) of the next message; the steps of QoS 2 are made."""
        while True:
            got = self.c.packet(seconds)
            check(got is not None, "connection is open")
            kind, flags, body = got
            if kind == raw.PUBREC:
                self.c.send(raw.ack(raw.PUBREL, struct.unpack(">H", body[:2])[0]))
            elif kind == raw.PUBREL:
                self.c.send(raw.ack(raw.PUBCOMP, struct.unpack(">H", body[:2])[0]))
            elif kind == raw.PUBLISH:
                n = struct.unpack(">H", body[:2])[0]
                topic, at, qos = body[2:2 + n].decode(), 2 + n, flags >> 1 & 3
                if qos:
                    pid = struct.unpack(">H", body[at:at + 2])[0]
                    self.c.send(raw.ack(raw.PUBACK if qos == 1 else raw.PUBREC, pid))
                    at += 2
                return topic, json.loads(body[at:]), qos

    def calls(self):
        try:
            with open(os.path.join(self.folder, "calls")) as f:
                return [line.split()[0] for line in f]
        except FileNotFoundError:
            return []

    def quiet(self):
        """Nothing more comes, and nothing waits for the rule: after a restart no call is made."""
        n = len(self.calls())
        self.s.stop()
        self.s.start()
        until(lambda: self.s.log().count("id=FUNC-RULE") >= 2, what="the rule is ready")
        time.sleep(0.3 * SLOW)
        equal(len(self.calls()), n, "calls after the restart")


# ---- What is acknowledged ----

def every_outcome(t, qos, out):
    f = Rule(t, qos=qos, out=out, hub="  message: {length: {max: 64k}}\n")
    f.send(n=1)
    topic, got, got_qos = f.reply()
    equal((topic, got, got_qos), ("out/good", {"n": 1, "runs": 1}, min(qos, out)), "result")
    f.send(n=2, throw=9)
    _, got, got_qos = f.reply()
    contains(got["errorMessage"], "boom")
    equal(got["functionMessage"].get("QOS", 0), qos, "QOS of the input")
    equal(got_qos, min(qos, out), "QoS of the error")
    f.send(n=3, nothing=1)
    f.send(n=4, big=100000)
    contains(f.reply()[1]["errorMessage"], "the result is larger than the hub accepts")
    f.send(n=5, exit=9)
    contains(f.reply()[1]["errorMessage"], "transport is closing")
    f.send(n=6)
    equal(f.reply()[1]["n"], 6, "result")
    equal(f.calls(), ["1", "2", "3", "4", "5", "5", "5", "6"], "calls")
    f.quiet()


@test
def qos_0(t):
    every_outcome(t, 0, 0)


@test
def qos_1(t):
    every_outcome(t, 1, 1)


@test
def qos_2(t):
    every_outcome(t, 2, 2)


@test
def qos_2_with_results_at_qos_1(t):
    every_outcome(t, 2, 1)


@test
def qos_1_with_results_at_qos_0(t):
    every_outcome(t, 1, 0)


@test
def slow_call_is_made_once(t):
    """However the resend timer of the original is set: what is held is not delivered again."""
    f = Rule(t, hub="  message: {egress: {qos1: {retry: {interval: 200ms}}}}\n", high=3)
    f.send(n=1, sleep=1.5 * SLOW)
    f.send(n=2, sleep=0.7 * SLOW)
    equal(sorted(f.reply()[1]["n"] for _ in range(2)), [1, 2], "results")
    equal(sorted(f.calls()), ["1", "2"], "calls")


@test
def session_is_taken_over_while_a_call_runs(t):
    """Its session is lost with what was in flight. The rule comes back: the call goes on, there is one result."""
    f = Rule(t)
    f.send(n=1, sleep=1.0 * SLOW)
    until(lambda: f.calls() == ["1"], what="the call runs")
    thief = raw.Raw(t, f.s.port)
    thief.login("rule-f", clean=False)
    until(lambda: f.s.log().count("id=FUNC-RULE") == 2, what="the rule is back")
    equal(f.reply()[1], {"n": 1, "runs": 1}, "result")
    f.send(n=2)
    equal(f.reply()[1]["n"], 2, "result")
    equal(f.calls(), ["1", "2"], "calls")


@test
def session_is_given_back_while_a_call_runs(t):
    """The same user took the session: the message comes again, and the call that runs answers it."""
    hub = """  principals:
    - {username: u, password: p, permissions: [{action: sub, permit: ['#']}, {action: pub, permit: ['#']}]}
"""
    f = Rule(t, hub=hub, user="u")
    f.send(n=1, sleep=1.0 * SLOW)
    until(lambda: f.calls() == ["1"], what="the call runs")
    thief = raw.Raw(t, f.s.port)
    equal(thief.login("rule-f", clean=False, user="u", password="p"), 1, "session present")
    equal(json.loads(thief.message(ack=False)["payload"])["n"], 1, "the message")
    until(lambda: f.s.log().count("id=FUNC-RULE") == 2, what="the rule is back")
    equal(f.reply()[1], {"n": 1, "runs": 1}, "result")
    f.send(n=2)
    equal(f.reply()[1]["n"], 2, "result")
    equal(f.calls(), ["1", "2"], "calls")
    f.quiet()


# ---- Retries and dead letters ----

@test
def retry_with_pauses_blocks_nobody(t):
    f = Rule(t, "retry: {max: 3, delay: 300ms, on: any}\n")
    start = time.monotonic()
    f.send(n=1, throw=2)
    f.send(n=2)
    equal(f.reply()[1]["n"], 2, "the next message goes first")
    check(time.monotonic() - start < 0.3 * SLOW + 0.5, "at once")
    equal(f.reply()[1], {"n": 1, "runs": 3}, "result of the third attempt")
    check(time.monotonic() - start >= 0.9, "300 + 600 ms of pauses")
    equal(f.calls(), ["1", "2", "1", "1"], "calls")
    with open(os.path.join(f.folder, "calls")) as calls:
        equal(len({line.split()[1] for line in calls if line[0] == "1"}), 1, "invoke ids")
    f.quiet()


@test
def many_that_wait_for_a_retry(t):
    """More than a narrow window: the others still come through."""
    f = Rule(t, "retry: {max: 2, delay: 2s, on: any}\n")
    for i in range(150):
        f.send(n=1000 + i, throw=9)
    f.send(n=1)
    equal(f.reply()[1].get("n"), 1, "result")


@test
def broken_instance_is_tried_again_by_default(t):
    f = Rule(t)
    f.send(n=1, exit=2)
    equal(f.reply()[1], {"n": 1, "runs": 3}, "result")
    f.send(n=2, throw=2)
    contains(f.reply()[1]["errorMessage"], "boom")
    equal(f.calls(), ["1", "1", "1", "2"], "calls")


@test
def dead_letters(t):
    f = Rule(t, "retry: {max: 2, delay: 10ms, on: any}\ndeadletter: {topic: out/dead, qos: 1}\n", qos=2)
    f.send(n=1, throw=9)
    topic, got, qos = f.reply()
    equal((topic, qos), ("out/dead", 1), "where the error is")
    contains(got["errorMessage"], "boom")
    equal(f.calls(), ["1", "1"], "calls")
    f.send(n=2, exit=9)
    equal(f.reply()[0], "out/dead", "topic")
    f.send(n=3)
    equal(f.reply()[0], "out/good", "topic")
    f.quiet()


@test
def time_out_is_tried_again_when_asked(t):
    f = Rule(t, "retry: {max: 2, delay: 10ms, on: any}\n", "timeout: 500ms,")
    f.send(n=1, sleep=5)
    contains(f.reply()[1]["errorMessage"], "DeadlineExceeded")
    equal(f.calls(), ["1", "1"], "calls")


@test
def refused_result_is_published_when_it_may(t):
    """The rule's user may not publish there; after the reload it may. The input is not lost, the call is made once."""
    hub = """  principals:
    - {username: u, password: p, permissions: [{action: sub, permit: ['#']}%s]}
    - {username: d, password: d, permissions: [{action: sub, permit: ['#']}, {action: pub, permit: ['#']}]}
"""
    f = Rule(t, hub=hub % "", start=False, user="u")
    with open(f.s.config) as c:
        text = c.read()
    f.s.start()
    until(lambda: "id=FUNC-RULE" in f.s.log(), what="the rule is ready")
    f.c = session(t, f.s, "device", ("out/#", 1), user="d", password="d")
    f.send(n=1)
    until(lambda: "refused by the broker" in f.s.log(), what="the result is refused")
    with open(f.s.config, "w") as c:
        c.write(text.replace("permit: ['#']}]}", "permit: ['#']}, {action: pub, permit: ['#']}]}", 1))
    f.s.process.send_signal(1)
    equal(f.reply()[1], {"n": 1, "runs": 1}, "result")
    equal(f.calls(), ["1"], "calls")


# ---- Order ----

@test
def strict_order_by_topic(t):
    """Four instances, five topics, random times, exceptions and crashes: the results of a topic are in order."""
    dice = random.Random(5)
    f = Rule(t, "retry: {max: 4, delay: 20ms, on: any}\n", "order: strict,", topic="in/+", high=4)
    sent = {k: [] for k in range(5)}
    for i in range(60):
        k = dice.randrange(5)
        what = dice.choice([{}, {}, {}, {"throw": 1}, {"exit": 1}, {"throw": 2}])
        sent[k].append(i)
        f.send("in/%d" % k, n=i, sleep=dice.random() * 0.02, **what)
    where = {n: k for k, ns in sent.items() for n in ns}
    got = {k: [] for k in range(5)}
    for _ in range(60):
        n = f.reply()[1]["n"]
        got[where[n]].append(n)
    equal(got, sent, "order")


@test
def strict_order_blocks_no_other_topic(t):
    f = Rule(t, function="order: strict,", topic="in/+", high=2)
    f.send("in/slow", n=1, sleep=2 * SLOW)
    for i in range(200):
        f.send("in/slow", n=1000 + i)
    start = time.monotonic()
    for i in range(20):
        f.send("in/fast", n=i + 2)
        equal(f.reply()[1]["n"], i + 2, "result")
    check(time.monotonic() - start < 1.5 * SLOW, "beside the slow one")


# ---- Too many ----

@test
def flood_at_qos_0_is_counted_not_logged(t):
    f = Rule(t, qos=0)
    f.send(n=1, sleep=1.5 * SLOW)
    until(lambda: f.calls() == ["1"], what="the call runs")
    one = raw.publish("t", json.dumps({"n": 2}), qos=0)
    for _ in range(20):
        f.c.send(one * 200)
    until(lambda: "id=FUNC-DROPPED" in f.s.log(), what="messages are dropped")
    equal(f.reply()[1]["n"], 1, "result")
    for _ in range(1023):
        equal(f.reply()[1]["n"], 2, "result")

    def dropped():
        lines = [line for line in f.s.log().splitlines() if "id=FUNC-DROPPED" in line]
        return sum(int(line.split("dropped=")[1].split()[0]) for line in lines), len(lines)
    until(lambda: dropped()[0] + 1023 >= 4000, what="all are counted")
    equal(dropped()[0] + 1023, 4000, "dropped and processed")
    check(dropped()[1] <= 6, "few lines, %d" % dropped()[1])


@test
def qos_1_waits_in_the_hub(t):
    """A slow function and many messages: none is dropped, the rule holds a window of them."""
    f = Rule(t)
    f.send(n=1, sleep=0.5 * SLOW)
    for i in range(500):
        f.send(n=i + 2)
    equal([f.reply()[1]["n"] for _ in range(501)], list(range(1, 502)), "results, in order")
    check("FUNC-DROPPED" not in f.s.log(), "nothing is dropped")


# ---- Kill ----

class Load(threading.Thread):
    """Publishes with a window until the connection ends; knows what was acknowledged."""

    def __init__(self, f, qos, first):
        super().__init__(daemon=True)
        self.c, self.qos, self.next, self.acked = raw.Raw(f.t, f.s.port), qos, first, set()
        self.c.login("load", clean=True)

    def run(self):
        waiting = {}
        try:
            while True:
                while len(waiting) < 20:
                    pid = self.next % 60000 + 1
                    waiting[pid] = self.next
                    self.c.s.sendall(raw.publish("t", json.dumps({"n": self.next}), qos=self.qos, pid=pid))
                    self.next += 1
                got = self.c.packet(5)
                if got is None:
                    return
                pid = struct.unpack(">H", got[2][:2])[0]
                if got[0] == raw.PUBREC:
                    self.c.send(raw.ack(raw.PUBREL, pid))
                    self.acked.add(waiting[pid])
                elif got[0] in (raw.PUBACK, raw.PUBCOMP):
                    self.acked.add(waiting.pop(pid))
        except Exception:  # pylint: disable=broad-except
            return


def killed_under_load(t, qos, rounds):
    f = Rule(t, qos=qos, start=False)
    acked, results = set(), {}
    for number in range(rounds):
        f.s.start()
        if number == 0:
            f.c = raw.Raw(t, f.s.port)
            f.c.login("collector", clean=False)
            f.c.send(raw.subscribe(("out/#", qos))).expect(raw.SUBACK)
            f.c.close()
        load = Load(f, qos, 100000 if not acked else max(acked) + 1000)
        load.start()
        until(lambda: len(load.acked) > 100, 20, "acknowledged messages")
        f.s.kill()
        load.join(10 * SLOW)
        acked |= load.acked
    f.s.start()
    f.c = raw.Raw(t, f.s.port)
    equal(f.c.login("collector", clean=False), 1, "the collector's session is there")
    end = time.monotonic() + 20 * SLOW
    while not acked <= set(results) and time.monotonic() < end:
        _, got, _ = f.reply()
        results[got["n"]] = results.get(got["n"], 0) + 1
    missing = acked - set(results)
    equal(sorted(missing)[:5], [], "results of %d acknowledged messages missing: %d; the first" % (
        len(acked), len(missing)))
    return results


@test
def killed_at_qos_1_no_input_is_lost(t):
    killed_under_load(t, 1, 2)


@test
def killed_at_qos_2_no_result_is_doubled(t):
    results = killed_under_load(t, 2, 2)
    equal([n for n, times in results.items() if times > 1], [], "results that came twice")
