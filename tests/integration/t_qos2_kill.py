"""QoS 2 is exactly once through SIGKILL of the hub, at every step of the exchange."""
import random
import struct
import threading
import time

import raw
from harness import Failed, check, equal, test
from raw import PUBACK, PUBCOMP, PUBREC, PUBREL, Raw, ack, session
from t_qos2 import WORKERS, again, both, finish, lasting, take, unknown

WINDOW = 20


def restart(s):
    s.kill()
    s.start()


def offline(t, s, level, name="off"):
    """A receiver that is away; every version has its own."""
    lasting(t, s, "%s%d" % (name, level), level, ("o", 2)).close()


def receiver(t, s, level):
    return again(t, s, "off%d" % level, level)


def clear(t, s, level):
    """The receiver's session ends; the next version's publishes are not for it."""
    session(t, s, "off%d" % level, level=level).send(raw.packet(0xe0)).closed()


def only(t, s, level, *payloads):
    """The absent client has exactly these waiting."""
    sub = receiver(t, s, level)
    pids = []
    for payload in payloads:
        m = sub.message(level=level)
        equal((m["payload"], m["qos"]), (payload, 2), "payload and QoS")
        pids.append(m["pid"])
    for pid in pids:
        finish(sub, pid)
    sub.ping().quiet(0.1)
    clear(t, s, level)


# ---- the publisher's side ----

@both
def killed_after_pubrec_the_publish_is_known(t, s, level):
    offline(t, s, level)
    pub = lasting(t, s, "pub%d" % level, level)
    for i in range(1, 6):
        pub.send(raw.publish("o", str(i), qos=2, pid=i, level=level))
    for i in range(1, 6):
        pub.acked(PUBREC, i)
    restart(s)
    pub = again(t, s, "pub%d" % level, level)
    for i in range(1, 6):
        pub.send(raw.publish("o", str(i), qos=2, pid=i, dup=True, level=level)).acked(PUBREC, i)
    restart(s)
    pub = again(t, s, "pub%d" % level, level)
    for i in range(1, 6):
        pub.send(ack(PUBREL, i)).acked(PUBCOMP, i)
    only(t, s, level, b"1", b"2", b"3", b"4", b"5")


@both
def killed_after_pubcomp_the_identifier_is_free(t, s, level):
    offline(t, s, level)
    pub = lasting(t, s, "pub%d" % level, level)
    pub.send(raw.publish("o", "1", qos=2, pid=9, level=level)).acked(PUBREC, 9).send(ack(PUBREL, 9)).acked(PUBCOMP, 9)
    restart(s)
    pub = again(t, s, "pub%d" % level, level)
    pub.send(raw.publish("o", "2", qos=2, pid=9, level=level)).acked(PUBREC, 9).send(ack(PUBREL, 9)).acked(PUBCOMP, 9)
    pub.send(ack(PUBREL, 9)).acked(PUBCOMP, 9, unknown(level))
    only(t, s, level, b"1", b"2")


@both
def killed_at_once_after_publish_and_pubrel(t, s, level):
    offline(t, s, level)
    for i in range(5):
        pub = again(t, s, "pub%d" % level, level, present=1 if i else 0)
        pub.send(raw.publish("o", str(i), qos=2, pid=3, level=level))
        restart(s)
        pub = Raw(t, s.port)
        present = pub.login("pub%d" % level, clean=False, level=level, props=b"\5\x11\0\0\1\0")
        check(present or i == 0, "the session is lost")
        pub.send(raw.publish("o", str(i), qos=2, pid=3, dup=True, level=level)).acked(PUBREC, 3)
        pub.send(ack(PUBREL, 3))
        restart(s)
        body = again(t, s, "pub%d" % level, level).send(ack(PUBREL, 3)).expect(PUBCOMP)
        equal(body[:2], b"\0\3", "identifier")
    only(t, s, level, b"0", b"1", b"2", b"3", b"4")


