"""Functions in any language: the examples in C, Go and Python, and programs that are not there."""
import json
import os
import re
import shutil

import raw
from harness import HUB, ROOT, RUNNER, Skip, check, contains, equal, need_tool, test, until
from raw import session


CONFIG = HUB + """functions:
  rules:
    - {clientid: r, subscribe: {topic: t}, function: {name: f}, publish: {topic: t/out}}
  functions:
    - {name: f, runtime: exec, timeout: 5s, %s}
"""
ECHO = """
#include "frames.h"
int main(void)
{
    struct frames f;
    struct frames_call call;
    int r = frames_open(&f, "echo 1");

    while (r == 0 && (r = frames_next(&f, &call)) > 0) {
        static char twice[200000];
        size_t n = call.payload_len;

        if (n > 0 && call.payload[0] == 'd') { /* twice as much */
            memset(twice, 'd', sizeof(twice));
            r = frames_reply(&f, &call, twice, 2 * n);
        } else {
            r = frames_reply(&f, &call, call.payload, n);
        }
    }
    return r == 0 ? 0 : 1;
}
"""


def build(t, command, folder, **env):
    code, out, err = t.run(command, seconds=110, cwd=folder, env=dict(os.environ, **env))
    equal(code, 0, "exit status of %s: %s" % (command[0], (out + err).decode("utf-8", "replace")))


def start(t, example, make=None):
    """The example in a folder of its own, with a free port."""
    folder = os.path.join(t.folder(), "example")
    shutil.copytree(os.path.join(ROOT, "example", example), folder)
    if make:
        make(folder)
    with open(os.path.join(folder, "baetyl.yml")) as f:
        text = re.sub(r"127.0.0.1:1883", "127.0.0.1:0", f.read())
    s = t.baetyl(text, folder=folder)
    until(lambda: "id=FUNC-RULE " in s.log(), what="the rule is ready")
    return s


def error_of(message):
    return json.loads(message["payload"])["errorMessage"]


@test
def example_in_c(t):
    cc = need_tool(os.environ.get("LINT_CC", "cc").split()[0] if not RUNNER else "cc")
    s = start(t, "exec-c", lambda folder: build(
        t, [cc, "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-O1", "-o", "average", "average.c"], folder))
    c = session(t, s, "device", ("sensor/average", 0))
    for value, want in ((10, 10), (20, 15), (30, 20), (40, 25), (50, 30), (100, 48)):
        c.send(raw.publish("sensor", '{"unit":"C","value":%d}' % value))
        got = json.loads(c.message()["payload"])
        equal(got["average"], want, "average")
    c.send(raw.publish("sensor", "none"))
    equal(error_of(c.message()), "rpc error: code = InvalidArgument desc = there is no number in the message")
    # It holds 8 times what a frame of the first length could, and all calls are answered in order.
    c.send(raw.publish("sensor", "7.5" + " " * 20000))
    equal(json.loads(c.message()["payload"])["n"], 5, "after a long message")
    c.send(*[raw.publish("sensor", str(n)) for n in range(300)])
    got = [json.loads(c.message()["payload"])["average"] for _ in range(300)]
    equal(got[4:], [n - 2 for n in range(4, 300)], "averages")
    equal(s.stop(), 0, "exit status")


@test
def limits_and_errors_in_c(t):
    """An echo with frames.h: results beyond the limit, no result, binary; in a sandbox where there is one."""
    cc = need_tool("cc")
    folder = t.folder()
    shutil.copy(os.path.join(ROOT, "example", "exec-c", "frames.h"), folder)
    with open(os.path.join(folder, "echo.c"), "w") as f:
        f.write(ECHO)
    build(t, [cc, "-std=c11", "-D_GNU_SOURCE", "-O1", "-o", "echo", "echo.c"], folder)
    s = t.baetyl(HUB + "  message: {length: {max: 1m}}\n" + (CONFIG % (
        "handler: echo, codedir: ., message.length.max: 100k, sandbox: {enable: true}")).split("\n", 2)[2],
        folder=folder, start=False)
    s.start(wait=False)
    until(lambda: "id=CORE-READY" in s.log() or not s.alive(), what="a start")
    if not s.alive() and "andlock" in s.log():
        raise Skip("no Landlock here")
    until(s.ready, what="a ports file")
    until(lambda: "id=FUNC-RULE " in s.log(), what="the rule is ready")
    c = session(t, s, "device", ("t/out", 0))
    for payload in (b"\0\xff\x80", b"x", b"y" * 200, b"z" * 99000, b"end"):
        c.send(raw.publish("t", payload))
        equal(c.message()["payload"], payload, "echo")
    c.send(raw.publish("t", b"d" * 60000))
    contains(error_of(c.message()), "code = ResourceExhausted desc = grpc: received message larger than max (120010 vs. 102400)")
    c.send(raw.publish("t", ""), raw.publish("t", "e"))
    equal(c.message()["payload"], b"e", "nothing, then the next")


@test
def the_runtime_in_the_documentation(t):
    folder = t.folder()
    with open(os.path.join(ROOT, "docs", "frames.md")) as f:
        code = re.search(r"```python\n(.*?)```", f.read(), re.S).group(1)
    with open(os.path.join(folder, "echo"), "w") as f:
        f.write("#!%s\n%s" % (need_tool("python3"), code))
        os.chmod(f.name, 0o755)
    s = t.baetyl(CONFIG % "handler: echo, codedir: .", folder=folder)
    until(lambda: "id=FUNC-RULE " in s.log(), what="the rule is ready")
    c = session(t, s, "device", ("t/out", 0))
    for payload in (b"\0\xff\x80", b"y" * 30000):
        c.send(raw.publish("t", payload))
        equal(c.message()["payload"], payload, "echo")


