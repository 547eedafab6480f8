"""Clients that people use, over every transport they can: mosquitto's, paho's for Python and for C,
MQTT.js in Node and in Chromium. QoS 0, 1 and 2, retained messages, wills, sessions."""
import base64
import concurrent.futures
import hashlib
import http.server
import os
import shutil
import signal
import ssl
import subprocess
import threading

from harness import ROOT, SLOW, Failed, Skip, check, contains, equal, need_tool, test, until
from pahoclient import V4, V5, Client
from tlscerts import Authority

CLIENTS = os.path.join(ROOT, "tests", "clients")
SCHEMES = ("tcp", "ws", "ssl", "wss")


class Hub:
    """A hub that listens by every transport."""

    def __init__(self, t, more=""):
        self.ca = Authority(t)
        self.cert, self.key = self.ca.issue("server")
        self.server = t.baetyl("hub:\n  listen: [%s]\n  certificate: {cert: %s, key: %s}\n%s" % (
            ", ".join("'%s://127.0.0.1:0'" % s for s in SCHEMES), self.cert, self.key, more))
        self.port = {s: self.server.ports(s)[0] for s in SCHEMES}

    def url(self, scheme, name=None):
        path = "/mqtt" if scheme in ("ws", "wss") else ""
        return "%s://127.0.0.1:%d%s" % (name or scheme, self.port[scheme], path)


# ---- mosquitto ----


class Mosquitto:
    """mosquitto_pub and mosquitto_sub of one version over one transport."""

    def __init__(self, t, hub, scheme, version):
        need_tool("mosquitto_pub")
        self.t, self.version = t, version
        self.common = ["-h", "127.0.0.1", "-p", str(hub.port[scheme]), "-V", version]
        if scheme == "ssl":
            self.common += ["--cafile", hub.ca.ca]

    def pub(self, topic, *args):
        code, out, err = self.t.run(["mosquitto_pub"] + self.common + ["-t", topic] + list(args))
        equal(code, 0, "exit status of mosquitto_pub: %s" % (out + err))

    def sub(self, *args):
        """Runs it to its end; its lines."""
        code, out, err = self.t.run(["mosquitto_sub"] + self.common + ["-F", "%q %r %t %p", "-W", "10"] + list(args))
        equal(code, 0, "exit status of mosquitto_sub: %s" % (out + err))
        return out.decode().splitlines()

    def listen(self, *args):
        """Starts it and waits until it is subscribed."""
        p = self.t.spawn([need_tool("stdbuf"), "-oL", "mosquitto_sub"] + self.common + ["-d", "-F", "%q %r %t %p", "-W", "20"] + list(args))
        for line in p.stdout:
            if line.startswith(b"Subscribed"):
                return p
        raise Failed("mosquitto_sub did not subscribe")

    def lines(self, p):
        known = ("0 ", "1 ", "2 ")
        return [x for x in p.stdout.read().decode().splitlines() if x.startswith(known)]


def mosquitto(t, hub, scheme, version):
    m = Mosquitto(t, hub, scheme, version)
    p = m.listen("-t", "a/#", "-q", "2", "-C", "3")
    for qos in ("0", "1", "2"):
        m.pub("a/" + qos, "-q", qos, "-m", "hello " + qos)
    equal(m.lines(p), ["%s 0 a/%s hello %s" % (q, q, q) for q in "012"], "messages")
    m.pub("kept", "-q", "1", "-r", "-m", "state")
    equal(m.sub("-t", "kept", "-q", "1", "-C", "1"), ["1 1 kept state"])
    m.pub("kept", "-r", "-n")
    p = m.listen("-t", "kept", "-C", "1")
    m.pub("kept", "-m", "after")
    equal(m.lines(p), ["0 0 kept after"], "no retained message any more")
    p = m.listen("-t", "will", "-q", "1", "-C", "1")
    m.listen("-t", "x", "--will-topic", "will", "--will-payload", "gone", "--will-qos", "1").kill()
    equal(m.lines(p), ["1 0 will gone"], "will")
    session = ["-c", "-i", "s-" + scheme + version, "-q", "2", "-t", "later"]
    if version == "mqttv5":
        session += ["-x", "300"]
    equal(m.sub("-E", *session), [])
    for qos in "12":
        m.pub("later", "-q", qos, "-m", "for " + qos)
    equal(sorted(m.sub("-C", "2", *session)), ["1 0 later for 1", "2 0 later for 2"], "session")


