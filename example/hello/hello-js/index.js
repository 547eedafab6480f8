// Says hello: the message comes back with what is known about it.
'use strict';

const CONTEXT = ['messageQOS', 'messageTopic', 'messageTimestamp', 'functionName',
    'functionInvokeID'];

exports.handler = (event, context, callback) => {
    let result;
    if (Buffer.isBuffer(event))
        result = { bytes: event.toString() };
    else if (event !== null && typeof event === 'object' && !Array.isArray(event))
        result = event;
    else
        result = { value: event };
    if (result.err)
        return callback(new TypeError(result.err));
    for (const key of CONTEXT)
        result[key] = context[key];
    result.Say = 'Hello Baetyl';
    return callback(null, result);
};
