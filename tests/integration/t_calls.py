"""Calling functions by HTTP: the control socket, addresses of their own, hostile clients."""
import base64
import http.client
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time

import api
from harness import BAETYL, HUB, RUNNER, SLOW, check, contains, equal, test, until
from tlscerts import Authority

TOKEN = "0123456789abcdef-token"

CODE = """import os, time
def handler(event, context):
    do = event.get('do') if isinstance(event, dict) else None
    if do == 'throw':
        raise ValueError('boom')
    if do == 'exit':
        os._exit(3)
    if do == 'sleep':
        time.sleep(event['s'])
    if do == 'nothing':
        return None
    if do == 'context':
        return dict(context)
    if do == 'big':
        return b'x' * event['n']
    if isinstance(event, bytes):
        return event
    return {'event': event, 'pid': os.getpid()}
"""


class Calls:
    """A process with the function `py`, called by HTTP."""

    def __init__(self, t, http="", instances=1, timeout="30s", more="", functions=""):
        folder = t.folder()
        os.mkdir(os.path.join(folder, "py"))
        with open(os.path.join(folder, "py", "index.py"), "w") as f:
            f.write(CODE)
        text = HUB + "functions:\n"
        if http:
            text += "  http: {%s}\n" % http
        text += more + "  functions:\n    - {name: py, runtime: python3, handler: index.handler, codedir: py," \
            " timeout: %s, instance: {max: %d}}\n" % (timeout, instances) + functions
        self.s = t.baetyl(text, folder=folder)

    def call(self, payload, name="py", query="", headers=None):
        """(status, content type, body) by the control socket."""
        data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        return api.request(self.s, "/v1/functions/%s/call%s" % (name, query), "POST", data, headers)

    def error(self, status, payload, *parts, **more):
        got, kind, body = self.call(payload, **more)
        equal((got, kind), (status, "application/json"), "answer %r" % body)
        message = json.loads(body.decode())
        equal(sorted(message), ["errorMessage", "errorType", "functionMessage"], "members")
        for part in parts:
            contains(message["errorMessage"], part)
        return message

    def addresses(self):
        return re.findall(r"id=CORE-HTTP .*address=(https?)://\S*?:(\d+)", self.s.log())

    def port(self):
        return int(until(self.addresses)[0][1])

    def connect(self, **more):
        scheme, port = until(self.addresses)[0]
        kind = http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection
        return kind("localhost" if scheme == "https" else "127.0.0.1", int(port), timeout=10 * SLOW, **more)

    def post(self, payload=b"{}", token=TOKEN, name="py", connection=None, **headers):
        """(status, body) at the first address of its own."""
        c = connection or self.connect()
        if token:
            headers["Authorization"] = "Bearer " + token
        c.request("POST", "/v1/functions/%s/call" % name, payload, headers)
        r = c.getresponse()
        got = r.status, r.read()
        if connection is None:
            c.close()
        return got


# ---- What an answer is ----

@test
def results(t):
    f = Calls(t)
    status, kind, body = f.call({"a": 1})
    equal((status, kind), (200, "application/json"), "answer")
    equal(json.loads(body.decode())["event"], {"a": 1}, "result")
    equal(f.call(b"\x00\xff raw"), (200, "application/octet-stream", b"\x00\xff raw"), "bytes")
    equal(f.call(b'{"no json'), (200, "application/octet-stream", b'{"no json'), "not JSON")
    equal(f.call({"do": "nothing"}), (204, None, b""), "nothing")
    equal(json.loads(f.call(b"")[2].decode())["event"], {}, "an empty payload")
    big = os.urandom(3500000)
    equal(f.call(big)[2], big, "3.5 MB, beyond what other routes take")


