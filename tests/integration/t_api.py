"""The control socket: HTTP on a Unix socket in the work folder."""
import os
import re
import socket
import stat

import api
import raw
from harness import ROOT, check, contains, equal, test, until
from raw import session

CLOSE = b"Connection: close\r\n\r\n"


@test
def socket_file(t):
    s = t.baetyl()
    mode = os.stat(api.path_of(s)).st_mode
    check(stat.S_ISSOCK(mode), "a socket")
    equal(stat.S_IMODE(mode), 0o660, "mode")
    equal(s.stop(), 0, "exit status")
    check(not os.path.exists(api.path_of(s)), "removed at the end")


@test
def left_by_a_killed_process(t):
    s = t.baetyl()
    s.kill()
    check(os.path.exists(api.path_of(s)), "still there")
    s.start()
    equal(api.request(s, "/v1/version")[0], 200, "status")


@test
def none_when_not_wanted(t):
    s = t.baetyl("api.socket: ''\nhub:\n  listen: ['tcp://127.0.0.1:0']\n")
    check(not os.path.exists(api.path_of(s)), "no socket")
    session(t, s, "x").ping()


@test
def a_path_that_cannot_be_is_a_warning(t):
    s = t.baetyl("api.socket: /proc/none/x.sock\nhub:\n  listen: ['tcp://127.0.0.1:0']\n")
    contains(s.log(), "CORE-API")
    session(t, s, "x").ping()


@test
def paths_and_methods(t):
    s = t.baetyl()
    equal(api.get_json(s, "/v1/version")["version"].count("."), 2, "version")
    equal(api.request(s, "/v1/version?x=1")[0], 200, "with a query")
    equal(api.request(s, "/v1/%76ersion")[0], 200, "encoded")
    equal(api.request(s, "/v1/versions")[0], 404, "unknown")
    equal(api.request(s, "/v1")[0], 404, "a part of one")
    equal(api.request(s, "/v1/version", "POST", b"{}")[0], 405, "method")
    equal(api.request(s, "/v1/version%00")[0], 400, "a NUL byte")


@test
def pipelined_and_kept_alive(t):
    s = t.baetyl()
    got = api.raw(s, b"GET /v1/version HTTP/1.1\r\nHost: x\r\n\r\n" * 3 +
                  b"GET /none HTTP/1.1\r\nHost: x\r\n" + CLOSE)
    equal(got.count(b"HTTP/1.1 200 OK"), 3, "answers")
    equal(got.count(b"HTTP/1.1 404"), 1, "the last one")
    c = api.UnixConnection(api.path_of(s))
    for _ in range(3):
        c.request("GET", "/v1/version")
        equal(c.getresponse().read()[:11], b'{"version":', "body")
    c.close()


