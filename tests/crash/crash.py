"""SIGKILL at random moments: what was acknowledged is never lost.

In each round publishers write at QoS 1 to two persistent sessions, one whose client is connected and
one whose client is away, until the process is killed. After the restart both sessions must still be
there and together with what they got before hold every message whose publisher saw a PUBACK.
Messages that come twice are allowed and counted. The store lives through all rounds.

    crash.py [ROUNDS]       ROUNDS= and SEED= in the environment; the seed is printed
"""
import os
import random
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
sys.dont_write_bytecode = True

import harness  # noqa: E402
import raw  # noqa: E402
from harness import HUB, Failed  # noqa: E402

PUBLISHERS = 3
WINDOW = 20
DRAIN_S = 10


class Publisher(threading.Thread):
    """Keeps WINDOW messages on their way and remembers which were acknowledged."""

    def __init__(self, t, port, tag):
        super().__init__(daemon=True)
        self.tag, self.acked, self.sent = tag, set(), 0
        self.r = raw.Raw(t, port)
        self.r.login("pub-" + tag)

    def run(self):
        names, done = {}, 0
        try:
            while True:
                while self.sent - done < WINDOW:
                    pid = self.sent % 65535 + 1
                    names[pid] = "%s-%d" % (self.tag, self.sent)
                    self.r.s.sendall(raw.publish("c/" + self.tag, names[pid], qos=1, pid=pid))
                    self.sent += 1
                got = self.r.packet(DRAIN_S)
                if got is None:
                    return
                if got[0] == raw.PUBACK:
                    self.acked.add(names.pop(struct.unpack(">H", got[2])[0]))
                    done += 1
        except (OSError, Failed):
            return


class Reader(threading.Thread):
    """Takes and acknowledges messages until the connection ends or `enough` says so."""

    def __init__(self, t, port, name, seen, enough=None):
        super().__init__(daemon=True)
        self.seen, self.enough, self.duplicates = seen, enough, 0
        self.r = raw.Raw(t, port)
        self.present = self.r.login(name, clean=False)

    def subscribe(self):
        self.r.send(raw.subscribe(("c/#", 1))).expect(raw.SUBACK)

    def run(self):
        try:
            while not (self.enough and self.enough()):
                m = self.r.message(1 if self.enough else DRAIN_S)
                name = m["payload"].decode()
                self.duplicates += name in self.seen
                self.seen.add(name)
        except (OSError, Failed):
            return

    def leave(self):
        self.r.send(raw.packet(0xe0)).closed()
        self.r.close()


class Rounds:
    def __init__(self, rng):
        self.rng = rng
        self.t = harness.Context()
        self.server = self.t.baetyl(HUB)
        self.seen = {"on": set(), "off": set()}
        self.totals = dict.fromkeys(["sent", "acked", "duplicates", "missing", "kills"], 0)
        for name in self.seen:
            r = Reader(self.t, self.server.port, name, set())
            r.subscribe()
            r.leave()

    def kill(self):
        self.server.kill()
        self.totals["kills"] += 1

    def restart(self):
        # Now and then the process dies again while it starts.
        while self.rng.random() < 0.1:
            self.server.start(wait=False)
            time.sleep(self.rng.random() * 0.05)
            self.kill()
        self.server.start()

    def collect(self, name, acked):
        """Reads the session to the end; the acknowledged messages it never got."""
        seen = self.seen[name]
        reader = Reader(self.t, self.server.port, name, seen, lambda: acked <= seen)
        reader.start()
        reader.join(DRAIN_S * harness.SLOW)
        self.totals["duplicates"] += reader.duplicates
        missing = acked - seen
        if not reader.present:
            raise Failed("session %s is gone, with it %d messages" % (name, len(missing)))
        reader.enough = lambda: True
        reader.leave()
        return missing

    def round(self, number):
        port = self.server.port
        online = Reader(self.t, port, "on", self.seen["on"])
        pubs = [Publisher(self.t, port, "%d.%d" % (number, i)) for i in range(PUBLISHERS)]
        for thread in [online] + pubs:
            thread.start()
        time.sleep(self.rng.random() * 0.5)
        self.kill()
        for thread in [online] + pubs:
            thread.join(DRAIN_S)
            thread.r.close()
        acked = set().union(*(p.acked for p in pubs))
        self.totals["sent"] += sum(p.sent for p in pubs)
        self.totals["acked"] += len(acked)
        self.totals["duplicates"] += online.duplicates
        self.restart()
        self.t.clients.clear()
        lost = []
        for name in ("on", "off"):
            missing = self.collect(name, acked)
            self.totals["missing"] += len(missing)
            if missing:
                lost.append("%d of %d acknowledged messages are missing in session %s, as %s" % (
                    len(missing), len(acked), name, sorted(missing)[:3]))
            self.seen[name].clear()
        if lost:
            raise Failed("; ".join(lost))


def main():
    rounds = int(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("ROUNDS", 50))
    seed = int(os.environ.get("SEED", random.randrange(1 << 32)))
    print("crash: %d rounds, seed %d" % (rounds, seed), flush=True)
    all_rounds = Rounds(random.Random(seed))
    failed, start = 0, time.monotonic()
    try:
        for number in range(rounds):
            try:
                all_rounds.round(number)
            except Failed as why:
                failed += 1
                print("FAIL crash/round %d: %s" % (number, why), flush=True)
                if not all_rounds.server.alive():
                    all_rounds.server.start()
    finally:
        all_rounds.t.close()
        if failed:
            print("    " + all_rounds.server.log()[-2000:].replace("\n", "\n    "))
        all_rounds.t.remove()
    print("crash: %(sent)d sent, %(acked)d acknowledged, %(missing)d missing, %(duplicates)d delivered twice, "
          "%(kills)d kills" % all_rounds.totals + ", %.0f s" % (time.monotonic() - start))
    print("crash: %d passed, %d failed, 0 skipped" % (rounds - failed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
