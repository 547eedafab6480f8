"""Runs every scenario against both servers in turn, several times, and prints a table of medians.

Each measurement has a server of its own, freshly started; the runs of the two are interleaved, so
that a machine that is busy for a while hurts both. A server that loses or repeats a message is
marked. See --help for the options.
"""
import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import time

import servers

QOS0 = ["fanin", "pairs", "fanout"]
TITLES = {
    "fanin": "50 → 1, QoS 0", "pairs": "50 pairs, QoS 0", "fanout": "1 → 100, QoS 0",
    "q1clean": "50 pairs, QoS 1, clean", "q1persist": "50 pairs, QoS 1, persistent",
    "q1autosave": "50 pairs, QoS 1, persistent; peer saves every change",
    "connect": "logins",
}


def measure(args, server, scenario, *extra):
    command = [args.load, "-s", scenario, "-p", str(server.port), "-P", str(server.process.pid),
               "-t", str(args.seconds)] + list(extra)
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=args.seconds + 60)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.decode("utf-8", "replace").strip() or "exit %d" % done.returncode)
    return json.loads(done.stdout.decode())


def median(results, key):
    return statistics.median(r[key] for r in results)


class Bench:
    def __init__(self, args):
        self.args = args
        self.peer = servers.find_mosquitto()
        self.notes = []
        self.missed = []

    def baetyl(self, **options):
        return servers.Baetyl(self.args.baetyl, **options)

    def mosquitto(self, **options):
        return servers.Mosquitto(self.peer, **options) if self.peer else None

    def sample(self, make, scenario, *extra):
        """One measurement; None, with a note, when it could not be made."""
        server = make()
        if server is None:
            return None
        try:
            with server:
                result = measure(self.args, server, scenario, *extra)
                result["ready_ms"] = server.ready_ms
        except (RuntimeError, subprocess.TimeoutExpired, OSError) as error:
            self.notes.append("%s, %s: %s" % (server.name, scenario, error))
            return None
        if result["lost"] or result["duplicates"]:
            self.notes.append("%s, %s: %d lost, %d duplicates of %d" % (
                server.name, scenario, result["lost"], result["duplicates"], result["delivered"]))
        return result

    def interleaved(self, ours, theirs, scenario, *extra):
        mine, peer = [], []
        for _ in range(self.args.runs):
            mine.append(self.sample(ours, scenario, *extra))
            peer.append(self.sample(theirs, scenario, *extra))
        return [r for r in mine if r], [r for r in peer if r]


def number(value, digits=0):
    if value is None:
        return "–"
    text = "{:,.{}f}".format(value, digits)
    return text.replace(",", " ")


def ratio(mine, peer):
    return "–" if not mine or not peer else "%.2f" % (mine / peer)


def row(*cells):
    print("| " + " | ".join(cells) + " |")


def progress(text):
    if sys.stderr.isatty() or os.environ.get("BENCH_PROGRESS"):
        print(text, file=sys.stderr, flush=True)


def traffic_row(bench, name, mine, peer):
    def get(results, key):
        return median(results, key) if results else None

    cpu = get(mine, "per_cpu_s"), get(peer, "per_cpu_s")
    rate = get(mine, "rate"), get(peer, "rate")
    missing = "not installed" if bench.peer is None else "failed"
    row(TITLES[name], number(cpu[0]) if mine else "failed", number(cpu[1]) if peer else missing,
        ratio(*cpu), number(rate[0]), number(rate[1]), ratio(*rate),
        *["%s / %s" % (number(get(r, "p50_us") / 1000, 2), number(get(r, "p99_us") / 1000, 2)) if r and
          name != "connect" else "–" for r in (mine, peer)])
    if name in QOS0 and cpu[0] and cpu[1] and cpu[0] < cpu[1]:
        bench.missed.append("%s: %s of the peer's messages per CPU second, wanted 1" % (TITLES[name], ratio(*cpu)))
    if name == "q1autosave" and rate[0] and rate[1] and rate[0] < 3 * rate[1]:
        bench.missed.append("QoS 1 persistent: %s times the peer's rate, wanted 3" % ratio(*rate))


def traffic(bench, wanted):
    row("workload", "baetyl msg/CPU-s", "mosquitto msg/CPU-s", "ratio", "baetyl msg/s", "mosquitto msg/s",
        "ratio", "baetyl p50 / p99 ms", "mosquitto p50 / p99 ms")
    row("---", *["---:"] * 8)
    for name in TITLES:
        if name not in wanted:
            continue
        progress(name)
        autosave = name == "q1autosave"
        mine, peer = bench.interleaved(
            bench.baetyl, lambda: bench.mosquitto(autosave=autosave), "q1persist" if autosave else name)
        traffic_row(bench, name, mine, peer)
        sys.stdout.flush()
    print()


