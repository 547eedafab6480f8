// The function runtime for Node 8.5 or newer: one process, one function, one call at a time.
//
// Calls come in on descriptor 3, replies go out on descriptor 4, as docs/frames.md describes;
// standard output and error are the handler's own and end in the log. The source is an expression:
// whoever runs it calls the function with `require`.
(function (require) {
    'use strict';

    const fs = require('fs');
    const net = require('net');
    const path = require('path');

    const VERSION = 1;
    const CALLS = 3, REPLIES = 4, SOURCE = 5;
    const MAX_ERROR = 4096;

    // ---- protobuf: the two wire types that the frames use, and skipping of the others ----

    function varint(n) {
        const out = [];
        while (n > 127) {
            out.push(n % 128 + 128);
            n = Math.floor(n / 128);
        }
        out.push(n);
        return Buffer.from(out);
    }

    function putNumber(field, n) {
        return n ? Buffer.concat([varint(field * 8), varint(n)]) : Buffer.alloc(0);
    }

    function putBytes(field, data, always) {
        if (typeof data === 'string')
            data = Buffer.from(data, 'utf8');
        if (data.length === 0 && !always)
            return Buffer.alloc(0);
        return Buffer.concat([varint(field * 8 + 2), varint(data.length), data]);
    }

    // The fields of a message by number; the last of a number wins.
    function decode(data) {
        const out = {};
        let pos = 0;

        function number() {
            let n = 0, scale = 1;
            for (let i = 0; i < 10 && pos < data.length; i++) {
                const byte = data[pos++];
                n += (byte & 127) * scale;
                if (byte < 128)
                    return n;
                scale *= 128;
            }
            throw new Error('a number is cut short or too long');
        }

        while (pos < data.length) {
            const key = number(), wire = key % 8, field = Math.floor(key / 8);
            if (wire === 0) {
                out[field] = number();
                continue;
            }
            const size = wire === 2 ? number() : wire === 1 ? 8 : wire === 5 ? 4 : Infinity;
            if (pos + size > data.length)
                throw new Error('a message is cut short');
            out[field] = data.slice(pos, pos + size);
            pos += size;
        }
        return out;
    }

    function text(fields, number) {
        return fields[number] === undefined ? '' : fields[number].toString('utf8');
    }

    // ---- frames ----

    function writeFrame(message) {
        const prefix = Buffer.alloc(5);
        prefix.writeUInt32BE(message.length, 1);
        const data = Buffer.concat([prefix, message]);
        let sent = 0;
        while (sent < data.length) {
            try {
                sent += fs.writeSync(REPLIES, data, sent, data.length - sent);
            } catch (e) {
                if (e.code !== 'EAGAIN' && e.code !== 'EINTR')
                    process.exit(1);
            }
        }
    }

    // Calls take(message) for every whole frame, however the chunks are cut.
    function frameReader(take) {
        let chunks = [], have = 0, need = 5;

        return function (chunk) {
            chunks.push(chunk);
            have += chunk.length;
            while (have >= need) {
                const all = chunks.length === 1 ? chunks[0] : Buffer.concat(chunks, have);
                const end = 5 + all.readUInt32BE(1);
                need = end;
                chunks = [all];
                if (have < end)
                    return;
                chunks = have > end ? [all.slice(end)] : [];
                have -= end;
                need = 5;
                take(decode(all.slice(5, end)));
            }
        };
    }

    // ---- errors ----

    function say(error) {
        try {
            return String(error);
        } catch (e) {
            return 'an error that cannot be shown';
        }
    }

    function logError(error) {
        try {
            console.error(error && error.stack ? error.stack : say(error));
        } catch (e) {
            // Nothing more can be done about an error that throws when it is looked at.
        }
    }

    function describe(kind, error) {
        return `Exception calling application: ('${kind}', ${say(error)})`.slice(0, MAX_ERROR);
    }

    // ---- the handler ----

    let handler = null;
    let functionName = '';
    let maxMessage = 65536;
    let current = null; // settles the running call: (error, result)
    const waiting = [];

    function load(name, codedir) {
        const dot = name.lastIndexOf('.');
        const found = require(path.resolve(codedir, name.slice(0, dot)))[name.slice(dot + 1)];
        if (typeof found !== 'function')
            throw new TypeError(`${name} is not a function`);
        return found;
    }

    function eventOf(payload) {
        if (payload === undefined || payload.length === 0)
            return {};
        try {
            return JSON.parse(payload.toString('utf8'));
        } catch (e) {
            return Buffer.from(payload);
        }
    }

    function contextOf(message) {
        const stamp = message[10] || 0;
        const invokeId = text(message, 12);
        return {
            messageQOS: message[2] || 0,
            messageTopic: text(message, 3),
            messageTimestamp: stamp % 2 ? -(stamp + 1) / 2 : stamp / 2,
            functionName: text(message, 11),
            functionInvokeID: invokeId,
            invokeid: invokeId,
        };
    }

    function encodeResult(result) {
        if (result === undefined || result === null || result === '')
            return Buffer.alloc(0);
        if (result instanceof Uint8Array)
            return result;
        const json = JSON.stringify(result);
        if (json === undefined)
            throw new TypeError(`a ${typeof result} is not JSON serializable`);
        return Buffer.from(json, 'utf8');
    }

    function reply(id, payload, error, code) {
        let body = Buffer.concat([putNumber(1, id), putBytes(2, payload)]);
        if (error !== undefined) {
            const status = Buffer.concat([putBytes(1, error), putBytes(2, code || '')]);
            body = Buffer.concat([body, putBytes(3, status, true)]);
        }
        const frame = putBytes(3, body, true);
        if (frame.length <= maxMessage) {
            writeFrame(frame);
        } else if (error === undefined) {
            reply(id, '', 'grpc: received message larger than max ' +
                `(${frame.length} vs. ${maxMessage})`, 'ResourceExhausted');
        } else {
            reply(id, '', 'the error is too long');
        }
    }

    function settleWith(id) {
        return function settle(failed, error, result) {
            if (current !== settle)
                return; // a second callback, or one that comes too late
            current = null;
            if (failed) {
                logError(error);
                reply(id, '', describe('[UserCodeInvoke]', error));
            } else {
                let payload = null;
                try {
                    payload = encodeResult(result);
                } catch (e) {
                    logError(e);
                    reply(id, '', describe('[UserCodeReturn]', e));
                }
                if (payload !== null)
                    reply(id, payload);
            }
            if (waiting.length > 0)
                setImmediate(serve);
        };
    }

    function invoke(message, settle) {
        const wantsCallback = handler.length >= 3;
        try {
            const event = eventOf(message[4]);
            const returned = handler(event, contextOf(message), function (error, result) {
                settle(Boolean(error), error, result);
            });
            if (returned && typeof returned.then === 'function') {
                returned.then(function (result) {
                    // With a callback the end of the promise alone says nothing.
                    if (result !== undefined || !wantsCallback)
                        settle(false, null, result);
                }, function (error) {
                    settle(true, error);
                });
            } else if (returned !== undefined && !wantsCallback) {
                settle(false, null, returned);
            }
        } catch (e) {
            settle(true, e);
        }
    }

    function serve() {
        if (current !== null || waiting.length === 0)
            return;
        const call = waiting.shift();
        const message = decode(call[2] || Buffer.alloc(0));
        const id = call[1] || 0;
        if (text(message, 11) !== functionName) {
            reply(id, '', 'Exception calling application: function not found');
            setImmediate(serve);
            return;
        }
        current = settleWith(id);
        invoke(message, current);
    }

    // ---- life ----

    function sendHello(error) {
        writeFrame(putBytes(1, Buffer.concat([
            putNumber(1, VERSION),
            putBytes(6, `node ${process.versions.node}`),
            putBytes(7, error === undefined ? '' : error.slice(0, MAX_ERROR)),
        ])));
    }

    function gotHello(hello) {
        if (hello[1] !== VERSION) {
            sendHello(`the manager speaks version ${hello[1]}, not ${VERSION}`);
            process.exit(1);
        }
        try {
            handler = load(text(hello, 4), text(hello, 5));
        } catch (e) {
            logError(e);
            sendHello(say(e) || 'the handler could not be loaded');
            process.exit(1);
        }
        functionName = text(hello, 3);
        maxMessage = hello[2];
        sendHello();
    }

    function gotFrame(frame) {
        if (handler === null && frame[1] !== undefined) {
            gotHello(decode(frame[1]));
        } else if (frame[2] !== undefined) {
            waiting.push(decode(frame[2]));
            serve();
        } else {
            process.exit(1);
        }
    }

    function strayError(error) {
        if (current !== null)
            current(true, error);
        else
            logError(error);
    }

    fs.closeSync(SOURCE);
    process.on('uncaughtException', strayError);
    process.on('unhandledRejection', strayError);
    const calls = new net.Socket({ fd: CALLS, readable: true, writable: false });
    calls.on('data', frameReader(gotFrame));
    calls.on('end', function () {
        process.exit(0);
    });
    calls.on('error', function () {
        process.exit(1);
    });
    calls.resume();
});
