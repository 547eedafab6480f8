"""The store from outside: durability, retention, damage, a full disk."""
import os
import random
import shutil
import signal
import sys
import threading
import time

import raw
from harness import HUB, ROOT, SLOW, Failed, Skip, check, contains, equal, need_tool, test, until
from raw import Raw, session


def offline(t, s, client_id, *filters, **options):
    """A persistent session whose client has gone."""
    r = session(t, s, client_id, *filters, clean=False, **options)
    r.send(raw.packet(0xe0)).closed()
    r.close()


def publish(t, s, topic, count, client_id="pub", size=0, retain=False):
    """QoS 1, a window of 100 at a time, all acknowledged."""
    pub = session(t, s, client_id)
    for start in range(0, count, 100):
        some = range(start, min(start + 100, count))
        pub.send(*[raw.publish(topic, str(i).ljust(size), qos=1, pid=i % 60000 + 1, retain=retain)
                   for i in some])
        for _ in some:
            pub.expect(raw.PUBACK)
    pub.close()


def drain(t, s, client_id, seconds=0.5):
    """The payloads that wait for a session."""
    r = Raw(t, s.port)
    r.login(client_id, clean=False)
    got = []
    while True:
        try:
            got.append(r.message(seconds)["payload"].decode().strip())
        except Failed:
            r.close()
            return got


@test
def batched_survives_what_is_older_than_the_interval(t):
    s = t.baetyl(HUB + "  durability: batched(200ms)\n")
    offline(t, s, "off", ("o", 1))
    start = time.monotonic()
    publish(t, s, "o", 1000)
    check(time.monotonic() - start < 5, "acknowledged without waiting for commits")
    time.sleep(0.6)
    s.kill()
    s.start()
    equal(drain(t, s, "off"), [str(i) for i in range(1000)], "messages")


@test
def batched_stops_clean(t):
    s = t.baetyl(HUB + "  durability: batched(1m)\n")
    offline(t, s, "off", ("o", 1))
    publish(t, s, "o", 50)
    equal(s.stop(), 0, "exit status")
    s.start()
    equal(drain(t, s, "off"), [str(i) for i in range(50)], "messages")


@test
def batched_is_read_at_once(t):
    s = t.baetyl(HUB + "  durability: batched(1m)\n")
    offline(t, s, "off", ("o", 1))
    publish(t, s, "o", 2000)
    equal(drain(t, s, "off"), [str(i) for i in range(2000)], "messages")


@test
def retention_removes_what_waits_too_long(t):
    s = t.baetyl(HUB + "  message.ingress.qos1.cleanup: {retention: 1s, interval: 200ms}\n")
    offline(t, s, "off", ("o", 1))
    publish(t, s, "o", 3)
    time.sleep(1.6)
    publish(t, s, "o", 1, "pub2")
    equal(drain(t, s, "off"), ["0"], "messages")


# ---- Damage ----

SIZE_MB = int(os.environ.get("STORE_MB", 20))
SAMPLES = int(os.environ.get("STORE_SAMPLES", 12))
PAGE = 4096


def folder_of(s):
    return os.path.join(s.dir, "var/db/baetyl/data")


def fill(t, s, megabytes, queues=4):
    """Messages of about 1 KB that wait for some sessions; how many."""
    for i in range(queues):
        offline(t, s, "off%d" % i, ("o/#", 1))
    count = megabytes * 900
    publish(t, s, "o/x", count, size=1000)
    pub = session(t, s, "ret")
    for i in range(50):
        pub.send(raw.publish("r/%d" % i, "kept", qos=1, pid=i + 1, retain=True)).expect(raw.PUBACK)
    pub.close()
    return count


