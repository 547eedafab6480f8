"""What runs while the hub is killed, and what must be true after each restart.

A part has sessions of its own. begin() starts its threads, stop() waits for their end after the kill,
verify() runs against the hub that was started again and returns what is wrong as texts.
"""
import struct
import threading
import time

import harness
import raw
from harness import Failed

WINDOW = 20
DRAIN_S = 10


class Client(threading.Thread):
    """A logged-in raw client; work() runs until the connection ends."""

    def __init__(self, t, port, name, clean=True, **options):
        super().__init__(daemon=True)
        self.r = raw.Raw(t, port)
        self.present = self.r.login(name, clean=clean, **options)

    def run(self):
        try:
            self.work()
        except (OSError, Failed):
            pass

    def work(self):
        raise NotImplementedError

    def subscribe(self, topic, qos):
        self.r.send(raw.subscribe((topic, qos))).expect(raw.SUBACK)
        return self

    def leave(self):
        self.r.send(raw.packet(0xe0)).closed()
        self.r.close()


class Publisher(Client):
    """QoS 1: keeps WINDOW messages on their way and remembers which were acknowledged."""

    def __init__(self, t, port, tag, topic=None, retain=False):
        super().__init__(t, port, "pub-" + tag)
        self.tag, self.topic, self.retain = tag, topic or ["c/" + tag], retain
        self.acked, self.sent = set(), 0

    def name(self, number):
        return "%s-%d" % (self.tag, number)

    def work(self):
        names, done = {}, 0
        while True:
            while self.sent - done < WINDOW:
                pid = self.sent % 65535 + 1
                names[pid] = self.sent
                self.r.s.sendall(raw.publish(self.topic[self.sent % len(self.topic)], self.name(self.sent), qos=1,
                                             pid=pid, retain=self.retain))
                self.sent += 1
            got = self.r.packet(DRAIN_S)
            if got is None:
                return
            if got[0] == raw.PUBACK:
                self.acked.add(names.pop(struct.unpack(">H", got[2])[0]))
                done += 1


class Reader(Client):
    """QoS 1: takes and acknowledges until the connection ends or `enough` says so."""

    def __init__(self, t, port, name, seen, enough=None):
        super().__init__(t, port, name, clean=False)
        self.seen, self.enough, self.duplicates = seen, enough, 0

    def work(self):
        while not (self.enough and self.enough()):
            m = self.r.message(1 if self.enough else DRAIN_S)
            name = m["payload"].decode()
            self.duplicates += name in self.seen
            self.seen.add(name)


class Part:
    sessions = ()  # (name, filter, QoS)

    def __init__(self, world):
        self.world = world
        self.threads = []
        self.totals = {}

    def count(self, what, n=1):
        self.totals[what] = self.totals.get(what, 0) + n

    @property
    def port(self):
        return self.world.server.port

    def setup(self):
        for name, topic, qos in self.sessions:
            Reader(self.world.t, self.port, name, set()).subscribe(topic, qos).leave()

    def start(self, *threads):
        self.threads += threads
        for thread in threads:
            thread.start()

    def begin(self, number):
        raise NotImplementedError

    def verify(self):
        raise NotImplementedError

    def stop(self):
        for thread in self.threads:
            thread.join(DRAIN_S)
            thread.r.close()
        self.threads = []

    def collect(self, name, seen, enough):
        """Reads a session until enough() is true."""
        reader = Reader(self.world.t, self.port, name, seen, enough)
        if not reader.present:
            raise Failed("session %s is gone" % name)
        reader.start()
        reader.join(DRAIN_S * harness.SLOW)
        reader.enough = lambda: True
        self.count("delivered twice", reader.duplicates)
        reader.leave()


def examples(names):
    return "as %s" % sorted(names)[:3]


