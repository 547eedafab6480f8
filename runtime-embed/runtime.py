# The function runtime for Python 2.7 and 3.6 or newer: one process, one function.
#
# Calls come in on descriptor 3, replies go out on descriptor 4, as docs/frames.md describes; standard
# output and error are the handler's own and end in the log. Only the standard library is used, and
# little of it: every import costs start time. What is needed seldom (errors, logging, async handlers, forking)
# is in runtime_more.py, which is compiled when it is needed first.
#
# The happy path of a call is Calls.quick, Service.serve and Service.reply: about 10 microseconds with JSON.
# Whatever is unusual about a frame goes the long way through decode(), which accepts all that is valid.
import os
import struct
import sys

VERSION = 1
CALLS, REPLIES, SOURCE = 3, 4, 5
CHUNK = 65536
MAX_ERROR = 4096
MAX_LOG = 3000
PY2 = sys.version_info[0] == 2
ERROR, WARNING, INFO, DEBUG = range(4)
MORE = globals().get("MORE", "")  # the text of runtime_more.py

if PY2:
    text_type = unicode  # noqa: F821
    raw_types = (bytes, bytearray, memoryview, buffer)  # noqa: F821
    from thread import allocate_lock
else:
    text_type = str
    raw_types = (bytes, bytearray, memoryview)
    from _thread import allocate_lock

# ---- protobuf: the two wire types that the frames use, and skipping of the others ----


def varint(n):
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def put_number(field, n):
    return varint(field << 3) + varint(n) if n else b""


def put_bytes(field, data, always=False):
    if not data and not always:
        return b""
    return b"".join((varint(field << 3 | 2), varint(len(data)), data))


def decode(data):
    """The fields of a message as {number: int or bytes}; the last of a number wins."""
    view = bytearray(data) if PY2 else data
    end = len(data)
    out = {}
    pos = 0

    def number(at):
        n = shift = 0
        while True:
            byte = view[at]
            at += 1
            n |= (byte & 127) << shift
            if byte < 128:
                return n & 0xFFFFFFFFFFFFFFFF, at
            shift += 7
            if shift > 63:
                raise ValueError("a number is too long")

    while pos < end:
        key, pos = number(pos)
        wire = key & 7
        if wire == 0:
            out[key >> 3], pos = number(pos)
            continue
        if wire == 2:
            size, pos = number(pos)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ValueError("an unknown wire type")
        if pos + size > end:
            raise ValueError("a message is cut short")
        out[key >> 3] = data[pos:pos + size]
        pos += size
    return out


def text(fields, number):
    return fields.get(number, b"").decode("utf-8", "replace")


def signed(n):
    return n >> 1 ^ -(n & 1)


# ---- frames ----


