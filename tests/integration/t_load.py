"""The workloads of the measurements, shortly: nothing is lost, nothing comes twice."""
import json
import os

from harness import HUB, ROOT, SAN, Skip, check, equal, need_tool, test


def load(t, server, scenario, *extra):
    need_tool(os.environ.get("CC_BUILD", "cc"))
    program = os.path.join(ROOT, "build/host/bench/load")
    code, _, err = t.run([os.path.join(ROOT, "tests/bench/build.sh"), program], 60)
    equal(code, 0, "exit status of the build: %s" % err)
    code, out, err = t.run([program, "-s", scenario, "-p", str(server.port), "-P", str(server.process.pid),
                            "-t", "0.5", "-u", "0.2"] + list(extra), 40)
    equal(code, 0, "exit status: %s" % err)
    return json.loads(out.decode())


def nothing_lost(t, scenario, *extra):
    s = t.baetyl()
    got = load(t, s, scenario, *extra)
    check(got["delivered"] > 0, "messages")
    equal((got["lost"], got["duplicates"], got["foreign"]), (0, 0, 0), "lost, duplicates, foreign of %r" % got)
    equal(s.stop(), 0, "exit status")


@test
def fanin(t):
    nothing_lost(t, "fanin")


@test
def pairs(t):
    nothing_lost(t, "pairs")


@test
def fanout(t):
    nothing_lost(t, "fanout")


@test
def q1_clean(t):
    nothing_lost(t, "q1clean")


@test
def q1_persistent(t):
    nothing_lost(t, "q1persist")


@test
def q1_persistent_large(t):
    nothing_lost(t, "q1persist", "-l", "4000")


@test
def idle_connections_are_cheap(t):
    if SAN:
        raise Skip("not with sanitizers")
    s = t.baetyl(HUB)
    got = load(t, s, "idle", "-n", "1000")
    each = (got["rss_kb"] - got["rss_before_kb"]) / 1000.0
    check(each < 4, "%.2f KiB a connection, at most 4" % each)
