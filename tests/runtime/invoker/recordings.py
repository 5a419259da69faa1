"""Recorded exchanges with the SDK's side played: what a whole node says is held against what a real server said.

A `Player` says the recorded SDK's words in an attempt, each only after the server has said its own before it.  The
`Theatre` gives the node, whenever nothing moves any more, the one thing from outside that the recordings wait for
next: a request, a cancel, a completed awakeable, or time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import attrs
import trio
from trio.testing import MockClock, wait_all_tasks_blocked
from understudy.protocol import service_pb2 as pb
from understudy.protocol.framing import Frame
from understudy.protocol.messages import MessageType as T
from understudy_runtime.limits import Limits
from understudy_runtime.model import ids
from understudy_runtime.model.commands import Cancel, Invoke, Kill, MutateState, Signal
from understudy_runtime.model.invocation import Failure, RetryPolicy, Success, Target
from understudy_runtime.node import Node

from tests.runtime.node.fakes import FakeWorld
from tests.runtime.node.stand import Dialogue

VECTORS = Path(__file__).parents[2] / "vectors"
INACTIVITY_MS = 1_000
RETENTION_MS = 86_400_000
# How far off a recorded time of waking is when its command is said: it comes before or after the inactivity time-out.
SOON_MS = 300
LATER_MS = 1_300
CANCEL = 1
# Completions whose failures the server words itself.
FAILING = (T.COMPLETE_PROMISE_COMPLETION,)
JUMP_S = 0.35
# The recorded server resumes an invocation for ever on a cancel that it has taken already; ours resumes it once.
COMPARED_ATTEMPTS = {("cancel_cleanup_replay", "v6_request_response"): 3}


class Line(NamedTuple):
    """One line of a recording: who spoke, and a frame or what happened to the stream."""

    from_server: bool
    frame: Frame | None
    event: str | None


def parse(line: str) -> Line:
    arrow, first, *rest = line.split(" ")
    if first in ("end", "reset"):
        return Line(arrow == ">", None, first)
    payload = bytes.fromhex(rest[1]) if len(rest) > 1 else b""
    return Line(arrow == ">", Frame(int(first, 16), payload, int(rest[0], 16)), None)


def frames(lines: Sequence[Line], *, from_server: bool) -> list[Frame]:
    return [line.frame for line in lines if line.from_server is from_server and line.frame is not None]


@attrs.define(eq=False)
class Recorded:
    """One invocation as it was recorded, and how far it has been played."""

    id: str
    target: Target
    attempts: list[list[Line]]
    played: int = 0
    is_started: bool = False

    @property
    def input(self) -> pb.InputCommand:
        return pb.InputCommand.FromString(self.attempts[0][1].frame.payload)  # type: ignore[union-attr]

    @property
    def start(self) -> pb.Start:
        return pb.Start.FromString(self.attempts[0][0].frame.payload)  # type: ignore[union-attr]

    def state_before(self) -> tuple[tuple[bytes, bytes], ...]:
        """What its key's state was: sent along, or asked for before anything was written."""
        state = {entry.key: entry.value for entry in self.start.state_map}
        asked: dict[int, bytes] = {}
        for line in (line for attempt in self.attempts for line in attempt if line.frame is not None):
            assert line.frame is not None
            if line.frame.type in (T.SET_STATE, T.CLEAR_STATE, T.CLEAR_ALL_STATE):
                break
            if line.frame.type == T.GET_LAZY_STATE:
                command = pb.GetLazyStateCommand.FromString(line.frame.payload)
                asked[command.result_completion_id] = command.key
            elif line.frame.type == T.GET_LAZY_STATE_COMPLETION:
                note = pb.Notification.FromString(line.frame.payload)
                if note.HasField("value"):
                    state[asked[note.completion_id]] = note.value.content
        return tuple(state.items())

    def said(self) -> Iterator[Frame]:
        """Everything its SDK said, in all attempts."""
        for attempt in self.attempts:
            yield from frames(attempt, from_server=False)


