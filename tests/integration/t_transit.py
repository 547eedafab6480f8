"""Publishers on one worker, slower receivers on another: bounded memory, and everything flows."""
import os
import selectors
import threading
import time

import raw
from harness import Skip, check, test
from raw import session

HUB = "hub:\n  listen: ['tcp://127.0.0.1:0']\n  workers: 2\n  limits: {queue: {bytes: 64k}}\n"


def home(client_id):
    """As the hub spreads client identifiers over its workers."""
    h = 2166136261
    for c in client_id.encode():
        h = (h ^ c) * 16777619 & 0xffffffff
    return (h ^ h >> 15) % 2


def ids(worker, n, prefix):
    found, i = [], 0
    while len(found) < n:
        if home(prefix + str(i)) == worker:
            found.append(prefix + str(i))
        i += 1
    return found


def resident_mb(pid):
    with open("/proc/%d/status" % pid) as f:
        return int(next(line for line in f if line.startswith("VmRSS")).split()[1]) // 1024


@test
def a_fast_publisher_waits_for_the_other_worker(t):
    if os.environ.get("BAETYL_SAN"):
        raise Skip("resident memory means nothing under a sanitizer")
    s = t.baetyl(HUB)
    subs = [session(t, s, i, ("t", 0)) for i in ids(1, 40, "s")]
    pub = session(t, s, ids(0, 1, "p")[0])
    selector, got, done = selectors.DefaultSelector(), [0], threading.Event()
    for r in subs:
        r.s.setblocking(False)
        selector.register(r.s, selectors.EVENT_READ)

    def drain():
        while not done.is_set():
            for key, _ in selector.select(0.1):
                try:
                    got[0] += len(key.fileobj.recv(1 << 20))
                except BlockingIOError:
                    pass
    thread = threading.Thread(target=drain)
    thread.start()
    chunk = raw.publish("t", "x" * 64) * 2000
    end = time.monotonic() + 2
    while time.monotonic() < end:
        pub.s.sendall(chunk)
    size = resident_mb(s.process.pid)
    before = got[0]
    time.sleep(0.2)
    pub.ping()
    done.set()
    thread.join()
    check(size < 60, "memory is bounded: %d MB" % size)
    check(before > 0, "receivers were served meanwhile")
