# The parts of the Python runtime that are needed seldom. The names of runtime.py are there already.
# pylint: disable=undefined-variable

# ---- errors ----


class Collector(object):
    """Takes what is written to it. A file for the interpreter, without importing one."""

    def __init__(self):
        self.parts = []

    def write(self, part):
        self.parts.append(part if isinstance(part, text_type) else part.decode("utf-8", "replace"))

    def flush(self):
        pass


def log_traceback():
    """The exception that is being handled, at level error, from the handler's own code on."""
    kind, error, trace = sys.exc_info()
    stderr, sys.stderr = sys.stderr, Collector()
    trace = trace.tb_next or trace
    try:
        if not PY2:
            error.__traceback__ = trace
        sys.__excepthook__(kind, error, trace)
        said = u"".join(sys.stderr.parts).rstrip()
    except BaseException:
        said = u"an exception that cannot be shown"
    finally:
        sys.stderr = stderr
    pipes.log(ERROR, said)


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


# ---- logging ----


def level_of(number):
    """Python counts 10 debug, 20 info, 30 warning, 40 error, 50 critical."""
    return ERROR if number >= 40 else WARNING if number >= 30 else INFO if number >= 20 else DEBUG


def install_logging(logging):
    """The root logger gets a handler for the function's log, from level info on. basicConfig does what it does
    without one, as long as it is only about level and format."""

    class ToLog(logging.Handler):
        def emit(self, record):
            try:
                said = self.format(record)
                if os.getpid() == pipes.owner:
                    pipes.log(level_of(record.levelno), said)
                else:  # a process that the handler started must not write to our pipe
                    sys.stderr.write(said + "\n")
            except Exception:  # pylint: disable=broad-except
                self.handleError(record)

    ours = ToLog()
    ours.setFormatter(logging.Formatter("%(message)s"))
    root = logging.getLogger()
    root.addHandler(ours)
    root.setLevel(logging.INFO)
    basic_config = logging.basicConfig

    def basicConfig(**options):
        if root.handlers == [ours] and not any(k in options for k in ("handlers", "filename", "stream")):
            if options.get("level") is not None:
                root.setLevel(options["level"])
            if options.get("format"):
                ours.setFormatter(logging.Formatter(options["format"], options.get("datefmt")))
            return
        if root.handlers == [ours]:
            root.removeHandler(ours)
        basic_config(**options)

    basicConfig.__doc__ = basic_config.__doc__
    logging.basicConfig = basicConfig

# ---- a handler's module that is named like one of Python's ----


def load_namesake(module, folder):
    """Load the folder's module under the name handler_NAME and return that. Whoever imports NAME, also the
    handler itself, gets Python's."""
    top, _, rest = module.partition(".")
    alias = "handler_" + top
    if PY2:
        import imp
        import site
        site.main()
        imp.load_module(alias, *imp.find_module(top, [folder]))
    else:
        from importlib import util
        path = os.path.join(folder, top)
        is_package = not os.path.isfile(path + ".py")
        spec = util.spec_from_file_location(
            alias, os.path.join(path, "__init__.py") if is_package else path + ".py",
            submodule_search_locations=[path] if is_package else None)
        sys.modules[alias] = found = util.module_from_spec(spec)
        spec.loader.exec_module(found)
    return alias + (rest and "." + rest)


# ---- async handlers ----

loops = []


def event_loop():
    if not loops:
        import asyncio
        loops.append(asyncio.new_event_loop())
        asyncio.set_event_loop(loops[0])
    return loops[0]


def wait_for(awaitable):
    return event_loop().run_until_complete(awaitable)


