"""An asyncio event loop inside a simulated process: trio-asyncio's, with everything that reaches outside replaced.

    async with open_loop(kernel) as loop:
        await loop.run_aio_coroutine(main())

Callbacks run in the order asyncio promises, a batch to a step of the kernel; time is the kernel's, and connections are
the network's (`aio_streams.py`).  There are no threads: what was meant for one runs in the loop, in its turn.  Tasks
and futures hash by birth, so that asyncio's own sets of them have one order.  What has no counterpart in the simulated
world is refused where it is called (`NotSimulated`).

Not here: any scheduling decision.  The kernel sees one trio task per loop, and those that carry bytes.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import functools
import heapq
import importlib
import sys
from asyncio import events
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NoReturn

import sniffio
import trio
from trio.lowlevel import Abort, current_task, wait_task_rescheduled

from understudy_sim.kernel import aio_import
from understudy_sim.kernel.aio_streams import SimServer, SimTransport
from understudy_sim.kernel.clock import NS_PER_S
from understudy_sim.kernel.reaper import close_inside_out

if TYPE_CHECKING:
    from understudy_sim.kernel.kernel import Kernel

trio_asyncio: Final[Any] = aio_import.trio_asyncio()

_COMPACT_AT: Final = 100
# How long tasks may take to end once they are cancelled; then the process exits without them.
_LEAVE_S: Final = 10
_AsyncHandle: Final = importlib.import_module("trio_asyncio._handles").AsyncHandle


class NotSimulated(NotImplementedError):
    """An asyncio application asked its loop for something the simulated world does not have."""


class BirthTask(asyncio.Task):  # type: ignore[type-arg]
    """A task that hashes by its birth: sets of tasks have the same order in every run."""

    def __init__(
        self, coro: Any, *, loop: SimAsyncioLoop, context: contextvars.Context | None = None, **options: Any
    ) -> None:
        self.birth = loop.take_birth()  # First: whoever registers it hashes it.
        self.context = contextvars.copy_context() if context is None else context
        super().__init__(coro, loop=loop, context=self.context, **options)

    def closer(self) -> Callable[[], object]:
        """What ends it when its process is dead."""
        self._log_destroy_pending = False
        coroutine: Any = self.get_coro()
        return functools.partial(self.context.run, close_inside_out, coroutine)

    def __hash__(self) -> int:
        return self.birth

    def __eq__(self, other: object) -> bool:
        return self is other


class BirthFuture(asyncio.Future):  # type: ignore[type-arg]
    """A future that hashes by its birth."""

    def __init__(self, *, loop: SimAsyncioLoop) -> None:
        self.birth = loop.take_birth()
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self.birth

    def __eq__(self, other: object) -> bool:
        return self is other


def _refuse(what: str, instead: str) -> NoReturn:
    frame = sys._getframe(2)
    while frame.f_back is not None and ("asyncio" in frame.f_code.co_filename or "anyio" in frame.f_code.co_filename):
        frame = frame.f_back
    raise NotSimulated(
        f"{frame.f_code.co_qualname} ({frame.f_code.co_filename}:{frame.f_lineno}) asked asyncio for {what}, "
        f"which the simulated world does not have.  Use {instead}."
    )


def _refuses(what: str, instead: str) -> Any:
    """A method of the loop that is not simulated."""

    def refuse(*_: Any, **__: Any) -> NoReturn:
        _refuse(what, instead)

    return refuse


class _NoDispatcher:
    """The kernel's own hooks keep asynchronous generators, of either kind, in order."""

    def uninstall(self) -> None:
        """Nothing was installed."""


