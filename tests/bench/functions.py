"""What is measured of functions."""
from rows import Row

ECHO = {
    "python3": ("f/index.py", "def handler(event, context):\n    return event\n"),
    "node": ("f/index.js", "exports.handler = (event, context, callback) => callback(null, event);\n"),
}
TEXT = """functions:
  rules:
    - clientid: bench-call
      subscribe: {{topic: t, qos: {qos}}}
      function: {{name: f}}
      publish: {{topic: t/hello, qos: {qos}}}
  functions:
    - {{name: f, runtime: {runtime}, handler: {handler}, codedir: f, instance: {{min: {min}, max: {max}}}{more}}}
"""
PASS = "'select topic() as topic, * where seq >= 0'"
DROP = "'select topic() as topic, * where seq % 16 = 15'"


class Functions:
    """The section of the configuration, and the files it needs."""

    def __init__(self, runtime, qos=0, source=None, min=1, max=1, more="", handler="index.handler"):
        name, echo = ECHO.get(runtime, ("f/none", ""))
        self.text = TEXT.format(runtime=runtime, qos=qos, handler=handler, min=min, max=max, more=more)
        self.files = {name: source or echo}


def call(runtime, window, qos=0, payload=64, **options):
    """One publisher with so many messages under way; each is echoed by the function."""
    def run(bench, make):
        with make(functions=Functions(runtime, qos), **options) as server:
            r = bench.load(server, "-s", "call", "-q", str(qos), "-w", str(window), "-l", str(payload))
        r["p50_ms"] = r["p50_us"] / 1000
        return r
    return run


def sql(statement, each, qos=0):
    """Messages of 200 bytes; each so many-th passes."""
    def run(bench, make):
        with make(functions=Functions("sql", qos, handler=statement)) as server:
            return bench.load(server, "-s", "call", "-q", str(qos), "-w", "512", "-l", "200", "-k", str(each))
    return run


ROWS = [
    Row("call", call("python3", 1), ("Python call through the hub, warm, one in flight, p50 ms", "p50_ms", 3, -0.4, None),
        original={"p50_ms": 5}),
    Row("call1cpu", call("python3", 1, cpus="0"), ("the same, hub and function on one CPU, p50 ms", "p50_ms", 3, -0.2, None),
        original={"p50_ms": 5}),
    Row("callq1", call("python3", 1, qos=1), ("the same, QoS 1, persistent, p50 ms", "p50_ms", 3, -1.5, None),
        original={"p50_ms": 30}),
    Row("calls", call("python3", 64), ("Python calls, JSON echo, one instance, 1/s", "rate", 0, 4e4, None),
        original={"rate": 480}),
    Row("nodecalls", call("node", 64), ("Node calls, JSON echo, one instance, 1/s", "rate", 0, 6e4, None),
        only_baetyl=True),
    Row("sqlpass", sql(PASS, 1), ("SQL, 200 bytes, all pass, msg/CPU-s", "per_cpu_s", 0, 1.5e5, None),
        ("the same, 1/s", "rate", 0, 1.5e5, None), only_baetyl=True),
    Row("sqldrop", sql(DROP, 16), ("SQL, 200 bytes, 15 of 16 dropped, msg/CPU-s", "per_cpu_s", 0, 1.5e5, None),
        ("the same, 1/s", "rate", 0, 1.5e5, None), only_baetyl=True),
]
