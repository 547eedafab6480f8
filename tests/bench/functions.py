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
# What a neighbour does while the other function is measured, in a process of its own beside the runtime's.
HARM = {
    "spins": "for _ in range(4):\n    if os.fork() == 0:\n        while True:\n            pass\n",
    "leaks": "while True:\n    if os.fork() == 0:\n        kept = []\n        while True:\n"
             "            kept.append(bytearray(1 << 20))\n    os.wait()\n",
    "forks": "while True:\n    try:\n        if os.fork() == 0:\n            time.sleep(0.1)\n            os._exit(0)\n"
             "    except OSError:\n        os.wait()\n",
}
LIMITED = """
    - {name: bad, runtime: python3, handler: index.handler, codedir: bad, instance: {min: 1},
       limits: {cpu: 20%, memory: 32m, pids: 30}}
"""


def call_p99(bench, make, functions):
    with make(functions=functions) as server:
        for _ in range(2):
            p99 = bench.load(server, "-s", "call", "-q", "0", "-w", "1", "-l", "64")["p99_us"]
    return p99


def neighbour(bench, make):
    """p99 of one function alone, and at once afterwards while another one does harm under its limits."""
    result = {}
    for harm, code in HARM.items():
        functions = Functions("python3")
        alone = call_p99(bench, make, functions)
        functions.text += LIMITED.lstrip("\n")
        body = "".join("    " + line + "\n" for line in code.splitlines())
        functions.files["bad/index.py"] = ("import os, time\nif os.fork() == 0:\n" + body +
                                           "def handler(event, context):\n    return event\n")
        result[harm] = call_p99(bench, make, functions) / alone
        result["p99_ms"] = alone / 1000
    return result


ROWS = [
    Row("call", call("python3", 1), ("Python call through the hub, warm, one in flight, p50 ms", "p50_ms", 3, -0.4, None),
        original={"p50_ms": 5}),
    Row("call1cpu", call("python3", 1, cpus="0"), ("the same, client, hub and function on one CPU, p50 ms", "p50_ms", 3, -0.2, None),
        original={"p50_ms": 5}),
    Row("callq1", call("python3", 1, qos=1), ("the same, QoS 1, persistent, p50 ms", "p50_ms", 3, -1.5, None),
        original={"p50_ms": 30}),
    Row("calls", call("python3", 64), ("Python calls, JSON echo, one instance, 1/s", "rate", 0, 4e4, None),
        original={"rate": 480}),
    Row("neighbour", neighbour, ("Python call, one in flight, alone, p99 ms", "p99_ms", 3, None, None),
        ("the same beside a function that spins / alone", "spins", 2, -1.1, None),
        ("beside one that leaks / alone", "leaks", 2, -1.1, None),
        ("beside one that forks / alone", "forks", 2, -1.1, None), only_baetyl=True, most=3),
    Row("nodecalls", call("node", 64), ("Node calls, JSON echo, one instance, 1/s", "rate", 0, 6e4, None),
        only_baetyl=True),
    Row("sqlpass", sql(PASS, 1), ("SQL, 200 bytes, all pass, msg/CPU-s", "per_cpu_s", 0, 1.5e5, None),
        ("the same, 1/s", "rate", 0, 1.5e5, None), only_baetyl=True),
    Row("sqldrop", sql(DROP, 16), ("SQL, 200 bytes, 15 of 16 dropped, msg/CPU-s", "per_cpu_s", 0, 1.5e5, None),
        ("the same, 1/s", "rate", 0, 1.5e5, None), only_baetyl=True),
]
