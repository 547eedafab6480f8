#!/usr/bin/python3 -S
"""The first process of the virtual machine of vm.py: mounts what a system has, runs the tests, powers off."""
import ctypes
import fcntl
import os
import re
import socket
import struct
import subprocess
import sys

libc = ctypes.CDLL(None, use_errno=True)
MOUNTS = [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev"), ("tmpfs", "/tmp"), ("cgroup2", "/sys/fs/cgroup")]
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
POWER_OFF = 0x4321FEDC


def mount(kind, path):
    if libc.mount(kind.encode(), path.encode(), kind.encode(), 0, None) != 0:
        print("init: %s: %s" % (path, os.strerror(ctypes.get_errno())))


def loopback_up():
    with socket.socket() as s:
        wanted = struct.pack("16sh14x", b"lo", IFF_UP)
        fcntl.ioctl(s, SIOCSIFFLAGS, wanted)


def run():
    with open("/sys/fs/cgroup/cgroup.subtree_control", "w") as f:
        f.write("+cpu +memory +pids")
    with open("/etc/passwd", "w") as f:
        f.write("root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n")
    with open("/etc/group", "w") as f:
        f.write("root:x:0:\nnogroup:x:65534:\n")
    env = {"PATH": "/usr/bin:/bin", "HOME": "/root", "LANG": "C.UTF-8", "BAETYL": "/usr/bin/baetyl", "TMPDIR": "/tmp",
           "RUNNER_IS_SLOW": "1", "IN_VM": "1"}
    done = subprocess.run([sys.executable or "/usr/bin/python3", "-u", "/src/tests/integration/main.py"] + sys.argv[1:], env=env,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.stdout.decode("utf-8", "replace")


def main():
    for kind, path in MOUNTS:
        os.makedirs(path, exist_ok=True)
        mount(kind, path)
    os.environ["PATH"] = "/usr/bin:/bin"
    print("init: %s %s, cgroup: %s" % (os.uname().sysname, os.uname().release,
                                       open("/sys/fs/cgroup/cgroup.controllers").read().strip()), flush=True)
    loopback_up()
    text = run()
    print(text)
    total = re.search(r"(\d+ passed, \d+ failed, \d+ skipped)", text)
    print(total.group(1) if total else "0 passed, 1 failed, 0 skipped", flush=True)


try:
    main()
finally:
    sys.stdout.flush()
    libc.reboot(POWER_OFF)