@test
def mosquitto_over_tcp(t):
    hub = Hub(t)
    for version in ("mqttv31", "mqttv311", "mqttv5"):
        mosquitto(t, hub, "tcp", version)


@test
def mosquitto_over_tls(t):
    hub = Hub(t)
    for version in ("mqttv311", "mqttv5"):
        mosquitto(t, hub, "ssl", version)


# ---- paho for Python ----


def paho(t, hub, scheme, version, name, will=None, **options):
    c = Client(t, hub.server, "%s-%s-%d" % (name, scheme, version), version, connect=False, port=hub.port[scheme],
               transport="websockets" if scheme in ("ws", "wss") else "tcp", **options)
    if scheme in ("ssl", "wss"):
        c.c.tls_set(hub.ca.ca)
    if will:
        c.c.will_set(*will)
    return c.connect()


def lasting():
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties
    p = Properties(PacketTypes.CONNECT)
    p.SessionExpiryInterval = 300
    return p


def paho_python(t, hub, scheme, version):
    base = "py/%s/%d" % (scheme, version)
    a = paho(t, hub, scheme, version, "a")
    for qos in (0, 1, 2):
        a.subscribe(("%s/%d" % (base, qos), qos)).publish("%s/%d" % (base, qos), b"x" * 3000, qos)
        m = a.message()
        equal((m.topic, m.payload, m.qos), ("%s/%d" % (base, qos), b"x" * 3000, qos), "message")
    a.publish(base + "/kept", "state", 1, True)
    b = paho(t, hub, scheme, version, "b").subscribe((base + "/kept", 1))
    m = b.message()
    equal((m.payload, m.retain), (b"state", True), "retained")
    a.publish(base + "/kept", "", 1, True)
    a.subscribe((base + "/will", 1))
    w = paho(t, hub, scheme, version, "w", (base + "/will", "gone", 1))
    w.c.loop_stop()
    w.c.socket().close()
    equal(a.message().payload, b"gone", "will")
    options = {"clean": False, "properties": lasting() if version == V5 else None}
    s = paho(t, hub, scheme, version, "s", **options).subscribe((base + "/later", 2))
    s.close()
    for i in range(5):
        a.publish(base + "/later", str(i), 2)
    s = paho(t, hub, scheme, version, "s", **options)
    equal(s.flags.session_present, True, "session present")
    equal([s.message().payload for _ in range(5)], [b"%d" % i for i in range(5)], "messages of the session")


@test
def paho_for_python(t):
    hub = Hub(t)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(paho_python, t, hub, s, v) for s in SCHEMES for v in (V4, V5)]:
            done.result()


# ---- paho for C ----


@test
def paho_for_c(t):
    if not os.path.exists("/usr/include/MQTTClient.h"):
        raise Skip("no libpaho-mqtt-dev here")
    program = os.path.join(t.folder(), "paho_c")
    code, out, err = t.run([os.environ.get("CC_BUILD", "cc"), "-o", program, os.path.join(CLIENTS, "paho_c.c"),
                            "-lpaho-mqtt3cs"], 60)
    equal(code, 0, "exit status of the compiler: %s" % (out + err))
    hub = Hub(t)
    running = []
    for scheme in SCHEMES:
        for version in "345":
            if scheme in ("ssl", "wss") and version == "3":
                continue
            command = [program, hub.url(scheme), version, "c-%s-%s" % (scheme, version)]
            command += [hub.ca.ca] if scheme in ("ssl", "wss") else []
            running.append((command, t.spawn(command)))
    for command, p in running:
        out = p.stdout.read()
        equal(p.wait(), 0, "exit status of %s: %s" % (command[1:], out))


# ---- MQTT.js ----


