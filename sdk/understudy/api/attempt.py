"""One attempt in motion: what a context and its futures call, between handler, VM, link and host.

All of it happens in the handler's own task; only runs inside a combinator get tasks of their own, and `close`
ends them. The VM decides; this sends, receives, executes and guards:

- a context belongs to one task (`check`);
- a cancellation that passes through a durable await cuts the attempt off: nothing is journaled after it;
- an await that is not one of ours, outside a run, is a hazard (`watch`).
"""

from __future__ import annotations

import inspect
import math
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple, NoReturn, TypeVar

import anyio

from understudy.api.codec import JournalValueCodec
from understudy.api.ends import Outcome, outcome_of
from understudy.api.errors import (
    ContextMisuse,
    RetryableError,
    TerminalError,
    failure_of,
    sendable_code,
    sendable_delay_ms,
    sendable_repr,
    sendable_text,
)
from understudy.api.regions import REGION
from understudy.api.serde import Serde
from understudy.api.sites import Site, awaiting_site, calling_site
from understudy.api.tasks import Tasks, current_tasks
from understudy.api.tracebacks import stacktrace_of
from understudy.hosting import Host, Link, LinkLost
from understudy.protocol.framing import Frame
from understudy.vm import VM, Answer, AttemptAborted, AttemptEnded, InternalError, Leaf, RunRetryPolicy, Tree
from understudy.vm.errors import CODE_CANCELLED

T = TypeVar("T")

HAZARD_FOREIGN_AWAIT = "foreign-await"
HAZARD_LOCAL_TIMEOUT = "local-timeout"
HAZARD_SWALLOWED_END = "swallowed-end"
HAZARD_UNCLOSED = "unclosed"

_CO_COROUTINE: Final = inspect.CO_COROUTINE
_NOBODY: Final = object()

# Members by name: an enum looks its attributes up slowly before Python 3.12.
_COMPLETED: Final = Answer.COMPLETED
_EXECUTE: Final = Answer.EXECUTE
_WAIT: Final = Answer.WAIT
_CANCELLED: Final = Answer.CANCELLED


class RunSpec(NamedTuple):
    """A side effect that has been announced: what to execute and what to do with its outcome."""

    name: str
    function: Callable[[], Any]
    serde: Serde[Any]
    policy: RunRetryPolicy | None


class _RunTask:
    """A run that executes beside the handler, in a combinator."""

    __slots__ = ("done", "scope")

    def __init__(self) -> None:
        self.scope = anyio.CancelScope()
        self.done = anyio.Event()


