"""Clients of the soak test: each actor is a thread that does one thing again and again until the end."""
import random
import socket
import struct
import subprocess
import threading
import time

import raw
from harness import Failed

SESSIONS, RETAINED, CHURN = 12, 500, 300
# What the sessions want that are kept: little enough to be drained in time.
KEPT = ["t/1/#", "t/2/x", "r/1", "$share/g/t/3/#"]
FILTERS = ["t/#", "t/+/x", "t/1/#", "u/#", "$share/g/t/#", "r/+", "t/2/x"]


class Actor(threading.Thread):
    pause = 0.0

    def __init__(self, soak, seed):
        super().__init__(daemon=True)
        self.soak, self.rng, self.turns = soak, random.Random(seed), 0

    def run(self):
        while not self.soak.over:
            try:
                self.turn()
                self.turns += 1
            except (OSError, Failed) as why:
                self.soak.trouble(self, why)
            if self.pause:
                self.soak.done.wait(self.pause)

    def turn(self):
        raise NotImplementedError

    def client(self, name, **options):
        r = raw.Raw(self.soak.t, self.soak.server.port)
        self.soak.t.clients.remove(r)
        r.login(name, **options)
        return r

    def take(self, r, seconds):
        """Reads and answers until nothing came for a moment, or the time is up."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                got = r.packet(0.05)
            except Failed:
                return
            if got is None:
                return
            if got[0] == raw.PUBLISH and got[1] & 6:
                n = struct.unpack(">H", got[2][:2])[0]
                pid = struct.unpack(">H", got[2][2 + n:4 + n])[0]
                r.send(raw.ack(raw.PUBACK if got[1] & 2 else raw.PUBREC, pid))
            elif got[0] == raw.PUBREC:
                r.send(raw.ack(raw.PUBREL, struct.unpack(">H", got[2][:2])[0]))
            elif got[0] == raw.PUBREL:
                r.send(raw.ack(raw.PUBCOMP, struct.unpack(">H", got[2][:2])[0]))

    def leave(self, r):
        if self.rng.random() < 0.7:
            r.send(raw.packet(0xe0))
        r.close()


class Churn(Actor):
    """Comes, subscribes, says something, goes; every other time without a goodbye and with a will."""

    def turn(self):
        rng = self.rng
        will = ("t/will", "x", rng.randrange(3)) if rng.random() < 0.5 else None
        r = self.client("churn-%d" % rng.randrange(CHURN), will=will)
        for i in range(rng.randrange(4)):
            r.send(raw.subscribe((rng.choice(FILTERS), rng.randrange(3)), pid=i + 1))
        for i in range(rng.randrange(10)):
            r.send(raw.publish("t/%d/x" % rng.randrange(20), "x" * rng.randrange(200), qos=rng.randrange(3), pid=i + 1))
        if rng.random() < 0.5:
            r.send(raw.unsubscribe(rng.choice(FILTERS), pid=99))
        self.take(r, 0.3)
        self.leave(r)


class Sessions(Actor):
    """Sessions that are kept: come, take what waits, go; now and then one ends for good."""

    def turn(self):
        rng = self.rng
        r = self.client("kept-%d" % rng.randrange(SESSIONS), clean=rng.random() < 0.05)
        r.send(raw.subscribe((rng.choice(KEPT), rng.randrange(3))))
        if rng.random() < 0.3:
            r.send(raw.unsubscribe(rng.choice(KEPT), pid=2))
        self.take(r, 5)
        self.leave(r)


class Retained(Actor):
    pause = 0.01

    def turn(self):
        r = self.client("retained")
        for i in range(50):
            payload = "" if self.rng.random() < 0.4 else "x" * self.rng.randrange(500)
            r.send(raw.publish("r/%d" % self.rng.randrange(RETAINED), payload, qos=1, pid=i + 1, retain=True))
        self.take(r, 1)
        self.leave(r)


class Topics(Actor):
    """Topics that were never seen before, for the caches."""
    pause = 0.01

    def turn(self):
        r = self.client("topics")
        for i in range(200):
            r.send(raw.publish("u/%x" % self.rng.getrandbits(64), "x"))
        r.ping()
        self.leave(r)


class Storm(Actor):
    """Many come at once and are cut off."""
    pause = 5.0

    def turn(self):
        clients = []
        for i in range(200):
            s = socket.create_connection(("127.0.0.1", self.soak.server.port), 5)
            s.sendall(raw.connect("storm-%d" % self.rng.randrange(250), clean=self.rng.random() < 0.5)[:100])
            clients.append(s)
        self.soak.done.wait(0.5)
        for s in clients:
            s.close()


class Slow(Actor):
    """Wants everything and reads nothing."""

    def turn(self):
        r = self.client("slow-%d" % self.rng.randrange(5))
        r.s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        r.send(raw.subscribe(("#", self.rng.randrange(3))))
        self.soak.done.wait(3)
        r.close()


class Garbage(Actor):
    pause = 0.05

    def turn(self):
        s = socket.create_connection(("127.0.0.1", self.soak.server.port), 5)
        if self.rng.random() < 0.5:
            s.sendall(raw.connect("garbage"))
        s.sendall(bytes(self.rng.randrange(256) for _ in range(self.rng.randrange(1, 300))))
        self.soak.done.wait(0.05)
        s.close()


class Flood(Actor):
    """The load generator at full speed for a second."""
    pause = 10.0

    def turn(self):
        scenario = self.rng.choice(["pairs", "fanout", "q1clean", "q2clean"])
        done = subprocess.run([self.soak.load, "-s", scenario, "-p", str(self.soak.server.port), "-t", "1", "-u", "0"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=60)
        if done.returncode != 0:
            raise Failed("load %s: %s" % (scenario, done.stderr.decode("utf-8", "replace").strip()))


ACTORS = [Churn, Churn, Churn, Sessions, Sessions, Retained, Topics, Storm, Slow, Slow, Garbage, Flood]
