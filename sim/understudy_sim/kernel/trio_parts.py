"""The one place that knows trio's private names, and the parts we hand to trio's own `Runner` in place of its
defaults.

trio is not forked.  For the length of a run one name of its is bound to a class of ours (`OrderedCancelStatus`), and
from the first run on one private context manager of its is the same thing without a generator (`_DeadlineChange`).
Every private name used is looked up here at import, so a trio that moved one fails loudly, by name and version.

Rules: no part here decides anything about scheduling; the loop does.  Nothing here iterates a set.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import AsyncGenerator, Callable, Iterator
from math import inf
from typing import Any, NoReturn

import sniffio
import trio


class UnsupportedTrio(ImportError):
    """This trio lacks a private name the kernel drives it by."""


def _private(module: str, *names: str) -> list[Any]:
    found = importlib.import_module(module)
    missing = [name for name in names if not hasattr(found, name)]
    if missing:
        raise UnsupportedTrio(
            f"trio {trio.__version__} has no {module}.{', '.join(missing)}: the simulator's loop is built on it.\n"
            "Install a trio the kernel was tested with (0.25 to 0.35), or teach trio_parts.py the new name."
        )
    return [getattr(found, name) for name in names]


def _demand(cls: type, *names: str) -> None:
    fields = {field.name for field in getattr(cls, "__attrs_attrs__", ())}
    missing = [name for name in names if not hasattr(cls, name) and name not in fields]
    if missing:
        raise UnsupportedTrio(
            f"trio {trio.__version__}: {cls.__name__} has no {', '.join(missing)}, which the simulator's loop uses.\n"
            "Install a trio the kernel was tested with (0.25 to 0.35), or teach trio_parts.py the new name."
        )


_RUN = "trio._core._run"
Runner, Task, CancelScope, CancelStatus, GLOBAL_RUN_CONTEXT, CONTEXT_RUN_TB_FRAMES, NO_SEND = _private(
    _RUN, "Runner", "Task", "CancelScope", "CancelStatus", "GLOBAL_RUN_CONTEXT", "CONTEXT_RUN_TB_FRAMES", "_NO_SEND"
)
CancelShieldedCheckpoint, WaitTaskRescheduled, PermanentlyDetachCoroutineObject = _private(
    "trio._core._traps", "CancelShieldedCheckpoint", "WaitTaskRescheduled", "PermanentlyDetachCoroutineObject"
)
(EntryQueue,) = _private("trio._core._entry_queue", "EntryQueue")
(KIManager,) = _private("trio._core._ki", "KIManager")
(Instruments,) = _private("trio._core._instrumentation", "Instruments")

_demand(Runner, "reschedule", "spawn_impl", "task_exited", "init", "wait_all_tasks_blocked", "tasks", "deadlines")
_demand(Runner, "main_task", "main_task_outcome", "init_task", "entry_queue", "asyncgens", "io_manager", "_locals")
_demand(Task, "_runner", "_next_send_fn", "_next_send", "_abort_func", "_cancel_status", "_counter", "_child_nurseries")
_demand(Task, "_attempt_delivery_of_any_pending_cancel", "_schedule_points", "_cancel_points", "iter_await_frames")
_demand(CancelScope, "cancel", "_registered_deadline", "_deadline", "_shield", "_cancel_called", "_cancel_status")
_demand(CancelScope, "_might_change_registered_deadline")
_demand(CancelStatus, "_tasks", "_children", "_parent", "recalculate", "__attrs_post_init__", "effectively_cancelled")
_demand(CancelStatus, "_scope", "abandoned_by_misnesting")

_run_module: Any = importlib.import_module(_RUN)
# Who cancelled, for the text of Cancelled: trio has it from 0.31.
_CancelReason = getattr(_run_module, "CancelReason", None)
if _CancelReason is not None:
    _demand(CancelScope, "_cancel")
DEADLINE_REASON: Any = _CancelReason(source="deadline") if _CancelReason is not None else None
_parking = importlib.import_module("trio._core._parking_lot")
# Which lots a task holds, module-wide: the dead must be taken out of it.  trio has it from 0.27.
PARKING_LOT_BREAKER: dict[Any, Any] = getattr(_parking, "GLOBAL_PARKING_LOT_BREAKER", {})


def cancel_by_deadline(scope: Any) -> None:
    """Cancel *scope* as trio's loop does when its deadline passes."""
    if DEADLINE_REASON is not None:
        scope._cancel(DEADLINE_REASON)
    else:
        scope.cancel()


