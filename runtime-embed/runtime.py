# The function runtime for Python 2.7 and 3.6 or newer: one process, one function, one call at a time.
#
# Calls come in on descriptor 3, replies go out on descriptor 4, as docs/frames.md describes; standard
# output and error are the handler's own and end in the log. Only the standard library is used, and
# little of it: every import costs start time.
import os
import struct
import sys

VERSION = 1
CALLS, REPLIES, SOURCE = 3, 4, 5
CHUNK = 65536
MAX_ERROR = 4096
PY2 = sys.version_info[0] == 2
PID = os.getpid()

if PY2:
    text_type = unicode  # noqa: F821
    raw_types = (bytes, bytearray, memoryview, buffer)  # noqa: F821
else:
    text_type = str
    raw_types = (bytes, bytearray, memoryview)

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


# ---- frames ----


class Frames(object):
    """Whole frames out of chunks, all replies of a chunk in one write."""

    def __init__(self):
        self.buf = bytearray()
        self.replies = []
        self.max_message = CHUNK

    def has_frame(self):
        if len(self.buf) < 5:
            return False
        return len(self.buf) >= 5 + struct.unpack_from(">I", bytes(self.buf[1:5]))[0]

    def read(self):
        """The next message, or None when the manager has closed the pipe."""
        while not self.has_frame():
            self.flush()
            try:
                chunk = os.read(CALLS, CHUNK)
            except OSError as e:
                if e.errno == 4:  # EINTR, only in Python 2
                    continue
                raise
            if not chunk:
                return None
            self.buf += chunk
        size = struct.unpack_from(">I", bytes(self.buf[1:5]))[0]
        message = bytes(self.buf[5:5 + size])
        del self.buf[:5 + size]
        return decode(message)

    def write(self, message):
        self.replies.append(struct.pack(">BI", 0, len(message)))
        self.replies.append(message)

    def flush(self):
        data = b"".join(self.replies)
        del self.replies[:]
        sent = 0
        while sent < len(data):
            try:
                sent += os.write(REPLIES, data[sent:] if sent else data)
            except OSError as e:
                if e.errno != 4:
                    raise


# ---- errors ----


def log_traceback():
    try:
        sys.__excepthook__(*sys.exc_info())
    except BaseException:
        pass


def describe(kind, error):
    """What str() says of an exception made of two things, as the original answered."""
    try:
        said = str(Exception(kind, error))
    except BaseException:
        said = "('%s', %s(...))" % (kind, type(error).__name__)
    said = "Exception calling application: " + said
    if not isinstance(said, bytes):
        said = said.encode("utf-8", "replace")
    return said[:MAX_ERROR]


class CallError(Exception):
    def __init__(self, message, code=b""):
        Exception.__init__(self)
        self.message = message
        self.code = code


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


def import_module(name):
    if not PY2:
        sys.meta_path.append(SiteFinder())
        __import__(name)
        return sys.modules[name]
    try:
        __import__(name)
    except ImportError:
        import site
        site.main()
        __import__(name)
    return sys.modules[name]


def load(handler, codedir):
    """The handler's function. The folder of the code stands where that of a script would."""
    module, _, function = handler.rpartition(".")
    folder = os.path.abspath(codedir)
    if PY2:
        module, function = str(module), str(function)
        folder = folder.encode(sys.getfilesystemencoding() or "utf-8")
    sys.path = [folder] + [p for p in sys.path if p and not p.startswith("/proc/")]
    sys.argv = [os.path.join(folder, module)]
    found = getattr(import_module(module), function)
    if not callable(found):
        raise TypeError("%s is not a function" % handler)
    return found


def event_of(payload):
    if not payload:
        return {}
    try:
        return json.loads(payload.decode("utf-8"))
    except (ValueError, RuntimeError):  # RuntimeError: nested too deeply
        return payload


def context_of(message):
    stamp = message.get(10, 0)
    invoke_id = text(message, 12)
    return {
        "messageQOS": message.get(2, 0),
        "messageTopic": text(message, 3),
        "messageTimestamp": stamp >> 1 ^ -(stamp & 1),
        "functionName": text(message, 11),
        "functionInvokeID": invoke_id,
        "invokeid": invoke_id,
    }


def encode_result(result):
    if result is None:
        return b""
    if isinstance(result, raw_types):
        return bytes(result)
    return json.dumps(result).encode("utf-8")


def flush_output():
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BaseException:
            pass


def invoke(handler, message):
    try:
        result = handler(event_of(message.get(4, b"")), context_of(message))
    except BaseException as e:
        if os.getpid() != PID:
            raise
        log_traceback()
        raise CallError(describe("[UserCodeInvoke] ", e))
    finally:
        flush_output()
        # A handler that forked: only the parent answers.
        if os.getpid() != PID:
            os._exit(0)
    try:
        return encode_result(result)
    except BaseException as e:
        log_traceback()
        raise CallError(describe("[UserCodeReturn] ", e))


def reply(frames, call_id, payload=b"", error=None):
    body = put_number(1, call_id) + put_bytes(2, payload)
    if error is not None:
        body += put_bytes(3, put_bytes(1, error.message) + put_bytes(2, error.code), True)
    frame = put_bytes(3, body, True)
    if len(frame) <= frames.max_message:
        frames.write(frame)
    elif error is None:
        said = "grpc: received message larger than max (%d vs. %d)"
        said = (said % (len(frame), frames.max_message)).encode()
        reply(frames, call_id, error=CallError(said, b"ResourceExhausted"))
    else:
        reply(frames, call_id, error=CallError(b"the error is too long"))


def answer(frames, call, handler, function):
    message = decode(call.get(2, b""))
    call_id = call.get(1, 0)
    try:
        if text(message, 11) != function:
            raise CallError(b"Exception calling application: function not found")
        reply(frames, call_id, invoke(handler, message))
    except CallError as e:
        reply(frames, call_id, error=e)


# ---- life ----


def keep_private():
    """What the handler starts must not hold our pipes."""
    os.close(SOURCE)
    if PY2:
        import fcntl
        for fd in (CALLS, REPLIES):
            fcntl.fcntl(fd, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    else:
        os.set_inheritable(CALLS, False)
        os.set_inheritable(REPLIES, False)


def send_hello(frames, error=""):
    runtime = "python %d.%d.%d" % sys.version_info[:3]
    body = put_number(1, VERSION) + put_bytes(6, runtime.encode())
    body += put_bytes(7, error.encode("utf-8", "replace")[:MAX_ERROR])
    frames.write(put_bytes(1, body))
    frames.flush()


def load_or_say_why(frames, hello):
    if hello.get(1) != VERSION:
        send_hello(frames, "the manager speaks version %s, not %d" % (hello.get(1), VERSION))
        return None
    try:
        handler = load(text(hello, 4), text(hello, 5))
    except BaseException as e:
        log_traceback()
        try:
            said = u"%s: %s" % (type(e).__name__, e)
        except BaseException:
            said = type(e).__name__
        send_hello(frames, said)
        return None
    finally:
        flush_output()
    frames.max_message = hello.get(2, CHUNK)
    return handler


def main():
    global json
    frames = Frames()
    first = frames.read()
    if first is None:
        return 0
    hello = decode(first.get(1, b""))
    keep_private()
    import json
    handler = load_or_say_why(frames, hello)
    if handler is None:
        return 1
    send_hello(frames)
    function = text(hello, 3)
    while True:
        frame = frames.read()
        if frame is None:
            return 0
        if 2 not in frame:
            raise ValueError("only calls are expected")
        answer(frames, decode(frame[2]), handler, function)


if __name__ == "__main__":
    sys.exit(main())
