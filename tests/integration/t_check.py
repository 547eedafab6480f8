"""`baetyl check`: what it says about typical mistakes, and that the documentation's examples are right.

Each row of MISTAKES is a file with one mistake and the beginning of what a person must read about it:
place, key, what was expected, and often what to do.
"""
import glob
import os
import re
import shutil
import socket

from harness import BAETYL, ROOT, SLOW, Skip, check, contains, equal, test
from t_access import pbkdf2
from tlscerts import Authority

TCP = "listen: ['tcp://127.0.0.1:0']\n"
USER = TCP + "principals:\n  - username: a\n    password: $pw\n"
PW = "'%s'" % pbkdf2("x")
RULES = TCP + "subscriptions:\n"
TLS = "listen: ['ssl://127.0.0.1:0']\n"

MISTAKES = (
    # YAML
    ("listen:\n\t- tcp://:1883\n", "2:1: error: not valid YAML: a tab cannot indent; use spaces"),
    (USER + "   permissions: []\n", "5:4: error: not valid YAML: the indentation does not fit"),
    ("listen: ['tcp://127.0.0.1:0]\n", "1:10: error: not valid YAML: the quote that begins here is not closed"),
    ("listen: ['tcp://127.0.0.1:0'\nanonymous: true\n", "1:9: error: not valid YAML: the list that begins with ["),
    (USER + "    permissions:\n    - {action: pub, permit: [#]}\n", "7:1: error: not valid YAML: a value is missing"),
    (TCP + "principals:\n  - username: a\n    password: b: c\n", "4:16: error: not valid YAML: a \": \" in a text"),
    (TCP + "storage:\n  dir:x\n", "3:3: error: hub.storage: expected a mapping, found \"dir:x\"; a blank"),
    ("listen: ['tcp://\xff:1']\n", "1:17: error: the file is not UTF-8 text"),
    ("hello\n", "1:1: error: expected a mapping of keys to values"),
    ("", "1:1: error: nothing to run: expected a section hub: or functions:"),
    (TCP + TCP, "2:1: error: key \"listen\" was given before, on line 1"),
    ("listen: ['tcp://{{.NO_SUCH_NAME}}:1']\n", "1:17: error: environment variable NO_SUCH_NAME is not set"),
    # Addresses
    ("listen: ['tcp://:0', 'http://:1']\n", "1:22: error: hub.listen[1]: \"http://:1\": unsupported protocol; use tcp"),
    ("listen: ['127.0.0.1:1883']\n", "1:10: error: hub.listen[0]: \"127.0.0.1:1883\": expected tcp://host:port"),
    ("listen: ['tcp://:70000']\n", "1:10: error: hub.listen[0]: \"tcp://:70000\": expected a port from 0 to 65535"),
    ("listen: ['tcp://:1', 'tcp://:1']\n", "1:22: error: hub.listen[1]: tcp://:1 is there twice"),
    ("listeners:\n- address: tcp://:1\n- address: tcp://:1\n", "3:3: error: hub.listeners[1].address: tcp://:1 is"),
    ("listen: ['unix://x.sock']\n", "1:10: error: hub.listen[0]: \"unix://x.sock\": expected an absolute path"),
    (TLS, "1:10: error: hub.listen[0]: ssl://127.0.0.1:0 needs certificate.cert and certificate.key"),
    # Certificates
    (TLS + "certificate: {cert: no.pem, key: no.key}\n", "2:15: error: hub.certificate.cert: no.pem: No such file"),
    (TLS + "certificate: {cert: a.pem, key: b.key}\n",
     "2:28: error: hub.certificate.key: the key b.key does not belong to the certificate a.pem"),
    (TLS + "certificate:\n  cert: a.pem\n  key: a.key\n  ca: junk\n", "5:3: error: hub.certificate.ca: junk: "),
    (TLS + "certificate: {cert: a.pem, key: a.key, ca: folder}\n", "2:40: error: hub.certificate.ca: folder: "),
    ("listeners:\n- address: ssl://127.0.0.1:0\n  certificate: {cert: a.pem, key: gone.key}\n",
     "3:30: error: hub.listeners[0].certificate.key: gone.key: No such file"),
    # Users
    (USER + "  - {username: a, password: $pw}\n", "5:6: error: hub.principals[1].username: username (a) duplicate"),
    (TCP + "principals: {username: a}\n", "2:13: error: hub.principals: expected a list of mappings, found a mapping"),
    (TCP + "principals: [{user: a}]\n", "2:14: error: hub.principals[0].username: required, but not given"),
    (TCP + "principals: [{user: a}]\n", "unknown key \"hub.principals[0].user\"; did you mean "
     "\"hub.principals[0].username\"?"),
    (TCP + "principals: [{username: ''}]\n", "2:25: error: hub.principals[0].username: required, but empty"),
    (USER + "    permissions: [{action: publish}]\n", "expected one of pub, sub, found \"publish\""),
    (USER + "    permissions: [{action: pub, permit: [a, '$x']}]\n",
     "5:45: error: hub.principals[0].permissions[0].permit[1]: pub topic($x) invalid: topics that begin with $"),
    (USER + "    permissions: [{action: sub, permit: ['a/b#']}]\n", "sub topic(a/b#) invalid: # has to be the last"),
    (USER + "    permissions: [{action: sub, permit: ['a/b+']}]\n", "sub topic(a/b+) invalid: + has to be a whole"),
    (TCP + "principals: [{username: a, password: '$pbkdf2-sha512$x'}]\n", "2:28: error: hub.principals[0].password: "),
    # Routes
    (RULES + "- {source: {topic: a}, target: {topic: b}}\n- {source: {topic: b}, target: {topic: a}}\n",
     "4:33: error: hub.subscriptions[1].target.topic: found cycle in source and target config: a -> b, b -> a"),
    (RULES + "- {source: {topic: a}, target: {topic: 'b/+'}}\n", "target topic invalid: + and # are for filters"),
    (RULES + "- {source: {topic: a, qos: 2}, target: {topic: b}}\n",
     "3:28: error: hub.subscriptions[0].source.qos: expected a whole number from 0 to 1, found \"2\""),
    # Values and keys
    (TCP + "message: {egress: {qos1: {buffer: {size: many}}}}\n",
     "2:42: error: hub.message.egress.qos1.buffer.size: expected a whole number from 1 to 65535, found \"many\""),
    (TCP + "message: {length: {max: 1x}}\n", "2:25: error: hub.message.length.max: expected a size like 32k or 4m"),
    (TCP + "shutdown: {timeout: 2 days}\n", "2:21: error: hub.shutdown.timeout: expected a duration like 20s"),
    (TCP + "shutdown: {timeout: 10}\n", "2:21: warning: hub.shutdown.timeout: 10 without a unit is nanoseconds"),
    (TCP + "anonymous: maybe\n", "2:12: error: hub.anonymous: expected true or false, found \"maybe\""),
    (TCP + "durability: batch\n", "2:1: error: hub.durability: expected full, memory or batched(TIME)"),
    (TCP + "logger: {level: trace}\n", "2:17: error: logger.level: expected one of error, warn, info, debug"),
    (TCP + "mesage: {length: {max: 1k}}\n", "2:1: warning: unknown key \"hub.mesage\"; did you mean \"hub.message\"?"),
    (TCP + "message: {lenght: {max: 1k}}\n", "unknown key \"hub.message.lenght\"; did you mean \"hub.message.length\"?"),
    (TCP + "storage: {path: x}\n", "2:11: warning: unknown key \"hub.storage.path\"; known here: dir"),
    (TCP + "storage: {dir: junk}\n", "2:11: error: hub.storage.dir: junk is not a folder"),
    (TCP + "storage: {dir: junk/data}\n", "2:11: error: hub.storage.dir: junk is not a folder"),
)


