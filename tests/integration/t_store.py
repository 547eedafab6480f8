"""The store from outside: durability, retention, damage, a full disk."""
import os
import random
import shutil
import time

import raw
from harness import HUB, SLOW, Failed, check, contains, equal, test, until
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