def harm(path, page, how, rng):
    with open(path, "r+b") as f:
        f.seek(page * PAGE)
        old = f.read(PAGE)
        f.seek(page * PAGE)
        if how == "zero":
            f.write(b"\0" * len(old))
        elif how == "flip":
            new = bytearray(old)
            for _ in range(20):
                new[rng.randrange(len(new))] ^= 1 << rng.randrange(8)
            f.write(new)
        else:
            f.truncate(page * PAGE + PAGE // 2)


def set_aside(s):
    return [n for n in os.listdir(folder_of(s)) if ".damaged-" in n and not n.endswith("-wal")]


def copy_back(s, saved):
    shutil.rmtree(folder_of(s))
    shutil.copytree(saved, folder_of(s))


def count_waiting(t, s, client_id):
    """How many messages wait for a session, told by the log of the salvage or by reading."""
    r = Raw(t, s.port)
    r.login(client_id, clean=False)
    n = 0
    try:
        while True:
            r.message(1)
            n += 1
    except Failed:
        r.close()
        return n


def damaged_pages(t, name):
    """Starts with one page after the other damaged; the hub must come up each time."""
    rng = random.Random(int(os.environ.get("SEED", 7)))
    s = t.baetyl()
    count = fill(t, s, SIZE_MB)
    if name.endswith("-wal"):
        s.kill()
    else:
        s.stop()
    saved = os.path.join(t.folder(), "saved")
    shutil.copytree(folder_of(s), saved)
    size = os.path.getsize(os.path.join(saved, name))
    slowest, aside = 0, 0
    for i in range(SAMPLES):
        copy_back(s, saved)
        page = 0 if i == 0 else rng.randrange(size // PAGE)
        harm(os.path.join(folder_of(s), name), page, ("zero", "flip", "cut")[i % 3], rng)
        began = time.monotonic()
        s.start(wait=False)
        until(s.ready, 60, "ready after damage to page %d" % page)
        slowest = max(slowest, time.monotonic() - began)
        aside += len(set_aside(s))
        if i % 3 != 2:
            if i % 4 == 0:
                left = count_waiting(t, s, "off0")
                check(left >= count * 0.9, "page %d: %d of %d are left" % (page, left, count))
            equal(session(t, s, "x", ("r/#", 1)).message()["payload"], b"kept", "retained")
        s.kill()
    check(aside > 0, "no file was ever set aside")
    print("    %s of %d MB: %d damaged pages, %d times set aside, slowest start %.1f s"
          % (name, size >> 20, SAMPLES, aside, slowest))


@test
def damaged_pages_of_the_file(t):
    damaged_pages(t, "hub.db")


@test
def damaged_pages_of_the_log(t):
    damaged_pages(t, "hub.db-wal")


@test
def killed_while_salvaging(t):
    s = t.baetyl()
    count = fill(t, s, SIZE_MB // 2, 1)
    s.stop()
    with open(os.path.join(folder_of(s), "hub.db"), "r+b") as f:
        f.seek(100)
        f.write(b"\xff" * 3000)
    for i in range(12):
        s.start(wait=False)
        time.sleep(0.02 + 0.03 * i)
        s.kill()
    s.start()
    equal(len(set_aside(s)), 1, "files set aside: %s" % os.listdir(folder_of(s)))
    equal(count_waiting(t, s, "off0"), count, "messages")


@test
def a_store_has_one_process(t):
    s = t.baetyl()
    other = t.folder()
    config = HUB + "  storage.dir: %s\n" % folder_of(s)
    second = t.baetyl(config, folder=other, start=False).start(wait=False)
    check(second.process.wait(10 * SLOW) != 0, "the second one ended")
    contains(second.log(), "in use by another process")
    session(t, s, "c").ping()
    equal(set_aside(s), [], "set aside")


@test
def damage_while_running_is_mended_without_help(t):
    s = t.baetyl()
    count = fill(t, s, SIZE_MB, 1)
    s.stop()
    s.start()
    # The file is small enough to have been checked; what is read now is damaged after it.
    path = os.path.join(folder_of(s), "hub.db")
    with open(path, "r+b") as f:
        for page in range(400, 430):
            f.seek(page * PAGE)
            f.write(b"\xee" * PAGE)
    port = s.port
    r = Raw(t, port)
    r.login("off0", clean=False)
    try:
        while True:
            r.message(5)
    except Failed:
        pass
    until(lambda: set_aside(s), 20, "a file set aside")
    until(lambda: "store was salvaged" in s.log() and s.log().count('msg="ready"') == 3, 20, "a new start")
    check(s.alive(), "the same process")
    s_port = until(s.ports, 5)[0]
    r = Raw(t, s_port)
    equal(r.login("off0", clean=False), 1, "session present")
    n = 0
    try:
        while True:
            r.message(1)
            n += 1
    except Failed:
        pass
    check(n > count * 0.5, "%d of %d messages" % (n, count))
    equal(s.stop(), 0, "exit status")


# ---- Budgets ----

def puback(r, seconds=10):
    """(packet identifier, reason) of the next PUBACK; other packets are passed over."""
    while True:
        got = r.packet(seconds)
        if got is None:
            raise Failed("closed, expected a PUBACK")
        if got[0] == raw.PUBACK:
            return int.from_bytes(got[2][:2], "big"), got[2][2] if len(got[2]) > 2 else 0


def disk_usage(s):
    return sum(os.path.getsize(os.path.join(folder_of(s), n)) for n in os.listdir(folder_of(s)))


def fill_up(r, limit, size=4000, level=5, topic="o"):
    """Publishes until the hub refuses; how many were acknowledged."""
    body = b"x" * size
    for i in range(limit):
        r.send(raw.publish(topic, str(i).encode().ljust(8) + body, qos=1, pid=i % 60000 + 1, level=level))
        if puback(r)[1] >= 0x80:
            return i
    raise Failed("never refused in %d publishes" % limit)


@test
def a_full_budget_refuses_and_recovers(t):
    s = t.baetyl(HUB + "  limits: {disk: 8m}\n")
    offline(t, s, "off", ("o", 1))
    v5 = session(t, s, "pub5", level=5)
    # Version 5 waits while the hub finds out, so the first refusal may take a moment.
    v3 = session(t, s, "pub3")
    count = 0
    body = b"x" * 4000
    while count < 3000:
        v3.send(raw.publish("o", b"%-8d" % count + body, qos=1, pid=count % 60000 + 1))
        try:
            puback(v3, 2)
        except Failed:
            break
        count += 1
    check(500 < count < 3000, "%d were stored" % count)
    v5.send(raw.publish("o", "no", qos=1, pid=1, level=5))
    equal(puback(v5)[1], 0x97, "reason of version 5")
    check(disk_usage(s) <= 8 << 20, "%d bytes used" % disk_usage(s))
    # QoS 0 flows, and so does QoS 1 that needs no row.
    live = session(t, s, "live", ("live", 1))
    v5.send(raw.publish("live", "a", qos=0, level=5))
    equal(live.message()["payload"], b"a", "QoS 0")
    v5.send(raw.publish("live", "b", qos=1, pid=2, level=5))
    equal(live.message()["payload"], b"b", "QoS 1")
    equal(puback(v5), (2, 0), "PUBACK")
    # The backlog makes room; the one that waited is acknowledged and delivered, too.
    r = Raw(t, s.port)
    r.login("off", clean=False)
    for i in range(count + 1):
        equal(r.message()["payload"][:8], b"%-8d" % i, "message")
    equal(puback(v3)[1], 0, "the one that waited")
    def accepted():
        v5.send(raw.publish("o", "yes", qos=1, pid=3, level=5))
        return puback(v5)[1] == 0
    until(accepted, 10, "stored again")
    equal(r.message()["payload"], b"yes", "message")


@test
def a_full_disk_waits_and_loses_nothing(t):
    if os.geteuid() != 0:
        raise Skip("needs root")
    unshare = need_tool("unshare")
    folder = t.folder()
    script = ("mount -t tmpfs -o size=4m tmpfs %s/data && exec \"$@\"" % folder)
    os.mkdir(os.path.join(folder, "data"))
    s = t.baetyl(HUB + "  storage.dir: %s/data\n" % folder, start=False)
    s.start(prefix=[unshare, "-m", "sh", "-c", script, "sh"])
    offline(t, s, "off", ("o", 1))
    v3 = session(t, s, "pub3")
    acked, sent, body = 0, 0, b"x" * 4000
    while sent < 2000:
        v3.send(raw.publish("o", b"%-8d" % sent + body, qos=1, pid=sent + 1))
        sent += 1
        try:
            puback(v3, 2)
        except Failed:
            break
        acked += 1
    check(50 < acked < 2000, "%d were stored" % acked)
    live = session(t, s, "live", ("live", 0))
    live.send(raw.publish("live", "a")).expect(raw.PUBLISH)
    r = Raw(t, s.port)
    r.login("off", clean=False)
    for i in range(sent):
        equal(r.message(10)["payload"][:8], b"%-8d" % i, "message")
    equal(puback(v3)[1], 0, "the one that waited")
    equal(s.stop(), 0, "exit status")


@test
def a_failing_synchronisation_loses_nothing(t):
    if SLOW > 1:
        raise Skip("sanitizers do not work under strace")
    strace = need_tool("strace")
    s = t.baetyl(start=False)
    s.start(prefix=[strace, "-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync,fsync", "-e",
                    "inject=fdatasync:error=EIO:when=20..25"])
    offline(t, s, "off", ("o", 1))
    pub = session(t, s, "pub")
    for i in range(100):
        pub.send(raw.publish("o", str(i), qos=1, pid=i + 1))
        equal(puback(pub, 30), (i + 1, 0), "PUBACK")
    contains(s.log(), "store writes again")
    s.process.send_signal(signal.SIGTERM)
    s.process.wait(20)
    s.start()
    equal(drain(t, s, "off"), [str(i) for i in range(100)], "messages")


@test
def queue_limits_of_a_session(t):
    s = t.baetyl(HUB + "  limits.session: {messages: 10, qos1: drop-oldest}\n")
    offline(t, s, "off", ("o", 1))
    publish(t, s, "o", 25)
    equal(drain(t, s, "off"), [str(i) for i in range(15, 25)], "the newest are kept")
    s = t.baetyl(HUB + "  limits.session: {bytes: 1000, qos1: refuse-newest}\n")
    offline(t, s, "off", ("o", 1))
    publish(t, s, "o", 20, size=99)
    equal(drain(t, s, "off"), [str(i) for i in range(10)], "the oldest are kept")


@test
def clean_sessions_never_touch_the_disk(t):
    if SLOW > 1:
        raise Skip("sanitizers do not work under strace")
    strace = need_tool("strace")
    s = t.baetyl(start=False)
    trace = os.path.join(s.dir, "trace")
    s.start(prefix=[strace, "-D", "-f", "-qq", "-o", trace, "-e", "trace=fdatasync,fsync,pwrite64"])
    sub = session(t, s, "sub", ("o", 1))
    pub = session(t, s, "pub")
    before = os.path.getsize(trace)
    check(before > 0, "the trace has what the start wrote")
    for i in range(50):
        pub.send(raw.publish("o", str(i), qos=1, pid=i + 1))
        sub.message()
        puback(pub)
    equal(os.path.getsize(trace), before, "system calls that write")


@test
def memory_has_a_budget(t):
    if SLOW > 1:
        raise Skip("sizes mean nothing here")
    s = t.baetyl(HUB + "  limits: {memory: 8m, queue: {bytes: 64m}}\n  message.length.max: 1m\n")
    slow = [session(t, s, "slow%d" % i, ("o", 0)) for i in range(4)]
    pub = session(t, s, "pub")
    fast = session(t, s, "fast", ("p", 0))
    for i in range(400):
        pub.send(raw.publish("o", b"z" * 100000))
    pub.ping()
    pub.send(raw.publish("p", "through"))
    equal(fast.message()["payload"], b"through", "others")
    with open("/proc/%d/status" % s.process.pid) as f:
        rss = int([line for line in f if line.startswith("VmRSS")][0].split()[1]) >> 10
    check(rss < 8 + 8 + 20, "%d MB resident" % rss)
    for r in slow:
        r.close()


@test
def a_backlog_is_drained_in_order_in_bounded_memory(t):
    sys.path.insert(0, os.path.join(ROOT, "tests", "bench"))
    import backlog
    if SLOW > 1:
        raise Skip("rates mean nothing here")
    got = backlog.run(int(os.environ.get("BACKLOG", 100000)), 32)
    check(got["rss_backlog_kb"] < got["rss_idle_kb"] + 16384, "resident: %r" % got)
    check(got["rss_drained_kb"] < got["rss_idle_kb"] + 16384, "resident: %r" % got)
    check(got["drain_rate"] > 20000, "rate: %r" % got)
    p99 = got["live_during_us"][1]
    check(p99 < max(20000, 4 * got["live_before_us"][1]), "latency of others: %r" % got)


@test
def memory_is_bounded_while_the_disk_is_slow(t):
    if SLOW > 1:
        raise Skip("sizes mean nothing here")
    strace = need_tool("strace")
    s = t.baetyl(HUB + "  limits: {memory: 8m}\n", start=False)
    s.start(prefix=[strace, "-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync", "-e",
                    "inject=fdatasync:delay_enter=50000"])
    offline(t, s, "off", ("o", 1))
    body, count = b"x" * 64000, 300
    v5 = session(t, s, "v5", level=5)
    pubs = [session(t, s, "pub%d" % i) for i in range(4)]
    for r in pubs:
        r.s.settimeout(50)
    threads = [threading.Thread(target=r.send, args=[raw.publish("o", b"%d" % i + body, qos=1, pid=i + 1)
                                                     for i in range(count)], daemon=True) for r in pubs]
    for thread in threads:
        thread.start()
    worst, refused = 0, 0
    for i in range(200):
        with open("/proc/%d/status" % s.process.pid) as f:
            rss = int([line for line in f if line.startswith("VmRSS")][0].split()[1]) >> 10
        worst = max(worst, rss)
        v5.send(raw.publish("o", "small", qos=1, pid=i + 1, level=5))
        refused += puback(v5, 30)[1] == 0x97
        if not any(thread.is_alive() for thread in threads) and i > 20:
            break
        time.sleep(0.02)
    for thread in threads:
        thread.join(40)
    for r in pubs:
        for _ in range(count):
            equal(puback(r, 30)[1], 0, "reason")
    print("    77 MB through 8 MB: at most %d MB resident, version 5 refused %d times" % (worst, refused))
    check(worst < 8 + 8 + 16, "%d MB resident" % worst)
