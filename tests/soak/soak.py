"""Hours of everything at once: memory, descriptors, threads and the store stay where they are.

Actors (actors.py) churn clients, sessions, subscriptions, topics and retained messages, come in storms, read
slowly, flood and send garbage. The process is sampled all the time. After a warm-up of a quarter of the run each
series must be flat: the median of its last third may exceed the median of its first third by no more than its
tolerance. The log must hold no error, and the end must be clean: exit status 0, descriptors as at the start.

    soak.py      SOAK_HOURS= or SOAK_SECONDS= (300), SEED= in the environment
"""
import os
import random
import statistics
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "integration"))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True

import actors  # noqa: E402
import harness  # noqa: E402
from harness import Failed  # noqa: E402

CONFIG = harness.HUB + "  workers: 2\nlogger: {level: warn}\n"
# name: (relative, absolute) growth allowed between the thirds. A store of SQLite reuses its pages, but not at once.
SERIES = {"rss_kb": (0.10, 2048), "descriptors": (0.20, 20), "threads": (0, 0), "store_kb": (0.25, 8192)}
MAX_TROUBLE = 0.02


def folder_kb(path):
    total = 0
    for folder, _, files in os.walk(path):
        for name in files:
            try:
                total += os.path.getsize(os.path.join(folder, name))
            except OSError:
                pass
    return total // 1024


class Soak:
    def __init__(self, seconds, load, seed):
        self.t = harness.Context()
        self.load, self.seconds = load, seconds
        self.done = threading.Event()
        self.troubles, self.samples = [], []
        self.server = self.t.baetyl(CONFIG)
        self.actors = [make(self, seed + i) for i, make in enumerate(actors.ACTORS)]

    @property
    def over(self):
        return self.done.is_set()

    def trouble(self, actor, why):
        if not self.over:
            self.troubles.append("%s: %s" % (type(actor).__name__, why))
            self.done.wait(0.1)

    def sample(self):
        pid = self.server.process.pid
        with open("/proc/%d/status" % pid) as f:
            status = dict(line.split(":", 1) for line in f)
        return {"rss_kb": int(status["VmRSS"].split()[0]), "threads": int(status["Threads"]),
                "descriptors": len(os.listdir("/proc/%d/fd" % pid)),
                "store_kb": folder_kb(os.path.join(self.server.dir, "var/db/baetyl/data"))}

    def run(self):
        before = self.sample()
        start = time.monotonic()
        for actor in self.actors:
            actor.start()
        while time.monotonic() - start < self.seconds:
            self.done.wait(max(0.2, min(self.seconds / 400, 10)))
            if not self.server.alive():
                break
            self.samples.append(self.sample())
        self.done.set()
        for actor in self.actors:
            actor.join(30)
        return before

    def check_flat(self):
        kept = self.samples[len(self.samples) // 4:]
        third = max(1, len(kept) // 3)
        for name, (part, most) in SERIES.items():
            first = statistics.median(s[name] for s in kept[:third])
            last = statistics.median(s[name] for s in kept[-third:])
            text = "soak: %s: %d, then %d, at most %d" % (name, first, last, max(s[name] for s in self.samples))
            print(text, flush=True)
            if harness.SAN and name == "rss_kb":
                continue  # a sanitizer keeps what was freed
            if last > first + max(first * part, most):
                yield "%s grows: from %d to %d" % (name, first, last)

    def check(self, before):
        if not self.server.alive():
            yield "baetyl ended with %s" % self.server.process.returncode
            return
        yield from self.check_flat()
        turns = sum(a.turns for a in self.actors)
        print("soak: %d turns of %d actors, %d troubles" % (turns, len(self.actors), len(self.troubles)))
        if len(self.troubles) > turns * MAX_TROUBLE:
            yield "%d troubles of clients, as %s" % (len(self.troubles), self.troubles[:3])
        try:
            harness.until(lambda: self.sample()["descriptors"] <= before["descriptors"] + 2, 20, "descriptors closed")
        except Failed as why:
            yield str(why)
        try:
            code = self.server.stop(30)
        except Failed as why:
            yield str(why)
        else:
            if code != 0:
                yield "exit status %d" % code
        log = self.server.log()
        errors = [line for line in log.splitlines() if "level=error" in line or "Sanitizer" in line]
        if errors:
            yield "%d errors in the log, as %s" % (len(errors), errors[0])


def main():
    seconds = float(os.environ.get("SOAK_SECONDS", 0)) or float(os.environ.get("SOAK_HOURS", 0)) * 3600 or 300
    seed = int(os.environ.get("SEED", random.randrange(1 << 32)))
    print("soak: %d s, seed %d" % (seconds, seed), flush=True)
    soak = Soak(seconds, os.path.abspath(os.environ["SOAK_LOAD"]), seed)
    try:
        wrong = list(soak.check(soak.run()))
    finally:
        soak.done.set()
        soak.t.close()
    for text in wrong:
        print("FAIL soak: " + text)
    if wrong:
        print("    " + soak.server.log()[-2000:].replace("\n", "\n    "))
    soak.t.remove()
    print("soak: %d passed, %d failed, 0 skipped" % (not wrong, bool(wrong)))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
