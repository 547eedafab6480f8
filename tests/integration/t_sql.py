"""Functions in SQL: the original's guide (filter a topic), QoS 1, errors, configuration."""
import base64
import json
import os
import time

import raw
from harness import HUB, check, contains, equal, test, until
from raw import session

CONFIG = HUB + """functions:
  rules:
    - clientid: func-sql-filter-1
      subscribe: {{topic: {topic}, qos: 1}}
      function: {{name: sql-filter}}
      publish: {{topic: {topic}/sqlfilter, qos: 1}}
  functions:
    - name: sql-filter
      runtime: sql
      handler: |
        {statement}
"""
GUIDE = "select qos() as qos, topic() as topic, * where id < 10"


def start(t, statement=GUIDE, topic="t", **options):
    s = t.baetyl(CONFIG.format(statement=statement, topic=topic), **options)
    until(lambda: "id=FUNC-RULE" in s.log(), what="the rule is ready")
    return s


def children(s):
    tasks, found = "/proc/%d/task" % s.process.pid, []
    for task in os.listdir(tasks):
        try:
            with open(os.path.join(tasks, task, "children")) as f:
                found += f.read().split()
        except OSError:  # ended, or a kernel that does not tell
            pass
    return sorted(found)


@test
def guide(t):
    s = start(t)
    before = children(s)
    c = session(t, s, "device", ("#", 0))
    c.send(raw.publish("t", '{"id":1}'))
    got = {m["topic"]: m["payload"] for m in (c.message(), c.message())}
    equal(got, {"t": b'{"id":1}', "t/sqlfilter": b'{"id":1,"qos":0,"topic":"t"}'}, "messages")
    c.send(raw.publish("t", '{"id":11}'), raw.publish("t", "abc"), raw.publish("t", '{"id":"1"}'),
           raw.publish("t", '{"id":null}'), raw.publish("t", '[{"id":1}]'))
    equal([c.message()["payload"] for _ in range(5)],
          [b'{"id":11}', b"abc", b'{"id":"1"}', b'{"id":null}', b'[{"id":1}]'], "no results between")
    c.quiet()
    # No process was started for it.
    equal(children(s), before, "children")
    equal(s.stop(), 0, "exit status")


@test
def qos1_results_and_drops(t):
    """More than the window of messages without a result: each must be acknowledged, or the rest would wait."""
    s = start(t)
    c = session(t, s, "device", ("t/sqlfilter", 1))
    for i in range(1, 101):
        c.send(raw.publish("t", '{"id":%d}' % (i if i % 20 == 0 else 500), qos=1, pid=i))
    c.send(raw.publish("t", '{"id":5,"last":true}', qos=1, pid=101))
    acks, results = [], []
    while len(acks) < 101 or not results:
        kind, flags, body = c.packet()
        if kind == raw.PUBACK:
            acks.append(int.from_bytes(body[:2], "big"))
        else:
            equal(flags >> 1 & 3, 1, "QoS of the result")
            results.append(body[2 + len("t/sqlfilter") + 2:])
    equal(acks, list(range(1, 102)), "acknowledged")
    equal(results, [b'{"id":5,"last":true,"qos":1,"topic":"t"}'], "results")
    # All of them were acknowledged by the rule: nothing comes again.
    equal(s.stop(), 0, "exit status")
    s.start()
    until(lambda: s.log().count("id=FUNC-RULE ") >= 2, what="the rule is ready again")
    c = session(t, s, "device2", ("t/sqlfilter", 1))
    c.send(raw.publish("t", '{"id":6}'))
    equal(c.message()["payload"], b'{"id":6,"qos":0,"topic":"t"}', "only the new one")