@test
def context_comes_from_the_query(t):
    f = Calls(t)
    got = json.loads(f.call({"do": "context"}, query="?topic=a%2Fb+c&qos=1")[2].decode())
    equal((got["messageTopic"], got["messageQOS"], got["functionName"]), ("a/b c", 1, "py"), "context")
    equal(len(got["invokeid"]), 36, "an id")
    check(abs(got["messageTimestamp"] - time.time()) < 100, "a time")
    got = json.loads(f.call({"do": "context"})[2].decode())
    equal((got["messageTopic"], got["messageQOS"]), ("", 0), "context without")
    for query in ("?qos=3", "?qos=", "?qos=11", "?timeout=x", "?timeout=0", "?timeout=-1s", "?topic=%zz",
                  "?topic=" + "x" * 1024):
        equal(f.call(b"1", query=query)[0], 400, query[:20])


@test
def failures(t):
    f = Calls(t)
    message = f.error(500, {"do": "throw"}, "rpc error: code = Unknown desc = Exception calling application: ", "boom")
    equal(message["errorType"], "*status.statusError", "type")
    equal(json.loads(base64.b64decode(message["functionMessage"]["Payload"]).decode()), {"do": "throw"}, "input")
    f.error(502, {"do": "exit"}, "code = Unavailable desc = transport is closing")
    equal(f.error(404, b"1", "function (none) not found", name="none")["errorType"], "*errors.errorString", "type")
    f.error(413, b"x" * 4194300, "trying to send message larger than max")
    f.error(500, {"do": "big", "n": 4194305}, "received message larger than max")
    equal(f.call(b"1", name="py/other")[0], 404, "another name")
    equal(api.request(f.s, "/v1/functions/py", "POST", b"1")[0], 404, "not the route")
    equal(api.request(f.s, "/v1/functions/py/call", "PUT", b"1")[0], 405, "method")
    equal(f.call(b"1")[0], 200, "goes on")


@test
def function_that_does_not_start(t):
    f = Calls(t, functions="    - {name: bad, runtime: python3, handler: none.handler, codedir: py}\n")
    f.error(503, b"1", "failed to start an instance of function bad", name="bad")


@test
def statement(t):
    f = Calls(t, functions="    - {name: sql, runtime: sql, handler: 'select a, topic() as topic where a > 1'}\n")
    status, kind, body = f.call({"a": 2}, name="sql", query="?topic=t")
    equal((status, kind, json.loads(body.decode())), (200, "application/json", {"a": 2, "topic": "t"}), "a row")
    equal(f.call({"a": 1}, name="sql")[0], 204, "no row")
    got = api.get_json(f.s, "/v1/functions/sql")
    equal((got["state"], got["instances"], got["calls"], got["errors"]), ("ready", [], 2, 0), "listed")
    check(got["latency_us"]["max"] > 0, "a time")


@test
def too_large_for_any_function_is_refused_unread(t):
    f = Calls(t)
    head = b"POST /v1/functions/py/call HTTP/1.1\r\nHost: x\r\nContent-Length: 4194305\r\n\r\n"
    contains(api.raw(f.s, head), "413 Content Too Large")
    head = b"POST /v1/version HTTP/1.1\r\nHost: x\r\nContent-Length: 1048577\r\n\r\n"
    contains(api.raw(f.s, head), "413 Content Too Large")


# ---- Time ----

@test
def time_out_of_the_function(t):
    f = Calls(t, timeout="300ms")
    f.error(504, {"do": "sleep", "s": 60}, "code = DeadlineExceeded desc = context deadline exceeded")
    equal(f.call(b"1")[0], 200, "goes on")


@test
def time_out_of_the_client_leaves_the_instance(t):
    f = Calls(t)
    pid = json.loads(f.call({})[2].decode())["pid"]
    began = time.monotonic()
    f.error(504, {"do": "sleep", "s": 0.7}, "context deadline exceeded", query="?timeout=0.1")
    f.error(504, {"do": "sleep", "s": 9}, "context deadline exceeded", query="?timeout=100ms")  # only waits
    check(time.monotonic() - began < 0.6 * SLOW, "in time")
    equal(json.loads(f.call({})[2].decode())["pid"], pid, "the same instance")


