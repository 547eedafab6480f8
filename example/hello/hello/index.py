"""Says hello: the message comes back with what is known about it."""

CONTEXT = ("messageQOS", "messageTopic", "messageTimestamp", "functionName",
           "functionInvokeID")


def handler(event, context):
    if isinstance(event, dict):
        if "err" in event:
            raise TypeError(event["err"])
        result = event
    elif isinstance(event, bytes):
        result = {"bytes": event.decode("utf-8", "replace")}
    else:
        result = {"value": event}
    for key in CONTEXT:
        result[key] = context[key]
    result["Say"] = "Hello Baetyl"
    return result
