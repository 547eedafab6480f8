"""The $SYS topics."""
import re
import time

import raw
from harness import SLOW, Skip, check, contains, equal, need_tool, test, until
from raw import Raw, session

FAST = "hub:\n  listen: ['tcp://127.0.0.1:0']\n  sys.interval: 100ms\n"
NAMES = """version uptime clients/total clients/connected clients/disconnected clients/maximum
clients/expired clients/active clients/inactive messages/received messages/sent messages/stored
messages/inflight publish/messages/received publish/messages/sent publish/messages/dropped
publish/bytes/received publish/bytes/sent bytes/received bytes/sent subscriptions/count
shared_subscriptions/count store/messages/count store/messages/bytes heap/current heap/maximum""".split()
NAMES += ["retained messages/count"]
NAMES += ["load/%s/%s" % (what, time_) for time_ in ("1min", "5min", "15min")
          for what in ("messages/received", "messages/sent", "publish/received", "publish/sent",
                       "publish/dropped", "bytes/received", "bytes/sent", "sockets", "connections")]


def collect(r, seconds=0.3, into=None):
    """{topic: value} of what arrives until it is quiet for so long."""
    got = {} if into is None else into
    while True:
        try:
            m = r.message(seconds / SLOW)
        except Exception:  # pylint: disable=broad-except
            return got
        got[m["topic"]] = m["payload"].decode()


def watch(t, s, *filters, **options):
    r = Raw(t, s.port)
    r.login("watch", **options)
    equal(r.send(raw.subscribe(*[(f, 0) for f in filters])).expect(raw.SUBACK)[2:], b"\0" * len(filters), "codes")
    return r


@test
def the_names_of_mosquitto_at_once_and_retained(t):
    s = t.baetyl()
    r = watch(t, s, "$SYS/broker/#")
    first = r.message()
    equal((first["retain"], first["qos"]), (1, 0), "flags")
    got = collect(r, into={first["topic"]: first["payload"].decode()})
    equal(sorted(n[len("$SYS/broker/"):] for n in got), sorted(NAMES), "names")
    check(re.match(r"^baetyl version \d+\.\d+\.\d+$", got["$SYS/broker/version"]), "version")
    check(re.match(r"^\d+ seconds$", got["$SYS/broker/uptime"]), "uptime")
    equal(got["$SYS/broker/clients/connected"], "1", "connected")
    check(int(got["$SYS/broker/heap/current"]) > 100000, "heap")


@test
def every_metric_has_a_topic(t):
    import api
    s = t.baetyl()
    got = collect(watch(t, s, "$SYS/baetyl/#"))
    for name in api.metrics(s):
        if re.search(r"_bucket|_sum$|_count$", name):
            continue
        base, labels = re.match(r"^baetyl_([^{]*)(.*)$", name).groups()
        module, rest = base.split("_", 1)
        topic = "/".join(["$SYS/baetyl", module, rest] + re.findall('"([^"]*)"', labels))
        check(topic in got, "%s for %s" % (topic, name))


@test
def the_numbers_are_right(t):
    s = t.baetyl(FAST.replace("100ms", "500ms"))
    sub = session(t, s, "sub", ("a", 1), ("$share/g/b", 0))
    pub = session(t, s, "pub")
    for i in range(10):
        pub.send(raw.publish("a", "12345", qos=1, pid=i + 1)).expect(raw.PUBACK)
        sub.message()
    pub.send(raw.publish("kept", "x", retain=True), raw.publish("nobody", "123")).ping()
    off = session(t, s, "off", ("z", 0), clean=False)
    off.send(raw.packet(0xe0)).closed()
    pub.send(raw.publish("z", "lost")).ping()
    sub.ping()
    r = watch(t, s, "$SYS/broker/#")
    got = collect(r, 0.05)
    want = {"publish/messages/received": "13", "publish/bytes/received": "58", "clients/connected": "3",
            "clients/disconnected": "1", "clients/total": "4", "clients/maximum": "3",
            "publish/messages/dropped": "1", "retained messages/count": "1", "shared_subscriptions/count": "1",
            "subscriptions/count": "4"}
    for name, value in want.items():
        equal(got["$SYS/broker/" + name], value, name)
    check(float(got["$SYS/broker/load/publish/received/1min"]) > 0, "load")
    # Live updates: only what changed, and not as retained.
    pub.send(raw.publish("kept2", "x", retain=True)).ping()
    until(lambda: collect(r, 0.15, got)["$SYS/broker/retained messages/count"] == "2", what="an update")
    again = {}
    deadline = time.monotonic() + 1.5
    while time.monotonic() < deadline:
        m = r.message(2)
        equal(m["retain"], 0, "retain of an update")
        again[m["topic"]] = 1
    check("$SYS/broker/version" not in again and "$SYS/broker/clients/total" not in again, "only changes")


@test
def wildcards_do_not_reach_it(t):
    s = t.baetyl(FAST)
    r = session(t, s, "all", ("#", 0), ("+/#", 0), ("+/broker/uptime", 0))
    w = watch(t, s, "$SYS/broker/uptime")
    contains(w.message()["payload"], "seconds")
    contains(w.message(3)["payload"], "seconds", "an update")
    r.quiet(0.5)


