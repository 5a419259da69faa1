"""Journals made by playing a program against a small server: it stores what an attempt says, and answers when it likes.

`make` plays a program from its first attempt to its end; whatever the server may choose (which answer comes when, what
it is, when it closes its side, who cancels) is drawn from a seed.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence

import anyio
import attrs
from trio.testing import wait_all_tasks_blocked
from understudy.endpoint import App
from understudy.hosting import Link
from understudy.protocol import service_pb2 as pb
from understudy.protocol.framing import Frame
from understudy.protocol.messages import MessageType as T
from understudy.protocol.messages import is_command

from tests.sdk.fakes import FakeHost, acknowledgement, cancel_signal
from tests.sdk.programs import PLANNED, Failures, Program, application

ATTEMPTS_MAX = 60
RECEIVES_MAX = 2_000
CANCELS_MAX = 2
FIRST_SIGNAL = 17
UNSUPPORTED = 573
INPUT = Frame(T.INPUT, pb.InputCommand().SerializeToString())
LAST_WORDS = (T.END, T.SUSPENSION, T.ERROR)

State = dict[bytes, bytes]
Answer = Callable[[], Frame]


class Stuck(Exception):
    """An attempt did not come to its end in a bounded number of steps."""


@attrs.frozen
class Journal:
    """What one invocation left behind."""

    entries: tuple[Frame, ...]
    last: Frame
    """The last word of the last attempt."""


@attrs.frozen
class Played:
    """What is played, and how: with a codec no value is written in the same bytes twice."""

    program: Program
    version: int = 6
    has_codec: bool = False

    def app(self, failures: Failures) -> App:
        """An application of it."""
        return application(self.program, failures, failures.codec if self.has_codec else None)


def start_frame(known: int, state: State | None = None) -> Frame:
    """A start message; without *state*, state has to be asked for."""
    message = pb.Start(id=bytes(24), debug_id="inv_1test", known_entries=known, key="k", random_seed=7)
    message.partial_state = state is None
    for key, value in sorted((state or {}).items()):
        message.state_map.add(key=key, value=value)
    return Frame(T.START, message.SerializeToString())


def note(type_: int, **fields: object) -> Frame:
    """A notification."""
    message = pb.Notification()
    for name, value in fields.items():
        if name == "value":
            assert isinstance(value, bytes)
            message.value.content = value
            message.value.SetInParent()
        elif name == "void":
            message.void.SetInParent()
        elif name == "failure":
            assert isinstance(value, tuple)
            message.failure.code, message.failure.message = value
        elif name == "keys":
            message.state_keys.SetInParent()
            message.state_keys.keys.extend(value)  # type: ignore[arg-type]
        else:
            setattr(message, name, value)
    return Frame(type_, message.SerializeToString())


class Server:
    """What is stored of an invocation, and the answers that are still to come."""

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw
        self.entries: list[Frame] = [INPUT]
        self.open: dict[int, Answer] = {}
        self.state: State = {}
        self.promises: dict[str, Frame] = {}
        self.cancels = 0
        self.last: Frame | None = None

    def store(self, frame: Frame) -> list[Frame]:
        """Store what the attempt said; returns the notifications it makes at once."""
        if frame.type in LAST_WORDS:
            self.last = frame
            return []
        if frame.type == T.PROPOSE_RUN_COMPLETION:
            return self._append(acknowledgement(frame))
        assert is_command(frame.type), frame
        self._append(frame)
        return _STORED.get(frame.type, _nothing)(self, frame.payload)

    def _append(self, frame: Frame) -> list[Frame]:
        self.entries.append(frame)
        return [frame]

    def answer_some(self) -> list[Frame]:
        """Let some open answers come, in any order; now and then a cancel, or a signal nobody asked for."""
        chosen = self.draw.sample(sorted(self.open), k=self.draw.randint(0, len(self.open)))
        frames = [self._append(self.open.pop(key)())[0] for key in chosen]
        if self.draw.random() < 0.05:
            frames += self.cancel()
        if self.draw.random() < 0.1:
            frames += self.signal(self.draw.choice(("p", "q", FIRST_SIGNAL, FIRST_SIGNAL + 1)))
        return frames

    def cancel(self) -> list[Frame]:
        """Cancel, if it was not done too often."""
        if self.cancels >= CANCELS_MAX:
            return []
        self.cancels += 1
        return self._append(cancel_signal())

    def signal(self, name: str | int) -> list[Frame]:
        """Send a signal: by name, or an awakeable's by its index."""
        key: dict[str, object] = {"signal_name": name} if isinstance(name, str) else {"signal_id": name}
        return self._append(note(T.SIGNAL_NOTIFICATION, **key, **self._result()))

    def resume(self, suspension: pb.Suspension) -> None:
        """Answer at least one thing that a suspended attempt waits for."""
        signals = [index for index in suspension.waiting_signals if index != 1]
        waits: list[str | int] = [*suspension.waiting_named_signals, *signals]
        known = [key for key in suspension.waiting_completions if key in self.open]
        if len(known) < len(suspension.waiting_completions):
            return  # An answer came after the stream was closed.
        if known and (not waits or self.draw.random() < 0.7):
            self._append(self.open.pop(self.draw.choice(known))())
        elif waits:
            self.signal(self.draw.choice(waits))
        self.answer_some()

    def _result(self) -> dict[str, object]:
        if self.draw.random() < 0.2:
            return {"failure": (self.draw.choice((409, 500)), "refused")}
        return {"value": json.dumps(self.draw.choice(("yes", 3, None))).encode()}

    # -- what commands do --

    def later(self, type_: int, completion_id: int, *, void: bool = False) -> None:
        """An answer to come."""
        result: dict[str, object] = {"void": True} if void else self._result()
        self.open[completion_id] = lambda: note(type_, completion_id=completion_id, **result)

    def on_call(self, payload: bytes) -> list[Frame]:
        call = pb.CallCommand.FromString(payload)
        self.later(T.CALL_COMPLETION, call.result_completion_id)
        return self._on_id(call.invocation_id_notification_idx)

    def on_send(self, payload: bytes) -> list[Frame]:
        return self._on_id(pb.OneWayCallCommand.FromString(payload).invocation_id_notification_idx)

    def _on_id(self, key: int) -> list[Frame]:
        answer = note(T.CALL_INVOCATION_ID_COMPLETION, completion_id=key, invocation_id=f"inv_1callee{key}")
        if self.draw.random() < 0.5:
            return self._append(answer)
        self.open[key] = lambda: answer
        return []

    def on_sleep(self, payload: bytes) -> list[Frame]:
        self.later(T.SLEEP_COMPLETION, pb.SleepCommand.FromString(payload).result_completion_id, void=True)
        return []

    def on_attach(self, payload: bytes) -> list[Frame]:
        command = pb.AttachInvocationCommand.FromString(payload)
        self.later(T.ATTACH_INVOCATION_COMPLETION, command.result_completion_id)
        return []

    def on_set(self, payload: bytes) -> list[Frame]:
        command = pb.SetStateCommand.FromString(payload)
        self.state[command.key] = command.value.content
        return []

    def on_clear(self, payload: bytes) -> list[Frame]:
        self.state.pop(pb.ClearStateCommand.FromString(payload).key, None)
        return []

    def on_clear_all(self, payload: bytes) -> list[Frame]:
        self.state.clear()
        return []

    def on_get(self, payload: bytes) -> list[Frame]:
        command = pb.GetLazyStateCommand.FromString(payload)
        value = self.state.get(command.key)
        result: dict[str, object] = {"void": True} if value is None else {"value": value}
        return self._append(note(T.GET_LAZY_STATE_COMPLETION, completion_id=command.result_completion_id, **result))

    def on_keys(self, payload: bytes) -> list[Frame]:
        key = pb.GetLazyStateKeysCommand.FromString(payload).result_completion_id
        return self._append(note(T.GET_LAZY_STATE_KEYS_COMPLETION, completion_id=key, keys=sorted(self.state)))

    def on_get_promise(self, payload: bytes) -> list[Frame]:
        command = pb.GetPromiseCommand.FromString(payload)
        self.later(T.GET_PROMISE_COMPLETION, command.result_completion_id)
        return []

    def on_peek(self, payload: bytes) -> list[Frame]:
        key = pb.PeekPromiseCommand.FromString(payload).result_completion_id
        result = self._result() if self.draw.random() < 0.5 else {"void": True}
        return self._append(note(T.PEEK_PROMISE_COMPLETION, completion_id=key, **result))

    def on_complete(self, payload: bytes) -> list[Frame]:
        key = pb.CompletePromiseCommand.FromString(payload).result_completion_id
        result: dict[str, object] = {"void": True} if self.draw.random() < 0.7 else {"failure": (409, "complete")}
        return self._append(note(T.COMPLETE_PROMISE_COMPLETION, completion_id=key, **result))


