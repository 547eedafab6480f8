"""Runs the integration tests: main.py [-l] [PART-OF-A-NAME...]. The executable is in $BAETYL."""
import glob
import importlib
import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True

import harness  # noqa: E402


def main():
    for path in sorted(glob.glob(os.path.join(HERE, "t_*.py"))):
        importlib.import_module(os.path.basename(path)[:-3])
    wanted = [a for a in sys.argv[1:] if not a.startswith("-")]
    counts = {"ok": 0, "FAIL": 0, "skip": 0}
    for name, fn in harness.TESTS:
        if wanted and not any(w in name for w in wanted):
            continue
        if "-l" in sys.argv:
            print(name)
            continue
        start = time.monotonic()
        result, text = harness.run_one(fn)
        counts[result] += 1
        lines = text.strip().split("\n")
        print("%-4s %s (%.2f s)%s" % (result, name, time.monotonic() - start,
                                      ": " + lines[0] if lines[0] else ""), flush=True)
        for line in lines[1:]:
            print("    " + line)
    print("integration: %d passed, %d failed, %d skipped" % (counts["ok"], counts["FAIL"], counts["skip"]))
    return 1 if counts["FAIL"] else 0


if __name__ == "__main__":
    sys.exit(main())