class Attempt:
    """One attempt of one invocation, from the handler's first step to its end."""

    def __init__(
        self, vm: VM, link: Link, host: Host, codec: JournalValueCodec | None = None, tasks: Tasks | None = None
    ) -> None:
        self.vm = vm
        self.link = link
        self.host = host
        self.codec = codec
        self._step_started: Callable[[str], None] | None = getattr(host, "step_started", None)
        self._step_ended: Callable[[str], None] | None = getattr(host, "step_ended", None)
        self._awaits: Callable[[Tree | None], None] | None = getattr(host, "awaits", None)
        self.in_operation = False
        self.tasks: Tasks = tasks or current_tasks()
        self._current_task = self.tasks.current_task
        # _NOBODY while the context must not be used by anybody; `_refuse` knows why.
        self._owner: object = self._current_task()
        self._deadline = self.tasks.deadline()
        self._scopes = self.tasks.scopes()
        self._cut_off_at: Site | None = None
        self._handler: Coroutine[Any, Any, Any] | None = None
        self._specs: dict[Leaf, RunSpec] = {}
        self._running: dict[Leaf, _RunTask] = {}
        self._run_failure: BaseException | None = None
        self._is_closing = False
        self._wake: Callable[[], None] | None = None
        self._reported: list[tuple[str, str, int]] = []

    # -- who may use the context --

    def check(self) -> None:
        """Raise unless the calling task owns the context and the attempt goes on."""
        try:
            task = self._current_task()
        except RuntimeError:
            task = None  # A worker thread, or a scheduler that is gone.
        if task is not self._owner:
            self._refuse()

    def _refuse(self) -> NoReturn:
        if self._cut_off_at is not None:
            raise AttemptAborted(f"the attempt was cut off at {self._cut_off_at}")
        if self.vm.end is not None:
            raise type(self.vm.end)(*self.vm.end.args)
        here = calling_site()
        if self._owner is _NOBODY:
            raise ContextMisuse(
                f"the context is used inside the function given to ctx.run, at {here}. Steps do not nest: "
                "return the value from the function and take the next step after it."
            )
        there = awaiting_site(self._handler) if self._handler is not None else "its handler"
        raise ContextMisuse(
            f"the context of this invocation is used by a child task at {here}, while its handler is at {there}. "
            "Tasks interleave differently in every attempt, so the journal could not be replayed: "
            "start the steps in the handler and wait for them with gather, select or as_completed."
        )

    @property
    def cut_off_at(self) -> Site | None:
        """Where a cancellation passed through a durable await, None if none did."""
        return self._cut_off_at

    def _cut_off(self) -> None:
        if self._cut_off_at is None:
            self._cut_off_at = calling_site()
        self._owner = _NOBODY

    def report(self, kind: str, detail: str, site: Site) -> None:
        """Report a hazard to the host, once per kind and place."""
        key = (kind, site.filename, site.line)
        if key not in self._reported:
            self._reported.append(key)
            self.host.report_hazard(kind, detail, site.filename, site.line)

    @contextmanager
    def beside_the_journal(self) -> Iterator[None]:
        """Code in here may wait and look at clocks: it is made for the attempt and no step depends on it."""
        region = REGION.get()
        REGION.set("run")
        self.in_operation = True
        try:
            yield
        finally:
            self.in_operation = False
            REGION.set(region)

    # -- values --

    def encode(self, value: bytes) -> bytes:
        """*value* as the journal keeps it.  Raises what the codec raises, TypeError when it makes no bytes of it."""
        codec = self.codec
        if codec is None:
            return value
        region = REGION.get()
        REGION.set("run")
        try:
            return _bytes_of_codec(codec.encode(value))
        finally:
            REGION.set(region)

    async def decode(self, value: bytes) -> bytes:
        """What `encode` was given for *value*.  Raises what the codec raises; a cancellation cuts the attempt off."""
        codec = self.codec
        if codec is None:
            return value
        region = REGION.get()
        REGION.set("run")
        self.in_operation = True
        try:
            return _bytes_of_codec(await codec.decode(value))
        except Exception:
            raise
        except GeneratorExit:
            raise  # Whoever closes a dead coroutine does it from a context of its own.
        except BaseException:
            self._cut_off()
            raise
        finally:
            self.in_operation = False
            REGION.set(region)

    # -- waiting --

    async def wait(self, tree: Tree) -> None:
        """Wait until *tree* is resolved.  Raises TerminalError on a durable cancel, or what ended the attempt."""
        self.check()
        vm = self.vm
        while True:
            answer = vm.do_await(tree)
            if answer is _COMPLETED:
                return
            if answer is _EXECUTE:
                keys = vm.take_runs()
                if len(keys) == 1 and keys[0] == tree:
                    await self._execute_here(keys[0])
                else:
                    for key in keys:
                        self._execute_beside(key)
            elif answer is _WAIT:
                await self._wait_outside(tree)
            elif answer is _CANCELLED:
                raise TerminalError("cancelled", CODE_CANCELLED)
            else:
                assert vm.end is not None, "a suspended attempt has ended"
                raise type(vm.end)(*vm.end.args)

    async def _wait_outside(self, tree: Tree) -> None:
        """Flush, then take in what the server sends next (or note that a run has finished)."""
        vm = self.vm
        # To ask for the deadline walks all scopes up to the loop; mostly none has been entered since the attempt began.
        scopes = self.tasks.scopes()
        if scopes is not self._scopes or scopes is None:
            self._check_local_timeout()
        self.in_operation = True
        try:
            output = vm.take_output()
            if output:
                await self.link.send(output)
            if self._awaits is not None and not vm.is_input_closed:
                self._awaits(tree)
            frames = await (self.link.receive() if not self._running else self._receive_or_run())
            if self._awaits is not None:
                self._awaits(None)
        except LinkLost:
            vm.abort()
            self._cut_off()
            raise AttemptAborted("the link to the server is lost") from None
        except BaseException:
            self._cut_off()
            raise
        finally:
            self.in_operation = False
        self._raise_run_failure()
        if frames is None:
            vm.notify_input_closed()
        elif frames:
            vm.notify_input(frames)

    def _check_local_timeout(self) -> None:
        # Minus infinity is no timeout: a scope around us was cancelled, the attempt is being cut off.
        if -math.inf < self.tasks.deadline() < self._deadline:
            self._report_local_timeout(calling_site())

    def _report_local_timeout(self, site: Site) -> None:
        self.report(
            HAZARD_LOCAL_TIMEOUT,
            "a timeout of the scheduler surrounds a durable await: it fires by this process's clock and is not in the "
            "journal; race the await against ctx.sleep with select instead",
            site,
        )

    async def _receive_or_run(self) -> Sequence[Frame] | None:
        """Wait for the server or for a run beside us, whichever is first."""
        if self.vm.is_input_closed:
            finished = anyio.Event()
            self._wake = finished.set
            try:
                await finished.wait()
            finally:
                self._wake = None
            return ()
        received: Sequence[Frame] | None = ()
        with anyio.CancelScope() as scope:
            self._wake = scope.cancel
            try:
                received = await self.link.receive()
            finally:
                self._wake = None
        return received

    def _raise_run_failure(self) -> None:
        if self._run_failure is not None:
            raise self._run_failure

    # -- runs --

    def announce_run(self, spec: RunSpec) -> Leaf:
        """Issue the run's command; it executes when it is awaited."""
        self.check()
        leaf = self.vm.sys_run(spec.name)
        if self.vm.is_to_run(leaf):
            self._specs[leaf] = spec
        return leaf

    async def _execute_here(self, key: int) -> None:
        """Execute the one run that is awaited, in the handler's task; its command leaves with its proposal."""
        vm = self.vm
        if vm.has_urgent_output:
            await self._flush()
        owner, self._owner = self._owner, _NOBODY
        self.in_operation = True
        try:
            await self._execute(key)
        except BaseException as error:
            self._owner = owner
            if not isinstance(error, Exception | AttemptEnded):
                self._cut_off()
            raise
        finally:
            self.in_operation = False
        self._owner = owner

    async def _flush(self) -> None:
        self.in_operation = True
        try:
            await self.link.send(self.vm.take_output())
        except LinkLost:
            self.vm.abort()
            self._cut_off()
            raise AttemptAborted("the link to the server is lost") from None
        except BaseException:
            self._cut_off()
            raise
        finally:
            self.in_operation = False

    def _execute_beside(self, key: int) -> None:
        """Execute a run of a combinator in a task of its own."""
        task = _RunTask()
        self._running[key] = task

        async def execute() -> None:
            try:
                with task.scope:
                    if not self._is_closing:  # A task that had not begun when the handler ended begins no more.
                        await self._execute(key)
            except AttemptEnded:
                pass  # The VM knows how the attempt ended and raises it at the handler's await.
            except Exception as error:
                self._run_failure = error
            finally:
                del self._running[key]
                task.done.set()
                if self._wake is not None:
                    self._wake()

        try:
            self.host.start_task(execute)
        except BaseException:
            del self._running[key]  # It never began: there is nothing to wait for.
            raise

    async def _execute(self, key: int) -> None:
        """Execute a run and tell the VM how it went."""
        spec = self._specs.pop(key)
        if self._step_started is not None:
            self._step_started(spec.name)
        started_ms = self.host.monotonic_ms()
        region = REGION.get()
        REGION.set("run")
        try:
            function = spec.function
            if is_async(function):
                value = await function()
            else:
                value = await self.host.run_sync(function)
                if hasattr(value, "__await__"):
                    value = await value
            data = self.encode(spec.serde.serialize(value))
        except Exception as error:
            REGION.set(region)
            if self._step_ended is not None:
                self._step_ended(spec.name)
            self._run_failed(key, spec, error, max(0, self.host.monotonic_ms() - started_ms))
        except GeneratorExit:
            raise  # Whoever closes a dead coroutine does it from a context of its own.
        except BaseException:
            REGION.set(region)
            raise
        else:
            REGION.set(region)
            if self._step_ended is not None:
                self._step_ended(spec.name)
            self.vm.propose_run_value(key, data)

    def _run_failed(self, key: int, spec: RunSpec, error: Exception, elapsed_ms: int) -> None:
        if self._is_closing:
            return  # The handler has ended without it; how it fails when it is cut short changes nothing.
        kind, leaf = outcome_of(error, self.tasks.is_cancellation)
        if kind is Outcome.TERMINAL:
            assert isinstance(leaf, TerminalError), leaf
            self.vm.propose_run_failure(key, failure_of(leaf))
            return
        fixed_delay_ms: int | None = None
        code, message = InternalError.code, sendable_repr(leaf)
        if isinstance(leaf, RetryableError):
            code, message = sendable_code(leaf.status_code), sendable_text(leaf.message)
            fixed_delay_ms = sendable_delay_ms(leaf)
        failure = InternalError(message, stacktrace=stacktrace_of(error))
        failure.code = code
        self.vm.run_attempt_failed(key, failure, spec.policy, elapsed_ms=elapsed_ms, fixed_delay_ms=fixed_delay_ms)

    async def close(self) -> None:
        """End every run that still executes and wait until it is gone: nothing of an attempt outlives it."""
        self._is_closing = True
        while self._running:
            tasks = list(self._running.values())
            for task in tasks:
                task.scope.cancel()
            with anyio.CancelScope(shield=True):
                for task in tasks:
                    await task.done.wait()

    # -- watching the handler --

    async def watch(self, handler: Coroutine[Any, Any, T]) -> T:
        """Run *handler* to its end, reporting every await of its own that is not one of ours."""
        self._handler = handler
        return await _step(handler, self)

    def foreign_await(self, handler: Coroutine[Any, Any, Any]) -> None:
        """The handler waits for something that is not a step."""
        self.report(
            HAZARD_FOREIGN_AWAIT,
            "the handler awaits something that is not a step of its context: its outcome and its order are not in the "
            "journal; put it inside ctx.run, or use ctx.sleep, gather or select",
            awaiting_site(handler),
        )


