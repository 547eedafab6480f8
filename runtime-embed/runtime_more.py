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
