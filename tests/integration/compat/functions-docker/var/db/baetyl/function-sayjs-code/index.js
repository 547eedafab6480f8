'use strict';
// Says hello: an object gets the context of the call, other bytes are wrapped first.

exports.handler = (event, context, callback) => {
  const result = Buffer.isBuffer(event) ? {bytes: event.toString()} : event;
  if ('err' in result)
    return callback(new TypeError(result.err));
  for (const name of ['messageQOS', 'messageTopic', 'messageTimestamp', 'functionName', 'functionInvokeID'])
    result[name] = context[name];
  result.Say = 'Hello Baetyl';
  callback(null, result);
};