def target_of(text: str) -> Target:
    service, *key, handler = text.split("/")
    return Target(service, handler, key[0] if key else None)


def recorded(scenario: str, variant: str) -> list[Recorded]:
    found = json.loads((VECTORS / f"{scenario}.json").read_text())["variants"][variant]
    recordings = []
    for invocation in found:
        attempts = [[parse(line) for line in attempt] for attempt in invocation["attempts"]]
        one = Recorded(invocation["invocation_id"], target_of(invocation["target"]), attempts)
        del one.attempts[COMPARED_ATTEMPTS.get((scenario, variant), len(attempts)) :]
        if one.start.key and one.target.key is None:
            one.target = attrs.evolve(one.target, key=one.start.key)
        recordings.append(one)
    return recordings


class Aliases:
    """Ids that the node drew itself, and the recorded ones in their place: all ids are equally long."""

    def __init__(self) -> None:
        self._pairs: list[tuple[bytes, bytes]] = []

    def add(self, ours: str, recorded_id: str) -> None:
        if ours != recorded_id and not any(theirs == recorded_id.encode() for _, theirs in self._pairs):
            self._pairs.append((ours.encode(), recorded_id.encode()))
            self._pairs.append((ids.raw_id(ours), ids.raw_id(recorded_id)))

    def to_recorded(self, payload: bytes) -> bytes:
        for ours, theirs in self._pairs:
            payload = payload.replace(ours, theirs)
        return payload

    def to_ours(self, payload: bytes) -> bytes:
        for ours, theirs in self._pairs:
            payload = payload.replace(theirs, ours)
        return payload


def comparable(frame: Frame) -> tuple[int, int, object]:
    """A frame of the server without what only a clock, an id's draw or an author of texts explains."""
    if frame.type in FAILING:
        note = pb.Notification.FromString(frame.payload)
        if note.HasField("failure"):
            note.failure.ClearField("message")
            return frame.type, frame.flags, note.SerializeToString()
    if frame.type != T.START:
        return frame.type, frame.flags, frame.payload
    start = pb.Start.FromString(frame.payload)
    start.ClearField("duration_since_last_stored_entry")
    start.ClearField("random_seed")
    state = sorted((entry.key, entry.value) for entry in start.state_map)
    start.ClearField("state_map")
    return frame.type, frame.flags, (start.SerializeToString(deterministic=True), state)


