"""The average of a sensor's last readings, told with every fifth one; the others have no result."""
from collections import defaultdict, deque

KEPT = 10
EVERY = 5

readings = defaultdict(lambda: deque(maxlen=KEPT))
counts = defaultdict(int)


def handler(event, context):
    sensor = event["sensor"]
    readings[sensor].append(event["temperature"])
    counts[sensor] += 1
    if counts[sensor] % EVERY:
        return None
    kept = readings[sensor]
    return {"sensor": sensor, "average": round(sum(kept) / len(kept), 1), "readings": len(kept)}