def make_folder(t):
    ca = Authority(t)
    for name in ("a", "b"):
        ca.issue(name)
    with open(ca.path("junk"), "w") as f:
        f.write("junk\n")
    os.mkdir(ca.path("folder"))
    return ca.dir


def run(t, folder, text):
    path = os.path.join(folder, "f.yml")
    with open(path, "wb") as f:
        f.write(text.replace("$pw", PW).encode("latin-1"))
    code, out, err = t.command("check", "-w", folder, "-c", "f.yml")
    return code, out.decode(), err.decode()


@test
def typical_mistakes(t):
    folder = make_folder(t)
    for text, says in MISTAKES:
        code, out, err = run(t, folder, text)
        contains(err, says if says[0].isalpha() else "f.yml:" + says, "for %r" % text)
        wrong = ": error: " in err
        equal((code, out), (1, "") if wrong else (0, "OK!\n"), "exit status and output")
    equal(run(t, folder, TLS + "certificate: {cert: a.pem, key: a.key, ca: ca.pem}\n")[0], 0, "a right file")


@test
def one_damaged_certificate_is_told_once(t):
    text = "listen: ['ssl://127.0.0.1:0', 'wss://127.0.0.1:0']\ncertificate: {cert: junk, key: a.key}\n"
    code, _, err = run(t, make_folder(t), text + "listeners: [{address: 'ssl://127.0.0.1:0'}]\n")
    equal((code, err.count("junk")), (1, 1), err)