class AsyncService(object):
    """Up to `concurrency` calls run at once; the others wait here, in order."""

    def __init__(self, service):
        self.service = service
        self.loop = event_loop()
        self.waiting = []
        self.running = 0
        self.closed = False
        self.error = None

    def run(self):
        self.loop.add_reader(CALLS, self.on_readable)
        self.take()
        while not self.error and not (self.closed and not self.running):
            try:
                self.loop.run_forever()
            except (SystemExit, KeyboardInterrupt):
                pass  # a handler's; its call is answered by `done`
        if self.error:
            raise self.error
        return 0

    def on_readable(self):
        try:
            if pipes.more(self.service.rest):
                self.take()
                return
            self.closed = True
        except Exception as e:  # pylint: disable=broad-except
            self.error = e
        self.loop.remove_reader(CALLS)
        if self.error or not self.running:
            self.loop.stop()

    def take(self):
        self.waiting.extend(self.service.frames())
        self.pump()

    def pump(self):
        while self.waiting and self.running < self.service.concurrency:
            self.begin(*self.waiting.pop(0))
        flush_output()

    def begin(self, call_id, payload, qos, topic, stamp, invoke_id):
        service = self.service
        if payload is None:
            service.refuse(call_id)
            return
        context = {
            "messageQOS": qos,
            "messageTopic": topic,
            "messageTimestamp": stamp,
            "functionName": service.calls.function,
            "functionInvokeID": invoke_id,
            "invokeid": invoke_id,
        }
        task = self.loop.create_task(service.handler(service.event_of(payload), context))
        self.running += 1
        task.add_done_callback(lambda done: self.done(call_id, done))

    def done(self, call_id, task):
        if self.service.is_copy():
            flush_output()
            os._exit(0)
        self.running -= 1
        try:
            result = task.result()
        except BaseException as e:  # pylint: disable=broad-except
            self.service.fail(call_id, "[UserCodeInvoke] ", e)
        else:
            self.service.finish(call_id, result)
        self.pump()
        if self.closed and not self.running:
            self.loop.stop()


def serve_async(service):
    return AsyncService(service).run()


# ---- forking: a template of the function makes the instances ----

PR_SET_PDEATHSIG = 1
CMSG_CLOEXEC = 0x40000000


