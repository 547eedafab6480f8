"""Measures the executable beside Debian's mosquitto, and other brokers that are named.

Each measurement has a server of its own, freshly started on loopback; the runs of all servers are interleaved,
so that a machine that is busy for a while hurts all of them. Printed are medians. A server that loses or
repeats a message is noted. BENCH_BROKERS names others to measure beside: [NAME=]PROGRAM, separated by blanks;
a program whose name begins with mosquitto, nanomq or baetyl is known. The rows, and what they have to reach,
are in rows.py.
"""
import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import time

import functions
import starts
import rows
import servers


ROWS = rows.ROWS + functions.ROWS + starts.ROWS


class Bench:
    def __init__(self, args):
        self.args = args
        self.notes, self.missed = [], []
        self.servers = [servers.Kind("baetyl", servers.Baetyl, args.baetyl)]
        self.servers += servers.peers(self.notes)
        self.results = {}

    def load(self, server, *options):
        cpus = getattr(server, "cpus", None)
        command = ["taskset", "-c", cpus] if cpus is not None else []
        command += [self.args.load, "-p", str(server.port), "-P", str(server.process.pid),
                   "-t", str(self.args.seconds)] + list(options)
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=self.args.seconds + 90)
        if done.returncode != 0:
            raise RuntimeError(done.stderr.decode("utf-8", "replace").strip() or "exit %d" % done.returncode)
        result = json.loads(done.stdout.decode())
        if result["lost"] or result["duplicates"] or result["foreign"]:
            self.notes.append("%s, %s: %d lost, %d duplicates, %d foreign of %d" % (
                server.name, options[1], result["lost"], result["duplicates"], result["foreign"],
                result["delivered"]))
        return result

    def sample(self, row, kind):
        """One measurement; None, with a note, when it could not be made."""
        mine = kind.make is servers.Baetyl
        if row.only_baetyl and not mine:
            return None
        fixed = row.baetyl if mine else row.peer
        if not kind.can(fixed):
            return None
        try:
            return row.run(self, lambda **options: kind.server(**dict(fixed, **options)))
        except (RuntimeError, subprocess.TimeoutExpired, OSError) as error:
            self.notes.append("%s, %s: %s" % (kind.name, row.name, error))
            return None

    def measure(self, row):
        """Medians by (server's name, key)."""
        samples = {kind.name: [] for kind in self.servers}
        for _ in range(min(row.most or self.args.runs, self.args.runs)):
            for kind in self.servers:
                samples[kind.name].append(self.sample(row, kind))
        self.results[row.name] = samples
        return {(name, line[1]): rows.median(results, line[1])
                for name, results in samples.items() for line in row.lines}


def number(value, digits=0):
    if value is None:
        return "–"
    return "{:,.{}f}".format(value, digits).replace(",", " ")


def limit(value, digits):
    if value is None:
        return ""
    return ("≥ " if value > 0 else "≤ ") + number(abs(value), digits)


def reached(value, goal):
    """goal < 0: an upper limit."""
    return goal is None or (value is not None and (value >= goal if goal > 0 else value <= -goal))


def print_line(bench, row, line, values):
    title, key, digits, goal, wanted = line
    mine = values["baetyl", key]
    original = row.original.get(key)
    others = [values[kind.name, key] for kind in bench.servers[1:]]
    if original is not None and others:
        others[0] = original
    peer = others[0] if others else None
    ratio = mine / peer if mine is not None and peer else None
    ok = reached(mine, goal) and (reached(ratio, wanted) or not bench.servers[1:])
    verdict = "" if goal is None and wanted is None else "yes" if ok else "no"
    cells = [title, number(mine, digits), limit(goal, digits)]
    if bench.servers[1:]:
        cells += [number(peer, digits) + (" *" if original is not None else ""), "–" if ratio is None else "%.2f" % ratio, limit(wanted, 0)]
    print("| " + " | ".join(cells + [verdict] + [number(o, digits) for o in others[1:]]) + " |")
    if verdict == "no":
        wants = [w for w in (limit(goal, digits), limit(wanted, 0) and limit(wanted, 0) + " times the peer") if w]
        bench.missed.append("%s: %s%s, wanted %s" % (
            title, number(mine, digits), "" if ratio is None else ", %.2f of the peer" % ratio, " and ".join(wants)))


def print_head(bench):
    names = [kind.name for kind in bench.servers]
    cells = ["", "baetyl", "to reach"]
    if names[1:]:
        cells += [names[1], "ratio", "to reach"]
    cells += ["reached"] + names[2:]
    print("| " + " | ".join(cells) + " |")
    print("| --- |" + " ---: |" * (len(cells) - 1))


def machine():
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as f:
            model = next(line.split(":", 1)[1].strip() for line in f if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return "%s, %d cores, %s %s" % (model, os.cpu_count(), platform.system(), platform.release())


def arguments():
    names = [row.name for row in ROWS]
    p = argparse.ArgumentParser(prog="tests/bench/run.sh", description=__doc__)
    p.add_argument("--load", required=True, help=argparse.SUPPRESS)
    p.add_argument("--baetyl", required=True, help="the executable to measure")
    p.add_argument("--runs", type=int, default=int(os.environ.get("RUNS", 5)), help="interleaved runs (RUNS)")
    p.add_argument("--seconds", type=float, default=float(os.environ.get("SECONDS_EACH", 1.5)),
                   help="measured time of one run (SECONDS_EACH)")
    p.add_argument("--idle-seconds", type=float, default=10, help="how long wake-ups are counted")
    p.add_argument("--rows", default=os.environ.get("ROWS", ""), help="comma-separated (ROWS): " + ", ".join(names))
    p.add_argument("--json", help="write every single result to this file")
    args = p.parse_args()
    args.rows = list(filter(None, args.rows.split(",")))
    unknown = set(args.rows) - set(names)
    if unknown:
        p.error("no row %s" % ", ".join(sorted(unknown)))
    return args


def main():
    args = arguments()
    bench = Bench(args)
    start = time.monotonic()
    print("%s, %s. %s. Median of %d interleaved runs of %g s, 64-byte payloads.\n" % (
        datetime.date.today().isoformat(), machine(), "; ".join(k.title() for k in bench.servers),
        args.runs, args.seconds))
    print_head(bench)
    for row in ROWS:
        if args.rows and row.name not in args.rows:
            continue
        if sys.stderr.isatty() or os.environ.get("BENCH_PROGRESS"):
            print(row.name, file=sys.stderr, flush=True)
        values = bench.measure(row)
        for line in row.lines:
            print_line(bench, row, line, values)
        sys.stdout.flush()
    print("\n\\* measured of the original framework, on such a machine, when its specification was written.\n")
    for title, lines in (("Not reached", bench.missed), ("Notes", bench.notes)):
        if lines:
            print("%s:\n%s\n" % (title, "\n".join("- " + line for line in lines)))
    if args.json:
        with open(args.json, "w") as f:
            json.dump(bench.results, f, indent=1)
    print("Took %.0f s." % (time.monotonic() - start))


if __name__ == "__main__":
    main()
