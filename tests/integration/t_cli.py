"""Commands, exit codes, configuration errors, signals, pub and sub."""
import fcntl
import os
import re
import signal
import time

import raw
from harness import BAETYL, HUB, RUNNER, SLOW, check, contains, equal, need_tool, test, until
from raw import session


@test
def version(t):
    code, out, _ = t.command("version")
    equal(code, 0, "exit status")
    check(re.search(rb"\d+\.\d+", out), out)


@test
def help_lists_commands(t):
    code, out, _ = t.command("help")
    equal(code, 0, "exit status")
    for name in ("start", "check", "version", "pub", "sub"):
        contains(out, name)


@test
def wrong_usage(t):
    for args in (["nonsense"], ["start", "--nonsense"], ["pub", "--nonsense"], ["pub"], ["sub"]):
        code, _, err = t.command(*args)
        equal(code, 2, "exit status of %s" % args)
        check(err, "something on standard error")


def check_text(t, text):
    path = os.path.join(t.folder(), "c.yml")
    with open(path, "w") as f:
        f.write(text)
    code, out, err = t.command("check", "-c", path)
    return code, (out + err).decode()


@test
def check_ok(t):
    code, out = check_text(t, HUB)
    equal(code, 0, "exit status")
    contains(out, "OK!")


@test
def check_reports_everything(t):
    code, out = check_text(t, "hub:\n  listen: ['tcp://127.0.0.1:0']\n  storage: {dir: [1, 2]}\n"
                              "  message:\n    length: {max: 1x}\n  shutdown: {timeout: soon}\n")
    equal(code, 1, "exit status")
    contains(out, "c.yml:3:")
    contains(out, "c.yml:5:")
    contains(out, "c.yml:6:")


@test
def check_says_nearest_key(t):
    code, out = check_text(t, "hub:\n  listn: ['tcp://127.0.0.1:0']\n")
    contains(out, "c.yml:2:3")
    contains(out, "listen")
    equal(code, 0, "exit status: an unknown key is a warning")


@test
def check_yaml_syntax(t):
    code, out = check_text(t, "hub:\n  listen: [\n")
    equal(code, 1, "exit status")
    contains(out, "c.yml:")


@test
def check_unknown_variable(t):
    code, out = check_text(t, "hub:\n  listen: ['tcp://{{.NO_SUCH_NAME}}:0']\n")
    equal(code, 1, "exit status")
    contains(out, "NO_SUCH_NAME")


@test
def variables_are_replaced(t):
    path = os.path.join(t.folder(), "c.yml")
    with open(path, "w") as f:
        f.write("hub:\n  listen: ['tcp://{{.TEST_HOST}}:0']\n  storage: {dir: '{{.TEST_DIR}}'}\n")
    env = dict(os.environ, TEST_HOST="127.0.0.1", TEST_DIR="a=b")
    equal(t.command("check", "-c", path, env=env)[0], 0, "exit status")


@test
def missing_file(t):
    code, _, err = t.command("check", "-c", "/nonexistent/c.yml")
    equal(code, 1, "exit status")
    contains(err, "/nonexistent/c.yml")


@test
def wrong_config_never_half_starts(t):
    s = t.baetyl("hub:\n  listen: ['gopher://127.0.0.1:0']\n", start=False)
    s.start(wait=False)
    equal(s.process.wait(10), 1, "exit status")
    contains(s.log(), "gopher")
    check(not os.path.exists(s.ports_file), "no ports file")


@test
def unusable_address(t):
    a = t.baetyl()
    b = t.baetyl("hub:\n  listen: ['tcp://127.0.0.1:%d']\n" % a.port, start=False)
    b.start(wait=False)
    equal(b.process.wait(10), 1, "exit status")


@test
def config_print(t):
    code, out, err = t.command("config")
    equal(code, 0, "exit status: %s" % err)
    contains(out, "hub")
    code, out, _ = t.command("config", "--markdown")
    equal(code, 0, "exit status")
    contains(out, "listen")


@test
def sigterm_is_graceful(t):
    s = t.baetyl()
    clients = [session(t, s, "c%d" % i) for i in range(5)]
    start = time.monotonic()
    equal(s.stop(5), 0, "exit status")
    check(time.monotonic() - start < 5, "quick")
    for c in clients:
        check(c.closed())


@test
def sigint_is_graceful(t):
    equal(t.baetyl().stop(5, signal.SIGINT), 0, "exit status")


@test
def sigterm_with_a_full_window(t):
    s = t.baetyl()
    r = session(t, s, "w", ("x", 1), clean=False)
    pub = session(t, s, "pub")
    for i in range(300):
        pub.send(raw.publish("x", "m", qos=1, pid=i + 1)).expect(raw.PUBACK)
    equal(s.stop(8), 0, "exit status")
    r.close()


