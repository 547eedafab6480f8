"""MQTT 5.0, statement by statement, with raw packets: what the server owes a client."""
import raw
from harness import equal
from mqtt5 import five, normative


@normative("MQTT-4.7.0-1", "MQTT-4.7.1-1", "MQTT-4.7.1-2", "MQTT-4.7.3-1", "MQTT-4.8.2-1", "MQTT-4.8.2-2",
           "MQTT-3.8.4-6", "MQTT-3.8.4-7")
def a_bad_filter_fails_alone(t):
    s = t.baetyl()
    bad = ["", "a/#/b", "a#", "a+/b", "#/a", "$share//a", "$share/g", "$share/g/", "$share/+/a", "$share/g#/a"]
    r = five(t, s, "c")
    codes = r.sub(("good", 1), *[(f, 0) for f in bad], ("also/+/good/#", 0))
    equal(codes, [1] + [0x8f] * len(bad) + [0], "SUBACK")
    r.pub("good", "m")
    equal(r.get()["payload"], b"m", "payload")
    equal(r.unsub("good", "a/#/b", "never"), [0, 0x8f, 0x11], "UNSUBACK")
    old = raw.session(t, s, "old")
    old.send(raw.subscribe(("x", 1), ("a/#/b", 0), ("y", 0)))
    equal(list(old.expect(raw.SUBACK)[2:]), [1, 0x80, 0], "SUBACK of 3.1.1")
    old.send(raw.unsubscribe("x", "a/#/b"))
    equal(old.expect(raw.UNSUBACK), b"\0\1", "UNSUBACK of 3.1.1")