@test
def a_folder_that_is_not_writable(t):
    if os.geteuid() != 0:
        raise Skip("not root")
    folder = t.folder()
    os.chmod(folder, 0o755)
    with open(os.path.join(folder, "f.yml"), "w") as f:
        f.write(TCP + "storage: {dir: data}\n")

    def other_user():
        os.setgid(65534)
        os.setuid(65534)
    try:
        code, out, err = t.run([BAETYL, "check", "-w", folder, "-c", "f.yml"], preexec_fn=other_user)
    except PermissionError:
        raise Skip("another user cannot run the executable")
    equal((code, out), (0, b"OK!\n"), err)
    contains(err, "f.yml:2:11: warning: hub.storage.dir: this user cannot write to the folder .: Permission denied")


@test
def what_only_the_start_can_tell(t):
    """One log line with the cause and the thing."""
    busy = socket.socket()
    t.clients.append(busy)
    busy.bind(("127.0.0.1", 0))
    busy.listen()
    for text, parts in (
            ("listen: ['tcp://127.0.0.1:%d']\n" % busy.getsockname()[1], ("id=HUB-LISTEN", "in use")),
            ("listen: ['tcp://no.such.host.invalid:0']\n", ("id=HUB-LISTEN", "tcp://no.such.host.invalid:0", "not ")),
            ("listen: ['unix:///no/such/folder/x']\n", ("id=HUB-LISTEN", "unix:///no/such/folder/x", "No such file")),
            (TCP + "storage: {dir: /proc/x}\n", ("storage.dir", "path=/proc/x", "No such file")),
            (TCP + "logger: {path: /proc/x/log}\n", ("logger.path", "path=/proc/x/log", "No such file"))):
        s = t.baetyl(text, start=False)
        s.start(wait=False)
        equal(s.process.wait(10 * SLOW), 1, "exit status for %r" % text)
        for part in parts:
            contains(s.log(), part, "log")


# ---- The documentation ----


def blocks(path):
    with open(path) as f:
        return re.findall(r"^```yaml\n(.*?)^```", f.read(), re.M | re.S)


FILE = re.compile(r"(?<![\w/])((?:[\w.]+/)*[\w-]+\.(?:pem|key))\b")


def prepared(text, ca, folder):
    """A block with its files and folders made, and hashes that are cut short made whole."""
    for name in re.findall(r"{{\.(\w+)}}", text):
        os.environ.setdefault(name, "test")
    for name in re.findall(r"codedir: ([\w./-]+)", text):
        os.makedirs(os.path.join(folder, name), exist_ok=True)
        for program in re.findall(r"runtime: exec, codedir: %s, handler: (\w+)" % name, text):
            with open(os.path.join(folder, name, program), "w") as f:
                os.chmod(f.name, 0o755)
    for name in re.findall(r"tokenfile: ([\w./-]+)", text):
        os.makedirs(os.path.join(folder, os.path.dirname(name)), exist_ok=True)
        with open(os.path.join(folder, name), "w"):
            pass
    text = re.sub(r"'?\$pbkdf2-sha512\$[^'\s]*\.\.\.'?", PW, text)
    for name in set(FILE.findall(text)):
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        kind = "ca.pem" if "ca" in os.path.basename(name) else "crl.pem" if "crl" in name else \
            "a.key" if name.endswith("key") else "a.pem"
        if not os.path.exists(path):
            os.symlink(ca.path(kind), path)
    return text