class AtLeastOnce(Part):
    """QoS 1: every acknowledged message reaches a session that was there and one that was away; of a shared
    subscription, one of its members."""
    name = "qos 1"
    sessions = (("on", "c/#", 1), ("off", "c/#", 1), ("member-on", "$share/g/c/#", 1),
                ("member-off", "$share/g/c/#", 1))

    def begin(self, number):
        self.seen = {name: set() for name, _, _ in self.sessions}
        self.pubs = [Publisher(self.world.t, self.port, "%d.%d" % (number, i)) for i in range(2)]
        self.start(Reader(self.world.t, self.port, "on", self.seen["on"]),
                   Reader(self.world.t, self.port, "member-on", self.seen["member-on"]), *self.pubs)

    def verify(self):
        acked = {p.name(n) for p in self.pubs for n in p.acked}
        self.count("sent", sum(p.sent for p in self.pubs))
        self.count("acknowledged", len(acked))
        for name in ("on", "off"):
            seen = self.seen[name]
            self.collect(name, seen, lambda seen=seen: acked <= seen)
            missing = acked - seen
            self.count("missing", len(missing))
            if missing:
                yield "%d of %d acknowledged messages are missing in session %s, %s" % (
                    len(missing), len(acked), name, examples(missing))
        one, other = self.seen["member-on"], self.seen["member-off"]
        for name, seen in (("member-on", one), ("member-off", other)):
            # What the other member has is not known to come here: read until it is quiet.
            quiet = Quiet(seen, lambda: acked <= one | other)
            self.collect(name, seen, quiet)
        missing = acked - one - other
        self.count("missing", len(missing))
        if missing:
            yield "%d of %d acknowledged messages are missing in the group, %s" % (
                len(missing), len(acked), examples(missing))


class Quiet:
    """Enough when done() is true, or nothing new came for half a second."""

    def __init__(self, seen, done):
        self.seen, self.done, self.n, self.since = seen, done, -1, time.monotonic()

    def __call__(self):
        if len(self.seen) != self.n:
            self.n, self.since = len(self.seen), time.monotonic()
        return self.done() or time.monotonic() - self.since > 0.5 * harness.SLOW


class Sender2(Client):
    """QoS 2 with a session that is kept: after a break it goes on where it was."""

    def __init__(self, t, port, name, state):
        super().__init__(t, port, name, clean=False)
        self.state, self.fresh = state, True

    def resume(self):
        for pid, payload in self.state.sending.items():
            if payload is None:
                self.r.s.sendall(raw.ack(raw.PUBREL, pid))
            else:
                self.r.s.sendall(raw.publish("x/2", payload, qos=2, pid=pid, dup=True))

    def more(self):
        s = self.state
        while s.tag is not None and len(s.sending) < WINDOW:
            s.n += 1
            pid, payload = s.n % 65535 + 1, "%s-%d" % (s.tag, s.n)
            s.sending[pid] = payload
            s.sent.add(payload)
            self.r.s.sendall(raw.publish("x/2", payload, qos=2, pid=pid))

    def work(self):
        self.resume()
        while True:
            self.more()
            if not self.state.sending:
                return
            got = self.r.packet(DRAIN_S)
            if got is None:
                return
            pid = struct.unpack(">H", got[2][:2])[0]
            if got[0] == raw.PUBREC:
                self.state.sending[pid] = None
                self.r.s.sendall(raw.ack(raw.PUBREL, pid))
            elif got[0] == raw.PUBCOMP:
                self.state.sending.pop(pid, None)


class Sending:
    """What a QoS 2 publisher remembers: identifier to payload, None once the PUBREC came."""

    def __init__(self):
        self.sending, self.sent, self.n, self.tag = {}, set(), 0, None


class Receiver2(Client):
    """QoS 2: counts each message, once for each time it is new to the protocol."""

    def __init__(self, t, port, name, state, enough=None):
        super().__init__(t, port, name, clean=False)
        self.state, self.enough = state, enough

    def work(self):
        while not (self.enough and self.enough()):
            got = self.r.packet(1 if self.enough else DRAIN_S)
            if got is None:
                return
            if got[0] == raw.PUBLISH:
                n = struct.unpack(">H", got[2][:2])[0]
                pid = struct.unpack(">H", got[2][2 + n:4 + n])[0]
                if pid not in self.state.incoming:
                    payload = got[2][4 + n:].decode()
                    self.state.incoming.add(pid)
                    self.state.seen[payload] = self.state.seen.get(payload, 0) + 1
                self.r.s.sendall(raw.ack(raw.PUBREC, pid))
            elif got[0] == raw.PUBREL:
                pid = struct.unpack(">H", got[2][:2])[0]
                self.state.incoming.discard(pid)
                self.r.s.sendall(raw.ack(raw.PUBCOMP, pid))


class Receiving:
    def __init__(self):
        self.incoming, self.seen = set(), {}


