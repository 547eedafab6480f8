"""MQTT over WebSocket."""
import raw
import rawws
from harness import check, equal, test
from raw import session
from rawws import WebSocket

CONFIG = "hub:\n  listen: ['tcp://127.0.0.1:0', 'ws://127.0.0.1:0']\n"


def ws(t, config=CONFIG):
    s = t.baetyl(config)
    return s, s.ports("ws")[0]


@test
def login_and_message(t):
    s, port = ws(t)
    for level in (4, 5):
        w = WebSocket(t, port)
        w.login("w%d" % level, level=level)
        w.send(raw.subscribe(("x", 1), level=level)).expect(raw.SUBACK)
        session(t, s, "p").send(raw.publish("x", "over tcp"))
        equal(w.message(level=level)["payload"], b"over tcp")
        w.send(raw.publish("x", "over ws", qos=1, level=level))
        got = [w.packet()[0], w.packet()[0]]
        equal(sorted(got), [raw.PUBLISH, raw.PUBACK])
        w.ping()
