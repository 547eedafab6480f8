"""Asks a library that lies beside this file; the test puts it there."""
import fetching


def handler(event, context):
    if "action" not in event:
        return {"error": "action not found"}
    if event["action"] != "A":
        return {"info": "action error"}
    return {"info": fetching.get("http://example.com/").headers}