class RealIOUsed(RuntimeError):
    """Code in the simulator waited for a real file descriptor."""


class NullIOManager:
    """No epoll, no sockets: a wait for a real descriptor is an error at the call site."""

    def close(self) -> None:
        """Nothing was opened."""

    def force_wakeup(self) -> None:
        """Nothing ever sleeps."""

    def statistics(self) -> object:
        """trio asks for something with a `backend`."""
        return _NullStatistics()

    async def wait_readable(self, fd: object) -> NoReturn:
        """Refuse."""
        raise RealIOUsed(_REAL_IO.format(what="read from", fd=fd))

    async def wait_writable(self, fd: object) -> NoReturn:
        """Refuse."""
        raise RealIOUsed(_REAL_IO.format(what="write to", fd=fd))

    def notify_closing(self, fd: object) -> NoReturn:
        """Refuse."""
        raise RealIOUsed(_REAL_IO.format(what="close", fd=fd))


_REAL_IO = (
    "code in the simulator wanted to {what} a real descriptor ({fd!r}), which no replay can repeat.\n"
    "Reach simulated hosts with trio.open_tcp_stream(host, port)."
)


class _NullStatistics:
    backend = "simulated"


class NullWakeup:
    """Wakes the entry queue's task without a socket pair, so that an idle process is idle."""

    def __init__(self) -> None:
        self._task: Any = None
        self._pending = False

    async def wait_woken(self) -> None:
        """Park until somebody queued a call."""
        if not self._pending:
            assert self._task is None, "one task serves the entry queue"
            self._task = trio.lowlevel.current_task()

            def abort(_: object) -> trio.lowlevel.Abort:
                self._task = None
                return trio.lowlevel.Abort.SUCCEEDED

            await trio.lowlevel.wait_task_rescheduled(abort)
        self._pending = False

    def wakeup_thread_and_signal_safe(self) -> None:
        """A call was queued."""
        task, self._task = self._task, None
        self._pending = True
        if task is not None:
            task._runner.reschedule(task)

    def wakeup_on_signals(self) -> None:
        """No signals in here."""

    def close(self) -> None:
        """Nothing was opened."""


def new_entry_queue() -> Any:
    """trio's own entry queue without its socket pair."""
    return EntryQueue(wakeup=NullWakeup())


class OrderedAsyncGenerators:
    """A process's async generators in order of first use, held strongly: none is finalized by the collector's
    whim.

    Those left over when the process ends in order are closed one by one; those of a process that was cut are
    never resumed.
    """

    _PRUNE_AT = 64

    def __init__(self) -> None:
        self._alive: list[AsyncGenerator[Any, Any]] = []
        self._prune_at = self._PRUNE_AT

    def add(self, generator: AsyncGenerator[Any, Any]) -> None:
        """*generator* was iterated for the first time."""
        self._alive.append(generator)
        if len(self._alive) >= self._prune_at:
            self._alive = [one for one in self._alive if one.ag_frame is not None]  # type: ignore[attr-defined]
            self._prune_at = max(self._PRUNE_AT, 2 * len(self._alive))

    async def finalize_remaining(self, runner: object) -> None:
        """Close what is left, as trio does when a run ends: with every await cancelled."""
        while self._alive:
            generator = self._alive.pop(0)
            with contextlib.suppress(BaseException):  # trio logs and ignores these too.
                with trio.CancelScope(shield=True) as scope:
                    scope.cancel()
                    await generator.aclose()

    def take_all(self) -> list[AsyncGenerator[Any, Any]]:
        """Give the generators of a dead process to the reaper, newest first."""
        taken, self._alive = self._alive[::-1], []
        return taken

    def close(self) -> None:
        """The hooks are the loop's, not ours."""


class _OrderedSet(dict[Any, None]):
    """As much of a set as trio's cancel tree uses, in order of insertion; no call of it is a frame of Python."""

    __slots__ = ()

    add: Callable[..., None] = dict.setdefault
    remove: Callable[..., None] = dict.__delitem__

    def discard(self, item: object) -> None:
        self.pop(item, None)


