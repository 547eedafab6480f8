"""Wraps what arrives."""


def handler(event, context):
    result = {}
    if isinstance(event, dict):
        result["msg"], result["type"] = event, "dict"
    else:
        result["msg"], result["type"] = event.decode("utf-8"), "non-dict"
    result["say"] = "hello world"
    return result