@types.coroutine
def _step(handler: Coroutine[Any, Any, T], attempt: Attempt) -> Generator[Any, Any, T]:
    """Drive *handler*, passing every trap through, and look at each whether one of our operations made it."""
    send, throw = handler.send, handler.throw
    try:
        trap = send(None)
        while True:
            if not attempt.in_operation:
                attempt.foreign_await(handler)
            try:
                answer = yield trap
            except BaseException as error:
                trap = throw(error)
            else:
                trap = send(answer)
    except StopIteration as stop:
        value: T = stop.value
        return value


def _bytes_of_codec(data: object) -> bytes:
    if not isinstance(data, bytes):
        raise TypeError(f"the journal codec made {type(data).__name__} of a value, not bytes")
    return data


def is_async(function: Callable[..., Any]) -> bool:
    """Whether *function* was written with `async def`."""
    code = getattr(function, "__code__", None)
    if code is None:
        return inspect.iscoroutinefunction(function)
    return bool(code.co_flags & _CO_COROUTINE)


def as_function(action: Callable[..., T] | Callable[..., Awaitable[T]], args: Any, kwargs: Any) -> Callable[[], Any]:
    """*action* with its arguments bound."""
    if is_async(action):

        async def call() -> Any:
            return await action(*args, **kwargs)  # type: ignore[misc]

        return call
    return lambda: action(*args, **kwargs)