@test
def every_block_of_the_documentation_is_right(t):
    """Nothing but warnings about plain text, and those are in no block."""
    ca = Authority(t)
    ca.issue("a")
    ca.revoke()
    seen = 0
    for path in [os.path.join(ROOT, "README.md")] + sorted(glob.glob(os.path.join(ROOT, "docs", "*.md"))):
        for i, block in enumerate(blocks(path)):
            folder = t.folder()
            file = os.path.join(folder, "block.yml")
            with open(file, "w") as f:
                f.write(prepared(block, ca, folder))
            code, out, err = t.command("check", "-w", folder, "-c", file)
            name = "%s, block %d" % (os.path.basename(path), i + 1)
            equal((code, out, err.decode().replace(file, "")), (0, b"OK!\n", ""), name)
            seen += 1
    check(seen >= 6, "%d blocks" % seen)


@test
def the_examples_are_right(t):
    for path in glob.glob(os.path.join(ROOT, "example", "*", "*.yml")):
        with open(path) as f:
            text = f.read()
        programs = re.findall(r"runtime: exec\n +handler: (\S+)", text)
        work = os.path.dirname(path)
        if "codedir: %s/" % os.path.basename(work) in text:  # started in the folder above
            work = os.path.dirname(work)
        if programs:  # those are compiled by a person, or by t_exec
            folder = os.path.join(t.folder(), "example")
            shutil.copytree(os.path.dirname(path), folder)
            path, work = os.path.join(folder, os.path.basename(path)), folder
            for name in programs:
                with open(os.path.join(folder, name), "a"):
                    os.chmod(os.path.join(folder, name), 0o755)
        code, out, err = t.command("check", "-w", work, "-c", path)
        equal((code, out, err), (0, b"OK!\n", b""), path)


# ---- Every key ----

# What no key of the kind can take; a text takes all but a mapping or a list.
WRONG = (("number", "nonsense", "a whole number"), ("size", "nonsense", "a size like"),
         ("duration", "nonsense", "a duration like"), ("true or false", "nonsense", "true or false"),
         ("one of", "nonsense", "one of"), ("list of mappings", "nonsense", "a list of mappings"),
         ("list of texts", "{a: b}", "a list of texts"), ("text", "{a: b}", "a text"))


def hub_keys():
    """(key, kind) of the hub in docs/config.md."""
    with open(os.path.join(ROOT, "docs", "config.md")) as f:
        part = f.read().split("\n## hub\n")[1].split("\n## ")[0]
    return re.findall(r"^\| `([^`]+)` \| ([^|]+) \|", part, re.M)


def place(key, value):
    """A file with this value for the key, its line and its column."""
    lines, indent = ["hub:"], "  "
    for i, part in enumerate(key.split("[].")):
        lines.append(indent + part + ":")
        indent += "  "
        if i < key.count("[]."):
            lines.append(indent + "-")
            indent += "  "
    lines[-1] += " " + value
    return "\n".join(lines) + "\n", len(lines), len(lines[-1]) - len(value) + 1


@test
def a_wrong_value_of_every_key(t):
    """File, line, column, the key, what was expected and what was found."""
    folder = t.folder()
    keys = hub_keys()
    check(len(keys) > 90, "%d keys" % len(keys))
    for key, kind in keys:
        value, expected = [(v, e) for k, v, e in WRONG if kind.startswith(k)][0]
        text, line, column = place(key, value)
        code, _, err = run(t, folder, text)
        equal(code, 1, key)
        said = [x for x in err.splitlines() if x.startswith("f.yml:%d:%d: error: " % (line, column))]
        check(said, "no place for %s in: %s" % (key, err))
        contains(said[0], "error: hub." + key.replace("[]", "[0]") + ": expected " + expected)
        contains(said[0], ", found ")
