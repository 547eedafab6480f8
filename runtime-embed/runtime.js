// The function runtime for Node 8.5 or newer: one process, one function.
//
// Calls come in on descriptor 3, replies go out on descriptor 4, as docs/frames.md describes;
// standard output and error are the handler's own and end in the log, and so do console.error, warn,
// info and debug, with their level. At most `concurrency` calls run at once; those that came ahead wait
// in order. A reply is written before the next handler starts: if that one never ends, the answer is not
// lost with it. The source is an expression: whoever runs it calls the function with `require` and a function that imports
// an ECMAScript module.
(function (require, importModule) {
    'use strict';

    const fs = require('fs');
    const net = require('net');
    const path = require('path');
    const util = require('util');

    const VERSION = 1;
    const CALLS = 3, REPLIES = 4, SOURCE = 5;
    const MAX_ERROR = 4096, MAX_LOG = 4096;
    const ROOM = 65536; // for frames
    const EMPTY = Buffer.alloc(0);

    // ---- protobuf: the two wire types that the frames use, and skipping of the others ----

    // Reads one message; `pos` moves. Numbers above 2^53 lose their last bits, and none is that large.
    class Reader {
        constructor(data, pos, end) {
            this.data = data;
            this.pos = pos;
            this.end = end;
            this.wire = 0;
            this.from = 0; // the bytes of the last member
            this.to = 0;
        }

        number() {
            const data = this.data;
            let pos = this.pos, byte = data[pos++];
            if (byte < 128 && pos <= this.end) {
                this.pos = pos;
                return byte;
            }
            let n = byte & 127, scale = 128;
            for (let i = 1; i < 10 && pos < this.end; i++, scale *= 128) {
                byte = data[pos++];
                n += (byte & 127) * scale;
                if (byte < 128) {
                    this.pos = pos;
                    return n;
                }
            }
            throw new Error('a number is cut short or too long');
        }

        // The number of the next member, 0 at the end. Bytes are left in from and to.
        member() {
            if (this.pos >= this.end)
                return 0;
            const key = this.number(), wire = key % 8;
            this.wire = wire;
            if (wire !== 0) {
                const size = wire === 2 ? this.number() : wire === 1 ? 8 : wire === 5 ? 4 : Infinity;
                if (this.pos + size > this.end)
                    throw new Error('a message is cut short');
                this.from = this.pos;
                this.to = this.pos += size;
            }
            return (key - wire) / 8;
        }

        text() {
            return this.data.toString('utf8', this.from, this.to);
        }

        inner() {
            return new Reader(this.data, this.from, this.to);
        }
    }

    function readHello(r) {
        const hello = { version: 0, maxMessage: ROOM, function: '', handler: '', codedir: '', concurrency: 1 };
        for (let field = r.member(); field !== 0; field = r.member()) {
            if (field === 1)
                hello.version = r.number();
            else if (field === 2)
                hello.maxMessage = r.number();
            else if (field === 8)
                hello.concurrency = r.number();
            else if (field === 3)
                hello.function = r.text();
            else if (field === 4)
                hello.handler = r.text();
            else if (field === 5)
                hello.codedir = r.text();
            else if (r.wire === 0)
                r.number();
        }
        return hello;
    }

    // A text that is mostly the same as the time before costs no new string.
    function sameText() {
        let last = '', length = 0, bytes = Buffer.alloc(256);
        return function (r) {
            const n = r.to - r.from;
            let i = n === length ? 0 : -1;
            while (i >= 0 && i < n)
                i = bytes[i] === r.data[r.from + i] ? i + 1 : -1;
            if (i === -1) {
                last = r.text();
                length = n <= bytes.length ? n : -2;
                r.data.copy(bytes, 0, r.from, r.to);
            }
            return last;
        };
    }
    const topicOf = sameText(), functionOf = sameText();

    function readMessage(r, call) {
        for (let field = r.member(); field !== 0; field = r.member()) {
            if (field === 2) {
                call.qos = r.number();
            } else if (field === 3) {
                call.topic = topicOf(r);
            } else if (field === 4) {
                call.from = r.from;
                call.to = r.to;
            } else if (field === 10) {
                call.stamp = r.number();
            } else if (field === 11) {
                call.function = functionOf(r);
            } else if (field === 12) {
                call.invokeId = r.data.toString('latin1', r.from, r.to);
            } else if (r.wire === 0) {
                r.number();
            }
        }
    }

    function readCall(r) {
        const call = { id: 0, qos: 0, topic: '', data: r.data, from: 0, to: 0, stamp: 0,
            function: '', invokeId: '', open: true };
        for (let field = r.member(); field !== 0; field = r.member()) {
            if (field === 1)
                call.id = r.number();
            else if (field === 2)
                readMessage(r.inner(), call);
            else if (r.wire === 0)
                r.number();
        }
        return call;
    }

    function sizeOfNumber(n) {
        let size = 1;
        for (; n > 127; n = Math.floor(n / 128))
            size++;
        return size;
    }

    // Appends to `out`, which always has room for the frame that is being made.
    let out = Buffer.allocUnsafe(ROOM), used = 0;

    function putNumber(n) {
        while (n > 127) {
            out[used++] = n % 128 + 128;
            n = Math.floor(n / 128);
        }
        out[used++] = n;
    }

    // Text or bytes, whose length the caller knows.
    function putBytes(field, data, length) {
        out[used++] = field * 8 + 2;
        putNumber(length);
        if (typeof data === 'string')
            out.write(data, used, length, 'utf8');
        else
            out.set(data, used);
        used += length;
    }

    const lengthOf = (data) => typeof data === 'string' ? Buffer.byteLength(data) : data.length;
    const sizeOf = (length) => 1 + sizeOfNumber(length) + length;

    // ---- frames ----

    function flush() {
        let sent = 0;
        while (sent < used) {
            try {
                sent += fs.writeSync(REPLIES, out, sent, used - sent);
            } catch (e) {
                if (e.code !== 'EAGAIN' && e.code !== 'EINTR')
                    process.exit(1);
            }
        }
        used = 0;
        if (out.length > ROOM)
            out = Buffer.allocUnsafe(ROOM);
    }

    // The prefix of a frame and the head of its one member; `length` bytes follow.
    function begin(field, length) {
        const size = sizeOf(length);
        if (size + 5 > out.length)
            out = Buffer.allocUnsafe(size + 5);
        out[used] = 0;
        out.writeUInt32BE(size, used + 1);
        used += 5;
        out[used++] = field * 8 + 2;
        putNumber(length);
    }

    // Calls take(data, pos, end) for every whole frame, however the chunks are cut.
    function frameReader(take) {
        let chunks = [], have = 0, need = 5;

        return function (chunk) {
            chunks.push(chunk);
            have += chunk.length;
            if (have < need)
                return;
            const all = chunks.length === 1 ? chunk : Buffer.concat(chunks, have);
            let pos = 0;
            need = 5;
            while (have - pos >= need) {
                need = 5 + all.readUInt32BE(pos + 1);
                if (have - pos < need)
                    break;
                take(all, pos + 5, pos + need);
                pos += need;
                need = 5;
            }
            chunks = pos < have ? [all.slice(pos)] : [];
            have -= pos;
        };
    }

    function sendHello(error) {
        const runtime = `node ${process.versions.node}`;
        const why = Buffer.from(error === undefined ? '' : error.slice(0, MAX_ERROR));
        begin(1, 2 + sizeOf(runtime.length) + sizeOf(why.length));
        out[used++] = 1 * 8;
        putNumber(VERSION);
        putBytes(6, runtime, runtime.length);
        putBytes(7, why, why.length);
        flush();
    }

    function sendLog(level, text) {
        const said = Buffer.from(text.slice(0, MAX_LOG));
        begin(4, 2 + sizeOf(said.length));
        out[used++] = 1 * 8;
        putNumber(level);
        putBytes(2, said, said.length);
        flush();
    }

    // ---- errors and the log ----

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

    function setUpConsole() {
        const levels = { error: 0, warn: 1, info: 2, debug: 3 };
        Object.keys(levels).forEach(function (name) {
            console[name] = function () {
                sendLog(levels[name], util.format.apply(util, arguments));
            };
        });
        console.trace = function () {
            sendLog(0, new Error(util.format.apply(util, arguments)).stack.replace(/^Error/, 'Trace'));
        };
    }

    // ---- the handler ----

    let handler = null, wantsCallback = false;
    let functionName = '', maxMessage = ROOM, concurrency = 1;
    let serving = false, scheduled = false;
    let storage = null; // which call the running code belongs to, when there may be several
    const waiting = [];
    let taken = 0; // of waiting
    const running = new Set();

    function handlerOf(exported, name, dot) {
        const own = name.slice(dot + 1);
        const found = exported[own] || (exported.default && exported.default[own]);
        if (typeof found !== 'function')
            throw new TypeError(`${name} is not a function`);
        return found;
    }

    // ECMAScript modules cannot be required everywhere, and are imported then.
    function load(name, codedir) {
        const dot = name.lastIndexOf('.');
        const file = path.resolve(codedir, name.slice(0, dot));
        try {
            return handlerOf(require(file), name, dot);
        } catch (e) {
            const isModule = fs.existsSync(file + '.mjs');
            if (e.code !== 'ERR_REQUIRE_ESM' && !(e.code === 'MODULE_NOT_FOUND' && isModule))
                throw e;
            const url = require('url').pathToFileURL(file + (isModule ? '.mjs' : '.js')).href;
            return importModule(url).then((exported) => handlerOf(exported, name, dot));
        }
    }

    function eventOf(call) {
        if (call.from === call.to)
            return {};
        try {
            return JSON.parse(call.data.toString('utf8', call.from, call.to));
        } catch (e) {
            return Buffer.from(call.data.slice(call.from, call.to));
        }
    }

    function contextOf(call) {
        const stamp = call.stamp;
        return {
            messageQOS: call.qos,
            messageTopic: call.topic,
            messageTimestamp: stamp % 2 ? -(stamp + 1) / 2 : stamp / 2,
            functionName: call.function,
            functionInvokeID: call.invokeId,
            invokeid: call.invokeId,
        };
    }

    function encodeResult(result) {
        if (result === undefined || result === null || result === '')
            return EMPTY;
        if (result instanceof Uint8Array)
            return result;
        const json = JSON.stringify(result);
        if (json === undefined)
            throw new TypeError(`a ${typeof result} is not JSON serializable`);
        return json;
    }

    function reply(id, payload) {
        const length = lengthOf(payload);
        const size = 1 + sizeOfNumber(id) + (length > 0 ? sizeOf(length) : 0);
        if (sizeOf(size) > maxMessage) {
            replyError(id, 'grpc: received message larger than max ' +
                `(${sizeOf(size)} vs. ${maxMessage})`, 'ResourceExhausted');
            return;
        }
        begin(3, size);
        out[used++] = 1 * 8;
        putNumber(id);
        if (length > 0)
            putBytes(2, payload, length);
        flush();
    }

    function replyError(id, error, code) {
        const said = Buffer.from(error), status = code || '';
        const inner = sizeOf(said.length) + (status ? sizeOf(status.length) : 0);
        const size = 1 + sizeOfNumber(id) + sizeOf(inner);
        if (sizeOf(size) > maxMessage) {
            replyError(id, 'the error is too long');
            return;
        }
        begin(3, size);
        out[used++] = 1 * 8;
        putNumber(id);
        out[used++] = 3 * 8 + 2;
        putNumber(inner);
        putBytes(1, said, said.length);
        if (status)
            putBytes(2, status, status.length);
        flush();
    }

    // The first of several answers counts.
    function settle(call, failed, error, result) {
        if (!call.open)
            return;
        call.open = false;
        running.delete(call);
        if (failed) {
            logError(error);
            replyError(call.id, describe('[UserCodeInvoke]', error));
        } else {
            let payload = null;
            try {
                payload = encodeResult(result);
            } catch (e) {
                logError(e);
                replyError(call.id, describe('[UserCodeReturn]', e));
            }
            if (payload !== null)
                reply(call.id, payload);
        }
        // Inside serve(), that goes on by itself; else when all that has ended by now is settled.
        if (!serving && !scheduled) {
            scheduled = true;
            process.nextTick(serve);
        }
    }

    function invoke(call) {
        try {
            const returned = handler(eventOf(call), contextOf(call), function (error, result) {
                settle(call, Boolean(error), error, result);
            });
            if (returned && typeof returned.then === 'function') {
                returned.then(function (result) {
                    // With a callback the end of the promise alone says nothing.
                    if (result !== undefined || !wantsCallback)
                        settle(call, false, null, result);
                }, function (error) {
                    settle(call, true, error);
                });
            } else if (returned !== undefined && !wantsCallback) {
                settle(call, false, null, returned);
            }
        } catch (e) {
            settle(call, true, e);
        }
    }

    function start(call) {
        if (call.function !== functionName) {
            replyError(call.id, 'Exception calling application: function not found');
            return;
        }
        running.add(call);
        if (storage === null)
            invoke(call);
        else
            storage.run(call, invoke, call);
    }

    // Starts what may run. Every millisecond the event loop has its turn.
    function serve() {
        const began = Date.now();
        scheduled = false;
        serving = true;
        while (running.size < concurrency && taken < waiting.length && Date.now() === began) {
            const call = waiting[taken];
            waiting[taken++] = null;
            start(call);
        }
        serving = false;
        if (taken === waiting.length) {
            waiting.length = 0;
            taken = 0;
        } else if (running.size < concurrency) {
            setImmediate(serve);
        }
    }

    // ---- life ----

    function refuse(why) {
        sendHello(why || 'the handler could not be loaded');
        process.exit(1);
    }

    function setUpStorage() {
        const hooks = require('async_hooks');
        if (concurrency > 1 && hooks.AsyncLocalStorage !== undefined)
            storage = new hooks.AsyncLocalStorage();
    }

    function gotHello(hello) {
        if (hello.version !== VERSION)
            refuse(`the manager speaks version ${hello.version}, not ${VERSION}`);
        functionName = hello.function;
        maxMessage = hello.maxMessage;
        concurrency = Math.max(1, hello.concurrency);
        setUpStorage();
        new Promise((done) => done(load(hello.handler, hello.codedir))).then(function (found) {
            handler = found;
            wantsCallback = found.length >= 3;
            sendHello();
            serve();
        }).catch(function (e) {
            logError(e);
            refuse(say(e));
        });
    }

    let greeted = false;

    function gotFrame(data, pos, end) {
        const r = new Reader(data, pos, end), kind = r.member();
        if (kind === 1 && !greeted) {
            greeted = true;
            gotHello(readHello(r.inner()));
        } else if (kind === 2 && greeted) {
            waiting.push(readCall(r.inner()));
        } else {
            process.exit(1);
        }
    }

    // An error that no handler took belongs to the call whose code threw it, if that can be told.
    function strayError(error) {
        const call = storage !== null ? storage.getStore() : running.values().next().value;
        if (call !== undefined && call.open)
            settle(call, true, error);
        else
            logError(error);
    }

    fs.closeSync(SOURCE);
    setUpConsole();
    process.on('uncaughtException', strayError);
    process.on('unhandledRejection', strayError);
    const read = frameReader(gotFrame);
    const calls = new net.Socket({ fd: CALLS, readable: true, writable: false });
    calls.on('data', function (chunk) {
        read(chunk);
        if (handler !== null)
            serve();
    });
    calls.on('end', function () {
        process.exit(0);
    });
    calls.on('error', function () {
        process.exit(1);
    });
    calls.resume();
});