@test
def one_instance_per_folder(t):
    s = t.baetyl()
    code, _, err = t.command("start", "-w", s.dir, "-c", s.config)
    equal(code, 4, "exit status")
    check(err, "something on standard error")
    session(t, s, "alive").ping()
    s.kill()
    s.start()
    session(t, s, "again").ping()


@test
def default_config(t):
    # Port 1883 may be taken on this machine, by someone else; then only the words are checked.
    import socket
    with socket.socket() as probe:
        free = probe.connect_ex(("127.0.0.1", 1883)) != 0
    if not free:
        from harness import Skip
        raise Skip("port 1883 is in use here")
    folder = t.folder()
    p = t.spawn(RUNNER + [BAETYL, "start", "-w", folder], cwd=folder)

    def answers():
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", 1883)) == 0
    until(answers, 10, "port 1883")
    p.send_signal(signal.SIGTERM)
    out = p.communicate(timeout=10)[0]
    equal(p.returncode, 0, "exit status")
    contains(out, "1883")


@test
def pub_and_sub(t):
    s = t.baetyl()
    for qos in ("0", "1"):
        p = t.spawn(RUNNER + [BAETYL, "sub", "-p", str(s.port), "-t", "c%s/#" % qos, "-q", qos, "-C", "2", "-W", "20",
                              "-v", "-i", "sub" + qos])
        time.sleep(0.5 * SLOW)
        for text in ("one", "two"):
            code, _, err = t.command("pub", "-p", str(s.port), "-t", "c%s/x" % qos, "-m", text, "-q", qos)
            equal(code, 0, "exit status: %s" % err)
        out = p.communicate(timeout=15)[0].decode().strip().split("\n")
        equal(out, ["c%s/x one" % qos, "c%s/x two" % qos], "output")
        equal(p.returncode, 0, "exit status")


@test
def pub_from_file_and_stdin(t):
    s = t.baetyl()
    sub = session(t, s, "sub", ("f", 1))
    path = os.path.join(t.folder(), "payload")
    with open(path, "wb") as f:
        f.write(b"from a file\0")
    equal(t.command("pub", "-p", str(s.port), "-t", "f", "-f", path)[0], 0, "exit status")
    equal(sub.message()["payload"], b"from a file\0", "payload")
    equal(t.command("pub", "-p", str(s.port), "-t", "f", "-s", stdin=b"from stdin")[0], 0, "exit status")
    equal(sub.message()["payload"], b"from stdin", "payload")
    equal(t.command("pub", "-p", str(s.port), "-t", "f", "-l", stdin=b"a\nb\n")[0], 0, "exit status")
    equal([sub.message()["payload"] for _ in range(2)], [b"a", b"b"], "lines")
    equal(t.command("pub", "-p", str(s.port), "-t", "f", "-n", "-r")[0], 0, "exit status")
    equal(sub.message()["payload"], b"", "payload")


@test
def pub_to_nobody(t):
    code, _, err = t.command("pub", "-p", "1", "-t", "a", "-m", "b")
    check(code not in (0, 2), "exit status %d" % code)
    check(err, "something on standard error")


@test
def mosquitto_pub_to_baetyl_sub(t):
    pub = need_tool("mosquitto_pub")
    s = t.baetyl()
    equal(t.run([pub, "-p", str(s.port), "-t", "k", "-m", "kept", "-r", "-q", "1"])[0], 0, "exit status")
    code, out, _ = t.command("sub", "-p", str(s.port), "-t", "k", "-C", "1", "-W", "5")
    equal((code, out.strip()), (0, b"kept"), "output")


@test
def log_is_json_when_asked(t):
    import json
    s = t.baetyl(HUB + "logger: {format: json, level: debug}\n")
    session(t, s, "a").ping()
    s.stop()
    lines = [line for line in s.log().split("\n") if line.strip()]
    check(lines, "some log")
    for line in lines:
        json.loads(line)


@test
def no_secret_in_log(t):
    s = t.baetyl(HUB + "  principals:\n    - {username: u, password: verysecret, permissions: "
                       "[{action: pub, permit: ['#']}]}\nlogger: {level: debug}\n")
    r = session(t, s, "a", user="u", password="verysecret")
    r.send(raw.publish("x", "payloadsecret", qos=1)).expect(raw.PUBACK)
    s.stop()
    check("verysecret" not in s.log() and "payloadsecret" not in s.log(), "no secrets")


@test
def lock_of_a_killed_process_is_waited_for(t):
    """A child that was being started when its parent was killed has the lock a moment longer."""
    s = t.baetyl(start=False)
    pid = os.fork()
    if pid == 0:
        fd = os.open(os.path.join(s.dir, ".baetyl.lock"), os.O_RDWR | os.O_CREAT)
        fcntl.flock(fd, fcntl.LOCK_EX)
        os.write(fd, b"%d\n" % os.getpid())
        if os.fork() == 0:
            time.sleep(0.3)
        os._exit(0)
    os.waitpid(pid, 0)
    s.start()
    equal(s.stop(), 0, "exit status")