def node_modules():
    """The folder with MQTT.js."""
    path = os.environ.get("NODE_CLIENTS", "")
    if not path:
        raise Skip("MQTT.js cannot be had here (npm is needed once)")
    return path


@test
def mqttjs_in_node(t):
    version = t.run([need_tool("node"), "--version"])[1].decode().strip()
    if int(version.lstrip("v").split(".")[0]) < 16:
        raise Skip("Node %s is too old for MQTT.js" % version)
    modules, hub = node_modules(), Hub(t)
    urls = [hub.url(s, {"tcp": "mqtt", "ssl": "mqtts"}.get(s)) for s in SCHEMES]
    code, out, err = t.run(["node", os.path.join(CLIENTS, "node.js"), modules, hub.ca.ca] + urls, 50)
    equal(code, 0, "exit status: %s" % (out + err)[-2000:])
    equal(len(out.split()) - 1, 4 * 3 * 8, "steps")


class Page(http.server.ThreadingHTTPServer):
    """Serves the page with its scripts and waits for its result."""

    daemon_threads = True

    def __init__(self, t, modules):
        folder, page = t.folder(), self
        for name in ("page.html", "scenario.js"):
            shutil.copy(os.path.join(CLIENTS, name), folder)
        shutil.copy(os.path.join(modules, "mqtt", "dist", "mqtt.min.js"), folder)
        self.done, self.result = threading.Event(), None

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *args):
                super().__init__(*args, directory=folder)

            def do_POST(self):
                page.result = self.rfile.read(int(self.headers["Content-Length"])).decode()
                self.send_response(204)
                self.end_headers()
                page.done.set()

            def log_message(self, *args):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def origin(self):
        return "http://127.0.0.1:%d" % self.server_address[1]


def public_key_hash(cert):
    """What Chromium is told to trust, beside the public authorities."""
    key = subprocess.run(["openssl", "x509", "-in", cert, "-noout", "-pubkey"], stdout=subprocess.PIPE, check=True)
    der = ssl.PEM_cert_to_DER_cert(key.stdout.decode().replace("PUBLIC KEY", "CERTIFICATE"))
    return base64.b64encode(hashlib.sha256(der).digest()).decode()


class Browser:
    """Chromium without a window, on one page."""

    def __init__(self, t, url, trusted):
        program = shutil.which("chromium") or need_tool("chromium")
        self.log_path = os.path.join(t.folder(), "log")
        command = [program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                   "--disable-background-networking", "--disable-component-update", "--no-proxy-server",
                   "--user-data-dir=" + t.folder(), "--ignore-certificate-errors-spki-list=" + trusted, url]
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            start_new_session=True)
        t.clients.append(self)

    def log(self):
        with open(self.log_path, "rb") as f:
            return f.read().decode("utf-8", "replace")

    def close(self):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)  # with the processes it started
        except ProcessLookupError:
            pass
        self.process.wait()


def in_browser(t, hub, page, *schemes):
    query = "&".join("url=" + hub.url(s) for s in schemes)
    browser = Browser(t, "%s/page.html?%s" % (page.origin, query), public_key_hash(hub.cert))
    if not page.done.wait(50 * SLOW):
        raise Failed("the page says nothing; browser: %s" % browser.log()[-2000:])
    browser.close()
    return page.result


@test
def mqttjs_in_chromium(t):
    need_tool("chromium")
    modules = node_modules()
    hub, page = Hub(t), Page(t, modules)
    result = in_browser(t, hub, page, "ws", "wss")
    check(result.startswith("done "), result)
    equal(len(result.split()) - 1, 2 * 2 * 8, "steps: " + result)


@test
def chromium_of_a_page_that_is_not_allowed(t):
    need_tool("chromium")
    modules = node_modules()
    hub = Hub(t, "  listeners: [{address: 'ws://127.0.0.1:0', origins: ['https://example.org']}]\n")
    hub.port["ws"] = hub.server.ports("ws")[1]
    page = Page(t, modules)
    contains(in_browser(t, hub, page, "ws"), "failed qos, version 4", "result")
    until(lambda: "status=403" in hub.server.log(), what="the refusal in the log")
