#!/usr/bin/env python3
"""Two sensors, a line of JSON for each reading: one of a room, and one of a boiler that overheats.

    sensors.py [READINGS] [SECONDS_BETWEEN] | baetyl pub -t sensors/raw -l -q 1
"""
import json
import random
import sys
import time

readings = int(sys.argv[1]) if len(sys.argv) > 1 else 0
pause = float(sys.argv[2]) if len(sys.argv) > 2 else 0.1
n = 0
try:
    while readings == 0 or n < readings:
        sensor, base = (("room", 21), ("boiler", 40 + n % 400 / 4))[n % 2]
        value = round(base + random.gauss(0, 0.5), 1)
        if n % 17 == 16:
            value = -127.0  # the wire is loose
        print(json.dumps({"sensor": sensor, "temperature": value}), flush=True)
        n += 1
        time.sleep(pause)
except (BrokenPipeError, KeyboardInterrupt):
    sys.stderr.close()
