"""Rows of seven numbers each, as a detector of objects gives them: what is likely enough is named."""
import struct

CLASSES = {1: "person", 3: "car"}


def handler(event, context):
    objects, scores = [], []
    for row in struct.iter_unpack("<7f", event):
        _, kind, score, left, top, right, bottom = row
        if score < 0.6:
            continue
        objects.append({"class": CLASSES.get(int(kind), "unknown"), "score": score,
                        "left": left, "top": top, "right": right, "bottom": bottom})
        scores.append(score)
    return {"imageDiscard": not objects, "imageObjects": objects, "imageScores": scores,
            "publishTopic": "video/infer/result", "messageTimestamp": context["messageTimestamp"] * 1000}
