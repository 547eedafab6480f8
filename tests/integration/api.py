"""Requests to the control socket."""
import http.client
import json
import os
import socket
import threading

FOLDER = threading.Lock()  # the process has one working directory


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        http.client.HTTPConnection.__init__(self, "baetyl", timeout=10)
        self.unix_path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        # A path longer than sun_path is reached from its folder.
        with FOLDER:
            here = os.getcwd()
            try:
                os.chdir(os.path.dirname(self.unix_path))
                self.sock.connect(os.path.basename(self.unix_path))
            finally:
                os.chdir(here)


def path_of(server):
    return os.path.join(server.dir, "var/run/baetyl.sock")


def request(server, target, method="GET", body=None, headers=None):
    """(status, content type, body)."""
    c = UnixConnection(path_of(server))
    try:
        c.request(method, target, body=body, headers=headers or {})
        r = c.getresponse()
        return r.status, r.getheader("Content-Type"), r.read()
    finally:
        c.close()


def get_json(server, target):
    status, kind, body = request(server, target)
    if status != 200 or kind != "application/json":
        raise AssertionError("%s: %s %s %r" % (target, status, kind, body))
    return json.loads(body.decode())


def metrics(server):
    """{name with labels: value}"""
    body = request(server, "/metrics")[2].decode()
    pairs = [line.rsplit(" ", 1) for line in body.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in pairs}


def raw(server, data):
    """Sends bytes as they are, returns all that comes until the other side closes."""
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(15)
    s.connect(path_of(server))
    s.sendall(data)
    got = b""
    while True:
        piece = s.recv(65536)
        if not piece:
            s.close()
            return got
        got += piece