@test
def client_that_goes_away(t):
    f = Calls(t, instances=1)
    pid = json.loads(f.call({})[2].decode())["pid"]
    for _ in range(12):
        s = socket.socket(socket.AF_UNIX)
        s.connect(api.path_of(f.s))
        body = b'{"do":"sleep","s":0.005}'
        s.sendall(b"POST /v1/functions/py/call HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        s.close()
    equal(json.loads(f.call({})[2].decode())["pid"], pid, "the same instance, after them all")


@test
def stop_answers_what_runs_and_what_waits(t):
    f = Calls(t)
    f.call({})
    got = []
    threads = [threading.Thread(target=lambda: got.append(f.call({"do": "sleep", "s": 0.4})[0])) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    equal(f.s.stop(), 0, "exit status")
    for thread in threads:
        thread.join()
    # What was sent ahead to the instance is done, too.
    check(len(got) == 3 and 200 in got and set(got) <= {200, 503}, "answers %r" % got)


# ---- Addresses of their own ----

@test
def address_with_a_token(t):
    f = Calls(t, "listen: ['tcp://127.0.0.1:0'], token: %s" % TOKEN)
    equal(f.post(b"hello"), (200, b"hello"), "with the token")
    for token in ("", "x" * 22, TOKEN[:-1], TOKEN + "x", TOKEN[:-1] + "X"):
        status, body = f.post(b"hello", token)
        equal((status, json.loads(body.decode())), (401, {"error": "Unauthorized"}), "with %r" % token)
    c = f.connect()
    c.request("POST", "/v1/functions/py/call", b"1", {"Authorization": "Basic " + TOKEN})
    r = c.getresponse()
    equal((r.status, r.getheader("WWW-Authenticate")), (401, "Bearer"), "another scheme")
    c = f.connect()
    for path in ("/metrics", "/v1/version", "/v1/hub/clients"):
        c.request("GET", path, headers={"Authorization": "Bearer " + TOKEN})
        r = c.getresponse()
        r.read()
        equal(r.status, 404, path)
    for _ in range(5):
        equal(f.post(b"again", connection=c), (200, b"again"), "kept alive")
    contains(f.s.log(), "id=CORE-HTTP-REFUSED msg=\"a request without the right token\" peer=127.0.0.1")
    check(TOKEN not in f.s.log(), "not logged")


@test
def head_ends_the_connection(t):
    f = Calls(t, "listen: ['tcp://127.0.0.1:0']")
    with socket.create_connection(("127.0.0.1", f.port()), timeout=5 * SLOW) as c:
        c.sendall(b"HEAD /v1/functions HTTP/1.1\r\nHost: x\r\n\r\n")
        got = b""
        while True:
            more = c.recv(4096)
            if not more:
                break
            got += more
    got = got.decode()
    contains(got, "405 ")
    contains(got, "Connection: close")


@test
def without_a_token_no_browser_page(t):
    f = Calls(t, "listen: ['tcp://127.0.0.1:0']")
    equal(f.post(b"hello", None), (200, b"hello"), "from here")
    equal(f.post(b"hello", None, Origin="http://example.com")[0], 403, "from a page")


@test
def token_file_and_hidden_function(t):
    folder = t.folder()
    path = os.path.join(folder, "token")
    with open(path, "w") as out:
        out.write("  " + TOKEN + "\n")
    os.chmod(path, 0o644)
    f = Calls(t, "listen: ['tcp://127.0.0.1:0', 'tcp://[::1]:0'], tokenfile: %s" % path, functions="    - "
              "{name: hidden, runtime: python3, handler: index.handler, codedir: py, calls: {http: false}}\n")
    equal(f.post(b"hello"), (200, b"hello"), "token")
    equal(f.post(b"hello", name="hidden")[0], 404, "hidden there")
    equal(f.call(b"hello", name="hidden")[0], 200, "not at the control socket")
    until(lambda: len(f.addresses()) == 2, what="two addresses")
    contains(f.s.log(), "id=FUNC-TOKEN-OPEN")
    os.chmod(path, 0o640)
    f.s.process.send_signal(signal.SIGHUP)
    until(lambda: "id=CORE-RELOAD" in f.s.log(), what="a reload")
    equal(f.s.log().count("id=FUNC-TOKEN-OPEN"), 1, "warnings")


@test
def addresses_that_are_refused(t):
    folder = t.folder()
    for http, part in (
            ("listen: ['tcp://0.0.0.0:0']", "can be reached from other machines, which needs a token"),
            ("listen: ['tcp://192.0.2.1:80', 'tcp://127.0.0.1:0']", "needs a token"),
            ("listen: ['tcp://:0']", "needs a token"),
            ("listen: ['ssl://127.0.0.1:0']", "needs certificate.cert and certificate.key"),
            ("listen: ['ftp://127.0.0.1:0']", "expected tcp://HOST:PORT"),
            ("listen: ['tcp://127.0.0.1']", "expected tcp://HOST:PORT"),
            ("listen: ['tcp://127.0.0.1:0'], token: short", "token"),
            ("listen: ['tcp://[::]:0']", "needs a token"),
            ("listen: ['tcp://127.0.0.1:0'], tokenfile: none", "tokenfile: none: No such file"),
            ("listen: ['ssl://127.0.0.1:0'], certificate: {cert: none, key: none}", "certificate.key: none: No such"),
            ("listen: ['tcp://[::ffff:127.0.0.1]:0']", "needs a token"),
            ("listen: ['tcp://0:0']", "needs a token"),
            ("listen: ['tcp://127.0.0.1.example.com:0']", "needs a token"),
            ("listen: [], token: %s, tokenfile: x" % TOKEN, "both given")):
        path = os.path.join(folder, "c.yml")
        with open(path, "w") as out:
            out.write("functions:\n  http: {%s}\n" % http)
        done = subprocess.run(RUNNER + [BAETYL, "check", "-c", path], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
        equal(done.returncode, 1, http)
        contains(done.stdout, part)


@test
def token_file_or_address_that_cannot_be(t):
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    taken.listen(1)
    for http, part in (("listen: ['tcp://127.0.0.1:0'], tokenfile: none", "FUNC-TOKEN"),
                       ("listen: ['tcp://127.0.0.1:%d']" % taken.getsockname()[1], "CORE-HTTP")):
        folder = t.folder()
        path = os.path.join(folder, "c.yml")
        with open(path, "w") as out:
            out.write("functions:\n  http: {%s}\n" % http)
        done = subprocess.run(RUNNER + [BAETYL, "start", "-w", folder, "-c", path], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=20 * SLOW)
        equal(done.returncode, 1, http)
        contains(done.stdout, "id=" + part)
    taken.close()


@test
def address_with_tls(t):
    a = Authority(t)
    cert, key = a.issue("server")
    f = Calls(t, "listen: ['ssl://localhost:0'], token: %s, certificate: {cert: %s, key: %s}" % (TOKEN, cert, key))
    trust = ssl.create_default_context(cafile=a.ca)
    c = f.connect(context=trust)
    for size in (0, 1, 16384, 16385, 100000, 3000000):
        body = b"\xff" * (size > 0) + os.urandom(max(0, size - 1))
        status, got = f.post(body, connection=c)
        equal(status, 200, "status of %d bytes" % size)
        check(got == body or size == 0, "the same %d bytes" % size)
    equal(f.post(b"x", token=None, connection=c)[0], 401, "no token")
    # What is no TLS at all, and a handshake that is left alone.
    port = f.port()
    plain = socket.create_connection(("localhost", port))
    plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
    plain.settimeout(10 * SLOW)
    while plain.recv(4096):
        pass
    until(lambda: "id=CORE-API-TLS" in f.s.log(), what="told")


@test
def address_with_client_certificates(t):
    a = Authority(t)
    cert, key = a.issue("server")
    mine = a.issue("caller")
    f = Calls(t, "listen: ['https://localhost:0'], certificate: {cert: %s, key: %s, ca: %s}" % (cert, key, a.ca))
    trust = ssl.create_default_context(cafile=a.ca)
    trust.load_cert_chain(*mine)
    equal(f.post(b"x", None, connection=f.connect(context=trust)), (200, b"x"), "with a certificate")
    try:
        f.post(b"x", None, connection=f.connect(context=ssl.create_default_context(cafile=a.ca)))
        check(False, "answered without a certificate")
    except (ssl.SSLError, ConnectionError, http.client.HTTPException):
        pass


@test
def reload_of_token_and_certificate(t):
    a = Authority(t)
    folder = t.folder()
    token, cert, key = (os.path.join(folder, name) for name in ("token", "cert", "key"))

    def write(name, secret):
        for source, target in zip(a.issue(name), (cert, key)):
            shutil.copy(source, target)
        with open(token, "w") as out:
            out.write(secret)

    def reload(f, what):
        n = f.s.log().count("id=" + what)
        f.s.process.send_signal(signal.SIGHUP)
        until(lambda: f.s.log().count("id=" + what) > n, what=what)

    write("first", TOKEN)
    f = Calls(t, "listen: ['ssl://localhost:0'], tokenfile: %s, certificate: {cert: %s, key: %s}" % (token, cert, key))
    trust = ssl.create_default_context(cafile=a.ca)

    def name():
        c = f.connect(context=trust)
        c.connect()
        return dict(pair[0] for pair in c.sock.getpeercert()["subject"])["commonName"]

    equal((name(), f.post(b"x", connection=f.connect(context=trust))[0]), ("first", 200), "at first")
    old = f.connect(context=trust)
    equal(f.post(b"x", connection=old)[0], 200, "a connection that stays")
    write("second", "another token, no: a word"[:13] + "0123456789")
    reload(f, "FUNC-TOKEN")  # two words: the old one stays
    equal((name(), f.post(b"x", connection=f.connect(context=trust))[0]), ("second", 200), "the certificate only")
    write("third", "another-0123456789")
    reload(f, "CORE-RELOAD")
    until(lambda: name() == "third", what="the third certificate")
    equal(f.post(b"x", connection=f.connect(context=trust))[0], 401, "the old token")
    equal(f.post(b"x", "another-0123456789", connection=old), (200, b"x"), "the new token, on the old connection")


# ---- What people see ----

@test
def command_call(t):
    f = Calls(t)
    call = lambda *args, **more: t.command("call", "-w", f.s.dir, *args, **more)
    code, out, err = call("py", '{"a": 1}')
    equal((code, err, json.loads(out.decode())["event"]), (0, b"", {"a": 1}), "result")
    raw_bytes = bytes(range(256)) * 300
    equal(call("py", "-", stdin=raw_bytes), (0, raw_bytes, b""), "bytes by standard input")
    path = os.path.join(t.folder(), "payload")
    with open(path, "wb") as file:
        file.write(raw_bytes)
    equal(call("-f", path, "py"), (0, raw_bytes, b""), "bytes from a file")
    equal(call("py", '{"do": "nothing"}'), (0, b"", b""), "nothing")
    equal(json.loads(call("py")[1].decode())["event"], {}, "no payload")
    code, out, err = call("py", '{"do": "context"}', "--topic", "a b/c?&", "--qos", "1")
    got = json.loads(out.decode())
    equal((got["messageTopic"], got["messageQOS"]), ("a b/c?&", 1), "context")
    code, out, err = call("py", '{"do": "throw"}')
    equal((code, out), (1, b""), "a failure")
    contains(json.loads(err.decode())["errorMessage"], "boom")
    code, out, err = call("py", "--timeout", "100ms", '{"do": "sleep", "s": 0.4}')
    equal(code, 1, "a time-out")
    contains(err, "context deadline exceeded")
    code, out, err = call("no/such one", "x")
    equal(code, 1, "an unknown one")
    contains(err, "function (no/such one) not found")
    equal(call()[0], 2, "no name")
    equal(call("py", "a", "b")[0], 2, "too much")
    equal(call("py", "a", "-f", path)[0], 2, "two payloads")
    equal(call("py", "-f", path + "x")[0], 1, "no such file")
    equal(call("--help")[0], 0, "help")
    other = t.baetyl()
    for command in (("functions",), ("call", "py")):
        code, out, err = t.command(*(command + ("-w", other.dir)))
        equal((code, out), (1, b""), "no functions there")
        contains(err, "runs no functions")
    code, out, err = t.command("call", "-w", t.folder(), "py")
    equal(code, 1, "nobody there")
    contains(err, "no answer from")


@test
def functions_are_listed(t):
    f = Calls(t, instances=2, functions="    - {name: bad, runtime: python3, handler: none.handler, codedir: py}\n"
              "    - {name: unused, runtime: python3, handler: index.handler, codedir: py}\n")
    pid = json.loads(f.call({})[2].decode())["pid"]
    f.call({"do": "throw"})
    f.call({"do": "exit"})
    f.call(b"1", name="bad")
    f.call({})
    got = {one["name"]: one for one in api.get_json(f.s, "/v1/functions")["functions"]}
    equal(sorted(got), ["bad", "py", "unused"], "names")
    py = got["py"]
    equal((py["state"], py["runtime"], py["max"], py["waiting"]), ("ready", "python3", 2, 0), "py")
    check(os.path.isabs(py["program"]), "program " + py["program"])
    equal((py["calls"], py["errors"], py["retries"]), (4, 2, 0), "counts")
    equal(py["outcomes"], {"ok": 2, "failed": 1, "broken": 1}, "outcomes")
    check(0 < py["latency_us"]["p50"] <= py["latency_us"]["p99"] <= py["latency_us"]["max"] < 30e6, "times")
    check(py["instances"][0]["pid"] not in (0, pid) and py["instances"][0]["memory_bytes"] > 1000000, "an instance")
    equal((py["instances"][0]["state"], py["instances"][0]["served"]), ("idle", 1), "an instance")
    equal((py["limits"]["timeout_ms"], py["limits"]["message_bytes"]), (30000, 4194304), "limits")
    equal((got["bad"]["state"], got["bad"]["start_failures"]), ("degraded", 1), "bad")
    contains(got["bad"]["reason"], "none")
    equal((got["unused"]["state"], got["unused"]["instances"], got["unused"]["latency_us"]["max"]),
          ("idle", [], 0), "unused")
    equal(api.get_json(f.s, "/v1/functions/unused")["name"], "unused", "one")
    equal(api.request(f.s, "/v1/functions/none")[0], 404, "none")
    m = api.metrics(f.s)
    equal(m['baetyl_function_calls_total{function="py"}'], 4, "calls")
    equal(m['baetyl_function_errors_total{function="py",outcome="broken"}'], 1, "errors")
    equal(m['baetyl_function_seconds_count{function="py"}'], 4, "times")
    equal(m['baetyl_function_degraded{function="bad"}'], 1, "degraded")
    code, out, err = t.command("functions", "-w", f.s.dir)
    equal((code, err), (0, b""), "status")
    rows = [line.split() for line in out.decode().splitlines()]
    equal(rows[0][:6], ["NAME", "STATE", "RUNTIME", "INSTANCES", "WAITING", "CALLS"], "head")
    equal([row[:7] for row in rows[1:]], [["py", "ready", "python3", "1/2", "0", "4", "2"],
                                          ["bad", "degraded", "python3", "0/1", "0", "1", "1"],
                                          ["unused", "idle", "python3", "0/1", "0", "0", "0"]], "rows")
    code, out, err = t.command("functions", "-w", f.s.dir, "bad")
    contains(out, "state       degraded: ")
    code, out, err = t.command("functions", "-w", f.s.dir, "py", "--json")
    equal(json.loads(out.decode())["calls"], 4, "JSON")
    equal(t.command("functions", "-w", f.s.dir, "none")[0], 1, "unknown")


# ---- Hostile ----

def raw(port, data, seconds=5):
    """Everything that comes back until the other side closes."""
    s = socket.create_connection(("127.0.0.1", port))
    s.settimeout(seconds * SLOW)
    got = b""
    try:
        s.sendall(data)
        while True:
            piece = s.recv(65536)
            if not piece:
                return got
            got += piece
    except ConnectionError:
        return got
    finally:
        s.close()


@test
def hostile_requests(t):
    f = Calls(t, "listen: ['tcp://127.0.0.1:0'], token: %s, timeout: 500ms" % TOKEN)
    port = f.port()
    login = b"Authorization: Bearer " + TOKEN.encode() + b"\r\n"
    line = b"POST /v1/functions/py/call HTTP/1.1\r\nHost: x\r\n"
    contains(raw(port, line + login + b"a: " + b"x" * 9000 + b"\r\n\r\n"), "431 ")
    contains(raw(port, b"POST /" + b"x" * 9000), "414 ")
    contains(raw(port, line + login + login + b"\r\n"), "401 ")
    contains(raw(port, line + login + b"Content-Length: 99999999999\r\n\r\n"), "413 ")
    contains(raw(port, line + login + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n"), "400 ")
    # 401 before a byte of the body is asked for.
    contains(raw(port, line + b"Content-Length: 4000000\r\n\r\n"), "401 ")
    # A body that does not come, one that comes slowly, and a head that comes slowly.
    began = time.monotonic()
    equal(raw(port, line + login + b"Content-Length: 10\r\n\r\n12345"), b"", "no answer")
    check(time.monotonic() - began < 3 * SLOW, "closed in time")
    s = socket.create_connection(("127.0.0.1", port))
    s.sendall(line + login + b"Transfer-Encoding: chunked\r\n\r\n")
    began = time.monotonic()
    try:
        while time.monotonic() - began < 5 * SLOW:
            s.sendall(b"1\r\nx\r\n")
            time.sleep(0.05)
        check(False, "a slow body was waited for")
    except ConnectionError:
        pass
    equal(f.post(b"hello"), (200, b"hello"), "goes on")


@test
def many_requests_are_bounded(t):
    f = Calls(t, "listen: ['tcp://127.0.0.1:0'], connections: 200",
              functions="    - {name: sql, runtime: sql, handler: 'select 1 as one'}\n")
    port = f.port()
    request = b"POST /v1/functions/py/call HTTP/1.1\r\nHost: x\r\nContent-Length: 21\r\n\r\n" + b'{"do":"sleep","s":60}'
    # Each client sends and goes; what it asked for stays under way.
    sent = refused = 0
    limit = time.monotonic() + 20 * SLOW
    for i in range(5000):
        try:
            s = socket.create_connection(("127.0.0.1", port), timeout=2)
            s.sendall(request)
            if i % 10 == 0:
                s.setblocking(False)
                time.sleep(0.001)
                refused += b" 429 " in s.recv(4096)
            sent += 1
            s.close()
        except BlockingIOError:
            s.close()
        except OSError:
            pass
        check(time.monotonic() < limit, "in time")
    check(sent > 2000, "%d were sent" % sent)
    check(f.s.alive(), "alive")
    with open("/proc/%d/status" % f.s.process.pid) as status:
        rss = int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1))
    check(rss < 200000 or SLOW > 1, "memory is %d kB" % rss)
    status, body = f.post(b"1", None)
    equal((status, json.loads(body.decode())["error"]), (429, "too many calls are under way"), "answer")
    equal(f.call({}, name="sql")[0], 200, "the control socket has calls of its own")
    with socket.create_connection(("127.0.0.1", port), timeout=5):
        pass
    equal(api.request(f.s, "/v1/version")[0], 200, "the control socket answers")