@test
def a_program_that_cannot_be_run(t):
    folder = t.folder()
    with open(os.path.join(folder, "echo"), "w") as f:
        f.write("#!/no/such/interpreter\n")
        os.chmod(f.name, 0o755)
    s = t.baetyl(CONFIG % "handler: echo, codedir: .", folder=folder)
    until(lambda: "id=FUNC-RULE " in s.log(), what="the rule is ready")
    c = session(t, s, "device", ("t/out", 0))
    c.send(raw.publish("t", "x"))
    equal(error_of(c.message()), "failed to start an instance of function f: the program cannot be run: "
                                 "No such file or directory")


@test
def example_in_go(t):
    go = shutil.which("go") or "/usr/local/go/bin/go"
    if RUNNER or not os.access(go, os.X_OK):
        raise Skip("no go here")
    cache = os.path.join(ROOT, "build", "go-cache")

    s = start(t, "exec-go", lambda folder: build(
        t, [go, "build", "-o", "extremes", "main.go"], folder, GOCACHE=cache, GOTOOLCHAIN="local", CGO_ENABLED="0"))
    c = session(t, s, "device", ("extremes", 0))
    for topic, value, want in (("a", 5, (5, 5, 1)), ("a", 7.5, (5, 7.5, 2)), ("b", 1, (1, 1, 1)), ("a", -1, (-1, 7.5, 3))):
        c.send(raw.publish("sensor/" + topic, json.dumps({"value": value})))
        got = json.loads(c.message()["payload"])
        equal((got["topic"], got["low"], got["high"], got["n"]), ("sensor/" + topic,) + want, "extremes")
    c.send(raw.publish("sensor/a", "{}"), raw.publish("sensor/a", "x"))
    contains(error_of(c.message()), "rpc error: code = Unknown desc = invalid character")
    contains(s.log(), "first value of sensor/a", "log")
    equal(s.stop(), 0, "exit status")


@test
def example_in_python(t):
    need_tool("python3")
    s = start(t, "exec-python")
    c = session(t, s, "device", ("words/count", 0))
    c.send(raw.publish("words", "one two\nthree"))
    equal(c.message()["payload"], b"words: 3 words\n", "count")
    c.send(raw.publish("words", ""))
    equal(c.message()["payload"], b"words: 0 words\n", "count")


@test
def commands_that_fail_and_that_are_ended(t):
    """The shell example with another command: failures are answers, the process stays."""
    shell = os.path.join(ROOT, "example", "exec-python", "shell")
    command = 'read x; case $x in fail) echo why >&2; exit 3;; none) ;; *) echo "$x $QOS $BAETYL_FUNCTION_NAME $0 $1";; esac'
    s = t.baetyl(CONFIG % ("handler: %s, env: [A=1], args: [%s]" % (shell, json.dumps(command))))
    until(lambda: "id=FUNC-RULE " in s.log(), what="the rule is ready")
    c = session(t, s, "device", ("t/out", 0))
    c.send(raw.publish("t", "fail\n"), raw.publish("t", "none\n"), raw.publish("t", "hello\n"))
    equal(error_of(c.message()), "rpc error: code = Unknown desc = exit status 3: why")
    equal(c.message()["payload"], b"hello 0 f /bin/sh \n", "result")
    equal(s.log().count("FUNC-INSTANCE"), 0, "instances lost")


@test
def what_cannot_be_run_is_said_at_once(t):
    folder = t.folder()
    plain, gone = os.path.join(folder, "plain"), os.path.join(folder, "gone")
    open(plain, "w").close()
    for config, says in (("handler: %s" % gone, "the program %s cannot be run: No such file or directory" % gone),
                         ("handler: %s" % plain, "the program %s cannot be run: it is not executable (chmod +x)" % plain),
                         ("handler: %s" % folder, "the program %s cannot be run: it is no file" % folder),
                         ("handler: gone, codedir: %s" % folder, "the program %s cannot be run: No such file" % gone),
                         ("handler: gone", "\"gone\": without a codedir the path must be absolute"),
                         ("codedir: .", "the function needs a handler, the program")):
        s = t.baetyl(CONFIG % config, start=False)
        code, _, err = t.command("check", "-w", s.dir, "-c", s.config)
        check(code != 0, "check fails")
        contains(err, says, "check says")
        s.start(wait=False)
        check(s.process.wait(10) != 0, "start fails")
        contains(s.log(), says.replace('"gone"', "gone") if '"gone"' not in s.log() else says, "start says")
    s = t.baetyl(HUB + "functions:\n  functions:\n    - {name: f, runtime: sql, handler: select 1 as x, args: [a]}\n",
                 start=False)
    code, _, err = t.command("check", "-w", s.dir, "-c", s.config)
    check(code != 0, "check fails")
    contains(err, "only the program of exec takes arguments", "check says")


@test
def a_program_that_speaks_no_frames(t):
    """It ends at once, says something else, or nothing."""
    for program, says in (("/bin/true", "failed to start an instance of function f"),
                          ("/bin/echo", "failed to start an instance of function f")):
        s = t.baetyl(CONFIG % ("handler: %s, args: [words, 'more words']" % program))
        until(lambda s=s: "id=FUNC-RULE " in s.log(), what="the rule is ready")
        c = session(t, s, "device", ("t/out", 0))
        c.send(raw.publish("t", "x"))
        contains(error_of(c.message()), says, "error")
        if program == "/bin/echo":
            until(lambda s=s: "words more words" in s.log(), what="its output in the log")
        s.stop()