def static(bench):
    """Start-up, memory, size."""
    progress("idle")
    count = bench.args.connections
    mine, peer = bench.interleaved(bench.baetyl, bench.mosquitto, "idle", "-n", str(count))

    def per_connection(results):
        return statistics.median((r["rss_kb"] - r["rss_before_kb"]) / r["connections"] for r in results)

    lines = [
        ("exec to first CONNACK, ms", 1, lambda r: median(r, "ready_ms")),
        ("idle RSS, KiB", 0, lambda r: median(r, "rss_before_kb")),
        ("idle PSS, KiB", 0, lambda r: median(r, "pss_before_kb")),
        ("one idle connection of %d, KiB" % count, 2, per_connection),
    ]
    row("", "baetyl", "mosquitto", "ratio")
    row("---", "---:", "---:", "---:")
    for title, digits, get in lines:
        values = [get(r) if r else None for r in (mine, peer)]
        row(title, number(values[0], digits), number(values[1], digits), ratio(*values))
    sizes = [os.path.getsize(p) / 1e6 if p else None for p in (bench.args.baetyl, bench.peer)]
    row("executable, MB", number(sizes[0], 2), number(sizes[1], 2), ratio(*sizes))
    print()
    if mine and median(mine, "ready_ms") >= 100:
        bench.missed.append("ready after %.0f ms, wanted under 100" % median(mine, "ready_ms"))
    if mine and median(mine, "rss_before_kb") >= 6144:
        bench.missed.append("idle RSS %.1f MB, wanted under 6" % (median(mine, "rss_before_kb") / 1024))


def calls(bench):
    row("function call through the hub, Python, warm", "p50 ms", "p99 ms", "calls/s, 1 at a time", "calls/s, 32")
    row("---", *["---:"] * 4)
    for qos in (0, 1):
        progress("call")
        one = [bench.sample(lambda: bench.baetyl(call_qos=qos), "call", "-q", str(qos))
               for _ in range(bench.args.runs)]
        many = [bench.sample(lambda: bench.baetyl(call_qos=qos), "call", "-q", str(qos), "-w", "32")
                for _ in range(bench.args.runs)]
        one, many = [r for r in one if r], [r for r in many if r]
        rates = number(median(many, "rate")) if many else "failed"
        if not one:
            row("QoS %d" % qos, "failed", "–", "–", rates)
            continue
        row("QoS %d" % qos, number(median(one, "p50_us") / 1000, 3), number(median(one, "p99_us") / 1000, 3),
            number(median(one, "rate")), rates)
        if qos == 0 and median(one, "p50_us") >= 1000:
            bench.missed.append("warm Python call p50 %.2f ms, wanted under 1" % (median(one, "p50_us") / 1000))
    print()


def machine():
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as f:
            model = next(line.split(":", 1)[1].strip() for line in f if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return "%s, %d cores, %s %s" % (model, os.cpu_count(), platform.system(), platform.release())


def main():
    p = argparse.ArgumentParser(prog="tests/bench/run.sh", description=__doc__)
    p.add_argument("--load", required=True, help=argparse.SUPPRESS)
    p.add_argument("--baetyl", required=True, help="the executable to measure")
    p.add_argument("--runs", type=int, default=int(os.environ.get("RUNS", 3)), help="interleaved runs (RUNS)")
    p.add_argument("--seconds", type=float, default=float(os.environ.get("SECONDS_EACH", 3)),
                   help="measured time of one run (SECONDS_EACH)")
    p.add_argument("--connections", type=int, default=1000, help="for the memory of one connection")
    p.add_argument("--only", default="", help="comma-separated: %s, static, calls" % ", ".join(TITLES))
    args = p.parse_args()
    bench = Bench(args)
    wanted = set(filter(None, args.only.split(","))) or set(TITLES) | {"static", "calls"}
    start = time.monotonic()
    print("%s, %s. baetyl %s; mosquitto %s. Median of %d interleaved runs of %g s, 64-byte payloads.\n" % (
        datetime.date.today().isoformat(), machine(),
        servers.version([args.baetyl, "version"], "baetyl"),
        servers.version([bench.peer, "-h"], "version") if bench.peer else "not installed",
        args.runs, args.seconds))
    if wanted & set(TITLES):
        traffic(bench, wanted)
    if "static" in wanted:
        static(bench)
    if "calls" in wanted:
        calls(bench)
    for title, lines in (("Missed", bench.missed), ("Notes", bench.notes)):
        if lines:
            print("%s:\n%s\n" % (title, "\n".join("- " + line for line in lines)))
    print("Took %.0f s." % (time.monotonic() - start))


if __name__ == "__main__":
    main()
