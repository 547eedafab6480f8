"""The pipeline that `./build.sh run` shows: sensors, an SQL filter, a Python average, an SQL alert."""
import json
import os
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
