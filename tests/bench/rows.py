"""What is measured: each row of the table, how it is made and what it has to reach."""
import concurrent.futures
import os
import statistics
import time

import servers


class Row:
    """One measurement of one server, made several times.

    run(bench, make) returns a dict of numbers; `lines` say which of them are shown: (title, key, digits,
    goal, ratio). goal: the number baetyl has to reach; ratio: how many times the peer's. A goal or ratio below
    zero is an upper limit. most: so many runs are enough. original: what the original framework was measured
    to do, by key, shown where a peer would be."""

    def __init__(self, name, run, *lines, peer=None, only_baetyl=False, most=None, baetyl=None, original=None):
        self.name, self.run, self.lines = name, run, lines
        self.peer = peer or {}
        self.baetyl = baetyl or {}
        self.original = original or {}
        self.only_baetyl, self.most = only_baetyl or bool(original), most


def load(*options):
    def run(bench, make):
        with make() as server:
            return bench.load(server, *options)
    return run


def workers(bench, make):
    """The growth of the rate from one worker to two. One generator would be the limit, so there are two."""
    rates = []
    for n in (1, 2):
        with make(workers=n) as server, concurrent.futures.ThreadPoolExecutor() as pool:
            runs = [pool.submit(bench.load, server, "-s", "pairs", "-f", "g%d" % i) for i in range(2)]
            rates.append(sum(r.result()["rate"] for r in runs))
    return {"one": rates[0], "two": rates[1], "growth": rates[1] / rates[0]}


def connections(count, *options):
    def run(bench, make):
        with make() as server:
            # What the first connection of a kind costs once is not its own.
            bench.load(server, "-s", "idle", "-n", "5", *options)
            r = bench.load(server, "-s", "idle", "-n", str(count), "-r", "1000", *options)
        r["kib_each"] = (r["rss_kb"] - r["rss_before_kb"]) / r["connections"]
        r["login_ms"] = r["p99_us"] / 1000
        return r
    return run


def wakeups(pid):
    total = 0
    for task in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/status" % (pid, task)) as f:
            total += sum(int(line.split()[1]) for line in f if line.startswith("voluntary_ctxt_switches"))
    return total


def idle(bench, make):
    """Nobody is connected: memory, and how often a thread wakes up."""
    with make() as server:
        time.sleep(3)
        before, start = wakeups(server.process.pid), time.monotonic()
        time.sleep(bench.args.idle_seconds)
        seconds = time.monotonic() - start
        return {"wakeups": (wakeups(server.process.pid) - before) / seconds,
                "rss_mb": servers.status_kb(server.process.pid, "VmRSS:") / 1024}


def ready(_bench, make):
    with make() as server:
        return {"ready_ms": server.ready_ms}


def size(_bench, make):
    server = make()
    return {"mb": os.path.getsize(server.program) / 1e6}


def traffic(name, title, cpu_goal, cpu_ratio, **options):
    return Row(name, load("-s", name), (title + ", msg/CPU-s", "per_cpu_s", 0, cpu_goal, cpu_ratio),
               (title + ", msg/s", "rate", 0, None, None), **options)


AUTOSAVE = {"autosave": True}
TLS = {"tls": True}
ROWS = [
    traffic("fanin", "QoS 0, 50 → 1", 1.5e6, 4),
    traffic("pairs", "QoS 0, 50 pairs", 0.9e6, 5),
    Row("workers", workers, ("QoS 0, 2 × 50 pairs, msg/s, 2 workers / 1", "growth", 2, 1.8, None),
        ("the same, 1 worker, msg/s", "one", 0, None, None), only_baetyl=True),
    traffic("fanout", "QoS 0, 1 → 100", 2e6, 7),
    traffic("q1clean", "QoS 1, 50 pairs, clean", None, 4),
    traffic("q2clean", "QoS 2, 50 pairs, clean, 20 in flight", None, 3),
    Row("q1durable", load("-s", "q1persist"),
        ("QoS 1, 50 pairs, persistent, durable before PUBACK (peer saves every change), msg/s", "rate", 0, 1e5, 8),
        ("the same, msg/CPU-s", "per_cpu_s", 0, None, None), peer=AUTOSAVE),
    Row("q2durable", load("-s", "q1persist", "-q", "2"),
        ("QoS 2, 50 pairs, persistent, every step durable (peer saves every change), msg/s", "rate", 0, None, None),
        ("the same, msg/CPU-s", "per_cpu_s", 0, None, None), peer=AUTOSAVE),
    Row("q1persist", load("-s", "q1persist"),
        ("QoS 1, 50 pairs, persistent (peer by default: not durable), msg/s", "rate", 0, None, 1),
        ("the same, msg/CPU-s", "per_cpu_s", 0, None, None)),
    Row("latency", load("-s", "latency"), ("QoS 0, 50 pairs × 100 msg/s, p50 µs", "p50_us", 0, -80, None),
        ("the same, p99 µs", "p99_us", 0, None, -1)),
    Row("idle", connections(10000), ("10 000 idle connections, KiB each", "kib_each", 2, -0.75, None),
        ("the same, opened at, 1/s", "rate", 0, 990, None), ("the same, login p99 ms", "login_ms", 1, None, None), most=3),
    Row("idletls", connections(1000, "-T"),
        ("1 000 idle TLS connections, KiB each", "kib_each", 2, -12, None),
        ("the same, opened at, 1/s", "rate", 0, None, None), peer=TLS, baetyl=TLS, most=3),
    Row("connect", load("-s", "connect"), ("logins, 64 at a time, 1/s", "rate", 0, 1000, None),
        ("the same, per CPU-s", "per_cpu_s", 0, None, None)),
    Row("tls", load("-s", "pairs", "-T"), ("TLS 1.3, QoS 0, 50 pairs, msg/CPU-s", "per_cpu_s", 0, None, 1),
        ("the same, msg/s", "rate", 0, None, None), peer=TLS, baetyl=TLS),
    Row("hub", idle, ("idle hub, RSS MB", "rss_mb", 2, -3, None),
        ("idle hub, wake-ups/s", "wakeups", 2, -1, None), most=1),
    Row("ready", ready, ("exec to first CONNACK, ms", "ready_ms", 1, -50, None)),
    Row("size", size, ("executable, MB", "mb", 2, None, None), most=1),
]


def median(results, key):
    values = [r[key] for r in results if r]
    return statistics.median(values) if values else None