class Native(object):
    """The two system calls that Python does not have in all versions."""

    def __init__(self):
        import ctypes
        c = self.c = ctypes

        class IoVec(c.Structure):
            _fields_ = [("base", c.c_void_p), ("len", c.c_size_t)]

        class MsgHdr(c.Structure):
            _fields_ = [("name", c.c_void_p), ("namelen", c.c_uint32), ("iov", c.POINTER(IoVec)),
                        ("iovlen", c.c_size_t), ("control", c.c_void_p), ("controllen", c.c_size_t),
                        ("flags", c.c_int)]

        self.libc = c.CDLL(None, use_errno=True)
        self.data = c.create_string_buffer(4096)
        self.control = c.create_string_buffer(256)
        self.iov = IoVec(c.cast(self.data, c.c_void_p), len(self.data))
        self.header = MsgHdr(None, 0, c.pointer(self.iov), 1, c.cast(self.control, c.c_void_p), 0, 0)
        if not hasattr(self.libc, "prctl"):
            raise OSError("there is no prctl")

    def die_with_parent(self):
        if self.libc.prctl(PR_SET_PDEATHSIG, 9, 0, 0, 0) != 0:
            raise OSError("prctl failed")

    def receive(self):
        """One packet and the descriptors that came with it."""
        while True:
            self.header.controllen = len(self.control)
            n = self.libc.recvmsg(CALLS, self.c.byref(self.header), CMSG_CLOEXEC)
            if n >= 0:
                break
            if self.c.get_errno() != 4:
                raise OSError("recvmsg failed")
        head = struct.calcsize("@Lii")
        fds = ()
        if self.header.controllen >= head:
            size, _, kind = struct.unpack_from("@Lii", self.control.raw)
            if kind == 1:  # SCM_RIGHTS
                fds = struct.unpack_from("@%di" % ((size - head) // 4), self.control.raw, head)
        return self.data.raw[:n], fds


def why_not_fork():
    """Why this process cannot be a template, or None."""
    try:
        if len(os.listdir("/proc/self/task")) > 1:
            return "a thread runs"
    except OSError:
        return "there is no /proc"
    return None


def make_native():
    try:
        return Native(), why_not_fork()
    except Exception as e:  # pylint: disable=broad-except
        return None, "%s: %s" % (type(e).__name__, e)


def answer_fork(said):
    os.write(REPLIES, said if isinstance(said, bytes) else said.encode("utf-8", "replace"))


def retry(call, *args):
    """A call that a signal may interrupt, which only Python 2 tells."""
    while True:
        try:
            return call(*args)
        except OSError as e:
            if e.errno != 4:
                raise


def leave_parent(native, manager, parent):
    """The process in between ends, so this one becomes a child of the manager, which alone waits for it."""
    os.setpgid(0, 0)
    while os.getppid() == parent:
        time.sleep(0.00002)
    native.die_with_parent()  # the signal is about the present parent, not an earlier one
    if os.getppid() != manager:
        os._exit(1)


def become_instance(name, fds):
    """From here on the process is as one that was started in the ordinary way."""
    for fd, places in zip(fds, ((CALLS,), (REPLIES,), (1, 2))):
        for place in places:
            os.dup2(fd, place)
        os.close(fd)
    keep_private()
    os.environ["BAETYL_SERVICE_INSTANCE_NAME"] = name if PY2 else name.decode("utf-8")


def rehearse(service):
    """What a first call needs, so that its memory is not copied only then."""
    payload = b'{"rehearsal": [1, 2.5, "x"]}'
    message = put_bytes(3, b"t") + put_bytes(4, payload) + put_number(10, 2) + service.calls.named + put_bytes(12, b"i")
    data = put_bytes(2, put_number(1, 1) + put_bytes(2, message))
    service.calls.quick(bytearray(data) if PY2 else data, data, 0, len(data))
    service.calls.general(data)
    service.encode(service.event_of(payload))


def wait_in_stock(service, native, manager, taken):
    """Made before it is needed, it waits for the manager's request in the template's place. Returns in the new
    instance; the template hears that it has to make the next one."""
    parent = os.getpid()
    try:
        pid = os.fork()
    except OSError as e:
        answer_fork("E%s" % e)
        os._exit(1)
    if pid:
        os._exit(0)
    leave_parent(native, manager, parent)
    pipes.owner = os.getpid()
    pipes.buf = b""
    pipes.lock = allocate_lock()
    pipes.max_message = CHUNK
    # What must not be the same in all copies. ssl, uuid and secrets ask the kernel.
    for module in ("random", "numpy.random"):
        if module in sys.modules:
            sys.modules[module].seed()
    gc.enable()
    service.is_copy = watch_forks()
    rehearse(service)
    try:
        name, fds = native.receive()
    except OSError:
        name, fds = b"", ()  # the manager is gone, or done with this template
    if len(fds) != 3:
        os._exit(0 if not name else 1)  # end of file, or nonsense
    answer_fork("P%d" % pipes.owner)
    os.write(taken, b"T")
    os.close(taken)
    become_instance(name, fds)


def serve_forks(service):
    """Returns in every new instance with None, in the template at the end with its exit status."""
    global gc, time
    import gc
    import time
    manager = os.getppid()
    native, reason = make_native()
    if reason:
        send_hello(refusal=reason)
        return 0
    gc.collect()
    gc.disable()
    if hasattr(gc, "freeze"):
        gc.freeze()  # a collection in a copy would write to all of these objects
    flush_output()
    send_hello()
    while True:
        reason = why_not_fork()
        if reason:
            answer_fork("N" + reason)
            return 0
        heard, taken = os.pipe()
        middle = os.fork()
        if middle == 0:
            os.close(heard)
            wait_in_stock(service, native, manager, taken)
            return None
        os.close(taken)
        retry(os.waitpid, middle, 0)
        goes_on = retry(os.read, heard, 1)
        os.close(heard)
        if not goes_on:
            return 0
