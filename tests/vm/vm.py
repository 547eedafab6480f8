#!/usr/bin/env python3
"""Integration tests in a small virtual machine: a kernel of its own, with cgroup v2 alone.

    vm.py [PART-OF-A-NAME...]

The machine of a developer or of continuous integration often has cgroup v1, or gives away no controller.
Here Debian's cloud kernel boots under qemu with an initial file system made of the static executable in
$BAETYL, the Python of this machine and tests/; init.py is the first process and runs the tests that
are named. Exit status 77, with the reason, where qemu or the kernel cannot be had.
"""
import glob
import os
import re
import shutil
import subprocess
import sys
import time

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
BAETYL = os.environ.get("BAETYL", os.path.join(ROOT, "build/x86_64-linux-musl/baetyl"))
WORK = os.path.join(ROOT, "build/vm")
SECONDS = int(os.environ.get("VM_SECONDS", 600))
DEFAULT = ["functions/python_contract"] + ["hostile_functions/" + name for name in (
    "memory", "cpu", "processes", "forked", "delegated", "children", "kill_9", "sandboxed", "user")]
SKIPPED_FOLDERS = {"test", "tests", "idlelib", "tkinter", "ensurepip", "lib2to3", "distutils", "dist-packages",
                   "turtledemo", "pydoc_data", "__pycache__", "site-packages"}


def skip(why):
    print("skip vm: " + why)
    print("0 passed, 0 failed, 1 skipped")
    sys.exit(77)


def kernel():
    """The path of a kernel image: this machine's cloud kernel, or one from the distribution's archive, which
    checks the signature of what it downloads."""
    found = glob.glob("/boot/vmlinuz-*-cloud-amd64") + glob.glob(WORK + "/kernel/boot/vmlinuz-*")
    if found:
        return found[-1]
    if shutil.which("apt-get") is None:
        skip("there is no kernel to boot")
    depends = subprocess.run(["apt-cache", "depends", "linux-image-cloud-amd64"], stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT).stdout.decode()
    package = re.search(r"Depends: (linux-image-\S+)", depends)
    if package is None:
        skip("the archive has no linux-image-cloud-amd64")
    os.makedirs(WORK + "/kernel", exist_ok=True)
    done = subprocess.run(["apt-get", "download", package.group(1)], cwd=WORK, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    debs = glob.glob(WORK + "/linux-image-*.deb")
    if done.returncode != 0 or not debs:
        skip("the kernel's package cannot be fetched: " + done.stdout.decode()[-200:].strip())
    subprocess.check_call(["dpkg-deb", "-x", debs[0], WORK + "/kernel"])
    return glob.glob(WORK + "/kernel/boot/vmlinuz-*")[-1]


class Archive:
    """An initial file system in the cpio format that the kernel reads (`newc`)."""

    def __init__(self, path):
        self.file, self.known, self.number = open(path, "wb"), set(), 0

    def entry(self, name, mode, data=b""):
        self.number += 1
        fields = [self.number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        for part in (head, data):
            self.file.write(part + b"\0" * (-len(part) % 4))

    def folder(self, name):
        if name in self.known or not name:
            return
        self.known.add(name)
        self.folder(os.path.dirname(name))
        self.entry(name, 0o040755)

    def add(self, source, name=None):
        name = (name or source).lstrip("/")
        if name in self.known:
            return
        self.known.add(name)
        self.folder(os.path.dirname(name))
        with open(source, "rb") as f:
            self.entry(name, 0o100000 | (os.stat(source).st_mode & 0o777), f.read())

    def tree(self, source, name=None):
        for path, folders, files in os.walk(source):
            folders[:] = sorted(set(folders) - SKIPPED_FOLDERS)
            for file in sorted(files):
                full = os.path.join(path, file)
                self.add(full, os.path.join(name or source, os.path.relpath(full, source)))

    def close(self):
        self.entry("TRAILER!!!", 0)
        self.file.close()


def libraries(programs):
    """What the dynamic loader needs for these, links followed."""
    said = subprocess.run(["ldd"] + programs, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout.decode()
    return sorted(set(re.findall(r"(/\S+\.so\S*) \(", said)))


def build(path):
    python = os.path.realpath("/usr/bin/python3")
    library = "/usr/lib/" + os.path.basename(python)
    if not os.path.isdir(library):
        skip("no Python with its library in /usr/lib here")
    archive = Archive(path)
    for name in ("dev", "proc", "sys", "tmp", "root", "etc"):
        archive.folder(name)
    archive.tree(library)
    for source in libraries([python] + glob.glob(library + "/lib-dynload/*.so")):
        archive.add(os.path.realpath(source), source)
    archive.add(python)
    archive.add(python, "usr/bin/python3")
    archive.add(BAETYL, "usr/bin/baetyl")
    for part in ("integration", "vm"):
        for path, folders, files in os.walk(os.path.join(ROOT, "tests", part)):
            for file in files:
                full = os.path.join(path, file)
                archive.add(full, "src/" + os.path.relpath(full, ROOT))
    archive.tree(os.path.join(ROOT, "example"), "src/example")
    archive.add(os.path.join(ROOT, "tests/vm/init.py"), "init")
    archive.close()


def boot(image, archive, tests):
    command = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "1024",
               "-nographic", "-no-reboot", "-net", "none", "-kernel", image, "-initrd", archive, "-append",
               "console=ttyS0 quiet panic=-1 cgroup_no_v1=all random.trust_cpu=1 PYTHONHASHSEED=0 -- " + " ".join(tests)]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def main():
    tests = sys.argv[1:] or DEFAULT
    if shutil.which("qemu-system-x86_64") is None:
        skip("no qemu-system-x86_64 here")
    if not os.path.exists(BAETYL):
        skip("there is no " + BAETYL)
    os.makedirs(WORK, exist_ok=True)
    image, archive = kernel(), os.path.join(WORK, "initrd.cpio")
    build(archive)
    start, last = time.monotonic(), ""
    machine = boot(image, archive, tests)
    try:
        for line in machine.stdout:
            last = line.decode("utf-8", "replace").rstrip()
            print(last, flush=True)
            if re.match(r"\d+ passed, \d+ failed, \d+ skipped$", last):
                break
            if time.monotonic() - start > SECONDS:
                last = "the virtual machine took longer than %d s" % SECONDS
                break
    finally:
        machine.kill()
        machine.wait()
    total = re.match(r"(\d+) passed, (\d+) failed, (\d+) skipped$", last)
    if total is None:
        print("FAIL vm: " + last)
        print("0 passed, 1 failed, 0 skipped")
    elif total.group(1) == "0":
        print("FAIL vm: no test ran")
    sys.exit(0 if total is not None and total.group(1) != "0" and total.group(2) == "0" else 1)


if __name__ == "__main__":
    main()
