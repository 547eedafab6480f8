"""A session that was away for long: N messages wait for it on disk.

Measures how fast they are stored, what memory the hub needs, how fast the session drains them when
it comes back, that all of them come, once and in order, and what that does to the latency of others.

    backlog.py [MESSAGES [PAYLOAD]]        the executable is in $BAETYL; HUB_OPTIONS= more YAML
"""
import multiprocessing
import os
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
sys.dont_write_bytecode = True

import harness  # noqa: E402
import raw  # noqa: E402
from raw import Raw  # noqa: E402

WINDOW = 1000
BATCH = 250


def rss_kb(pid):
    with open("/proc/%d/status" % pid) as f:
        return int([line for line in f if line.startswith("VmRSS")][0].split()[1])


class Stream:
    """Packets of one size on a socket, many at a time."""

    def __init__(self, r, size):
        self.s, self.size, self.data, r.data = r.s, size, r.data, b""
        self.s.settimeout(60)

    def some(self):
        """Whole packets, at least one."""
        while len(self.data) < self.size:
            got = self.s.recv(1 << 20)
            if not got:
                raise harness.Failed("closed")
            self.data += got
        n = len(self.data) // self.size * self.size
        out, self.data = self.data[:n], self.data[n:]
        return out


def columns(buf, at, width, step):
    return [buf[at + i::step] for i in range(width)]


def publish_all(t, port, count, payload):
    """QoS 1, a window of unacknowledged ones; the payload begins with a number of 8 digits."""
    r = Raw(t, port)
    r.login("pub")
    acks = Stream(r, 4)
    pad = b"x" * (payload - 8)
    sent = acked = 0
    began = time.monotonic()
    while acked < count:
        while sent < count and sent - acked <= WINDOW - BATCH:
            n = min(BATCH, count - sent)
            r.s.sendall(b"".join(raw.publish("b/x", b"%08d" % i + pad, qos=1, pid=i % 60000 + 1)
                                 for i in range(sent, sent + n)))
            sent += n
        acked += len(acks.some()) // 4
    r.close()
    return time.monotonic() - began


def drain_all(t, port, count, payload, client_id="off"):
    """(seconds, largest number of messages that came at once); fails on a gap or a repetition."""
    r = Raw(t, port)
    harness.equal(r.login(client_id, clean=False), 1, "session present")
    size = len(raw.publish("b/x", b"x" * payload, qos=1))
    at = size - payload
    stream, got, began = Stream(r, size), 0, time.monotonic()
    while got < count:
        buf = stream.some()
        n = len(buf) // size
        first, last = int(buf[at:at + 8]), int(buf[(n - 1) * size + at:(n - 1) * size + at + 8])
        harness.equal((first, last), (got, got + n - 1), "numbers at message %d" % got)
        ack = bytearray(b"\x40\x02\0\0" * n)
        ack[2::4], ack[3::4] = columns(buf, at - 2, 2, size)
        r.s.sendall(ack)
        got += n
    seconds = time.monotonic() - began
    r.quiet()
    r.close()
    return seconds


def live(port, stop, out):
    """200 messages a second between two others; their latencies in microseconds go to out."""
    t = harness.Context()
    sub, pub = Raw(t, port), Raw(t, port)
    sub.login("live-sub")
    pub.login("live-pub")
    sub.send(raw.subscribe(("live", 1))).expect(raw.SUBACK)
    took, i = [], 0
    while not stop.is_set():
        began = time.monotonic()
        pub.send(raw.publish("live", struct.pack(">d", began), qos=1, pid=i % 60000 + 1))
        sub.message(60)
        took.append((time.monotonic() - began) * 1e6)
        pub.expect(raw.PUBACK)
        i += 1
        time.sleep(0.005)
    took.sort()
    out.put((len(took), took[len(took) // 2], took[len(took) * 99 // 100], took[-1]))


def with_live(port, work):
    """Runs work() while others talk: (its result, count, p50, p99, worst of the others)."""
    stop, out = multiprocessing.Event(), multiprocessing.Queue()
    other = multiprocessing.Process(target=live, args=(port, stop, out))
    other.start()
    try:
        result = work()
    finally:
        stop.set()
        got = out.get(timeout=60)
        other.join()
    return (result,) + got


def run(count, payload, options=""):
    t = harness.Context()
    try:
        s = t.baetyl(harness.HUB + options)
        port = s.port
        r = Raw(t, port)
        r.login("off", clean=False)
        r.send(raw.subscribe(("b/#", 1))).expect(raw.SUBACK)
        r.send(raw.packet(0xe0)).closed()
        idle = rss_kb(s.process.pid)
        stored = publish_all(t, port, count, payload)
        full = rss_kb(s.process.pid)
        began = time.monotonic()
        harness.equal(s.stop(60), 0, "exit status")
        stopped, began = time.monotonic() - began, time.monotonic()
        s.start()
        port, started = s.port, time.monotonic() - began
        before = with_live(port, lambda: time.sleep(2))
        during = with_live(port, lambda: drain_all(t, port, count, payload))
        after = rss_kb(s.process.pid)
        size = sum(os.path.getsize(os.path.join(d, f)) for d, _, fs in os.walk(s.dir) for f in fs)
        result = {
            "messages": count, "stored_s": stored, "store_rate": count / stored,
            "drain_s": during[0], "drain_rate": count / during[0],
            "rss_idle_kb": idle, "rss_backlog_kb": full, "rss_drained_kb": after,
            "stop_s": stopped, "start_s": started, "disk_mb": size >> 20,
            "live_before_us": before[2:], "live_during_us": during[2:],
        }
        s.stop(60)
        return result
    finally:
        t.close()
        t.remove()


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000000
    payload = int(sys.argv[2]) if len(sys.argv) > 2 else 32
    got = run(count, payload, os.environ.get("HUB_OPTIONS", ""))
    print("%(messages)d messages stored in %(stored_s).1f s (%(store_rate).0f/s), %(disk_mb)d MB of files at the end"
          % got)
    print("stop %(stop_s).1f s, start %(start_s).2f s" % got)
    print("drained in order in %(drain_s).1f s (%(drain_rate).0f/s)" % got)
    print("resident: idle %(rss_idle_kb)d KB, with the backlog %(rss_backlog_kb)d KB, drained %(rss_drained_kb)d KB"
          % got)
    for name in ("before", "during"):
        print("others %s: p50 %.0f us, p99 %.0f us, worst %.0f us" % ((name,) + got["live_%s_us" % name]))


if __name__ == "__main__":
    main()