class Player:
    """Plays the SDK's side of one attempt and keeps what the server said."""

    def __init__(self, recording: Recorded, lines: list[Line], dialogue: Dialogue, theatre: Theatre) -> None:
        self.recording = recording
        self.lines = lines
        self.dialogue = dialogue
        self.theatre = theatre
        self.at = 0

    @property
    def awaited(self) -> Line | None:
        """The server's line that is due, if it is one."""
        line = self.lines[self.at] if self.at < len(self.lines) else None
        return line if line is not None and line.from_server else None

    def heard(self) -> list[Frame]:
        """What the server has said so far, in this attempt."""
        return self.dialogue.all_heard()

    async def play(self) -> None:
        """Raises AssertionError when the server says something else than it was recorded to say."""
        taken = 0
        while self.at < len(self.lines):
            line = self.lines[self.at]
            if not line.from_server:
                if await self._say():
                    break
                continue
            if line.event == "end":
                await self.dialogue.closed()
            elif line.event == "reset":
                await trio.sleep_forever()
            else:
                assert line.frame is not None
                await self._take(taken, line.frame)
                taken += 1
            self.at += 1
        assert len(self.heard()) == taken, f"the server said more: {self.heard()[taken:]}"

    async def _take(self, index: int, expected: Frame) -> None:
        before = 1 + len(self.dialogue.known)
        if index >= before:
            while len(self.dialogue.heard) <= index - before:
                assert not self.dialogue.is_closed, f"the server closed its side instead of saying {expected}"
                await self.dialogue.hear(index - before + 1)
        said = self.heard()[index]
        if said.type == expected.type == T.CALL_INVOCATION_ID_COMPLETION:
            self._name_callee(said, expected)
        said = said._replace(payload=self.theatre.aliases.to_recorded(said.payload))
        found = f"attempt {self.recording.played} of {self.recording.target}, message {index}"
        assert comparable(said) == comparable(expected), (
            f"{found}: {T(said.type)!r} {said.payload!r}, recorded {T(expected.type)!r} {expected.payload!r}"
        )

    def _name_callee(self, said: Frame, expected: Frame) -> None:
        ours, theirs = (pb.Notification.FromString(frame.payload).invocation_id for frame in (said, expected))
        self.theatre.aliases.add(ours, theirs)

    async def _say(self) -> bool:
        """Say all that the SDK says now; whether it was its last word."""
        batch: list[Frame] = []
        while self.at < len(self.lines) and not self.lines[self.at].from_server:
            frame = self.lines[self.at].frame
            if frame is not None:
                self._set_clock(frame)
                batch.append(frame._replace(payload=self.theatre.aliases.to_ours(frame.payload)))
            self.at += 1
        if any(frame.type == T.END for frame in batch):
            await self.theatre.await_turn(self.recording)
        if batch:
            await self.dialogue.say(*batch)
        return any(frame.type in (T.END, T.SUSPENSION, T.ERROR) for frame in batch)

    def _set_clock(self, frame: Frame) -> None:
        """Have the recorded time of waking come when it came in the recording."""
        if frame.type == T.SLEEP:
            command = pb.SleepCommand.FromString(frame.payload)
            if self._sleeps():
                return  # Recorded right after another one: the clock is set already.
            soon = any(self._completes(line, command.result_completion_id) for line in self.lines[self.at :])
            self.theatre.set_wall(command.wake_up_time - (SOON_MS if soon else LATER_MS))
        elif frame.type == T.ONE_WAY_CALL:
            invoke_time = pb.OneWayCallCommand.FromString(frame.payload).invoke_time
            if invoke_time:
                self.theatre.set_wall(invoke_time - LATER_MS)

    def _sleeps(self) -> bool:
        """Whether a sleep was said right before, without a word of the server in between."""
        for line in reversed(self.lines[: self.at]):
            if line.from_server:
                return False
            if line.frame is not None and line.frame.type == T.SLEEP:
                return True
        return False

    @staticmethod
    def _completes(line: Line, completion_id: int) -> bool:
        if line.frame is None or line.frame.type != T.SLEEP_COMPLETION:
            return False
        return pb.Notification.FromString(line.frame.payload).completion_id == completion_id


