"""Functions called by MQTT 5 request and response."""
import json
import os
import struct
import subprocess
import time

import api
import raw
from harness import BAETYL, HUB, RUNNER, check, contains, equal, need_tool, test, until
from mqtt5 import Five, parse, props, will_connect
from t_calls import CODE

CALLS = "  calls: {topic: 'functions/{name}/call', qos: 2%s}\n"
FUNCTION = "  functions:\n    - {name: py, runtime: python3, handler: index.handler, codedir: py}\n" \
    "    - {name: hidden, runtime: python3, handler: index.handler, codedir: py, calls: {mqtt: false}}\n"


def server(t, hub=HUB, more="", calls="", folder=None, **options):
    folder = folder or t.folder()
    os.makedirs(os.path.join(folder, "py"), exist_ok=True)
    with open(os.path.join(folder, "py", "index.py"), "w") as f:
        f.write(CODE)
    s = t.baetyl(hub + "functions:\n" + CALLS % calls + more + FUNCTION, folder=folder, **options)
    until(lambda: "id=FUNC-CALLS" in s.log(), what="the session")
    return s


def client(t, s, name="caller", *filters, **options):
    c = Five(t, s.port)
    c.open(name, **options)
    for f, qos in filters:
        body = c.send(raw.subscribe((f, qos), level=5)).expect(raw.SUBACK)
        equal(body[-1], qos, "granted QoS")
    return c


def request(payload, name="py", qos=0, pid=1, reply="reply/1", correlation=b"id 1", **more):
    if reply is not None:
        more["response_topic"] = reply
    if correlation is not None:
        more["correlation_data"] = correlation
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return raw.publish("functions/%s/call" % name, data, qos=qos, pid=pid, level=5, props=props(**more))


def response(c, qos=0):
    """(payload, properties) of the next message, whose handshake is done."""
    m = c.message(level=5)
    equal((m["topic"], m["qos"]), ("reply/1", qos), "topic and QoS")
    if m["qos"] == 2:
        pid = struct.pack(">H", m["pid"])
        c.send(raw.packet(0x50, pid)).acked(raw.PUBREL, m["pid"])
        c.send(raw.packet(0x70, pid))
    return m["payload"], parse(m["props"])


@test
def response_at_each_qos(t):
    s = server(t)
    c = client(t, s, "caller")
    r = client(t, s, "receiver", ("reply/#", 2))
    for qos in (0, 1, 2):
        c.send(request({"n": qos}, qos=qos, pid=7, correlation=b"\0id\xff"))
        if qos == 1:
            c.acked(raw.PUBACK, 7)
        if qos == 2:
            c.acked(raw.PUBREC, 7).send(raw.packet(0x62, b"\0\7")).acked(raw.PUBCOMP, 7)
        payload, got = response(r, qos)
        equal(json.loads(payload.decode())["event"], {"n": qos}, "result")
        equal(got, {"correlation_data": b"\0id\xff", "content_type": b"application/json"}, "properties")
    c.send(request(b"\x00\xff raw", correlation=None))
    equal(response(r), (b"\x00\xff raw", {}), "bytes, no correlation data")
    c.send(request({"do": "nothing"}))
    equal(response(r), (b"", {"correlation_data": b"id 1"}), "an empty result is an answer")
    c.send(request({"do": "context"}, qos=1, pid=9)).acked(raw.PUBACK, 9)
    got = json.loads(response(r, 1)[0].decode())
    equal((got["messageTopic"], got["messageQOS"], got["functionName"]), ("functions/py/call", 1, "py"), "context")


@test
def errors(t):
    s = server(t)
    c = client(t, s, "caller", ("reply/1", 1))
    for name, payload, part in (("py", {"do": "throw"}, "boom"), ("py", {"do": "exit"}, "transport is closing"),
                                ("none", b"1", "function (none) not found"),
                                ("hidden", b"1", "function (hidden) not found")):
        c.send(request(payload, name))
        payload, got = response(c)
        contains(json.loads(payload.decode())["errorMessage"], part)
        equal(got["user"], [(b"error", b"true")], "user property")
        equal((got["correlation_data"], got["content_type"]), (b"id 1", b"application/json"), "properties")
    c.send(request({"works": 1}))
    check("user" not in response(c)[1], "no error any more")


