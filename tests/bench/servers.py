"""The two servers that are compared: each starts on a free loopback port in a folder of its own."""
import inspect
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time

def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """A server process; `ready_ms` is the time from exec to an answered CONNECT."""
    name = "?"
    tls = False

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="bench-")
        self.port = free_port()
        self.process = None
        self.ready_ms = None

    def command(self):
        raise NotImplementedError

    def __enter__(self):
        try:
            command = self.command()
            self.log = open(os.path.join(self.dir, "log"), "wb")
            start = time.monotonic()
            self.process = subprocess.Popen(
                command, cwd=self.dir, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
            self.wait_ready(start)
        except BaseException:
            self.__exit__()
            raise
        return self

    def wait_ready(self, start):
        packet = b"\x10\x11\x00\x04MQTT\x04\x02\x00\x0a\x00\x05probe"
        while time.monotonic() - start < 20:
            if self.process.poll() is not None:
                break
            try:
                with self.connect() as s:
                    s.settimeout(5)
                    s.sendall(packet)
                    if s.recv(4)[:1] == b"\x20":
                        self.ready_ms = (time.monotonic() - start) * 1000
                        s.sendall(b"\xe0\x00")
                        return
            except OSError:
                time.sleep(0.0005)
        with open(os.path.join(self.dir, "log"), "rb") as f:
            raise RuntimeError("%s did not start: %s" % (self.name, f.read()[-800:].decode("utf-8", "replace")))

    def connect(self):
        s = socket.create_connection(("127.0.0.1", self.port), 1)
        if not self.tls:
            return s
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context.wrap_socket(s)

    def __exit__(self, *_):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    def write(self, name, text):
        path = os.path.join(self.dir, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write(text)
        return path


class Baetyl(Server):
    """functions: a functions.Functions. cpus: those the process and its functions may use, "0"."""
    name = "baetyl"

    def __init__(self, program, functions=None, workers=None, tls=False, cpus=None):
        super().__init__()
        self.program = program
        self.functions, self.workers, self.tls, self.cpus = functions, workers, tls, cpus

    def command(self):
        scheme = "ssl" if self.tls else "tcp"
        text = "hub:\n  listen: ['%s://127.0.0.1:%d']\n" % (scheme, self.port)
        if self.workers is not None:
            text += "  workers: %d\n" % self.workers
        if self.tls:
            key, cert = certificate(self.dir)
            text += "  certificate: {key: '%s', cert: '%s'}\n" % (key, cert)
        text += "logger: {level: warn}\n"
        if self.functions is not None:
            text += self.functions.text
            for name, source in self.functions.files.items():
                self.write(name, source)
        path = self.write("baetyl.yml", text)
        modules = "hub" if self.functions is None else "hub,funcmgr"
        pinned = ["taskset", "-c", self.cpus] if self.cpus is not None else []
        return pinned + [self.program, "start", "-w", self.dir, "-c", path, "--modules", modules]


class Mosquitto(Server):
    """autosave: after every change, which is the nearest it has to durable before PUBACK."""
    name = "mosquitto"

    def __init__(self, program, autosave=False, tls=False):
        super().__init__()
        self.program = program
        self.autosave, self.tls = autosave, tls

    def command(self):
        text = ("listener %d 127.0.0.1\nallow_anonymous true\nuser root\npersistence true\n"
                "persistence_location %s/\nlog_dest none\n" % (self.port, self.dir))
        if self.autosave:
            text += "autosave_interval 1\nautosave_on_changes true\n"
        if self.tls:
            text += "keyfile %s\ncertfile %s\n" % certificate(self.dir)
        return [self.program, "-c", self.write("mosquitto.conf", text)]


class Nanomq(Server):
    name = "nanomq"

    def __init__(self, program):
        super().__init__()
        self.program = program

    def command(self):
        return [self.program, "start", "--url", "nmq-tcp://127.0.0.1:%d" % self.port]


class Kind:
    """A server that can be started: its name in the table, its class and its program."""

    def __init__(self, name, make, program):
        self.name, self.make, self.program = name, make, os.path.abspath(program)

    def can(self, options):
        return set(options) <= set(inspect.signature(self.make).parameters)

    def server(self, **options):
        server = self.make(self.program, **options)
        server.name = self.name
        return server

    def title(self):
        arguments, word = (["version"], "baetyl") if self.make is Baetyl else (["-h"], "version")
        return "%s %s" % (self.name, version([self.program] + arguments, word))


def peers(notes):
    """mosquitto where it is installed, then those of BENCH_BROKERS."""
    wanted = ["mosquitto"] + os.environ.get("BENCH_BROKERS", "").split()
    kinds = {"mosquitto": Mosquitto, "nanomq": Nanomq, "baetyl": Baetyl}
    found = []
    for text in wanted:
        name, _, program = text.rpartition("=")
        path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
        make = next((k for prefix, k in kinds.items() if os.path.basename(program).startswith(prefix)), None)
        if path is None or make is None:
            notes.append("%s: %s" % (program, "not installed" if make else "not a broker that is known"))
            continue
        name = name or os.path.basename(program)
        taken = ["baetyl"] + [kind.name for kind in found]
        found.append(Kind(name if name not in taken else "%s %d" % (name, len(taken)), make, path))
    return found


def certificate(folder):
    """A key and a certificate of its own, made with the openssl command: (key, certificate)."""
    key, cert = os.path.join(folder, "key.pem"), os.path.join(folder, "cert.pem")
    done = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-keyout", key, "-out", cert], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        raise RuntimeError("openssl: " + done.stdout.decode("utf-8", "replace")[-300:])
    return key, cert


def status_kb(pid, key):
    with open("/proc/%d/status" % pid) as f:
        return next(int(line.split()[1]) for line in f if line.startswith(key))


def version(command, word):
    """The first word with a digit after `word` in what the command prints."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return "?"
    words = done.stdout.decode("utf-8", "replace").split()
    after = words[words.index(word) + 1:] if word in words else words
    return next((w for w in after if any(c.isdigit() for c in w)), "?")
