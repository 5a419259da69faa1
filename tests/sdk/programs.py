"""Handlers made of data: a small language of steps, an interpreter that is a handler, and a strategy for programs.

A program is a list of steps; each step that starts something keeps its future, and later steps wait for those kept.
All that a program learns goes into its log, which is its result, so that two runs that learned the same end the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from anyio.lowlevel import checkpoint
from hypothesis import strategies as st
from understudy import (
    JournalValueCodec,
    RunOptions,
    TerminalError,
    VirtualObject,
    Workflow,
    WorkflowContext,
    app,
    as_completed,
    gather,
    select,
    wait_completed,
)
from understudy.endpoint import App
from understudy.exceptions import RetryableError

Step = tuple[Any, ...]
Program = Sequence[Step]

PLANNED = "planned: "
"""How the message of every error begins that a program asks for itself."""

other = VirtualObject("Other")


@other.handler()
async def echo(ctx: Any, value: Any) -> Any:
    return value


class Stamping(JournalValueCodec):
    """Writes the same value in other bytes each time, and reads what others wrote without it."""

    def __init__(self, first: int) -> None:
        self._count = first

    def encode(self, buf: bytes) -> bytes:
        self._count += 1
        return b"\x00%c" % (self._count % 256) + buf

    async def decode(self, buf: bytes) -> bytes:
        await checkpoint()
        return buf[2:] if buf.startswith(b"\x00") else buf


class Failures:
    """How often each run has still to fail before it succeeds; empty: never again."""

    def __init__(self, *, planned: bool = True) -> None:
        self.left: dict[str, int] = {}
        self.planned = planned
        # What replays write differs from what was written.
        self.codec = Stamping(0 if planned else 128)

    def fails(self, name: str, times: int) -> bool:
        """Whether the run *name*, which is to fail *times* in all, fails now."""
        if not self.planned:
            return False
        left = self.left.setdefault(name, times)
        self.left[name] = max(0, left - 1)
        return left > 0


class Interpreter:
    """One execution of a program."""

    def __init__(self, ctx: WorkflowContext, failures: Failures) -> None:
        self.ctx = ctx
        self.failures = failures
        self.log: list[Any] = []
        self.futures: list[Any] = []

    async def play(self, program: Program) -> bool:
        """Take the steps; whether the program said that it is over."""
        for name, *arguments in program:
            if name == "return":
                return True
            if name == "try":
                if await self._attempt(*arguments):
                    return True
            elif name == "branch":
                taken, otherwise = arguments
                if await self.play(taken if len(repr(self.log)) % 2 else otherwise):
                    return True
            else:
                await _STEPS[name](self, *arguments)
        return False

    async def _attempt(self, body: Program, rescue: Program) -> bool:
        try:
            return await self.play(body)
        except TerminalError as error:
            self.log.append([error.status_code, error.message])
            return await self.play(rescue)

    def kept(self, number: int) -> Any:
        """A future kept earlier; without one, a sleep."""
        if not self.futures:
            self.futures.append(self.ctx.sleep(timedelta(seconds=1)))
        return self.futures[number % len(self.futures)]

    def some(self, numbers: Sequence[int]) -> list[Any]:
        """Futures kept earlier, each once."""
        found: list[Any] = []
        for number in numbers:
            future = self.kept(number)
            if not any(future is one for one in found):
                found.append(future)
        return found

    async def learn(self, future: Any) -> None:
        """What *future* comes to.  A failure goes on: `try` catches it."""
        self.log.append(await future)


async def _await(it: Interpreter, number: int) -> None:
    await it.learn(it.kept(number))


async def _gather(it: Interpreter, numbers: Sequence[int]) -> None:
    for future in await gather(*it.some(numbers)):
        try:
            await it.learn(future)
        except TerminalError as error:
            it.log.append(error.status_code)


async def _select(it: Interpreter, numbers: Sequence[int]) -> None:
    named = {f"f{number}": future for number, future in enumerate(it.some(numbers))}
    it.log.append(await select(**named))


async def _wait_completed(it: Interpreter, numbers: Sequence[int]) -> None:
    done, pending = await wait_completed(*it.some(numbers))
    it.log.append([len(done), len(pending)])


async def _as_completed(it: Interpreter, numbers: Sequence[int]) -> None:
    futures = it.some(numbers)
    async for future in as_completed(*futures):
        it.log.append([number for number, one in enumerate(futures) if one is future])


async def _time_out(it: Interpreter, number: int) -> None:
    it.log.append((await select(step=it.kept(number), timeout=it.ctx.sleep(timedelta(seconds=2))))[0])


async def _get(it: Interpreter, key: str) -> None:
    await it.learn(it.ctx.get(key))


async def _keys(it: Interpreter) -> None:
    await it.learn(it.ctx.state_keys())


async def _peek(it: Interpreter, name: str) -> None:
    await it.learn(it.ctx.promise(name).peek())


async def _resolve(it: Interpreter, name: str, value: Any) -> None:
    await it.learn(it.ctx.promise(name).resolve(value))


async def _reject(it: Interpreter, name: str) -> None:
    await it.learn(it.ctx.promise(name).reject("no", 418))


async def _id_of(it: Interpreter, number: int) -> None:
    calls = [future for future in it.futures if hasattr(future, "invocation_id")]
    if calls:
        await it.learn(calls[number % len(calls)].invocation_id())


async def _cancel_call(it: Interpreter, number: int) -> None:
    calls = [future for future in it.futures if hasattr(future, "invocation_id")]
    if calls:
        await calls[number % len(calls)].cancel_invocation()


async def _send(it: Interpreter, key: str, delayed: bool) -> None:
    handle = it.ctx.object_send(echo, key, key, send_delay=timedelta(seconds=5) if delayed else None)
    if delayed:
        await it.learn(handle.invocation_id())


async def _draw(it: Interpreter) -> None:
    it.log += [str(it.ctx.uuid()), it.ctx.random().randrange(100)]


async def _fail(it: Interpreter, kind: str) -> None:
    errors: Mapping[str, Exception] = {
        "terminal": TerminalError(PLANNED + "for good", 419, {"k": "v"}),
        "retryable": RetryableError(PLANNED + "not now", retry_after=timedelta(seconds=1)),
        "crash": ValueError(PLANNED + "crash"),
    }
    raise errors[kind]


def _run(it: Interpreter, name: str, fails: int, outcome: str) -> Any:
    async def slow_step() -> Any:
        await checkpoint()
        return step()

    def step() -> Any:
        if it.failures.fails(name, fails):
            raise ValueError(PLANNED + "once more")
        if outcome == "terminal":
            raise TerminalError(PLANNED + "run", 420)
        return f"ran {name}"

    if outcome == "policy":
        return it.ctx.run_typed(name, step, RunOptions(max_attempts=3))
    return it.ctx.run(name, slow_step if outcome == "slow" else step)


def _idempotent(it: Interpreter, key: str, value: Any) -> Any:
    return it.ctx.object_call(echo, key, value, idempotency_key="once", headers={"a": key})


_FUTURES: Mapping[str, Callable[..., Any]] = {
    "call": lambda it, key, value: it.ctx.object_call(echo, key, value),
    "idempotent": _idempotent,
    "generic": lambda it, key, value: it.ctx.generic_call("Other", "echo", b'"raw"', key=key),
    "run": _run,
    "sleep": lambda it, seconds: it.ctx.sleep(timedelta(seconds=seconds), name=f"nap {seconds}"),
    "awakeable": lambda it: it.ctx.awakeable()[1],
    "signal": lambda it, name: it.ctx.signal(name),
    "promise": lambda it, name: it.ctx.promise(name).value(),
    "attach": lambda it: it.ctx.attach_invocation("inv_1other"),
    "lookup": lambda it, key: it.ctx.get(key),
    "time": lambda it: it.ctx.time(),
}


def _keeping(make: Callable[..., Any]) -> Callable[..., Any]:
    async def step(it: Interpreter, *arguments: Any) -> None:
        it.futures.append(make(it, *arguments))

    return step


def _saying(say: Callable[..., None]) -> Callable[..., Any]:
    async def step(it: Interpreter, *arguments: Any) -> None:
        say(it, *arguments)

    return step


_STEPS: Mapping[str, Callable[..., Any]] = {
    **{name: _keeping(make) for name, make in _FUTURES.items()},
    "set": _saying(lambda it, key, value: it.ctx.set(key, value)),
    "clear": _saying(lambda it, key: it.ctx.clear(key)),
    "clear_all": _saying(lambda it: it.ctx.clear_all()),
    "complete": _saying(lambda it, value: it.ctx.resolve_awakeable("sign_1other", value)),
    "refuse": _saying(lambda it: it.ctx.reject_awakeable("sign_1other", "no", 421)),
    "tell": _saying(lambda it, name: it.ctx.resolve_signal("inv_1other", name, name)),
    "cancel": _saying(lambda it: it.ctx.cancel_invocation("inv_1other")),
    "get": _get,
    "keys": _keys,
    "peek": _peek,
    "resolve": _resolve,
    "reject": _reject,
    "id_of": _id_of,
    "cancel_call": _cancel_call,
    "send": _send,
    "draw": _draw,
    "fail": _fail,
    "await": _await,
    "gather": _gather,
    "select": _select,
    "wait_completed": _wait_completed,
    "as_completed": _as_completed,
    "time_out": _time_out,
}


def application(program: Program, failures: Failures, codec: JournalValueCodec | None = None) -> App:
    """An application whose `Flow/run` is *program*."""
    flow = Workflow("Flow")

    @flow.main()
    async def run(ctx: WorkflowContext) -> Any:
        interpreter = Interpreter(ctx, failures)
        await interpreter.play(program)
        return interpreter.log

    return app([flow, other], journal_value_codec=codec)


_keys_ = st.sampled_from(["a", "b"])
_names = st.sampled_from(["p", "q"])
_values = st.sampled_from([0, "text", None, [1, {"k": 2}]])
_number = st.integers(0, 5)
_some = st.lists(_number, min_size=1, max_size=4)
_steps = st.one_of(
    st.tuples(st.sampled_from(["call", "idempotent", "generic"]), _keys_, _values),
    st.tuples(
        st.just("run"),
        st.sampled_from(["x", "y"]),
        st.sampled_from([0, 0, 1]),
        st.sampled_from(["value", "slow", "terminal"]),
    ),
    st.tuples(st.just("run"), st.just("z"), st.sampled_from([0, 1, 5]), st.just("policy")),
    st.tuples(st.just("sleep"), st.integers(0, 3)),
    st.tuples(st.sampled_from(["awakeable", "attach", "time", "draw", "keys", "clear_all", "refuse", "cancel"])),
    st.tuples(st.sampled_from(["signal", "promise", "peek", "reject", "tell"]), _names),
    st.tuples(st.just("resolve"), _names, _values),
    st.tuples(st.just("set"), _keys_, _values),
    st.tuples(st.sampled_from(["get", "lookup", "clear"]), _keys_),
    st.tuples(st.just("complete"), _values),
    st.tuples(st.just("send"), _keys_, st.booleans()),
    st.tuples(st.sampled_from(["id_of", "cancel_call", "time_out"]), _number),
)
_waits = st.one_of(
    st.tuples(st.just("await"), _number),
    st.tuples(st.sampled_from(["gather", "select", "wait_completed", "as_completed"]), _some),
)
_ends = st.one_of(st.just(("return",)), st.tuples(st.just("fail"), st.sampled_from(["terminal", "retryable", "crash"])))


def _nested(inner: st.SearchStrategy[list[Step]]) -> st.SearchStrategy[list[Step]]:
    block = st.one_of(
        st.tuples(st.just("try"), inner, inner), st.tuples(st.just("branch"), inner, inner), _steps, _waits
    )
    return st.lists(block, min_size=1, max_size=8)


programs: st.SearchStrategy[list[Step]] = st.builds(
    lambda body, end: [*body, *end],
    st.recursive(st.lists(st.one_of(_steps, _steps, _waits), min_size=2, max_size=14), _nested, max_leaves=4),
    st.one_of(st.just([]), st.lists(_ends, min_size=1, max_size=1)),
)
"""Programs of up to some thirty steps."""
