"""A cold replay: what would this code do next with that journal?  The real handler in the real machine, nothing else.

No function given to `ctx.run` is executed, no clock is read, nothing is sent, and there is no scheduler: whatever the
handler awaits that is not a step of its context is a finding, not a wait.  What a replay comes to is a value.
"""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextvars import copy_context
from types import MappingProxyType
from typing import Any, Final, NoReturn, TypeVar

import attrs

from understudy.api.attempt import Attempt
from understudy.api.codec import JournalValueCodec
from understudy.api.door import conduct
from understudy.api.handler import Handler
from understudy.api.sites import Site, awaiting_site, is_user_code
from understudy.endpoint import App, NotFound
from understudy.hosting import LinkLost
from understudy.protocol import service_pb2 as pb
from understudy.protocol.framing import Frame
from understudy.protocol.messages import is_command
from understudy.vm import VERSIONS, VM, Failure, InternalError, Leaf, Tree, VmError, codes
from understudy.vm import errors as codes_of
from understudy.vm.awaits import leaves, shave
from understudy.vm.journal import decode_failure
from understudy.words import command_in_words, key_in_words

T = TypeVar("T")

_NO_HEADERS: Final = MappingProxyType[str, str]({})
_ALPHABET: Final = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_PREFIX: Final = "inv_1"
_KEY_CHARS, _ID_CHARS = 11, 33
_TASK: Final = object()
_CLOSES_MAX: Final = 10
# Steps a handler may take beyond the journal without waiting: one that never waits would never come back.
STEPS_MAX: Final = 10_000
# A scheduler's own functions raise from here when there is none.
_SCHEDULERS: Final = ("trio", "anyio", "asyncio", "sniffio")


@attrs.frozen
class Recorded:
    """A journal, whole or its beginning, and what an attempt would be told with it.

    `frames` are its entries in order, Input first.  `state` is what is kept under the key now; not complete: names
    that are not in it are asked for.
    """

    service: str
    handler: str
    invocation_id: str
    frames: tuple[Frame, ...]
    key: str = ""
    random_seed: int = 0
    protocol_version: int = VERSIONS[-1]
    state: tuple[tuple[bytes, bytes], ...] = ()
    state_complete: bool = False

    @property
    def commands(self) -> tuple[Command, ...]:
        """The steps in it."""
        return commands_of(self.frames)


@attrs.frozen
class Command:
    """A step: `index` counts from 0, the input; `words` say it to people."""

    index: int
    type: int
    payload: bytes = attrs.field(repr=False)
    words: str


@attrs.frozen
class Awaited:
    """The handler waits for any of `keys` (completion ids, negative signal indexes, names of signals)."""

    keys: tuple[Leaf, ...]
    lines: tuple[str, ...]


@attrs.frozen
class Ended:
    """The handler is through: with a value, or with a failure for good."""

    value: bytes | None
    failure: Failure | None = None


@attrs.frozen
class Raised:
    """The handler raised what a server would answer with another attempt.  `left`: recorded steps not reached."""

    code: int
    message: str
    stacktrace: str = attrs.field(repr=False)
    left: tuple[Command, ...] = ()


@attrs.frozen
class Mismatch:
    """The code does not do what was recorded (570), or the journal cannot be read (571, 500).

    `recorded` is the step in the journal, `replayed` what the code did in its place; None: it took no step but waits
    there, for `awaited`.
    """

    code: int
    index: int
    recorded: Command | None
    replayed: Command | None
    message: str
    awaited: Awaited | None = None


@attrs.frozen
class ForeignAwait:
    """The handler awaits something that is no step of its context; no attempt repeats what that comes to."""

    site: Site
    detail: str


@attrs.frozen
class NotHere:
    """There is no such handler, or it does not speak the journal's protocol version."""

    message: str


Fate = Awaited | Ended | Raised | Mismatch | ForeignAwait | NotHere


@attrs.frozen
class Hazard:
    """What the SDK warns about: see `Host.report_hazard`."""

    kind: str
    detail: str
    filename: str
    line: int


