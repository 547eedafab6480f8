"""What a person gets: one static file, small, quick to start; the other processors under qemu."""
import os
import re
import socket
import time

import raw
from harness import BAETYL, ROOT, RUNNER, SAN, Skip, check, equal, need_tool, test
from raw import session

STATIC = os.path.join(ROOT, "build/%s-linux-musl/baetyl" % os.uname().machine)


def static_program():
    if not os.path.exists(STATIC):
        raise Skip("no %s" % os.path.relpath(STATIC, ROOT))
    return STATIC


@test
def is_static(t):
    out = t.run([need_tool("file"), static_program()])[1]
    check(b"statically linked" in out and b"stripped" in out.replace(b"not stripped", b""), out)
    code, out, err = t.run([need_tool("ldd"), STATIC])
    check(b"not a dynamic executable" in out + err or b"statically linked" in out, out + err)


@test
def opens_no_library(t):
    strace = need_tool("strace")
    program = static_program()
    trace = os.path.join(t.folder(), "trace")
    code, _, err = t.run([strace, "-f", "-e", "trace=open,openat,execve", "-o", trace, program, "version"])
    if code != 0:
        raise Skip("strace does not work here: %s" % err.decode().strip()[-100:])
    with open(trace) as f:
        text = f.read()
    check("execve(" in text, "a trace")
    check(not re.search(r"\.so\b", text), text)


@test
def size(t):
    n = os.path.getsize(static_program())
    check(n < 5000000, "%d bytes, at most 5 MB" % n)


@test
def starts_quickly_and_small(t):
    if SAN or RUNNER:
        raise Skip("not with sanitizers")
    program = [STATIC] if os.path.exists(STATIC) else [BAETYL]
    s = t.baetyl(program=program, start=False)
    best = 1e9
    for _ in range(5):
        start = time.monotonic()
        s.start(wait=False)
        while not os.path.exists(s.ports_file) and time.monotonic() - start < 10:
            time.sleep(0.0005)
        best = min(best, time.monotonic() - start)
        session(t, s, "a").ping()
        with open("/proc/%d/status" % s.process.pid) as f:
            rss = int(re.search(r"VmRSS:\s*(\d+)", f.read()).group(1))
        s.stop()
    check(best < 0.1, "ready after %.0f ms, wanted under 100" % (best * 1000))
    check(rss < 6144, "RSS %d KiB, wanted under 6144" % rss)


def under_qemu(t, target, qemu):
    program = os.path.join(ROOT, "build", target, "baetyl")
    if not os.path.exists(program):
        raise Skip("%s is not built" % target)
    runner = [need_tool(qemu), program]
    code, out, err = t.run(runner + ["version"], seconds=30)
    equal(code, 0, "exit status of version: %s" % err)
    s = t.baetyl(program=runner, start=False)
    s.start(wait=False)
    end = time.monotonic() + 30
    while not s.ready() and time.monotonic() < end:
        time.sleep(0.05)
    equal(t.run(runner + ["pub", "-p", str(s.port), "-t", "q", "-q", "1", "-r", "-m", "hello"], 30)[0], 0)
    code, out, _ = t.run(runner + ["sub", "-p", str(s.port), "-t", "q", "-q", "1", "-C", "1", "-W", "20"], 40)
    equal((code, out.strip()), (0, b"hello"), "output")
    r = session(t, s, "kept", ("o", 1), clean=False)
    r.send(raw.packet(0xe0)).closed()
    session(t, s, "pub").send(raw.publish("o", "durable", qos=1)).expect(raw.PUBACK)
    equal(s.stop(20), 0, "exit status")


@test
def aarch64_under_qemu(t):
    under_qemu(t, "aarch64-linux-musl", "qemu-aarch64-static")


@test
def armv7_under_qemu(t):
    under_qemu(t, "armv7-linux-musleabihf", "qemu-arm-static")


@test
def sd_notify(t):
    path = os.path.join(t.folder(), "notify")
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    s.bind(path)
    s.settimeout(5)
    os.environ["NOTIFY_SOCKET"] = path
    try:
        b = t.baetyl()
    finally:
        del os.environ["NOTIFY_SOCKET"]
    check(b"READY=1" in s.recv(4096), "READY=1")
    b.stop()
    got = b""
    while b"STOPPING=1" not in got:
        got = s.recv(4096)
    s.close()