@test
def all_receivers_or_none_and_a_retained_copy(t):
    """Receivers on every worker, one of them connected; the publisher's row comes with theirs."""
    s = t.baetyl(WORKERS)
    names = ["r%d" % i for i in range(9)]
    for name in names:
        offline(t, s, 4, name)
    pub = lasting(t, s, "pub", 4)
    pub.send(raw.publish("o", "x", qos=2, pid=1, retain=True)).acked(PUBREC, 1)
    restart(s)
    again(t, s, "pub", 4).send(raw.publish("o", "x", qos=2, pid=1, retain=True, dup=True)).acked(PUBREC, 1)
    for name in names:
        sub = again(t, s, name + "4", 4)
        finish(sub, take(sub, 4, b"x", dup=1))
        sub.quiet(0.05)
    late = session(t, s, "late", ("o", 0))
    equal(late.message()["payload"], b"x", "retained")


# ---- the receiver's side ----

@both
def killed_after_publish_it_comes_again_with_dup(t, s, level):
    offline(t, s, level)
    pub = session(t, s, "pub")
    for i in range(3):
        pub.send(raw.publish("o", str(i), qos=2, pid=i + 1)).acked(PUBREC, i + 1)
    sub = receiver(t, s, level)
    pids = [take(sub, level, str(i).encode()) for i in range(3)]
    restart(s)
    sub = receiver(t, s, level)
    equal([take(sub, level, str(i).encode(), dup=1) for i in range(3)], pids, "identifiers")
    clear(t, s, level)


@both
def killed_after_pubrel_it_is_released_again(t, s, level):
    offline(t, s, level)
    pub = session(t, s, "pub")
    for i in range(3):
        pub.send(raw.publish("o", str(i), qos=2, pid=i + 1)).acked(PUBREC, i + 1)
    sub = receiver(t, s, level)
    pids = [take(sub, level, str(i).encode()) for i in range(3)]
    for pid in pids[1:]:
        sub.send(ack(PUBREC, pid)).acked(PUBREL, pid)
    sub.send(ack(PUBCOMP, pids[2]))
    restart(s)
    sub = receiver(t, s, level)
    equal(take(sub, level, b"0", dup=1), pids[0], "identifier")
    got = sub.acked(PUBREL, pids[1]).send(ack(PUBCOMP, pids[1]), raw.packet(0xc0)).packet()
    if got[0] == PUBREL:  # the end of the third was not on disk yet
        equal(struct.unpack(">H", got[2])[0], pids[2], "identifier")
        sub.send(ack(PUBCOMP, pids[2])).expect(raw.PINGRESP)
    finish(sub, pids[0])
    sub.quiet(0.1)
    clear(t, s, level)


@both
def killed_at_once_after_pubrec(t, s, level):
    offline(t, s, level)
    pub = session(t, s, "pub")
    pub.send(raw.publish("o", "x", qos=2, pid=1)).acked(PUBREC, 1)
    sub = receiver(t, s, level)
    pid = take(sub, level, b"x")
    sub.send(ack(PUBREC, pid))
    restart(s)
    sub = receiver(t, s, level)
    got = sub.packet()
    check(got[0] in (raw.PUBLISH, PUBREL), "packet type %d" % got[0])
    if got[0] == raw.PUBLISH:
        equal(got[1] & 8, 8, "DUP")
        equal(struct.unpack(">H", got[2][3:5])[0], pid, "identifier")
        sub.send(ack(PUBREC, pid)).acked(PUBREL, pid)
    sub.send(ack(PUBCOMP, pid)).quiet(0.1)
    clear(t, s, level)


# ---- both, in volume ----

class Peer(threading.Thread):
    """One end of many exchanges. Its state outlives connections, as a client's does."""

    def __init__(self, name):
        super().__init__(daemon=True)
        self.name, self.r, self.problem = name, None, None

    def connect(self, t, s):
        self.r = Raw(t, s.port)
        present = self.r.login(self.name, clean=False)
        threading.Thread.__init__(self, daemon=True, name=self.name)
        self.resume(present)
        self.start()

    def run(self):
        try:
            while True:
                got = self.r.packet(5)
                if got is None:
                    return
                self.handle(got[0], got[2])
        except (OSError, Failed):
            return


