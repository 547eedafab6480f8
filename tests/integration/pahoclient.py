"""paho's client behind a few blocking calls, versions 3.1.1 and 5."""
import queue
import threading

from harness import SLOW, Failed, Skip

try:
    import paho.mqtt.client as paho
    from paho.mqtt.enums import CallbackAPIVersion
except ImportError:
    paho = None

V4, V5 = 4, 5


class Client:
    def __init__(self, t, server, client_id="paho", version=V4, clean=True, user=None, password=None,
                 connect=True, properties=None, transport="tcp", port=None):
        if paho is None:
            raise Skip("paho 2 cannot be had here")
        options = {"clean_session": clean} if version == V4 else {}
        self.c = paho.Client(CallbackAPIVersion.VERSION2, client_id, protocol=version,
                             transport=transport, **options)
        if user is not None:
            self.c.username_pw_set(user, password)
        self.messages = queue.Queue()
        self.connected, self.subscribed = threading.Event(), threading.Event()
        self.code, self.granted, self.flags = None, None, None
        self.c.on_connect = self.on_connect
        self.c.on_subscribe = self.on_subscribe
        self.c.on_message = lambda _c, _u, m: self.messages.put(m)
        self.port, self.version, self.clean, self.properties = port or server.port, version, clean, properties
        t.clients.append(self)
        if connect:
            self.connect()

    def on_connect(self, _c, _u, flags, code, _p):
        self.code, self.flags = code, flags
        self.connected.set()

    def on_subscribe(self, _c, _u, _mid, codes, _p):
        self.granted = [c.value for c in codes]
        self.subscribed.set()

    def connect(self, ok=True):
        options = {}
        if self.version == V5:
            options = {"clean_start": self.clean, "properties": self.properties}
        self.c.connect("127.0.0.1", self.port, 60, **options)
        self.c.loop_start()
        if not self.connected.wait(5 * SLOW):
            raise Failed("no CONNACK")
        if ok and self.code.is_failure:
            raise Failed("refused: %s" % self.code)
        return self

    def subscribe(self, *filters):
        self.subscribed.clear()
        self.c.subscribe(list(filters))
        if not self.subscribed.wait(5 * SLOW):
            raise Failed("no SUBACK")
        return self

    def publish(self, topic, payload, qos=0, retain=False, properties=None):
        info = self.c.publish(topic, payload, qos, retain, properties)
        info.wait_for_publish(5 * SLOW)
        if not info.is_published():
            raise Failed("no PUBACK")
        return self

    def message(self, seconds=5):
        try:
            return self.messages.get(timeout=seconds * SLOW)
        except queue.Empty:
            raise Failed("no message")

    def close(self):
        self.c.disconnect()
        self.c.loop_stop()