class ExactlyOnce(Part):
    """QoS 2: everything that was sent arrives exactly once, once its publisher has gone on after the restart."""
    name = "qos 2"
    sessions = (("on-2", "x/#", 2), ("off-2", "x/#", 2))

    def setup(self):
        super().setup()
        self.senders = {"from-2.%d" % i: Sending() for i in range(2)}
        self.receivers = {name: Receiving() for name, _, _ in self.sessions}
        for name in self.senders:
            # The session is on disk once something of it was acknowledged after a commit.
            Reader(self.world.t, self.port, name, set()).subscribe("nothing/" + name, 0).leave()

    def begin(self, number):
        for name, state in self.senders.items():
            state.tag, state.sent = "%s-%d" % (name, number), set()
            self.start(Sender2(self.world.t, self.port, name, state))
        for state in self.receivers.values():
            state.seen = {}
        self.start(Receiver2(self.world.t, self.port, "on-2", self.receivers["on-2"]))

    def finish_sending(self):
        for name, state in self.senders.items():
            state.tag = None
            sender = Sender2(self.world.t, self.port, name, state)
            if not sender.present:
                raise Failed("session %s is gone" % name)
            sender.start()
            sender.join(DRAIN_S * harness.SLOW)
            if state.sending:
                raise Failed("%d messages of %s are never completed" % (len(state.sending), name))
            sender.leave()

    def verify(self):
        self.finish_sending()
        sent = set().union(*(s.sent for s in self.senders.values()))
        self.count("sent", len(sent))
        for name, state in self.receivers.items():
            r = Receiver2(self.world.t, self.port, name, state)
            if not r.present:
                raise Failed("session %s is gone" % name)
            r.enough = lambda state=state: len(state.seen) >= len(sent) and not state.incoming
            r.start()
            r.join(DRAIN_S * harness.SLOW)
            r.enough = lambda: True
            r.leave()
            missing = sent - set(state.seen)
            twice = [m for m, n in state.seen.items() if n > 1]
            self.count("missing", len(missing))
            self.count("delivered twice", len(twice))
            if missing:
                yield "%d of %d QoS 2 messages are missing in session %s, %s" % (
                    len(missing), len(sent), name, examples(missing))
            if twice:
                yield "%d of %d QoS 2 messages came twice in session %s, %s" % (
                    len(twice), len(sent), name, examples(twice))


class Retained(Part):
    """Of each topic the last acknowledged value, or a newer one."""
    name = "retained"
    topics = ["r/%d" % i for i in range(5)]

    def begin(self, number):
        self.publisher = Publisher(self.world.t, self.port, "r%d" % number, self.topics, retain=True)
        self.start(self.publisher)

    def verify(self):
        p, n = self.publisher, len(self.topics)
        acked = {}
        for number in p.acked:
            acked[self.topics[number % n]] = max(acked.get(self.topics[number % n], -1), number)
        self.count("acknowledged", len(p.acked))
        got, reader = {}, raw.Raw(self.world.t, self.port)
        reader.login("retained-reader")
        reader.send(raw.subscribe(("r/+", 0))).expect(raw.SUBACK)
        reader.send(raw.packet(0xc0))
        while True:
            packet = reader.packet()
            if packet is None or packet[0] == raw.PINGRESP:
                break
            body = packet[2]
            length = struct.unpack(">H", body[:2])[0]
            got[body[2:2 + length].decode()] = body[2 + length:].decode()
        reader.close()
        for topic, number in acked.items():
            tag, _, text = got.get(topic, "-").rpartition("-")
            if tag != p.tag or not number <= int(text) < p.sent:
                self.count("missing")
                yield "%s retains %r, acknowledged was %s" % (topic, got.get(topic), p.name(number))


class WillClient(Client):
    """Armed when a publish that followed its CONNECT was acknowledged: then the will is safe."""

    def __init__(self, t, port, name, topic):
        self.armed, self.topic = False, topic
        super().__init__(t, port, name, clean=False, will=(topic, topic, 1))

    def work(self):
        self.r.send(raw.publish("w-armed", "x", qos=1)).expect(raw.PUBACK, DRAIN_S)
        self.armed = True
        self.r.packet(DRAIN_S)


class Wills(Part):
    """A client of a session that is kept was connected when the hub died: its will is published."""
    name = "wills"
    sessions = (("will-watcher", "w/#", 1), ("will-other", "w-armed", 1))

    def begin(self, number):
        self.clients = [WillClient(self.world.t, self.port, "will-%d" % i, "w/%d.%d" % (number, i)) for i in range(2)]
        self.seen = set()
        self.start(Reader(self.world.t, self.port, "will-other", set()), *self.clients)

    def verify(self):
        wanted = {c.topic for c in self.clients if c.armed}
        self.count("wills", len(wanted))
        self.collect("will-watcher", self.seen, lambda: wanted <= self.seen)
        if wanted - self.seen:
            self.count("missing", len(wanted - self.seen))
            yield "wills are missing: %s" % sorted(wanted - self.seen)


PARTS = [AtLeastOnce, ExactlyOnce, Retained, Wills]