class SimAsyncioLoop(trio_asyncio.TrioEventLoop):  # type: ignore[misc]
    """See the module.  One per incarnation; `open_loop` makes it."""

    _nursery: trio.Nursery | None  # trio-asyncio's, as are the next two.
    _task: Any
    _token: Any

    def __init__(self, kernel: Kernel) -> None:
        process = kernel.current_process
        assert process is not None, "an asyncio loop lives in a simulated process"
        self.kernel = kernel
        self.process = process
        self.sockets = kernel.sockets(process)
        self._births = 0
        self._queue: deque[Any] = deque()
        self._due: list[tuple[int, int, Any]] = []
        self._sequence = 0
        self._cancelled = 0
        self._parked: Any = None
        self._signals: dict[int, asyncio.Handle] = {}
        super().__init__()
        self._clock_resolution = 1 / NS_PER_S
        self.set_task_factory(_new_task)
        process.runner.remains.append(self._take_all)

    def _take_all(self) -> list[Callable[[], object]]:
        """What ends the tasks that are not done, for the reaper, newest first."""
        self._queue.clear()
        tasks: Any = sorted(asyncio.all_tasks(self), key=hash, reverse=True)
        return [task.closer() for task in tasks]

    def __del__(self) -> None:
        """A loop whose process was cut was never closed, and holds nothing of the real world."""

    def take_birth(self) -> int:
        """Number a task or future."""
        self._births += 1
        return self._births

    def create_future(self) -> Any:
        """A future of this loop."""
        return BirthFuture(loop=self)

    def time(self) -> float:
        """Seconds since the run began."""
        return self.kernel.now_ns / NS_PER_S

    # No descriptors

    def _make_self_pipe(self) -> None:
        """Nobody has to wake a selector."""

    def _close_self_pipe(self) -> None:
        """There is none."""

    # The queue

    def _queue_handle(self, handle: Any) -> Any:
        self._check_closed()
        if isinstance(handle, asyncio.TimerHandle):
            self._sequence += 1
            at_ns = -int(-handle._when * NS_PER_S // 1)  # type: ignore[attr-defined]
            heapq.heappush(self._due, (at_ns, self._sequence, handle))
            handle._scheduled = True  # type: ignore[attr-defined]
        else:
            self._queue.append(handle)
        if self._parked is not None:
            self._wake(None)
        return handle

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any, **options: Any) -> Any:
        """As asyncio's: a delay below zero is none."""
        return self.call_at(self.time() + max(0.0, delay), callback, *args, **options)

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any, **options: Any) -> Any:
        """There is one thread."""
        return self.call_soon(callback, *args, **options)

    def _timer_handle_cancelled(self, handle: Any) -> None:
        self._cancelled += 1
        if self._cancelled > _COMPACT_AT and 2 * self._cancelled > len(self._due):
            self._due = [entry for entry in self._due if not entry[2]._cancelled]
            heapq.heapify(self._due)
            self._cancelled = 0

    def _cancel_timers(self) -> None:
        due, self._due = self._due, []
        for _, _, handle in due:
            handle.cancel()

    def _collect_due(self) -> None:
        due, now_ns = self._due, self.kernel.now_ns
        while due and (due[0][0] <= now_ns or due[0][2]._cancelled):
            handle = heapq.heappop(due)[2]
            handle._scheduled = False
            if handle._cancelled:
                self._cancelled = max(0, self._cancelled - 1)
            else:
                self._queue.append(handle)

    # Running

    async def _main_loop_init(self, nursery: trio.Nursery) -> None:
        if self._nursery is not None or not self._stopped.is_set():
            raise RuntimeError("a loop is entered once")
        self._nursery = nursery
        self._task = current_task()
        self._token = trio.lowlevel.current_trio_token()
        self._asyncgen_dispatcher = _NoDispatcher()

    async def _main_loop_one(self, no_wait: bool = False) -> None:
        self._collect_due()
        if not self._queue:
            if no_wait:
                raise trio.WouldBlock
            await self._park()
            return
        crossing = self._run_batch()
        if crossing is not None:
            assert self._nursery is not None, "the loop was entered"
            crossing._context.run(self._nursery.start_soon, crossing._run, name=crossing._callback)
            await crossing._started.wait()
        elif self._queue and not no_wait:
            await trio.lowlevel.cancel_shielded_checkpoint()

    def _run_batch(self) -> Any:
        """Run what is queued now, as a turn of asyncio's loop does; returns the first handle that is trio's to run."""
        queue = self._queue
        library, sniffio.thread_local.name = sniffio.thread_local.name, "asyncio"
        events._set_running_loop(self)
        try:
            for _ in range(len(queue)):
                handle = queue.popleft()
                if isinstance(handle, _AsyncHandle):
                    return handle
                if not handle._cancelled:
                    handle._run()
        finally:
            events._set_running_loop(None)
            sniffio.thread_local.name = library
        return None

    async def _park(self) -> None:
        task: Any = current_task()
        self._parked = task
        runner = task._runner
        timer = None
        if self._due:
            timer = self.kernel.call_at(max(self._due[0][0], self.kernel.now_ns), self._wake, None, runner)

        def abort(_: object) -> Abort:
            self._parked = None
            return Abort.SUCCEEDED

        await wait_task_rescheduled(abort)
        if timer is not None and timer.live:
            self.kernel.cancel(timer)

    def _wake(self, _: object) -> None:
        task, self._parked = self._parked, None
        if task is not None:
            task._runner.reschedule(task)

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """Log it, as asyncio does; trio-asyncio would end the loop."""
        asyncio.BaseEventLoop.default_exception_handler(self, context)

    # Threads

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        """Run *func* here, in its turn: the world has no threads.  A process pool is refused."""
        self._check_closed()
        if isinstance(executor, concurrent.futures.ProcessPoolExecutor):
            _refuse("a process pool", "None or a ThreadPoolExecutor: it runs in the loop")
        future = self.create_future()
        self.call_soon(_run_into, future, func, args)
        return future

    def set_default_executor(self, executor: Any) -> None:
        """It would not be used."""

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """There is none."""

    # Signals

    def add_signal_handler(self, sig: int, callback: Callable[..., object], *args: Any) -> None:
        """Keep what the process does when the stage tells it to stop."""
        self._check_closed()
        self._signals[sig] = asyncio.Handle(callback, args, self)

    def remove_signal_handler(self, sig: int) -> bool:
        """Forget it; whether there was one."""
        return self._signals.pop(sig, None) is not None

    def deliver_signal(self, sig: int) -> bool:
        """A signal reaches the process: its handler runs soon.  False when it has none."""
        handle = self._signals.get(sig)
        if handle is not None:
            self._queue_handle(handle)
        return handle is not None

    # Network

    async def getaddrinfo(
        self, host: Any, port: Any, *, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> Any:
        """One IPv4 address for a host of this run.  Raises socket.gaierror for any other name."""
        found = self.sockets.numeric(host, port)
        if found:
            return found
        name = host.encode("ascii") if isinstance(host, str) else host
        return await self.trio_as_future(self.sockets.getaddrinfo, name, port, family, type, proto, flags)

    async def getnameinfo(self, sockaddr: Any, flags: int = 0) -> Any:
        """The host's name, and the port as text."""
        return await self.trio_as_future(self.sockets.getnameinfo, sockaddr, flags)

    async def create_connection(
        self,
        protocol_factory: Callable[[], Any],
        host: Any = None,
        port: Any = None,
        *,
        ssl: Any = None,
        sock: Any = None,
        **options: Any,
    ) -> tuple[Any, Any]:
        """Connect to a host of this run.  Raises OSError: refused, timed out, no such host."""
        if ssl:
            _refuse("TLS", "a plain connection: simulated hosts speak no TLS")
        if sock is not None:
            _refuse("a connection over a socket of one's own", "host and port")
        address = (await self.getaddrinfo(host, port))[0][4]
        name = self.sockets.host_of(address[0])
        stream = await self.trio_as_future(self.sockets.network.dial, self.process, name, address[1])
        protocol = protocol_factory()
        transport = SimTransport(self, stream, protocol, self.sockets, peer=address)
        await transport.begun
        return transport, protocol

    async def create_server(
        self, protocol_factory: Callable[[], Any], host: Any = None, port: Any = None, **options: Any
    ) -> SimServer:
        """Listen at *port* of this process."""
        if options.get("ssl"):
            _refuse("TLS", "a plain server: simulated hosts speak no TLS")
        if options.get("sock") is not None:
            _refuse("a server on a socket of one's own", "host and port")
        return SimServer(self, protocol_factory, self.sockets, int(port or 0))

    # What the simulated world does not have

    create_datagram_endpoint = _refuses("datagrams", "a stream: the simulated network carries nothing else")
    create_unix_connection = _refuses("a Unix socket", "host and port of a host of the run")
    create_unix_server = _refuses("a Unix socket", "a port")
    start_tls = _refuses("TLS", "a plain connection: simulated hosts speak no TLS")
    sendfile = _refuses("sendfile", "transport.write")
    subprocess_exec = _refuses("a subprocess", "an External: an outside service of the run")
    subprocess_shell = _refuses("a subprocess", "an External: an outside service of the run")
    connect_read_pipe = _refuses("a pipe", "a stream to a host of the run")
    connect_write_pipe = _refuses("a pipe", "a stream to a host of the run")
    add_reader = _refuses("a wait for a real descriptor", "asyncio.open_connection to a host of the run")
    add_writer = _refuses("a wait for a real descriptor", "asyncio.open_connection to a host of the run")
    sock_connect = _refuses("a socket of one's own", "asyncio.open_connection to a host of the run")
    sock_recv = _refuses("a socket of one's own", "asyncio.open_connection to a host of the run")
    sock_sendall = _refuses("a socket of one's own", "asyncio.open_connection to a host of the run")
    sock_accept = _refuses("a socket of one's own", "asyncio.start_server")


def _new_task(loop: Any, coro: Any, **options: Any) -> BirthTask:
    return BirthTask(coro, loop=loop, **options)


def _run_into(future: Any, func: Callable[..., Any], args: tuple[Any, ...]) -> None:
    if future.cancelled():
        return
    try:
        result = func(*args)
    except Exception as error:
        future.set_exception(error)
    else:
        future.set_result(result)


class open_loop:  # noqa: N801  # used as a function, as trio-asyncio's is
    """Run an asyncio loop in the current simulated process: `async with open_loop(kernel) as loop`.

    Leaving the block ends it in order, as `asyncio.run` does; a crash of the process just cuts it.
    """

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._nursery = trio.open_nursery()

    async def __aenter__(self) -> SimAsyncioLoop:
        nursery = await self._nursery.__aenter__()
        self._tasks = nursery
        self._loop = SimAsyncioLoop(self._kernel)
        self._before = trio_asyncio.current_loop.set(self._loop)
        await self._loop._main_loop_init(nursery)
        await nursery.start(self._loop._main_loop)
        return self._loop

    async def __aexit__(self, *error: Any) -> Any:
        if error[0] is not GeneratorExit:  # The dead are reaped: nothing of theirs may run.
            with trio.CancelScope(shield=True):
                with trio.move_on_after(_LEAVE_S):
                    await self._end_tasks()
                await self._loop._main_loop_exit()
            self._tasks.cancel_scope.cancel()
        try:
            return await self._nursery.__aexit__(*error)
        finally:
            if error[0] is not GeneratorExit:
                self._loop.close()
                trio_asyncio.current_loop.reset(self._before)

    async def _end_tasks(self) -> None:
        """Cancel every task, and wait for them."""
        tasks = sorted(asyncio.all_tasks(self._loop), key=hash)
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await trio_asyncio.run_aio_future(task)


assert hasattr(trio_asyncio.BaseTrioEventLoop, "_main_loop_one"), "trio-asyncio has moved its main loop"