@test
def request_without_a_response_topic(t):
    s = server(t)
    c = client(t, s, "caller", ("#", 0))
    c.send(request({"do": "context"}, qos=1, pid=3, reply=None))
    c.message(level=5)
    c.acked(raw.PUBACK, 3)
    three = raw.session(t, s, "three")
    three.send(raw.publish("functions/py/call", b"1", qos=1, pid=4)).acked(raw.PUBACK, 4)
    c.message(level=5)
    until(lambda: api.metrics(s).get('baetyl_function_calls_total{function="py"}') == 2, what="both were run")
    c.quiet()


@test
def many_at_once(t):
    s = server(t)
    c = client(t, s, "caller", ("reply/1", 0))
    want = set()
    for i in range(500):
        want.add((i, struct.pack(">I", i)))
        c.send(request({"i": i}, correlation=struct.pack(">I", i)))
    for _ in range(500):
        payload, got = response(c)
        want.remove((json.loads(payload.decode())["event"]["i"], got["correlation_data"]))
    equal(want, set(), "left")


@test
def large_properties_and_results(t):
    s = server(t, HUB + "  message.length.max: 1m\n")
    c = client(t, s, "caller")
    r = client(t, s, "receiver", ("reply/1", 0))
    long = os.urandom(50000)
    c.send(request({"do": "big", "n": 1000}, correlation=long))
    _, flags, body = r.packet()
    contains(repr(body[:11]), "reply/1")
    check(long in body and body.endswith(b"x" * 1000), "correlation data of 50000 bytes")
    # The result alone would fit, but not with the correlation data.
    c.send(request({"do": "big", "n": 1000000}, correlation=long))
    _, flags, body = r.packet()
    check(long in body and b"larger than the hub accepts" in body, "an error that fits")
    r.quiet(0.1)


PERMISSIONS = """hub:
  listen: ['tcp://127.0.0.1:0']
  principals:
    - {username: meter, password: secret, permissions: [{action: pub, permit: ['functions/+/call', 'reply/%c', 'in']},
       {action: sub, permit: ['reply/%c', 'read/only']}]}
    - {username: boss, password: secret, permissions: [{action: pub, permit: ['#']}, {action: sub, permit: ['#']}]}
  subscriptions:
    - {source: {topic: in, qos: 1}, target: {topic: functions/py/call, qos: 1}}
"""
METER = {"user": "meter", "password": "secret"}
BOSS = {"user": "boss", "password": "secret"}


@test
def nobody_borrows_the_right_to_publish(t):
    s = server(t, PERMISSIONS)
    all_of_it = client(t, s, "boss", ("read/only", 1), ("other", 1), **BOSS)
    c = client(t, s, "1", ("reply/1", 1), **METER)
    for reply in ("read/only", "other", "reply/2", "$SYS/x"):
        c.send(request({}, qos=1, pid=5, reply=reply)).acked(raw.PUBACK, 5, 0x87)
        c.send(request({}, qos=0, reply=reply))
    c.ping()
    # A topic rule of the hub.
    c.send(raw.publish("in", b"1", qos=1, pid=6, level=5, props=props(response_topic="other"))).acked(raw.PUBACK, 6)
    c.send(request({"n": 1}, qos=1, pid=7)).acked(raw.PUBACK, 7)
    equal(json.loads(response(c, 1)[0].decode())["event"], {"n": 1}, "its own topic")
    all_of_it.quiet()
    until(lambda: api.metrics(s).get('baetyl_function_calls_total{function="py"}') == 2, what="only two were run")


@test
def also_while_the_session_is_taken_over(t):
    s = server(t, PERMISSIONS, calls=", clientid: calls")
    watch = client(t, s, "boss", ("other", 1), **BOSS)
    c = client(t, s, "1", **METER)
    thief = client(t, s, "calls", clean=False, **BOSS)
    for _ in range(20):
        c.send(request({}, qos=1, pid=5, reply="other")).acked(raw.PUBACK, 5, 0x87)
    check(thief.closed(), "the manager has its session again")
    c.send(request({}, qos=1, pid=5, reply="other")).acked(raw.PUBACK, 5, 0x87)
    watch.quiet(0.1)


