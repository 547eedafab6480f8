"""Counts what was found."""


def handler(event, context):
    return {"found": len(event["imageObjects"])}
