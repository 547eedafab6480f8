"""docs/mqtt.md says which test shows which statement of the standard; this keeps it true."""
import os
import re

import mqtt5
from harness import ROOT, TESTS, check, equal, test


@test
def the_table_is_true(_t):
    known = {name for name, _ in TESTS}
    with open(os.path.join(ROOT, "docs", "mqtt.md")) as f:
        table = f.read().split("## The table")[1]
    rows = dict(re.findall(r"^\| (MQTT-\d+\.\d+\.\d+-\d+) \|[^|]*\| ([^|]*) \|$", table, re.M))
    check(len(rows) > 200, "%d rows" % len(rows))
    for statement, text in rows.items():
        tests = [] if text.startswith("(") else text.split(", ")
        for name in tests:
            check(name in known, "%s: there is no test %s" % (statement, name))
        if statement in mqtt5.STATEMENTS:
            equal(set(tests), set(mqtt5.STATEMENTS[statement]), statement)
    equal(sorted(set(mqtt5.STATEMENTS) - set(rows)), [], "statements that are not in the table")