class Publisher(Peer):
    def __init__(self, name):
        super().__init__(name)
        self.made, self.open, self.limit, self.level = 0, {}, 0, {}

    def resume(self, _present):
        for pid, (text, released) in list(self.open.items()):
            self.r.send(ack(PUBREL, pid) if released else
                        raw.publish("v/" + self.name, text, qos=self.level[pid], pid=pid, dup=True))
        self.fill()

    def fill(self):
        while len(self.open) < WINDOW and self.made < self.limit:
            pid = self.made % 50 + 1
            if pid in self.open:
                return
            # Now and then one at QoS 1: it takes another way to the store.
            self.level[pid] = 1 if self.made % 7 == 3 else 2
            self.open[pid] = ("%s %d" % (self.name, self.made), False)
            self.r.send(raw.publish("v/" + self.name, self.open[pid][0], qos=self.level[pid], pid=pid))
            self.made += 1

    def handle(self, kind, body):
        pid = struct.unpack(">H", body[:2])[0]
        if kind == PUBREC and pid in self.open:
            text = self.open.pop(pid)[0]
            self.open[pid] = (text, True)
            self.r.send(ack(PUBREL, pid))
        elif kind in (PUBCOMP, PUBACK):
            self.open.pop(pid, None)
            self.fill()


class Receiver(Peer):
    def __init__(self, name):
        super().__init__(name)
        self.got, self.twice, self.known = [], 0, set()

    def resume(self, present):
        if not present and self.got:
            self.problem = "the session of %s is lost" % self.name

    def handle(self, kind, body):
        if kind == raw.PUBLISH:
            n = struct.unpack(">H", body[:2])[0]
            pid, text = struct.unpack(">H", body[2 + n:4 + n])[0], body[4 + n:].decode()
            number = int(text.split()[1])
            if number % 7 == 3:
                if text not in self.got[-200:]:
                    self.got.append(text)
                self.r.send(ack(PUBACK, pid))
                return
            if pid not in self.known:
                self.known.add(pid)
                self.got.append(text)
            self.r.send(ack(PUBREC, pid))
        elif kind == PUBREL:
            pid = struct.unpack(">H", body[:2])[0]
            self.known.discard(pid)
            self.r.send(ack(PUBCOMP, pid))


def wait(until, seconds):
    end = time.monotonic() + seconds
    while not until() and time.monotonic() < end:
        time.sleep(0.01)
    return until()


@test
def volume_through_random_kills(t):
    rng = random.Random(5)
    s = t.baetyl(WORKERS)
    pubs = [Publisher("pub%d" % i) for i in range(3)]
    subs = [Receiver("sub%d" % i) for i in range(4)]
    for sub in subs:
        session(t, s, sub.name, ("v/+", 2), clean=False).close()
    for number in range(7):
        last = number == 6
        for sub in subs if number % 2 or last else subs[:2]:
            sub.connect(t, s)
        for pub in pubs:
            pub.limit += 0 if last else 2000
            pub.connect(t, s)
        if not last:
            time.sleep(0.05 + rng.random() * 0.4)
            s.kill()
            for peer in pubs + subs:
                if peer.is_alive():
                    peer.join(5)
            s.start()
            for pub in pubs:
                pub.limit = pub.made
    made = sum(p.made for p in pubs)
    done = wait(lambda: not any(p.open for p in pubs) and all(len(r.got) >= made for r in subs), 20)
    for sub in subs:
        check(sub.problem is None, sub.problem)
        equal(len(set(sub.got)), len(sub.got), "messages of %s that are not twice" % sub.name)
        equal(len(sub.got), made, "messages of %s" % sub.name)
        for pub in pubs:
            mine = [int(x.split()[1]) for x in sub.got if x.startswith(pub.name) and int(x.split()[1]) % 7 != 3]
            equal(mine, sorted(mine), "order of %s" % pub.name)
    check(done, "publishers are done")
    check(made > 200, "only %d messages" % made)
