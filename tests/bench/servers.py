"""The two servers that are compared: each starts on a free loopback port in a folder of its own."""
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

HANDLER = "def handler(event, context):\n    return event\n"
FUNCTIONS = """functions:
  rules:
    - clientid: bench-call
      subscribe: {{topic: t, qos: {qos}}}
      function: {{name: hello}}
      publish: {{topic: t/hello, qos: {qos}}}
  functions:
    - {{name: hello, runtime: python3, handler: index.handler, codedir: hello, instance: {{min: 1, max: 1}}}}
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """A server process; `ready_ms` is the time from exec to an answered CONNECT."""
    name = "?"

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
                with socket.create_connection(("127.0.0.1", self.port), 1) as s:
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
    name = "baetyl"

    def __init__(self, program, call_qos=None):
        super().__init__()
        self.program = os.path.abspath(program)
        self.call_qos = call_qos

    def command(self):
        text = "hub:\n  listen: ['tcp://127.0.0.1:%d']\nlogger: {level: warn}\n" % self.port
        if self.call_qos is not None:
            text += FUNCTIONS.format(qos=self.call_qos)
            self.write("hello/index.py", HANDLER)
        path = self.write("baetyl.yml", text)
        modules = "hub" if self.call_qos is None else "hub,funcmgr"
        return [self.program, "start", "-w", self.dir, "-c", path, "--modules", modules]


class Mosquitto(Server):
    """autosave: after every change, which is the nearest it has to durable before PUBACK."""
    name = "mosquitto"

    def __init__(self, program, autosave=False):
        super().__init__()
        self.program = program
        self.autosave = autosave

    def command(self):
        text = ("listener %d 127.0.0.1\nallow_anonymous true\nuser root\npersistence true\n"
                "persistence_location %s/\nlog_dest none\n" % (self.port, self.dir))
        if self.autosave:
            text += "autosave_interval 1\nautosave_on_changes true\n"
        return [self.program, "-c", self.write("mosquitto.conf", text)]


def find_mosquitto():
    return shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def version(command, word):
    """The first word with a digit after `word` in what the command prints."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return "?"
    words = done.stdout.decode("utf-8", "replace").split()
    after = words[words.index(word) + 1:] if word in words else words
    return next((w for w in after if any(c.isdigit() for c in w)), "?")