@test
def failures_are_messages(t):
    s = start(t, "select abs(a) as a, * where a is not null", topic="e")
    c = session(t, s, "device", ("e/sqlfilter", 1))
    c.send(raw.publish("e", '{"a":-9223372036854775808}', qos=1, pid=9))
    got, other = c.packet(), c.packet()
    if got[0] == raw.PUBACK:
        got, other = other, got
    equal(other[::2], (raw.PUBACK, b"\0\x09"), "acknowledged")
    got = json.loads(got[2][2 + len("e/sqlfilter") + 2:])
    equal(got["errorMessage"], "rpc error: code = Unknown desc = integer overflow", "errorMessage")
    equal(got["errorType"], "*status.statusError", "errorType")
    equal(base64.b64decode(got["functionMessage"]["Payload"]), b'{"a":-9223372036854775808}', "Payload")
    equal(got["functionMessage"]["FunctionName"], "sql-filter", "FunctionName")
    c.send(raw.publish("e", '{"b":[1, 2.50],"a":-3}'))
    equal(c.message()["payload"], b'{"a":3,"b":[1,2.50]}', "the next one")


@test
def a_wrong_statement_is_found_before_anything_starts(t):
    for statement, says in (
            ("select * wher id < 10", "12:7: error: functions.functions[0].handler: the statement is wrong at "
             "character 10, `wher id < 10`: expected `,`, `as`, an operator, `where` or the end"),
            ("select * from t", "there is no `from`"), ("select readfile('/etc/passwd') as x", "no function `readfile`"),
            ("select 1 as x; drop table t", "one statement is all there can be")):
        s = t.baetyl(CONFIG.format(statement=statement, topic="t"), start=False)
        code, _, err = t.command("check", "-w", s.dir, "-c", s.config)
        check(code != 0, "check fails")
        contains(err, says, "check says")
        s.start(wait=False)
        check(s.process.wait(10) != 0, "start fails")
        contains(s.log(), says, "start says")


@test
def it_needs_no_code_folder_and_many_can_be_used(t):
    """Functions that differ beside each other, and a statement over several lines."""
    rules = "".join("    - {clientid: c%d, subscribe: {topic: in}, function: {name: f%d}, publish: {topic: out/%d}}\n"
                    % (i, i, i) for i in range(20))
    functions = "".join("    - {name: f%d, runtime: sql, handler: select n + %d as n where n %% 20 = %d}\n" % (i, i, i)
                        for i in range(19))
    text = (HUB + "functions:\n  rules:\n" + rules + "  functions:\n" + functions +
            "    - name: f19\n      runtime: sql\n      handler: >\n        select n * 2 as twice.n,\n"
            "               'folded' as how\n        where n % 20 = 19\n")
    s = t.baetyl(text)
    until(lambda: s.log().count("id=FUNC-RULE ") >= 20, what="the rules are ready")
    c = session(t, s, "device", ("out/+", 0))
    for n in (0, 7, 39):
        c.send(raw.publish("in", '{"n":%d}' % n))
        got = c.message()
        equal((got["topic"], got["payload"]), {0: ("out/0", b'{"n":0}'), 7: ("out/7", b'{"n":14}'), 39: (
            "out/19", b'{"how":"folded","twice":{"n":78}}')}[n], "result")


@test
def instances_that_are_asked_for_do_not_start(t):
    """Neither by a minimum nor because files beside it change; the answers go on."""
    folder = t.folder()
    os.mkdir(os.path.join(folder, "code"))
    s = t.baetyl(CONFIG.format(statement=GUIDE, topic="t") +
                 "      codedir: code\n      instance: {min: 2, max: 4}\n", folder=folder)
    until(lambda: "id=FUNC-RULE " in s.log(), what="the rule is ready")
    c = session(t, s, "device", ("t/sqlfilter", 0))
    with open(os.path.join(folder, "code", "x.py"), "w") as f:
        f.write("x")
    time.sleep(0.5)
    c.send(raw.publish("t", '{"id":1}'))
    equal(c.message()["payload"], b'{"id":1,"qos":0,"topic":"t"}', "result")
    check("FUNC-START" not in s.log() and "program=" not in s.log(), "no instance")