@test
def a_will_is_held_to_it_too(t):
    s = server(t, PERMISSIONS)
    watch = client(t, s, "boss", ("#", 1), **BOSS)
    for client_id, reply, reaches in (("7", "other", False), ("8", "reply/8", True)):
        w = Five(t, s.port)
        w.send(will_connect(client_id, "functions/py/call", "{}", qos=1, will_props=props(response_topic=reply), **METER))
        w.connack()
        w.close()
        if reaches:
            equal([watch.message(level=5)["topic"] for _ in range(2)], ["functions/py/call", reply], "both")
        else:
            until(lambda: "id=HUB-WILL" in s.log(), what="told")
    watch.quiet(0.1)


@test
def user_of_the_manager_that_may_not_publish_there(t):
    hub = PERMISSIONS.replace("    - {username: boss", "    - {username: limited, password: secret, permissions: "
                              "[{action: sub, permit: ['functions/+/call']}, {action: pub, permit: ['reply/#']}]}\n"
                              "    - {username: boss")
    s = server(t, hub, more="  hub: {username: limited, password: secret}\n")
    c = client(t, s, "boss", ("#", 1), **BOSS)
    c.send(request({}, qos=1, pid=5, reply="other"))
    equal(c.message(level=5)["topic"], "functions/py/call", "the request")
    c.acked(raw.PUBACK, 5)
    until(lambda: "id=FUNC-RESPONSE" in s.log(), what="told")
    c.s.close()
    # None of them keeps a place in the window.
    c = client(t, s, "caller", ("reply/1", 1), **BOSS)
    for part in range(3): # the session is clean: limits.queue.messages, 1000, may wait
        for i in range(400):
            c.send(request({}, qos=1, pid=10 + i, reply="other"))
        for i in range(400):
            c.acked(raw.PUBACK, 10 + i)
        until(lambda: api.metrics(s)['baetyl_function_calls_total{function="py"}'] == 400 * (part + 1) + 1,
              what="all were called")
    c.send(request({}, qos=1, pid=6)).acked(raw.PUBACK, 6)
    response(c, 1)


@test
def requests_survive_a_kill(t):
    s = server(t, calls=", clientid: calls")
    r = client(t, s, "receiver", ("reply/1", 1), clean=False, session_expiry=1000)
    c = client(t, s, "caller")
    c.send(request({"do": "sleep", "s": 0.5}, qos=1, pid=1, correlation=b"a"))
    c.acked(raw.PUBACK, 1)
    time.sleep(0.2)
    s.kill()
    s.start()
    r = Five(t, s.port)
    equal(r.open("receiver", clean=False, session_expiry=1000)[0], 1, "the session is there")
    equal(response(r, 1)[1]["correlation_data"], b"a", "the response")
    r.quiet(0.1)


@test
def mosquitto_clients(t):
    tool = need_tool("mosquitto_rr")
    s = server(t)
    for qos in "012":
        code, out, err = t.run([tool, "-p", str(s.port), "-V", "5", "-q", qos, "-t", "functions/py/call", "-e",
                                "my/reply", "-m", '{"n": %s}' % qos, "-W", "5"])
        equal((code, json.loads(out.decode())["event"]), (0, {"n": int(qos)}), "response %s" % err)
    code, out, err = t.run([tool, "-p", str(s.port), "-V", "5", "-t", "functions/none/call", "-e", "my/reply", "-m", "x",
                            "-W", "5", "-F", "%C %P"])
    equal((code, out.strip()), (0, b"application/json error:true"), "properties of an error")


@test
def topics_that_are_refused(t):
    path = os.path.join(t.folder(), "c.yml")
    for topic in ("functions/call", "f/{name}x/call", "{name}/{name}", "a/+/{name}", "$SYS/{name}", "a/#"):
        with open(path, "w") as out:
            out.write("functions:\n  calls: {topic: '%s'}\n" % topic)
        done = subprocess.run(RUNNER + [BAETYL, "check", "-c", path], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
        equal(done.returncode, 1, topic)
        contains(done.stdout, "with the level {name}")
