"""The pipeline that `./build.sh run` shows: sensors, an SQL filter, a Python average, an SQL alert."""
import json
import os
import re
import shutil
import sys
import time

from harness import ROOT, SLOW, Skip, check, equal, need_tool, test
from raw import session


@test
def readings_become_averages_and_alerts(t):
    source = os.path.join(ROOT, "example")
    if not os.path.exists(os.path.join(source, "pipeline")):
        raise Skip("no example here")
    need_tool("node")
    folder = t.folder()
    shutil.copytree(source, folder, dirs_exist_ok=True)
    with open(os.path.join(folder, "pipeline/baetyl.yml")) as f:
        text = f.read()
    s = t.baetyl(text.replace("127.0.0.1:1883", "127.0.0.1:0"), folder=folder)
    sub = session(t, s, "watch", ("sensors/average", 1), ("alerts", 1), ("sensors/good", 1))
    code, readings, _ = t.run([sys.executable, os.path.join(source, "pipeline/sensors.py"), "260", "0"])
    equal(code, 0, "exit status of the sensors")
    address = "tcp://127.0.0.1:%d" % s.port
    code, _, errors = t.command("pub", "--address", address, "-t", "sensors/raw", "-l", "-q", "1", stdin=readings)
    equal((code, errors), (0, b""), "pub")
    got = {"sensors/good": [], "sensors/average": [], "alerts": []}
    end = time.monotonic() + 20 * SLOW
    while len(got["sensors/good"]) < 245 or len(got["sensors/average"]) < 48 or len(got["alerts"]) < 12:
        check(time.monotonic() < end, "not all came: %s" % {k: len(v) for k, v in got.items()})
        m = sub.message(10)
        got[m["topic"]].append(json.loads(m["payload"]))
    check(all(-40 <= r["temperature"] <= 125 for r in got["sensors/good"]), "loose wires are filtered")
    equal({a["sensor"] for a in got["sensors/average"]}, {"boiler", "room"}, "sensors")
    check(all(a["sensor"] == "boiler" and a["average"] >= 70 for a in got["alerts"]), "alerts are of the boiler")
    equal({a["level"] for a in got["alerts"]}, {"warning", "danger"}, "levels")


@test
def the_function_that_the_guide_writes(t):
    """docs/functions.md, its first blocks, as they are but for the port; baetyl.yml is found by itself."""
    with open(os.path.join(ROOT, "docs/functions.md")) as f:
        page = f.read()
    folder = t.folder()
    os.makedirs(os.path.join(folder, "average"))
    for name, kind in (("average/index.py", "python"), ("baetyl.yml", "yaml")):
        code = re.search("```%s\n(.*?)```" % kind, page, re.S).group(1)
        with open(os.path.join(folder, name), "w") as f:
            f.write(code.replace(":1883", ":0"))
    equal(t.command("check", "-w", folder)[0], 0, "baetyl check")
    s = t.baetyl(None, folder=folder)
    code, out, _ = t.command("call", "average", '{"temperature": 21.5}', "-w", folder)
    equal((code, json.loads(out)), (0, {"average": 21.5, "from": ""}), "baetyl call")
    sub = session(t, s, "watch", ("averages", 1))
    equal(t.command("pub", "--address", "tcp://127.0.0.1:%d" % s.port, "-t", "sensors", "-q", "1",
                    "-m", '{"temperature": 22.5}')[0], 0, "baetyl pub")
    equal(json.loads(sub.message()["payload"]), {"average": 22.0, "from": "sensors"}, "the average")
