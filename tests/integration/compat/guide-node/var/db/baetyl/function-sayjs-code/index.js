'use strict';
// Wraps what arrives.

exports.handler = (event, context, callback) => {
  const raw = Buffer.isBuffer(event);
  callback(null, {msg: raw ? event.toString() : event, type: raw ? 'non-dict' : 'dict', say: process.env.GREETING});
};
