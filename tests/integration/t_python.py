"""Python functions that share a folder, or names."""
import json
import os

from harness import HUB, equal, test, until
from raw import PUBLISH, publish, session

CONFIG = HUB + "functions:\n  rules:\n"
RULE = "    - {{clientid: rule-{0}, subscribe: {{topic: {0}}}, function: {{name: {0}}}, publish: {{topic: out/{0}}}}}\n"
FUNCTION = "    - {{name: {0}, runtime: python3, handler: {1}, codedir: {2}}}\n"


def run(t, functions, files):
    """functions: (name, handler, codedir). What each answers to {}."""
    folder = t.folder()
    for name, text in files.items():
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write(text)
    s = t.baetyl(CONFIG + "".join(RULE.format(f[0]) for f in functions) + "  functions:\n" +
                 "".join(FUNCTION.format(*f) for f in functions), folder=folder)
    until(lambda: s.log().count("id=FUNC-RULE") == len(functions), what="the rules are ready")
    c = session(t, s, "device", ("out/#", 0))
    got = {}
    for name, _, _ in functions:
        c.send(publish(name, b"{}"))
        body = c.expect(PUBLISH)
        n = 2 + int.from_bytes(body[:2], "big")
        equal(body[2:n], b"out/" + name.encode(), "topic")
        got[name] = json.loads(body[n:])
    return got


def says(what):
    return "def handler(event, context): return %r\ndef other(event, context): return 'other of ' + %r\n" % (what, what)


@test
def several_functions_of_one_folder(t):
    got = run(t, [("a", "index.handler", "code"), ("b", "index.other", "code"), ("c", "more.handler", "code"),
                  ("d", "pkg.mod.handler", "code")],
              {"code/index.py": says("index"), "code/more.py": "import index\n" + says("more"),
               "code/pkg/__init__.py": "", "code/pkg/mod.py": "from . import near\n" + says("pkg.mod"),
               "code/pkg/near.py": ""})
    equal(got, {"a": "index", "b": "other of index", "c": "more", "d": "pkg.mod"}, "results")


@test
def the_same_name_in_several_folders(t):
    """The original took the module that was loaded first for all of them."""
    got = run(t, [("a", "index.handler", "one"), ("b", "index.handler", "two"), ("c", "index.handler", "deep/er")],
              {"one/index.py": "import lib\ndef handler(event, context): return lib.NAME\n", "one/lib.py": "NAME = 1\n",
               "two/index.py": "import lib\ndef handler(event, context): return lib.NAME\n", "two/lib.py": "NAME = 2\n",
               "deep/er/index.py": says("deep")})
    equal(got, {"a": 1, "b": 2, "c": "deep"}, "results")


@test
def names_of_python_itself(t):
    own = "import json, code, random, tempfile\n" + \
          "def handler(event, context): return [json.dumps(1), hasattr(code, 'interact')]\n"
    names = ["json", "code", "test", "random", "logging", "types", "time"]
    got = run(t, [(n, n + ".handler", "code") for n in names], {"code/%s.py" % n: own for n in names})
    equal(got, {n: ["1", True] for n in names}, "results")


@test
def packages_beside_the_code(t):
    got = run(t, [("f", "get.handler", "code")],
              {"code/__init__.py": "", "code/get.py": "import third\nfrom third.sub import two\n"
               "def handler(event, context): return third.one + two\n",
               "code/third/__init__.py": "one = 1\n", "code/third/sub.py": "import third\ntwo = third.one * 2\n",
               "code/third-1.0.dist-info/METADATA": "Name: third\n"})
    equal(got, {"f": 3}, "results")