class OrderedCancelStatus(CancelStatus):  # type: ignore[misc, valid-type]
    """trio's own, with ordered sets in place of its sets: the order in which a cancel reaches tasks is the run's."""

    __slots__ = ()

    def __init__(self, scope: Any, parent: Any = None) -> None:
        status: Any = self  # The slots are trio's.
        status._scope = scope
        status._parent = parent
        status.effectively_cancelled = False
        status.abandoned_by_misnesting = False
        status._tasks = _OrderedSet()
        status._children = _OrderedSet()
        if parent is not None:
            parent._children[self] = None
            # trio looks at a scope's deadline before it makes its status: only these two can have cancelled it.
            if scope._cancel_called or (parent.effectively_cancelled and not scope._shield):
                status.recalculate()


class _DeadlineChange:
    """What trio's `CancelScope._might_change_registered_deadline` does, at a quarter of its cost."""

    __slots__ = ("_scope",)

    _scope: Any

    def __enter__(self) -> None:
        """Nothing to do before the change."""

    def __exit__(self, *_: object) -> None:
        scope = self._scope
        old = scope._registered_deadline
        new = inf if scope._cancel_status is None or scope._cancel_called else scope._deadline
        if old == new:
            return
        scope._registered_deadline = new
        runner = GLOBAL_RUN_CONTEXT.runner
        before = runner.deadlines.next_deadline() if runner.is_guest else None
        if old != inf:
            runner.deadlines.remove(old, scope)
        if new != inf:
            runner.deadlines.add(new, scope)
        if runner.is_guest and before != runner.deadlines.next_deadline():
            runner.force_guest_tick_asap()


def _deadline_change(scope: Any) -> _DeadlineChange:
    change = object.__new__(_DeadlineChange)
    change._scope = scope
    return change


def set_sockets(runner: Any, factory: trio.abc.SocketFactory, resolver: trio.abc.HostnameResolver) -> None:
    """Give one process its socket factory and name resolver: trio keeps them per run."""
    context: dict[str, Any] = GLOBAL_RUN_CONTEXT.__dict__
    before = context.get("runner")
    context["runner"] = runner
    try:
        trio.socket.set_custom_socket_factory(factory)
        trio.socket.set_custom_hostname_resolver(resolver)
    finally:
        if before is None:
            del context["runner"]
        else:
            context["runner"] = before


def refuse_nested_run() -> None:
    """Raise RuntimeError when this thread is inside a trio run, real or simulated."""
    if "runner" in GLOBAL_RUN_CONTEXT.__dict__:
        raise RuntimeError("a simulation cannot run inside a trio run: call Kernel.run from plain synchronous code")


@contextlib.contextmanager
def trio_context(first_iteration: Callable[[AsyncGenerator[Any, Any]], None]) -> Iterator[dict[str, Any]]:
    """Become trio's run on this thread: run context, sniffio, ordered cancel trees, async generator hooks.

    Yields the run context's dictionary: the loop sets `runner` and `task` there at every step.  Refuses a
    nested run.
    """
    import sys

    context: dict[str, Any] = GLOBAL_RUN_CONTEXT.__dict__
    refuse_nested_run()
    hooks = sys.get_asyncgen_hooks()
    library = sniffio.thread_local.name
    _run_module.CancelStatus = OrderedCancelStatus
    if CancelScope._might_change_registered_deadline is not _deadline_change:
        # Once and for good: a class that changes for each run loses what the interpreter had learned about it.
        CancelScope._might_change_registered_deadline = _deadline_change
    sniffio.thread_local.name = "trio"
    sys.set_asyncgen_hooks(firstiter=first_iteration, finalizer=_leave_alone)
    try:
        yield context
    finally:
        sys.set_asyncgen_hooks(*hooks)
        sniffio.thread_local.name = library
        _run_module.CancelStatus = CancelStatus
        context.clear()


def _leave_alone(generator: AsyncGenerator[Any, Any]) -> None:
    """Finalizer of abandoned generators: run nothing of theirs."""


def trimmed(error: BaseException) -> BaseException:
    """*error* without the loop's own frames at the top of its traceback (ours, and those of `Context.run`)."""
    traceback = error.__traceback__
    for _ in range(1 + CONTEXT_RUN_TB_FRAMES):
        if traceback is not None:
            traceback = traceback.tb_next
    return error.with_traceback(traceback)
