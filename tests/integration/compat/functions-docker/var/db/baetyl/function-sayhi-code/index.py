# -*- coding: utf-8 -*-
"""Says hello: an object gets the context of the call, other bytes are wrapped first."""


def handler(event, context):
    if not isinstance(event, dict):
        event = {"bytes": event.decode("utf-8")}
    if "err" in event:
        raise TypeError(event["err"])
    for name in ("messageQOS", "messageTopic", "messageTimestamp", "functionName", "functionInvokeID"):
        event[name] = context[name]
    event["Say"] = "Hello Baetyl"
    return event
