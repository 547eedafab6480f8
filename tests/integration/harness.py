"""The frame of the integration tests: the real executable in a temporary folder on free ports.

A test is a function with one argument, marked with @test. Its `t` starts servers and gives them
back when the test ends, however it ends. Each test has a time limit.
"""
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
BAETYL = os.path.abspath(os.environ.get("BAETYL", os.path.join(ROOT, "build/host/baetyl")))
RUNNER = os.environ.get("RUNNER", "").split()
SAN = os.environ.get("BAETYL_SAN", "")
# Sanitizers and emulated processors are slow.
SLOW = 5 if SAN or RUNNER or os.environ.get("RUNNER_IS_SLOW") else 1
LIMIT_S = int(os.environ.get("LIMIT_S", 60)) * SLOW
HUB = "hub:\n  listen: ['tcp://127.0.0.1:0']\n"

TESTS = []


class Skip(Exception):
    pass


class Failed(Exception):
    pass


def test(fn):
    TESTS.append((os.path.basename(fn.__code__.co_filename)[2:-3] + "/" + fn.__name__, fn))
    return fn


def check(condition, what="condition"):
    if not condition:
        raise Failed(what)


def equal(got, want, what="value"):
    if got != want:
        raise Failed("%s is %r, expected %r" % (what, got, want))


def contains(text, part, what="text"):
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    if part not in text:
        raise Failed("%s has no %r: %s" % (what, part, text[-1500:]))


def until(condition, seconds=5.0, what="condition"):
    """Waits for condition() to be true and returns it."""
    end = time.monotonic() + seconds * SLOW
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failed("not within %g s: %s" % (seconds * SLOW, what))
        time.sleep(0.01)


def need_tool(name):
    path = shutil.which(name)
    if path is None:
        raise Skip("no %s here" % name)
    return path


class Baetyl:
    """One `baetyl start`; stopped or killed by the test, at the latest at its end."""

    def __init__(self, t, config, args=(), program=None, folder=None):
        self.t = t
        self.dir = folder or t.folder()
        self.program = program or RUNNER + [BAETYL]
        self.config = os.path.join(self.dir, "baetyl.yml")
        self.ports_file = os.path.join(self.dir, "ports")
        self.args = list(args)
        self.process = None
        if config is not None:
            with open(self.config, "w") as f:
                f.write(config)

    def start(self, wait=True, prefix=()):
        if os.path.exists(self.ports_file):
            os.unlink(self.ports_file)
        command = list(prefix) + self.program + ["start", "-w", self.dir, "-c", self.config,
                                                 "--ports-file", self.ports_file] + self.args
        self.log_path = os.path.join(self.dir, "out.log")
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            cwd=self.dir)
        if wait:
            until(self.ready, 10, "a ports file")
        return self

    def ready(self):
        if self.process.poll() is not None:
            raise Failed("baetyl ended with %s: %s" % (self.process.returncode, self.log()[-1500:]))
        return os.path.exists(self.ports_file)

    def ports(self, scheme="tcp"):
        with open(self.ports_file) as f:
            return [int(p) for p in re.findall(r"\b%s://[^\s\"]*?:(\d+)" % scheme, f.read())]

    @property
    def port(self):
        return self.ports()[0]

    def log(self):
        with open(self.log_path, "rb") as f:
            return f.read().decode("utf-8", "replace")

    def alive(self):
        return self.process.poll() is None

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self, seconds=10, signum=signal.SIGTERM):
        """Returns the exit status."""
        if self.alive():
            self.process.send_signal(signum)
        try:
            return self.process.wait(seconds * SLOW)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failed("still running %g s after the signal" % (seconds * SLOW))


class Context:
    def __init__(self):
        self.servers, self.clients, self.processes, self.folders = [], [], [], []

    def folder(self):
        path = tempfile.mkdtemp(prefix="baetyl-test-")
        self.folders.append(path)
        return path

    def baetyl(self, config=HUB, args=(), start=True, **options):
        server = Baetyl(self, config, args, **options)
        self.servers.append(server)
        return server.start() if start else server

    def run(self, command, seconds=15, stdin=b"", **options):
        """Runs a command to its end: (exit status, output, errors)."""
        done = subprocess.run(command, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=seconds * SLOW, **options)
        return done.returncode, done.stdout, done.stderr

    def command(self, *args, **options):
        """Runs a baetyl command."""
        return self.run(RUNNER + [BAETYL] + list(args), **options)

    def spawn(self, command, **options):
        options.setdefault("stderr", subprocess.STDOUT)
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, **options)
        self.processes.append(process)
        return process

    def close(self):
        for client in self.clients:
            client.close()
        for process in self.processes + [s.process for s in self.servers if s.process]:
            if process.poll() is None:
                process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()

    def remove(self):
        for folder in self.folders:
            shutil.rmtree(folder, ignore_errors=True)

    def problems(self):
        """What a sanitizer said, and crashes nobody asked for."""
        for server in self.servers:
            if server.process is None:
                continue
            code = server.process.returncode
            if code is not None and code < 0 and code not in (-signal.SIGKILL, -signal.SIGTERM):
                yield "baetyl died of signal %d" % -code
            if "Sanitizer" in server.log() or "runtime error:" in server.log():
                yield "a sanitizer complained"


def alarm(_signum, _frame):
    raise Failed("took longer than %d s" % LIMIT_S)


def run_one(fn):
    """(result, text): result is ok, skip or FAIL."""
    t = Context()
    result, text = "ok", ""
    signal.signal(signal.SIGALRM, alarm)
    signal.alarm(LIMIT_S)
    try:
        fn(t)
    except Skip as why:
        result, text = "skip", str(why)
    except Failed as why:
        frame = [f for f in traceback.extract_tb(sys.exc_info()[2]) if "/t_" in f.filename][-1:]
        result, text = "FAIL", "%s%s" % ("line %d: " % frame[0].lineno if frame else "", why)
    except Exception:  # pylint: disable=broad-except
        result, text = "FAIL", traceback.format_exc()
    finally:
        signal.alarm(0)
    try:
        t.close()
        problems = list(t.problems())
        if problems and result != "FAIL":
            result, text = "FAIL", "; ".join(problems)
        if result == "FAIL":
            for server in t.servers:
                if server.process:
                    text += "\n    log: " + server.log()[-2500:].replace("\n", "\n    log: ")
    finally:
        t.remove()
    return result, text