@test
def nobody_can_publish_there(t):
    s = t.baetyl()
    w = watch(t, s, "$SYS/broker/version", "$SYS/mine/#")
    w.message()
    session(t, s, "old").send(raw.publish("$SYS/mine/x", "1")).closed()
    r = Raw(t, s.port)
    r.login("new", level=5)
    body = r.send(raw.publish("$SYS/broker/version", "1", qos=1, level=5)).expect(raw.PUBACK)
    equal(body[2], 0x87, "reason")
    w.quiet()


@test
def other_dollar_topics_stay_closed(t):
    s = t.baetyl()
    r = Raw(t, s.port)
    r.login("c")
    filters = ("$OTHER/#", "$SYSTEM/x", "$", "$S/#", "$share/g/$OTHER/#")
    equal(r.send(raw.subscribe(*[(f, 0) for f in filters])).expect(raw.SUBACK)[2:], b"\x80" * 5, "codes")
    equal(r.send(raw.subscribe(("$share/g/$SYS/broker/uptime", 0))).expect(raw.SUBACK)[2:], b"\0", "shared")


@test
def principals_need_a_permit(t):
    s = t.baetyl("""
hub:
  listen: ['tcp://127.0.0.1:0']
  principals:
    - {username: all, password: p, permissions: [{action: sub, permit: ['#']}]}
    - {username: sys, password: p, permissions: [{action: sub, permit: ['$SYS/broker/#']}]}
""")
    r = Raw(t, s.port)
    r.login("all", user="all", password="p")
    equal(r.send(raw.subscribe(("$SYS/#", 0), ("$SYS/broker/uptime", 0))).expect(raw.SUBACK)[2:], b"\x80\x80", "all")
    r = Raw(t, s.port)
    r.login("sys", user="sys", password="p")
    body = r.send(raw.subscribe(("$SYS/#", 0), ("$SYS/broker/uptime", 0))).expect(raw.SUBACK)
    equal(body[2:], b"\x80\0", "sys")
    contains(r.message()["payload"], "seconds")


@test
def anonymous_from_elsewhere_may_not(t):
    import os
    addresses = [a for a in os.popen("hostname -I 2>/dev/null").read().split() if ":" not in a]
    if not addresses:
        raise Skip("no address but loopback")
    s = t.baetyl("hub:\n  listen: ['tcp://127.0.0.1:0', 'tcp://0.0.0.0:0']\n  anonymous: true\n")
    r = Raw(t, s.ports()[1])
    r.login("far")
    equal(r.send(raw.subscribe(("$SYS/#", 0), ("a", 0))).expect(raw.SUBACK)[2:], b"\x80\0", "codes")
    watch(t, s, "$SYS/broker/version").message()


@test
def off(t):
    s = t.baetyl("hub:\n  listen: ['tcp://127.0.0.1:0']\n  sys.interval: 0\n")
    r = Raw(t, s.port)
    r.login("c")
    equal(r.send(raw.subscribe(("$SYS/#", 0))).expect(raw.SUBACK)[2:], b"\x80", "code")


@test
def every_worker_serves_it(t):
    s = t.baetyl("hub:\n  listen: ['tcp://127.0.0.1:0']\n  sys.interval: 200ms\n  workers: 4\n")
    clients = [session(t, s, "w%d" % i, ("$SYS/broker/uptime", 0), ("$SYS/broker/bytes/sent", 0)) for i in range(12)]
    for c in clients:
        equal(sorted(c.message()["topic"] for _ in range(2)), ["$SYS/broker/bytes/sent", "$SYS/broker/uptime"], "at once")
    for c in clients:
        equal(c.message(5)["retain"], 0, "an update")


@test
def a_persistent_subscription_survives_a_restart(t):
    s = t.baetyl(FAST)
    c = session(t, s, "p", ("$SYS/broker/uptime", 1), clean=False)
    c.message()
    c.send(raw.packet(0xe0)).closed()
    s.kill()
    s.start()
    c = Raw(t, s.port)
    equal(c.login("p", clean=False), 1, "session present")
    contains(c.message(5)["payload"], "seconds")


@test
def nobody_watches_nothing_runs(t):
    s = t.baetyl("hub:\n  listen: ['tcp://127.0.0.1:0']\n  sys.interval: 10ms\n  workers: 1\n")
    c = watch(t, s, "$SYS/broker/uptime")
    c.message()
    c.close()

    def switches():
        n = 0
        import glob
        for path in glob.glob("/proc/%d/task/*/status" % s.process.pid):
            with open(path) as f:
                text = f.read()
            if "Name:\thub.0" in text:
                n += int(re.search(r"voluntary_ctxt_switches:\s*(\d+)", text).group(1))
        return n
    until(lambda: idle(switches), 10, "an idle worker")


def idle(switches):
    before = switches()
    time.sleep(0.5)
    return switches() - before <= 2


@test
def with_mosquitto_sub(t):
    tool = need_tool("mosquitto_sub")
    s = t.baetyl()
    code, out, _ = t.run([tool, "-p", str(s.port), "-t", "$SYS/broker/version", "-C", "1", "-W", "5"])
    equal(code, 0, "status")
    contains(out, "baetyl version")