@attrs.frozen
class Replayed:
    """What came of a replay: the steps the code took beyond the journal, and where that led."""

    commands: tuple[Command, ...]
    fate: Fate
    hazards: tuple[Hazard, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether the code can go on from the journal."""
        fate = self.fate
        return not (isinstance(fate, Mismatch | ForeignAwait | NotHere) or (isinstance(fate, Raised) and fate.left))


def replay(app: App, recorded: Recorded) -> Replayed:
    """Run the handler of *app* that *recorded* belongs to, as far as the journal and its own steps carry it.

    Raises ValueError when *recorded* is no journal: no Input, or an id that is none.
    """
    if not recorded.frames or recorded.frames[0].type != codes.INPUT:
        raise ValueError(f"the journal of {recorded.invocation_id} does not begin with its input")
    start = _start(recorded)
    try:
        handler = app.handler(recorded.service, recorded.handler)
    except NotFound as error:
        return Replayed((), NotHere(str(error)))
    if recorded.protocol_version not in VERSIONS:
        spoken = f"protocol version {recorded.protocol_version} is not spoken here, expected one of {VERSIONS}"
        return Replayed((), NotHere(spoken))
    one = _Replay(recorded, [start, *recorded.frames], handler, app.codec)
    return copy_context().run(one.run)


def commands_of(frames: Sequence[Frame], first: int = 0) -> tuple[Command, ...]:
    """The commands among *frames*, counted from *first*."""
    found = [frame for frame in frames if is_command(frame.type)]
    return tuple(
        Command(index, frame.type, frame.payload, command_in_words(frame.type, frame.payload))
        for index, frame in enumerate(found, first)
    )


def _start(recorded: Recorded) -> Frame:
    message = pb.Start(
        id=raw_id(recorded.invocation_id),
        debug_id=recorded.invocation_id,
        known_entries=len(recorded.frames),
        partial_state=not recorded.state_complete,
        key=recorded.key,
        random_seed=recorded.random_seed,
    )
    for key, value in recorded.state:
        message.state_map.add(key=key, value=value)
    return Frame(codes.START, message.SerializeToString())


def raw_id(invocation_id: str) -> bytes:
    """The 24 bytes an invocation's id stands for.  Raises ValueError."""
    body = invocation_id.removeprefix(_PREFIX)
    if len(body) != _ID_CHARS or not invocation_id.startswith(_PREFIX):
        raise ValueError(f"{invocation_id!r} is no invocation id: {_PREFIX} and {_ID_CHARS} characters were expected")
    try:
        return _unpacked(body[:_KEY_CHARS], 8) + _unpacked(body[_KEY_CHARS:], 16)
    except (ValueError, OverflowError):
        raise ValueError(f"{invocation_id!r} is no invocation id: it is not in base 62") from None


def _unpacked(text: str, length: int) -> bytes:
    number = 0
    for char in text:
        number = number * 62 + _ALPHABET.index(char)
    return number.to_bytes(length, "little")


class _Tasks:
    """The scheduler of a replay: none."""

    def __init__(self) -> None:
        self.current_task: Callable[[], object] = _the_one_task

    def is_cancellation(self, error: BaseException) -> bool:
        return False

    def deadline(self) -> float:
        return float("inf")

    def scopes(self) -> object:
        return self

    async def raise_if_cancelled(self) -> None:
        return


def _the_one_task() -> object:
    return _TASK


class _Host:
    """The process of a replay: its clock stands at 0, so that a sleep's wake-up time is its length."""

    def __init__(self) -> None:
        self.hazards: list[Hazard] = []

    def now_ms(self) -> int:
        return 0

    def monotonic_ms(self) -> int:
        return 0

    async def run_sync(self, function: Callable[[], T]) -> T:
        raise AssertionError("a replay executes nothing")

    def start_task(self, function: Callable[[], Awaitable[None]]) -> None:
        raise AssertionError("a replay starts no tasks")

    def report_hazard(self, kind: str, detail: str, filename: str, line: int) -> None:
        self.hazards.append(Hazard(kind, detail, filename, line))


class _Link:
    """The server of a replay: it has sent the journal and is gone when more is asked of it."""

    def __init__(self, frames: Sequence[Frame]) -> None:
        self.sent: list[Frame] = []
        self._frames: Sequence[Frame] = frames

    async def send(self, frames: Sequence[Frame]) -> None:
        self.sent += frames

    async def receive(self) -> Sequence[Frame] | None:
        frames, self._frames = self._frames, ()
        if not frames:
            raise LinkLost
        return frames


class _Machine(VM):
    """The machine of a replay: it remembers both sides of a mismatch."""

    found: tuple[int, int, bytes] | None = None

    @property
    def steps_left(self) -> int:
        """How many recorded steps the code has not reached."""
        return len(self._commands)

    @property
    def step(self) -> int:
        """The index of the last step."""
        return self._command_index

    @property
    def ready(self) -> Any:
        """The results that are visible."""
        return self._ready

    @property
    def waits_for_children(self) -> tuple[Leaf, ...]:
        """While a cancel is passed on: the calls whose ids it waits for."""
        if not self._cancelling:
            return ()
        return tuple(key for key, invocation_id in self._children.items() if invocation_id is None)

    def _issue(self, type_: int, payload: bytes) -> None:
        if self._commands_issued >= STEPS_MAX:
            self.fail(InternalError(f"the handler took {STEPS_MAX} steps beyond the journal and did not wait once"))
        super()._issue(type_, payload)

    def _mismatch(self, type_: int, payload: bytes, name: str, recorded_type: int, recorded: bytes) -> NoReturn:
        self.found = (self._command_index, type_, payload)
        super()._mismatch(type_, payload, name, recorded_type, recorded)


class _Attempt(Attempt):
    """The attempt of a replay: it remembers what was awaited and where it began, and leaves runs alone."""

    awaited: Tree | None = None
    handler: Coroutine[Any, Any, Any] | None = None
    foreign: ForeignAwait | None = None

    async def wait(self, tree: Tree) -> None:
        if not self.vm.is_closed:
            self.awaited = tree
        await super().wait(tree)

    async def watch(self, handler: Coroutine[Any, Any, T]) -> T:
        self.handler = handler
        try:
            return await super().watch(handler)
        except Exception as error:
            self.foreign = _wanted_scheduler(error)
            raise

    async def _execute_here(self, key: int) -> None:
        """It stays what the handler waits for."""

    def _execute_beside(self, key: int) -> None:
        """It stays what the handler waits for."""


class _Replay:
    """One replay."""

    def __init__(
        self, recorded: Recorded, frames: Sequence[Frame], handler: Handler, codec: JournalValueCodec | None
    ) -> None:
        self._recorded = recorded
        self._handler = handler
        self._host = _Host()
        self._link = _Link(frames)
        self._vm = _Machine(recorded.protocol_version, compares_values=codec is None)
        self._attempt = _Attempt(self._vm, self._link, self._host, codec, _Tasks())

    def run(self) -> Replayed:
        conducted = conduct(self._handler, self._attempt, _NO_HEADERS)
        try:
            conducted.send(None)
        except StopIteration:
            fate = self._fate()
        except (KeyboardInterrupt, MemoryError):
            raise
        except BaseException as error:  # What ends a process: the SDK passes it on.
            self._keep_output()
            fate = Raised(codes_of.CODE_INTERNAL, repr(error), "", self._steps_left())
        else:
            fate = self._trapped()
            _throw_away(conducted)
        commands = commands_of(self._link.sent, len(self._recorded.commands))
        return Replayed(commands, fate, tuple(self._host.hazards))

    def _trapped(self) -> ForeignAwait:
        """The handler, or the codec, asked a scheduler for something."""
        self._keep_output()
        assert self._attempt.handler is not None, "nothing before the handler waits"
        what = "it awaits what is no step of its context"
        if self._attempt.in_operation:
            what = "the journal's codec, or a context manager around the handler, waits for something"
        return ForeignAwait(awaiting_site(self._attempt.handler), what)

    def _keep_output(self) -> None:
        self._link.sent += self._vm.take_output()

    def _steps_left(self) -> tuple[Command, ...]:
        steps = self._recorded.commands
        return steps[len(steps) - self._vm.steps_left :]

    def _fate(self) -> Fate:
        last = self._link.sent[-1] if self._link.sent else None
        end = self._vm.end
        if isinstance(end, VmError):
            return self._failed(end)
        if last is not None and last.type == codes.END:
            return self._ended()
        assert self._attempt.awaited is not None, "a handler that neither ended nor failed waits"
        return self._awaited(self._attempt.awaited)

    def _awaited(self, tree: Tree) -> Awaited:
        left = shave(tree, self._vm.ready)
        keys = self._vm.waits_for_children or tuple(leaves(tree if left is None else left))
        whole = (*self._recorded.frames, *self._link.sent)
        return Awaited(keys, tuple(key_in_words(key, whole) for key in keys))

    def _ended(self) -> Ended:
        outputs = [one for one in (*self._recorded.frames, *self._link.sent) if one.type == codes.OUTPUT]
        output = pb.OutputCommand.FromString(outputs[-1].payload)
        if output.WhichOneof("result") == "failure":
            return Ended(None, decode_failure(output.failure))
        return Ended(output.value.content)

    def _failed(self, error: VmError) -> Fate:
        vm, steps = self._vm, self._recorded.commands
        if vm.found is not None:
            index, type_, payload = vm.found
            replayed = Command(index, type_, payload, command_in_words(type_, payload))
            return Mismatch(error.code, index, steps[index], replayed, error.message)
        left = self._steps_left()
        is_journal = self._attempt.handler is None
        if is_journal or error.code in (codes_of.CODE_JOURNAL_MISMATCH, codes_of.CODE_PROTOCOL_VIOLATION):
            tree = self._attempt.awaited
            awaited = None if tree is None or is_journal else self._awaited(tree)
            return Mismatch(error.code, vm.step + 1, left[0] if left else None, None, error.message, awaited)
        return self._attempt.foreign or Raised(error.code, error.message, error.stacktrace, left)


def _wanted_scheduler(error: Exception) -> ForeignAwait | None:
    """A finding when *error* says that there is no scheduler: nothing of a replay's own needs one."""
    site: Site | None = None
    module = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        module = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if is_user_code(frame.f_code.co_filename):
            site = Site(frame.f_code.co_filename, line, frame.f_code.co_qualname)
    if site is None or not (module in _SCHEDULERS or str(error) == "no running event loop"):
        return None
    return ForeignAwait(site, f"it wants a scheduler ({type(error).__name__}: {error})")


def _throw_away(coroutine: Coroutine[Any, Any, Any]) -> None:
    """Close *coroutine*, whatever it awaits on its way out."""
    for _ in range(_CLOSES_MAX):
        try:
            coroutine.close()
            return
        except RuntimeError:
            continue  # It awaited again.
        except Exception:
            return  # Its own clean-up failed: nobody waits for it.