def _nothing(server: Server, payload: bytes) -> list[Frame]:
    return []


_STORED: dict[int, Callable[[Server, bytes], list[Frame]]] = {
    T.CALL: Server.on_call,
    T.ONE_WAY_CALL: Server.on_send,
    T.SLEEP: Server.on_sleep,
    T.ATTACH_INVOCATION: Server.on_attach,
    T.SET_STATE: Server.on_set,
    T.CLEAR_STATE: Server.on_clear,
    T.CLEAR_ALL_STATE: Server.on_clear_all,
    T.GET_LAZY_STATE: Server.on_get,
    T.GET_LAZY_STATE_KEYS: Server.on_keys,
    T.GET_PROMISE: Server.on_get_promise,
    T.PEEK_PROMISE: Server.on_peek,
    T.COMPLETE_PROMISE: Server.on_complete,
}


class ServerLink:
    """One attempt's stream to that server."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._inbox: list[Frame] = []
        self._closed = False
        self._receives = 0
        state = server.state if server.draw.random() < 0.5 else None
        self._inbox += [start_frame(len(server.entries), state), *server.entries]
        server.last = None

    async def send(self, frames: Sequence[Frame]) -> None:
        """Store what is said; what it makes at once comes back, while the stream is open."""
        assert self._server.last is None, "nothing follows the last word"
        for frame in frames:
            answers = self._server.store(frame)
            if not self._closed:
                self._inbox += answers

    async def receive(self) -> Sequence[Frame] | None:
        """What there is, a part of it, or the end of the stream."""
        draw = self._server.draw
        self._receives += 1
        if self._receives > RECEIVES_MAX:
            raise Stuck("the attempt asks for more and more input")
        if not self._inbox:
            if draw.random() < 0.4:
                self._closed = True
            else:
                self._inbox += self._server.answer_some()
        if self._closed and not self._inbox:
            return None
        size = draw.randint(1, len(self._inbox)) if self._inbox else 0
        frames, self._inbox = self._inbox[:size], self._inbox[size:]
        return frames


async def attempt(played: Played, failures: Failures, link: Link, host: FakeHost) -> None:
    """Play one attempt to its end.  Raises Stuck when it waits for what will never come."""
    done = False
    app, version = played.app(failures), played.version

    async def play() -> None:
        nonlocal done
        async with anyio.create_task_group() as tasks:
            host.tasks = tasks
            await app.attempt(service="Flow", handler="run", version=version, link=link, host=host)
        done = True
        everything.cancel_scope.cancel()

    async with anyio.create_task_group() as everything:
        everything.start_soon(play)
        await wait_all_tasks_blocked()
        if not done:
            raise Stuck("the attempt waits, and nothing will wake it")


async def make(played: Played, seed: int) -> Journal:
    """The journal of what is *played*, until it ends or fails for now.  Raises Stuck after too many attempts."""
    server = Server(random.Random(seed))
    failures = Failures()
    for _ in range(ATTEMPTS_MAX):
        host = FakeHost()
        await attempt(played, failures, ServerLink(server), host)
        assert host.hazards == [], host.hazards
        assert server.last is not None, "an attempt ends with a last word"
        if server.last.type == T.END or is_planned_end(server.last):
            return Journal(tuple(server.entries), server.last)
        if server.last.type == T.SUSPENSION:
            server.resume(pb.Suspension.FromString(server.last.payload))
    raise Stuck(f"{ATTEMPTS_MAX} attempts, and no end: {server.last}")


def is_planned_end(last: Frame) -> bool:
    """Whether the program failed as it wanted to, and would again.  Any other failure is none of this server's."""
    if last.type != T.ERROR:
        return False
    error = pb.Error.FromString(last.payload)
    assert PLANNED in error.message or error.code == UNSUPPORTED, error
    return "once more" not in error.message