class Pipes(object):
    """The frames of both directions."""

    def __init__(self):
        self.buf = b""
        self.max_message = CHUNK
        self.lock = allocate_lock()  # log frames come from any thread
        self.owner = os.getpid()

    def read_some(self, size=CHUNK):
        """What is there; empty when the manager has closed the pipe."""
        while True:
            try:
                return os.read(CALLS, size)
            except OSError as e:
                if e.errno != 4:  # EINTR, only in Python 2
                    raise

    def missing(self, pos):
        """How many bytes the frame at pos of the buffer still needs, at least."""
        have = len(self.buf) - pos
        if have < 5:
            return 5 - have
        zero, size = struct.unpack_from(">BI", self.buf, pos)
        if zero != 0 or size > self.max_message:
            raise ValueError("a frame is wrong or too long")
        return 5 + size - have

    def more(self, pos):
        """Drop what is before pos and wait for bytes, at least the rest of a frame that has begun."""
        parts = [self.buf[pos:]]
        need = self.missing(pos)
        while need > 0:
            chunk = self.read_some()
            if not chunk:
                return False
            parts.append(chunk)
            need -= len(chunk)
            if len(parts[0]) < 5:
                break
        self.buf = b"".join(parts)
        return True

    def read(self):
        """The next message, or None when the manager has closed the pipe."""
        while self.missing(0) > 0:
            if not self.more(0):
                return None
        size = struct.unpack_from(">xI", self.buf)[0]
        message, self.buf = self.buf[5:5 + size], self.buf[5 + size:]
        return decode(message)

    def send(self, message):
        self.write(struct.pack(">BI", 0, len(message)) + message)

    def write(self, data):
        with self.lock:
            sent = 0
            while sent < len(data):
                try:
                    sent += os.write(REPLIES, data[sent:] if sent else data)
                except OSError as e:
                    if e.errno != 4:
                        raise

    def log(self, level, said):
        """A line, or several, for the function's log; of long ones the begin and the end."""
        if not isinstance(said, bytes):
            said = said.encode("utf-8", "replace")
        if len(said) > MAX_LOG:
            said = said[:MAX_LOG // 3] + b"\n...\n" + said[-(MAX_LOG - MAX_LOG // 3):]
        try:
            self.send(put_bytes(4, put_number(1, level) + put_bytes(2, said)))
        except OSError:
            pass


pipes = Pipes()


class Calls(object):
    """Decodes calls. `quick` knows the order in which the manager writes fields, and remembers those that
    are mostly the same as in the call before."""

    def __init__(self, function):
        name = function.encode("utf-8")
        self.named = b"\x5a" + varint(len(name)) + name
        self.function = function
        self.head = self.tail = b"\xff"  # the bytes from QOS to Topic, and from Timestamp to FunctionName
        self.qos = self.stamp = 0
        self.topic = u""

    def quick(self, view, data, at, stop):
        """(id as a varint, payload, qos, topic, timestamp, invoke id), or None."""
        try:
            # Frame: Call of this length, and nothing else.
            n = view[at + 1]
            if n < 128:
                body = at + 2
            else:
                n = n & 127 | view[at + 2] << 7
                body = at + 3
            if view[at] != 0x12 or body + n != stop or view[body] != 8:
                return None
            at = begin = body + 1
            while view[at] > 127:
                at += 1
            at += 1
            call_id = data[begin:at]
            # Call: Message of this length.
            n = view[at + 1]
            if n < 128:
                body = at + 2
            else:
                n = n & 127 | view[at + 2] << 7
                body = at + 3
            if view[at] != 0x12 or body + n != stop:
                return None
            at = body
            if view[at] == 8:  # ID
                at += 1
                while view[at] > 127:
                    at += 1
                at += 1
            if data.startswith(self.head, at):
                at += len(self.head)
            else:
                at = self.new_head(view, data, at)
            payload = b""
            if view[at] == 0x22:
                n = view[at + 1]
                if n < 128:
                    at += 2
                else:
                    n = n & 127 | view[at + 2] << 7
                    at += 3
                payload = data[at:at + n]
                at += n
            if data.startswith(self.tail, at):
                at += len(self.tail)
            else:
                at = self.new_tail(view, data, at)
            if view[at] != 0x62 or view[at + 1] != stop - at - 2 or stop - at > 129:
                return None
            return call_id, payload, self.qos, self.topic, self.stamp, data[at + 2:stop].decode("utf-8")
        except (IndexError, UnicodeDecodeError):
            return None

    def new_head(self, view, data, at):
        begin, qos = at, 0
        if view[at] == 0x10:
            qos = view[at + 1]
            at += 2
        n = view[at + 1]
        if view[at] != 0x1a or n > 127 or qos > 127:
            raise IndexError
        at += 2 + n
        self.topic = data[at - n:at].decode("utf-8")
        self.qos, self.head = qos, data[begin:at]
        return at

    def new_tail(self, view, data, at):
        begin = at
        n = shift = 0
        if view[at] == 0x50:
            while True:
                at += 1
                n |= (view[at] & 127) << shift
                shift += 7
                if view[at] < 128 or shift > 63:
                    break
            at += 1
        if not data.startswith(self.named, at):
            raise IndexError
        at += len(self.named)
        self.stamp, self.tail = signed(n), data[begin:at]
        return at

    def general(self, data):
        frame = decode(data)
        if 2 not in frame:
            raise ValueError("only calls are expected")
        call = decode(frame[2])
        message = decode(call.get(2, b""))
        call_id = varint(call.get(1, 0))
        if text(message, 11) != self.function:
            return call_id, None, 0, u"", 0, u""
        return (call_id, message.get(4, b""), message.get(2, 0), text(message, 3), signed(message.get(10, 0)),
                text(message, 12))


# ---- the handler ----


class SiteFinder(object):
    """Asked last: an import that fails loads the site packages, which were left out to start fast."""

    def find_spec(self, name, path=None, target=None):
        if path is not None:
            return None
        sys.meta_path.remove(self)
        import site
        site.main()
        from importlib.machinery import PathFinder
        return PathFinder.find_spec(name, None, target)


class LoggingFinder(object):
    """Asked first: when the code imports logging, it gets a handler that writes to the function's log."""

    def find_spec(self, name, path=None, target=None):
        if name != "logging":
            return None
        sys.meta_path.remove(self)
        from importlib.machinery import PathFinder
        spec = PathFinder.find_spec(name, path, target)
        run = getattr(getattr(spec, "loader", None), "exec_module", None)
        if run is not None:
            def exec_module(module):
                run(module)
                more().install_logging(module)
            spec.loader.exec_module = exec_module
        return spec

    def find_module(self, name, path=None):  # Python 2
        return self if name == "logging" else None

    def load_module(self, name):
        sys.meta_path.remove(self)
        __import__(name)
        more().install_logging(sys.modules[name])
        return sys.modules[name]


class More(object):
    """The names of runtime_more.py."""

    def __init__(self):
        self.__dict__.update(globals())
        exec(compile(MORE, "runtime_more.py", "exec"), self.__dict__)


def more(loaded=[]):  # pylint: disable=dangerous-default-value
    if not loaded:
        loaded.append(More())
    return loaded[0]


def import_module(name):
    try:
        __import__(name)
    except ImportError:
        if not PY2:
            raise
        import site
        site.main()
        __import__(name)
    return sys.modules[name]


def has_module(folder, name):
    path = os.path.join(folder, name)
    return os.path.isfile(path + ".py") or os.path.isfile(os.path.join(path, "__init__.py"))


def is_library(name, folders):
    return (name in sys.modules or name in sys.builtin_module_names or
            name in getattr(sys, "stdlib_module_names", ()) or any(has_module(p, name) for p in folders))


def cache_no_young_code():
    """Python takes compiled code for current when the second and the size of its source agree. Code that is loaded
    right after a change may change again within that second, so it is not kept."""
    try:
        import time
        loader = sys.modules["_frozen_importlib_external"].SourceFileLoader
        keep = loader._cache_bytecode
    except (KeyError, AttributeError):
        return

    def keep_old(self, source_path, bytecode_path, data):
        if time.time() - os.stat(source_path).st_mtime > 2:
            keep(self, source_path, bytecode_path, data)
    loader._cache_bytecode = keep_old


def load(handler, codedir):
    """The handler's function. Python's own modules come first, then the folder of the code, then installed ones."""
    module, _, function = handler.rpartition(".")
    folder = os.path.abspath(codedir)
    if PY2:
        module, function = str(module), str(function)
        folder = folder.encode(sys.getfilesystemencoding() or "utf-8")
    library = [p for p in sys.path if p]
    sys.path = library + [folder]
    sys.argv = [os.path.join(folder, module)]
    sys.meta_path.insert(0, LoggingFinder())
    if not PY2:
        sys.meta_path.append(SiteFinder())
        cache_no_young_code()
    top = module.partition(".")[0]
    if has_module(folder, top) and is_library(top, library):
        module = more().load_namesake(module, folder)
    found = getattr(import_module(module), function)
    if not callable(found):
        raise TypeError("%s is not a function" % handler)
    return found


class Json(object):
    """json.loads and json.dumps without the json package, whose import takes longer than all the rest here: the
    two accelerators it uses inside. A Python that has none of the kind gets the package."""
    strict = True
    object_hook = object_pairs_hook = None
    parse_float, parse_int = float, int
    parse_constant = {"-Infinity": float("-inf"), "Infinity": float("inf"), "NaN": float("nan")}.__getitem__
    encoding = "utf-8"  # Python 2

    def __init__(self):
        self.memo = {}
        self.join = u"".join
        try:
            from _json import encode_basestring_ascii, make_encoder, make_scanner
            self.scan = make_scanner(self)
            self.make, self.escape = make_encoder, encode_basestring_ascii
            self.encoder = self.fresh()
            said = u'{"a": [1, 2.5, null, true, "\\u00e4", {}, []]}'
            if self.encode(self.event_of(said.encode("utf-8"))) != said.encode("utf-8"):
                raise ImportError
        except Exception:  # pylint: disable=broad-except
            import json
            self.scan = lambda said, at: (json.loads(said), len(said))
            self.encode = lambda value: json.dumps(value).encode("utf-8")

    def fresh(self):
        def default(value):
            import json
            return json.JSONEncoder().default(value)
        return self.make({}, default, self.escape, None, ": ", ", ", False, False, True)

    def encode(self, value):
        try:
            return self.join(self.encoder(value, 0)).encode("utf-8")
        except BaseException:
            self.encoder = self.fresh()  # the old one remembers the containers it was in
            raise

    def event_of(self, payload):
        if not payload:
            return {}
        try:
            said = payload.decode("utf-8")
            try:
                event, end = self.scan(said, 0)
            except StopIteration:
                end = -1
            if end == len(said):
                return event
            bare = said.strip(u" \t\n\r")
            if len(bare) < len(said):
                event, end = self.scan(bare, 0)
                if end == len(bare):
                    return event
        # RuntimeError: nested too deeply. SystemError: 3.10 and 3.11 find no class for a ValueError.
        except (ValueError, RuntimeError, StopIteration, SystemError):
            pass
        return payload


def flush_output():
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BaseException:
            pass


def watch_forks():
    """A function that tells whether this process is a copy that a handler has made."""
    pid = os.getpid()
    if not hasattr(os, "register_at_fork"):
        return lambda: os.getpid() != pid
    forked = []
    os.register_at_fork(after_in_child=lambda: forked.append(1))
    return forked.__len__


class Service(object):
    """Answers calls."""

    def __init__(self, handler, function):
        self.handler = handler
        self.calls = Calls(function)
        self.concurrency = 1
        text_form = Json()
        self.event_of, self.encode = text_form.event_of, text_form.encode
        self.is_copy = None
        self.lengths = {}

    def reply(self, call_id, payload=b"", message=None, code=b""):
        """Written at once: what a later handler does must not take this answer away."""
        body = b"\x08" + call_id
        if message is not None:
            body += put_bytes(3, put_bytes(1, message) + put_bytes(2, code), True)
        elif payload:
            n = len(payload)
            length = self.lengths.get(n)
            if length is None:
                length = varint(n)
                if n < 2048:
                    self.lengths[n] = length
            body = b"".join((body, b"\x12", length, payload))
        n = len(body)
        head = b"\x1a" + (varint(n) if n > 127 else BYTES[n])
        if len(head) + n <= pipes.max_message:
            pipes.write(b"".join((PREFIX(0, len(head) + n), head, body)))
        elif message is None:
            said = "grpc: received message larger than max (%d vs. %d)"
            said = (said % (len(head) + n, pipes.max_message)).encode()
            self.reply(call_id, message=said, code=b"ResourceExhausted")
        else:
            self.reply(call_id, message=b"the error is too long")

    def refuse(self, call_id):
        self.reply(call_id, message=b"Exception calling application: function not found")

    def fail(self, call_id, kind, error):
        more().log_traceback()
        self.reply(call_id, message=more().describe(kind, error))

    def finish(self, call_id, result):
        try:
            if result is None:
                payload = b""
            elif isinstance(result, raw_types):
                payload = bytes(result)
            else:
                payload = self.encode(result)
        except BaseException as e:
            self.fail(call_id, "[UserCodeReturn] ", e)
        else:
            self.reply(call_id, payload)

    def frames(self):
        """The calls that are whole in the buffer; what follows them stays there."""
        data = pipes.buf
        view = bytearray(data) if PY2 else data
        pos, end = 0, len(data)
        quick, limit = self.calls.quick, pipes.max_message
        while end - pos >= 5:
            zero, size = HEADER(data, pos)
            stop = pos + 5 + size
            if stop > end:
                break
            if zero != 0 or size > limit:
                raise ValueError("a frame is wrong or too long")
            call = quick(view, data, pos + 5, stop)
            yield call if call is not None else self.calls.general(data[pos + 5:stop])
            pos = stop
        self.rest = pos

    def serve(self):
        """One call after the other until the manager closes the pipe."""
        handler, event_of, is_copy = self.handler, self.event_of, self.is_copy
        function = self.calls.function
        while True:
            for call_id, payload, qos, topic, stamp, invoke_id in self.frames():
                if payload is None:
                    self.refuse(call_id)
                    continue
                try:
                    result = handler(event_of(payload), {
                        "messageQOS": qos,
                        "messageTopic": topic,
                        "messageTimestamp": stamp,
                        "functionName": function,
                        "functionInvokeID": invoke_id,
                        "invokeid": invoke_id,
                    })
                    if type(result) is not dict and hasattr(result, "__await__"):
                        result = more().wait_for(result)
                except BaseException as e:
                    if is_copy():
                        raise
                    self.fail(call_id, "[UserCodeInvoke] ", e)
                    continue
                finally:
                    # A handler that forked: only the parent answers.
                    if is_copy():
                        flush_output()
                        os._exit(0)
                self.finish(call_id, result)
            flush_output()
            if not pipes.more(self.rest):
                return 0


# ---- life ----


def keep_private():
    """What the handler starts must not hold our pipes."""
    if PY2:
        import fcntl
        for fd in (CALLS, REPLIES):
            fcntl.fcntl(fd, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    else:
        os.set_inheritable(CALLS, False)
        os.set_inheritable(REPLIES, False)


def open_output():
    """What is printed is to be seen line by line, also while the handler goes on."""
    if PY2:
        sys.stdout = os.fdopen(1, "w", 1)
    elif hasattr(sys.stdout, "reconfigure"):
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    else:
        sys.stdout, sys.stderr = [open(fd, "w", 1, "utf-8", "backslashreplace", closefd=False) for fd in (1, 2)]


def send_hello(error="", refusal=""):
    runtime = "python %d.%d.%d" % sys.version_info[:3]
    body = put_number(1, VERSION) + put_bytes(6, runtime.encode())
    body += put_bytes(7, error.encode("utf-8", "replace")[:MAX_ERROR])
    body += put_bytes(10, refusal.encode("utf-8", "replace")[:MAX_ERROR])
    pipes.send(put_bytes(1, body))


def load_or_say_why(hello):
    if hello.get(1) != VERSION:
        send_hello("the manager speaks version %s, not %d" % (hello.get(1), VERSION))
        return None
    try:
        return load(text(hello, 4), text(hello, 5))
    except BaseException as e:
        more().log_traceback()
        try:
            said = u"%s: %s" % (type(e).__name__, e)
        except BaseException:
            said = type(e).__name__
        send_hello(said)
        return None
    finally:
        flush_output()


def main():
    global BYTES, PREFIX, HEADER
    first = pipes.read()
    if first is None:
        return 0
    hello = decode(first.get(1, b""))
    os.close(SOURCE)
    keep_private()
    open_output()
    BYTES = [varint(n) for n in range(128)]
    PREFIX = struct.Struct(">BI").pack
    HEADER = struct.Struct(">BI").unpack_from
    handler = load_or_say_why(hello)
    if handler is None:
        return 1
    service = Service(handler, text(hello, 3))
    if hello.get(9):  # a template: from here on only its copies
        status = more().serve_forks(service)
        first = pipes.read() if status is None else None
        if first is None:
            return status or 0
        hello = decode(first.get(1, b""))
    return run(service, hello)


def run(service, hello):
    pipes.max_message = hello.get(2, CHUNK)
    service.concurrency = hello.get(8) or 1
    service.is_copy = service.is_copy or watch_forks()
    send_hello()
    code = getattr(service.handler, "__code__", None)
    if code is not None and code.co_flags & 0x80:  # async def
        return more().serve_async(service)
    return service.serve()


if __name__ == "__main__":
    sys.exit(main())