@test
def what_is_not_http_is_answered_and_closed(t):
    s = t.baetyl()
    for data, status in (
            (b"hello\r\n\r\n", b"400"), (b"GET / HTTP/2.0\r\n\r\n", b"505"),
            (b"GET /" + b"x" * 10000 + b" HTTP/1.1\r\n\r\n", b"414"),
            (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 100 + b"\r\n", b"431"),
            (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n", b"413"),
            (b"GET /" + b"x" * 600 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"400"),
            (b"\x00" * 100, b"400")):
        got = api.raw(s, data)
        check(got.startswith(b"HTTP/1.1 " + status), "%r: %r" % (data[:30], got[:40]))
    equal(api.request(s, "/v1/version")[0], 200, "still there")


@test
def bodies(t):
    s = t.baetyl()
    head = b"POST /v1/version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    for rest in (b"Content-Length: 5\r\n\r\nhello",
                 b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
                 b"Content-Length: 300000\r\n\r\n" + b"z" * 300000):
        contains(api.raw(s, head + rest)[:20], "405")
    got = api.raw(s, head + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\nok")
    contains(got, "405", "answer")


@test
def connections_are_bounded(t):
    s = t.baetyl()
    held = []
    for _ in range(40):
        c = socket.socket(socket.AF_UNIX)
        c.connect(api.path_of(s))
        held.append(c)
    until(lambda: sum(1 for c in held if at_end(c)) == 24, what="the rest is closed")
    for c in held:
        c.close()
    until(lambda: answers(s), what="an answer again")


def at_end(c):
    c.setblocking(False)
    try:
        return c.recv(1) == b""
    except (BlockingIOError, ConnectionResetError):
        return False


def answers(s):
    try:
        return api.request(s, "/v1/version")[0] == 200
    except (OSError, api.http.client.HTTPException):
        return False


@test
def an_idle_connection_gives_way(t):
    s = t.baetyl()
    kept = []
    for _ in range(16):
        c = api.UnixConnection(api.path_of(s))
        c.request("GET", "/v1/version")
        c.getresponse().read()
        kept.append(c)
    for _ in range(3):
        equal(api.request(s, "/v1/version")[0], 200, "one more")
    kept[15].request("GET", "/v1/version")
    equal(kept[15].getresponse().status, 200, "the youngest is still there")
    for c in kept:
        c.close()


@test
def metrics_in_the_form_of_prometheus(t):
    s = t.baetyl()
    status, kind, body = api.request(s, "/metrics")
    equal((status, kind), (200, "text/plain; version=0.0.4; charset=utf-8"), "answer")
    text = body.decode()
    seen = set()
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            name = line.split()[2]
            check(name not in seen, name + " is one family")
            seen.add(name)
        elif not line.startswith("# HELP "):
            check(re.match(r"^baetyl_[a-z0-9_]+(\{[a-z]+=\"[^\"]*\"(,[a-z]+=\"[^\"]*\")*\})? -?[0-9.]+$", line),
                  "a line of the form: " + line)
    for name in seen:
        kind = re.search("# TYPE %s ([a-z]+)\n" % name, text).group(1)
        equal(name.endswith("_total"), kind == "counter", name + " is named as a counter")
    check(text.endswith("\n"), "the last line ends")


@test
def metrics_are_documented(t):
    """docs/observe.md has a row for every metric and every reason, and no others."""
    folder = t.folder()
    with open(os.path.join(folder, "index.py"), "w") as out:
        out.write("def handler(event, context):\n    raise ValueError(1)\n")
    s = t.baetyl("hub:\n  listen: ['tcp://127.0.0.1:0']\nfunctions:\n  functions: "
                 "[{name: f, runtime: python3, handler: index.handler, codedir: .}]\n", folder=folder)
    equal(api.request(s, "/v1/functions/f/call", "POST", b"1")[0], 500, "a call that fails")
    text = api.request(s, "/metrics")[2].decode()
    kinds = dict(re.findall(r"# TYPE (\S+) (\S+)", text))
    helps = dict(re.findall(r"# HELP (\S+) (.*)", text))
    with open(os.path.join(ROOT, "docs/observe.md")) as f:
        doc = f.read()
    rows = {row[0]: row for row in re.findall(r"^\| `(baetyl_\w+)` \| (\w+) \| ([^|]*) \| (.*) \|$", doc, re.M)}
    wrong = ["| `%s` | %s | ... | %s |" % (name, kinds[name], helps[name]) for name in kinds
             if name not in rows or (rows[name][1], rows[name][3]) != (kinds[name], helps[name])]
    check(not wrong, "rows of docs/observe.md to write:\n" + "\n".join(wrong))
    equal(sorted(set(rows) - set(kinds)), [], "documented, but gone")
    reasons = set(re.findall(r'messages_dropped_total\{reason="(\w+)"', text))
    documented = set(re.findall(r"^\| `(\w+)` \| [^|]* \|$", doc, re.M))
    equal(sorted(reasons ^ (documented - {"reason"})), [], "reasons")


@test
def version_tells_the_revision(t):
    s = t.baetyl()
    got = api.get_json(s, "/v1/version")
    code, out, _ = t.command("version")
    equal(code, 0, "status")
    contains(out, "Version:      %s\nGit revision: %s\n" % (got["version"], got["revision"]))
    if os.path.exists(os.path.join(ROOT, ".git")):
        check(re.match(r"^[0-9a-f]{7,40}$", got["revision"]), "a revision: " + got["revision"])


@test
def refused_before_a_login(t):
    s = t.baetyl("hub:\n  listen: ['tcp://127.0.0.1:0']\n  connect.timeout: 300ms\n")
    raw.Raw(t, s.port).send(raw.packet(0xc0)).closed()
    raw.Raw(t, s.port).send(b"\x10\x02ab").closed()
    raw.Raw(t, s.port).closed()
    m = api.metrics(s)
    got = {k: v for k, v in m.items() if 'what="connect"' in k and v}
    equal(got, {'baetyl_hub_refused_total{what="connect",reason="%s"}' % k: 1
                for k in ("protocol_error", "malformed", "timeout")}, "refused")


@test
def metrics_count(t):
    s = t.baetyl()
    sub = session(t, s, "sub", ("a/#", 1), ("$share/g/b", 0))
    pub = session(t, s, "pub")
    for i in range(5):
        pub.send(raw.publish("a/x", "12345", qos=1, pid=i + 1)).expect(raw.PUBACK)
    pub.send(raw.publish("kept", "123", retain=True)).ping()
    for _ in range(5):
        sub.message()
    sub.ping()
    m = api.metrics(s)
    want = {"messages_received_total": 6, "messages_sent_total": 5, "payload_bytes_received_total": 28,
            "payload_bytes_sent_total": 25, "connections": 2, 'sessions{state="online"}': 2,
            "subscriptions": 2, "shared_subscriptions": 1, "retained_messages": 1, "retained_bytes": 7,
            'packets_received_total{type="publish"}': 6, 'packets_received_total{type="puback"}': 5,
            'packets_sent_total{type="publish"}': 5, 'packets_sent_total{type="puback"}': 5,
            'packets_received_total{type="connect"}': 2, 'packets_sent_total{type="connack"}': 2,
            'packets_sent_total{type="suback"}': 1, "queued_messages": 0, "inflight_messages": 0,
            'transport_connections{transport="tcp"}': 2, "connections_accepted_total": 2}
    for name, value in want.items():
        equal(m["baetyl_hub_" + name], value, name)
    sub.close()
    pub.close()
    until(lambda: api.metrics(s)["baetyl_hub_connections"] == 0, what="no connections")
    m = api.metrics(s)
    for name in ('sessions{state="online"}', 'sessions{state="offline"}', "subscriptions",
                 'transport_connections{transport="tcp"}', "shared_subscriptions"):
        equal(m["baetyl_hub_" + name], 0, name)
    check(m['baetyl_hub_worker_cpu_seconds_total{worker="0"}'] > 0, "processor time")