class Theatre:
    """All recordings of one scenario on one node."""

    def __init__(self, recordings: list[Recorded], world: FakeWorld, clock: MockClock) -> None:
        self.recordings = recordings
        self.world = world
        self.clock = clock
        self.aliases = Aliases()
        self.players: list[Player] = []
        self.node: Node | None = None
        self.given: set[tuple[str, str]] = set()
        self.dialogues: list[Dialogue] = []
        self.turns: list[trio.Event] = []
        world.follows_trio = True

    # -- the clock --

    def set_wall(self, now_ms: int) -> None:
        self.world.wall_ms = now_ms - int(trio.current_time() * 1000)

    # -- attempts --

    async def script(self, dialogue: Dialogue) -> None:
        """One attempt, as the transport runs it."""
        self.dialogues.append(dialogue)
        recording = self._recording_of(dialogue)
        if recording is None or recording.played == len(recording.attempts):
            await trio.sleep_forever()  # A recording that keeps only the first attempts of a long loop.
        assert recording is not None
        lines = recording.attempts[recording.played]
        player = Player(recording, lines, dialogue, self)
        recording.played += 1
        self.players.append(player)
        try:
            await player.play()
        finally:
            self.players.remove(player)

    def _recording_of(self, dialogue: Dialogue) -> Recorded | None:
        known = self.aliases.to_recorded(dialogue.head.invocation_id.encode()).decode()
        for recording in self.recordings:
            if recording.id == known:
                recording.is_started = True
                return recording
        payload = pb.InputCommand.FromString(dialogue.known[0].payload).value.content
        for recording in self.recordings:
            is_same = recording.target == dialogue.head.target and recording.input.value.content == payload
            if is_same and not recording.is_started:
                recording.is_started = True
                self.aliases.add(dialogue.head.invocation_id, recording.id)
                return recording
        return None

    # -- the order of results --

    async def await_turn(self, callee: Recorded) -> None:
        """Wait until the result that reached the same caller before *callee*'s has reached it now."""
        before = self._result_before(callee)
        while before is not None and not self._has_arrived(before):
            self.turns.append(trio.Event())
            await self.turns[-1].wait()

    def _result_before(self, callee: Recorded) -> bytes | None:
        """The completion a caller was recorded to get right before that of *callee*."""
        for caller in self.recordings:
            results: list[tuple[str, bytes]] = []
            for line in (line for attempt in caller.attempts for line in attempt if line.from_server):
                if line.frame is not None and line.frame.type == T.CALL_COMPLETION:
                    owner = self._callee_of(caller, pb.Notification.FromString(line.frame.payload).completion_id)
                    if all(owner != other for other, _ in results):
                        results.append((owner, line.frame.payload))
            for (_, payload), (owner, _) in pairwise(results):
                if owner == callee.id:
                    return payload
        return None

    @staticmethod
    def _callee_of(caller: Recorded, completion_id: int) -> str:
        """Who was called by the command whose result has *completion_id*."""
        calls = [pb.CallCommand.FromString(frame.payload) for frame in caller.said() if frame.type == T.CALL]
        (index,) = {c.invocation_id_notification_idx for c in calls if c.result_completion_id == completion_id}
        for line in (line for attempt in caller.attempts for line in attempt):
            if line.frame is not None and line.frame.type == T.CALL_INVOCATION_ID_COMPLETION:
                note = pb.Notification.FromString(line.frame.payload)
                if note.completion_id == index:
                    return note.invocation_id
        raise AssertionError("every call was told its id")

    def _has_arrived(self, payload: bytes) -> bool:
        return any(frame.payload == payload for dialogue in self.dialogues for frame in dialogue.all_heard())

    # -- what comes from outside --

    @property
    def is_over(self) -> bool:
        return not self.players and all(one.played == len(one.attempts) for one in self.recordings)

    def roots(self) -> list[Recorded]:
        """Invocations nobody in the recordings calls, those that others attach to first."""
        called = [self._called(frame) for one in self.recordings for frame in one.said()]
        attached = [
            pb.AttachInvocationCommand.FromString(frame.payload).invocation_id
            for one in self.recordings
            for frame in one.said()
            if frame.type == T.ATTACH_INVOCATION
        ]
        roots = [one for one in self.recordings if (one.target.service, one.target.handler) not in called]
        return sorted(roots, key=lambda one: one.id not in attached)

    @staticmethod
    def _called(frame: Frame) -> tuple[str, str] | None:
        classes: dict[int, Any] = {T.CALL: pb.CallCommand, T.ONE_WAY_CALL: pb.OneWayCallCommand}
        if frame.type not in classes:
            return None
        command = classes[frame.type].FromString(frame.payload)
        return command.service_name, command.handler_name

    async def direct(self) -> None:
        """Give what is waited for, whenever nothing moves, until all is played."""
        idle = 0
        while not self.is_over:
            await wait_all_tasks_blocked(0.001)
            if self.is_over:
                return
            idle += 1
            assert idle < 200, f"nothing moves: {[(one.target, one.played) for one in self.recordings]}"
            if self.turns:
                self._wake_turns()
            else:
                await self._give_next()

    def _wake_turns(self) -> None:
        turns, self.turns = self.turns, []
        for turn in turns:
            turn.set()

    async def _give_next(self) -> None:
        awaited = [(player, player.awaited) for player in self.players]
        for player, line in awaited:
            if line is not None and await self._give(player.recording, line):
                return
        if not self.players:
            for recording in self.recordings:
                if 0 < recording.played < len(recording.attempts):
                    for line in recording.attempts[recording.played]:
                        if line.from_server and await self._give(recording, line, between=True):
                            return
        pending = [one for one in self.roots() if not one.is_started]
        asleep = any(self._is_clock(line) for _, line in awaited) or self._between_attempts()
        if pending and not asleep:
            await self._request(pending[0])
            return
        self.clock.jump(JUMP_S)

    def _between_attempts(self) -> bool:
        """Whether an invocation waits for time alone before its next attempt."""
        for one in self.recordings:
            if not self.players and 0 < one.played < len(one.attempts):
                known = frames(one.attempts[one.played - 1], from_server=True)
                coming = frames(one.attempts[one.played], from_server=True)
                new = [frame.type for frame in coming if frame not in known and frame.type >= 0x8000]
                if not new or set(new) <= {T.SLEEP_COMPLETION}:
                    return True
        return False

    @staticmethod
    def _is_clock(line: Line | None) -> bool:
        return line is not None and (
            line.event == "end" or (line.frame is not None and line.frame.type == T.SLEEP_COMPLETION)
        )

    async def _give(self, recording: Recorded, line: Line, *, between: bool = False) -> bool:
        """Cause *line* from outside, if it can be caused so and nobody in the recordings does; whether it was."""
        assert self.node is not None
        if line.event == "reset" and not between:
            return await self._once(recording, "kill", Kill(recording.id))
        if line.frame is None or line.frame.type != T.SIGNAL_NOTIFICATION:
            return False
        note = pb.Notification.FromString(line.frame.payload)
        if self._is_sent(recording, note):
            return False
        if note.signal_id == CANCEL:
            return await self._once(recording, "cancel", Cancel(recording.id))
        result = Failure(note.failure.code, note.failure.message) if note.HasField("failure") else None
        if note.HasField("value"):
            return await self._once(
                recording, f"{note.signal_id}", Signal(recording.id, note.signal_id, result=Success(note.value.content))
            )
        return await self._once(recording, f"{note.signal_id}", Signal(recording.id, note.signal_id, result=result))

    def _is_sent(self, recording: Recorded, note: pb.Notification) -> bool:
        """Whether an SDK in the recordings sends this signal."""
        for frame in (frame for one in self.recordings for frame in one.said()):
            if frame.type == T.SEND_SIGNAL:
                sent = pb.SendSignalCommand.FromString(frame.payload)
                same = (sent.idx, sent.name) == (note.signal_id, note.signal_name)
                if sent.target_invocation_id == recording.id and same:
                    return True
            elif frame.type == T.COMPLETE_AWAKEABLE and note.signal_id != CANCEL:
                return True
        return False

    async def _once(self, recording: Recorded, what: str, command: Kill | Cancel | Signal) -> bool:
        assert self.node is not None
        if (recording.id, what) in self.given:
            return False
        self.given.add((recording.id, what))
        await self.node.request(command)
        return True

    async def _request(self, recording: Recorded) -> None:
        """What a client sent to start *recording*."""
        assert self.node is not None
        recording.is_started = True
        target = recording.target
        found = self.node.schema.resolve(target.service, target.handler)
        assert found is not None, "the recorded services are registered"
        service, handler = found
        if target.key is not None and (entries := recording.state_before()):
            await self.node.mutate_state(MutateState(target.service, target.key, entries))
        await self.node.submit(
            Invoke(
                recording.id,
                target,
                service.type,
                handler.type,
                recording.input.value.content,
                headers=tuple((header.key, header.value) for header in recording.input.headers),
                completion_retention_ms=RETENTION_MS,
                journal_retention_ms=RETENTION_MS,
                random_seed=ids.random_seed_for(ids.raw_id(recording.id)),
                retry_policy=RetryPolicy(100),
            )
        )


def limits_of(variant: str) -> Limits:
    """What the recorded server was set to."""
    inactivity_ms = 0 if variant.endswith("request_response") else INACTIVITY_MS
    return Limits(inactivity_timeout_ms=inactivity_ms, log_prewrite_bytes=0)
