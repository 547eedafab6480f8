"""SIGKILL at random moments: what was acknowledged is never lost, and at QoS 2 nothing comes twice.

In each round clients of several kinds (parts.py) are at work until the process is killed, now and then again while
it starts. After the restart, with another number of workers, each part checks what it was promised. The store
lives through all rounds, but for those that damage its file while the hub is down: then the hub must start, also
after being killed while it salvages, and begins with an empty store.

    crash.py [ROUNDS]       ROUNDS=, SEED= and PARTS= (names, separated by commas) in the environment
"""
import os
import random
import shutil
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
sys.dont_write_bytecode = True

import harness  # noqa: E402
import parts  # noqa: E402
from harness import HUB, Failed  # noqa: E402

DAMAGE_EVERY = 10


class World:
    def __init__(self, rng, wanted):
        self.rng = rng
        self.t = harness.Context()
        self.kills = self.damaged = 0
        self.server = self.t.baetyl(self.config(), start=False)
        self.server.start()
        self.parts = [make(self) for make in parts.PARTS if not wanted or make.name in wanted]
        self.setup()

    def config(self):
        return HUB + "  workers: %d\n" % self.rng.randint(1, 3)

    def setup(self):
        for part in self.parts:
            part.setup()

    def kill(self):
        self.server.kill()
        self.kills += 1

    def restart(self):
        with open(self.server.config, "w") as f:
            f.write(self.config())
        # Now and then the process dies again while it starts.
        while self.rng.random() < 0.15:
            self.server.start(wait=False)
            time.sleep(self.rng.random() * 0.05)
            self.kill()
        self.server.start()

    def data(self):
        return os.path.join(self.server.dir, "var/db/baetyl/data")

    def damage(self):
        """Zeroes, flips or cuts a page of the database or its log."""
        name = os.path.join(self.data(), self.rng.choice(["hub.db", "hub.db", "hub.db-wal"]))
        if not os.path.exists(name):
            return
        pages = max(1, os.path.getsize(name) // 4096)
        at = self.rng.randrange(pages) * 4096
        with open(name, "r+b") as f:
            what = self.rng.randrange(3)
            if what == 2:
                f.truncate(at)
                return
            f.seek(at)
            page = f.read(4096)
            f.seek(at)
            f.write(bytes(len(page)) if what == 0 else bytes(b ^ self.rng.randrange(256) for b in page))

    def damaged_round(self):
        self.damaged += 1
        self.damage()
        self.restart()
        self.check_log()
        # What was lost is not ours to say: begin again.
        self.kill()
        shutil.rmtree(self.data())
        self.t.clients.clear()
        self.restart()
        self.setup()

    def check_log(self):
        if "Sanitizer" in self.server.log():
            raise Failed("a sanitizer complained")

    def round(self, number):
        wrong = []
        for part in self.parts:
            part.begin(number)
        time.sleep(self.rng.random() * 0.5)
        self.kill()
        for part in self.parts:
            part.stop()
        self.t.clients.clear()
        if number % DAMAGE_EVERY == DAMAGE_EVERY - 1:
            self.damaged_round()
            return
        self.restart()
        for part in self.parts:
            try:
                wrong += ["%s: %s" % (part.name, text) for text in part.verify()]
            except (Failed, OSError) as why:
                wrong.append("%s: %s" % (part.name, why))
        self.t.clients.clear()
        self.check_log()
        if wrong:
            raise Failed("; ".join(wrong))

    def again(self):
        """After a failure: an empty store, so that one fault is reported once."""
        if self.server.alive():
            self.kill()
        shutil.rmtree(self.data(), ignore_errors=True)
        self.t.clients.clear()
        self.server.start()
        self.setup()


def report(world, seconds):
    for part in world.parts:
        print("crash: %s: %s" % (part.name, ", ".join("%d %s" % (n, what) for what, n in part.totals.items())))
    print("crash: %d kills, %d damaged stores, %.0f s" % (world.kills, world.damaged, seconds))


def main():
    rounds = int(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("ROUNDS", 30))
    seed = int(os.environ.get("SEED", random.randrange(1 << 32)))
    print("crash: %d rounds, seed %d" % (rounds, seed), flush=True)
    failed, start = 0, time.monotonic()
    world = World(random.Random(seed), list(filter(None, os.environ.get("PARTS", "").split(","))))
    try:
        for number in range(rounds):
            try:
                world.round(number)
            except (Failed, OSError) as why:
                failed += 1
                print("FAIL crash/round %d: %s" % (number, why), flush=True)
                if os.environ.get("KEEP"):
                    raise
                world.again()
    finally:
        world.t.close()
        if failed:
            print("    " + world.server.log()[-2000:].replace("\n", "\n    "))
        if os.environ.get("KEEP") and failed:
            print("kept: %s" % world.server.dir)
        else:
            world.t.remove()
    report(world, time.monotonic() - start)
    print("crash: %d passed, %d failed, 0 skipped" % (rounds - failed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
