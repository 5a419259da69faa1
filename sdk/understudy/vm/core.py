"""The sans-IO heart of an attempt: frames in, frames out, replay cursor, awaits.  It never awaits and reads no clock.

`VM` in `vm.py` adds the operations; this half knows nothing of what a single command means.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from enum import Enum, auto
from typing import Final, NoReturn

from understudy.protocol import service_pb2 as pb
from understudy.protocol.framing import Frame
from understudy.protocol.messages import COMMAND_FIRST, CUSTOM_FIRST, NOTIFICATION_FIRST
from understudy.vm import awaits, codes
from understudy.vm.awaits import CANCEL, Combinator, Leaf, Node, Result, Tree
from understudy.vm.errors import (
    AttemptAborted,
    AttemptEnded,
    AttemptFinished,
    AttemptSuspended,
    InternalError,
    JournalMismatch,
    ProtocolViolation,
    RelatedCommand,
    VmError,
)
from understudy.vm.journal import decode, decode_notification, decode_plain, describe, same_command, type_name
from understudy.vm.runs import Run, RunStanding
from understudy.vm.states import TRANSITIONS, Event, State

VERSIONS: Final = (5, 6)


_URGENT: Final = (
    codes.CALL,
    codes.ONE_WAY_CALL,
    codes.SEND_SIGNAL,
    codes.COMPLETE_AWAKEABLE,
    codes.COMPLETE_PROMISE,
)


class Answer(Enum):
    """What an await has come to."""

    COMPLETED = auto()
    """The tree is resolved: take the results."""
    WAIT = auto()
    """Flush the output, then wait for input or for an executing run."""
    EXECUTE = auto()
    """Execute the runs of `take_runs()` and report each, then ask again."""
    CANCELLED = auto()
    """The invocation was cancelled: the await fails and the handler may clean up."""
    SUSPENDED = auto()
    """The attempt gave up its slot: flush the output and stop."""


# Members by name: an enum looks its attributes up slowly before Python 3.12.
_WAITING_START: Final = State.WAITING_START
_WAITING_REPLAY: Final = State.WAITING_REPLAY
_REPLAYING: Final = State.REPLAYING
_PROCESSING: Final = State.PROCESSING
_CLOSED: Final = State.CLOSED
_ISSUED: Final = RunStanding.ISSUED
_EXECUTING: Final = RunStanding.EXECUTING


class Core:
    """State, input, output and awaits of one attempt.  Subclassed by `VM` alone."""

    def __init__(self, version: int, *, compares_values: bool = True) -> None:
        assert version in VERSIONS, f"protocol version {version} is not one of {VERSIONS}"
        self.version: Final = version
        self._compares_values: Final = compares_values
        self._state: State = _WAITING_START
        self._start = pb.Start()
        self._known_entries_left = 0
        self._commands: deque[Frame] = deque()
        self._pending: deque[tuple[Leaf, Result]] = deque()
        # What is in `_pending`, by key.
        self._known: set[Leaf] = set()
        self._ready: dict[Leaf, Result] = {}
        # Named signals that came while an earlier one of their name was not taken yet.
        self._signals_kept: dict[Leaf, deque[Result]] = {}
        self._output: list[Frame] = []
        self._is_urgent = False
        self._input_closed = False
        self._end: AttemptEnded | None = None
        self._command_index = -1
        self._commands_issued = 0
        self._runs: dict[int, Run] = {}
        self._runs_to_execute: list[int] = []
        # Calls made, by the id of their invocation-id completion, in issue order: the ones a cancel goes on to.
        self._children: dict[int, str | None] = {}
        self._cancelling = False

    @property
    def state(self) -> State:
        """Where the attempt is."""
        return self._state

    @property
    def is_ready_to_run(self) -> bool:
        """Whether the whole journal is here, so that the handler may begin."""
        return self._state is _REPLAYING or self._state is _PROCESSING

    @property
    def is_replaying(self) -> bool:
        """Whether operations still come from the journal."""
        return self._state is _REPLAYING

    @property
    def is_closed(self) -> bool:
        """Whether the last message is written or the attempt was cut off."""
        return self._state is _CLOSED

    @property
    def is_input_closed(self) -> bool:
        """Whether the server will send nothing more."""
        return self._input_closed

    @property
    def end(self) -> AttemptEnded | None:
        """How the attempt ended, None while it goes on."""
        return self._end

    # -- transitions --

    def _advance(self, event: Event) -> None:
        """Take *event*, which the caller knows to be allowed."""
        following = TRANSITIONS[self._state].get(event)
        assert following is not None, f"{event!r} cannot happen in {self._state!r}"
        self._state = following

    def _accept(self, event: Event, what: str, type_: int = 0) -> None:
        """Take *event*, which the peer caused.  Raises ProtocolViolation, with *type_* in *what*, if it must not be."""
        following = TRANSITIONS[self._state].get(event)
        if following is None:
            sent = what.format(type_name(type_))
            self.fail(ProtocolViolation(f"the server sent {sent} while the attempt is {self._state.name.lower()}"))
        self._state = following

    def fail(self, error: VmError) -> NoReturn:
        """End the attempt with *error*: one Error message, then nothing.  Always raises what ended the attempt."""
        if self._state is _CLOSED:
            self._raise_closed()
        self._advance(Event.FAILED)
        self._end = error
        message = pb.Error(code=error.code, message=error.message, stacktrace=error.stacktrace)
        if error.related is not None:
            message.related_command_index = error.related.index
            message.related_command_type = error.related.type
            if error.related.name:
                message.related_command_name = error.related.name
        if error.next_retry_delay_ms is not None:
            message.next_retry_delay = error.next_retry_delay_ms
        self._output.append(Frame(codes.ERROR, message.SerializeToString()))
        raise error

    def abort(self) -> None:
        """Cut the attempt off: nothing is written any more, not even what is buffered."""
        if self._end is None:
            self._end = AttemptAborted("the attempt was cut off from outside")
        self._advance(Event.ABORTED)
        self._output.clear()

    def _raise_closed(self) -> NoReturn:
        """Raise how the attempt ended, afresh (a traceback belongs to one raise)."""
        end = self._end
        assert end is not None, "a closed attempt knows how it ended"
        if isinstance(end, VmError):
            raise end
        raise type(end)(*end.args)

    # -- input and output --

    def notify_input(self, frames: Sequence[Frame]) -> None:
        """Take *frames* from the server.  Raises VmError when they are not what the protocol allows."""
        for frame in frames:
            type_, payload, _flags = frame
            if self._state is _CLOSED:
                return
            if COMMAND_FIRST <= type_ < CUSTOM_FIRST:
                if self._state is _WAITING_REPLAY:
                    self._collect(frame)
                elif type_ >= NOTIFICATION_FIRST:
                    self._on_notification(type_, payload)
                else:
                    self._accept(Event.COMMAND_RECEIVED, "a {} command", type_)
            elif type_ == codes.START:
                self._on_start(payload)
            else:
                self.fail(ProtocolViolation(f"the server sent a {type_name(type_)} message, which no server sends"))

    def notify_input_closed(self) -> None:
        """The server has closed its side.  Raises ProtocolViolation when the journal was not complete."""
        self._input_closed = True
        self._accept(Event.INPUT_CLOSED, "the end of its stream")

    def take_output(self) -> list[Frame]:
        """The frames to hand to the server now, in order; they are ours no more."""
        output = self._output
        self._output = []
        self._is_urgent = False
        return output

    @property
    def has_output(self) -> bool:
        """Whether frames wait to be taken."""
        return bool(self._output)

    @property
    def has_urgent_output(self) -> bool:
        """Whether frames wait that start work elsewhere: they should not lie here while a run executes."""
        return self._is_urgent

    def _on_start(self, payload: bytes) -> None:
        self._accept(Event.START_RECEIVED, "a second start message")
        try:
            start = decode(codes.START, payload)
        except VmError as error:
            self.fail(error)
        assert isinstance(start, pb.Start)
        if start.known_entries == 0:
            self.fail(InternalError("the server sent a start message with no known entries, expected 1 or more"))
        self._start = start
        self._known_entries_left = start.known_entries
        self._on_started(start)

    def _on_started(self, start: pb.Start) -> None:
        """For the half that keeps state."""

    def _collect(self, frame: Frame) -> None:
        """One more known entry.  Here both kinds of them leave the state as it is: see the table."""
        if frame[0] < NOTIFICATION_FIRST:
            self._commands.append(frame)
        else:
            self._keep(frame[0], frame[1])
        left = self._known_entries_left = self._known_entries_left - 1
        assert left >= 0, "known entries are counted down to zero once"
        if not left:
            if not self._commands or self._commands[0].type != codes.INPUT:
                self.fail(ProtocolViolation("the server sent a journal that does not begin with the input"))
            self._advance(Event.JOURNAL_RECEIVED)

    def _on_notification(self, type_: int, payload: bytes) -> None:
        self._accept(Event.NOTIFICATION_RECEIVED, "a {} notification", type_)
        self._keep(type_, payload)

    def _keep(self, type_: int, payload: bytes) -> None:
        """A notification, until an await makes it visible."""
        note = decode_plain(payload)
        if note is None:
            try:
                note = decode_notification(type_, payload)
            except VmError as error:
                self.fail(error)
        self._pending.append(note)
        self._known.add(note[0])

    # -- the replay cursor --

    def _command(self, type_: int, payload: bytes, name: str = "") -> None:
        """Issue a command, or check it against the recorded one.  Raises JournalMismatch."""
        if self._state is _PROCESSING:
            self._command_index += 1
            self._issue(type_, payload)
            return
        recorded_type, recorded, _flags = self._take_recorded(type_, name)
        if recorded == payload and recorded_type == type_:
            return
        try:
            is_same = recorded_type == type_ and same_command(
                type_, recorded, payload, compares_values=self._compares_values
            )
        except VmError as error:
            self.fail(error)  # What was recorded cannot be read.
        if not is_same:
            self._mismatch(type_, payload, name, recorded_type, recorded)

    def _issue(self, type_: int, payload: bytes) -> None:
        self._commands_issued += 1
        if type_ in _URGENT:
            self._is_urgent = True
        self._output.append(Frame(type_, payload))

    def _take_recorded(self, type_: int, name: str) -> Frame:
        """The recorded command an operation has to equal.  Advances the cursor."""
        if self._state is not _REPLAYING:
            self._operation_out_of_place(type_, name)
        self._command_index += 1
        recorded = self._commands.popleft()
        if not self._commands:  # A command that is not the last one leaves the state as it is: see the table.
            self._advance(Event.JOURNAL_REPLAYED)
        return recorded

    def _operation_out_of_place(self, type_: int, name: str) -> NoReturn:
        if self._state is _CLOSED:
            self._raise_closed()
        raise AssertionError(f"{type_name(type_)} {name!r} was issued while {self._state.name.lower()}")

    def _mismatch(self, type_: int, payload: bytes, name: str, recorded_type: int, recorded: bytes) -> NoReturn:
        index = self._command_index
        try:
            found = describe(recorded_type, recorded)
        except (VmError, ValueError):
            found = type_name(recorded_type)
        attempted = describe(type_, payload)
        self.fail(
            JournalMismatch(
                f"the handler's step {index} is {attempted}, but the journal of the earlier attempt has {found} there. "
                "The code changed while this invocation was in flight, or it depends on something that differs "
                "between attempts (a clock, randomness, a global, an unordered collection) outside ctx.run.",
                related=RelatedCommand(index, type_, name),
            )
        )

    # -- awaits --

    def is_ready(self, key: Leaf) -> bool:
        """Whether the result of *key* has become visible."""
        return key in self._ready

    def take(self, key: Leaf) -> Result:
        """The visible result of *key*; it is the caller's now."""
        result = self._ready.pop(key)
        if self._signals_kept and key in self._signals_kept:
            kept = self._signals_kept[key]
            self._ready[key] = kept.popleft()
            if not kept:
                del self._signals_kept[key]
        return result

    def take_if_next(self, key: Leaf) -> Result | None:
        """The result of *key* if it is visible or would be next; it is the caller's now.  None: see `do_await`."""
        if self._state is _CLOSED or self._cancelling:
            return None
        if key in self._ready:
            return self.take(key)
        pending = self._pending
        if not pending or pending[0][0] != key:
            return None
        result = pending.popleft()[1]
        self._see(key, result)
        return result

    def _see(self, key: Leaf, result: Result) -> None:
        """A notification becomes visible."""
        self._known.discard(key)
        if key in self._runs:
            del self._runs[key]
        elif key in self._children:
            self._know_child(key, result)

    def _keep_signal(self, key: Leaf, result: Result) -> None:
        """A signal came while an earlier one has not been taken.  An awakeable is completed once, a name repeats."""
        if isinstance(key, str):
            self._signals_kept.setdefault(key, deque()).append(result)

    def give_back(self, key: Leaf, result: Result) -> None:
        """Make a result that was taken visible again, for a later await."""
        if key in self._ready:
            self._signals_kept.setdefault(key, deque()).appendleft(self._ready[key])
        self._ready[key] = result

    def refuse_result(self, key: Leaf, kind: str, expected: str) -> NoReturn:
        """The server answered the step of *key* with a *kind* of result it cannot have.  Always raises."""
        self.fail(ProtocolViolation(f"the server sent the result of {key!r} as {kind}, expected {expected}"))

    def do_await(self, tree: Tree) -> Answer:
        """Find out how an await on *tree* stands.  Raises what ended the attempt, or JournalMismatch.

        Notifications become visible one by one in journal order, so that a race has the same winner in every
        replay.
        """
        if self._state is not _PROCESSING and self._state is not _REPLAYING:
            self._await_out_of_place(tree)
        if not self._cancelling:
            answer = self._progress(tree)
            if answer is not Answer.CANCELLED:
                return answer
            self._cancelling = True
        return self._cancel_children()

    def _await_out_of_place(self, tree: Tree) -> NoReturn:
        if self._state is _CLOSED:
            self._raise_closed()
        raise AssertionError(f"{tree!r} was awaited while {self._state.name.lower()}")

    def _progress(self, tree: Tree) -> Answer:
        ready = self._ready
        pending = self._pending
        cancellable = not self._cancelling
        is_node = isinstance(tree, Node)
        while not (awaits.is_complete(tree, ready) if is_node else tree in ready):
            if not pending:
                return self._unresolved(tree)
            key, result = pending.popleft()
            if key in ready:
                self._keep_signal(key, result)
                continue
            ready[key] = result
            self._see(key, result)
            if key == CANCEL and cancellable:
                return Answer.CANCELLED
        return Answer.COMPLETED

    def _know_child(self, key: Leaf, result: Result) -> None:
        kind, invocation_id = result
        if kind != "invocation_id":
            self.refuse_result(key, kind, "invocation_id")
        assert isinstance(key, int), key
        self._children[key] = str(invocation_id)

    def _unresolved(self, tree: Tree) -> Answer:
        runs = self._runs_in(tree) if self._runs else ()
        if self._state is _REPLAYING:
            self._await_mismatch(runs)
        to_execute = []
        for key in runs:
            run = self._runs[key]
            if run.standing is _ISSUED:
                run.standing = _EXECUTING
                to_execute.append(key)
        if to_execute:
            self._runs_to_execute = to_execute
            return Answer.EXECUTE
        if not self._input_closed or any(self._runs[key].standing is _EXECUTING for key in runs):
            return Answer.WAIT
        self._suspend(tree)
        return Answer.SUSPENDED

    def _runs_in(self, tree: Tree) -> list[int]:
        if isinstance(tree, int):
            return [tree] if tree in self._runs else []
        return [key for key in awaits.leaves(tree) if isinstance(key, int) and key in self._runs]

    def take_runs(self) -> list[int]:
        """The completion ids of the runs an EXECUTE answer asks for."""
        runs, self._runs_to_execute = self._runs_to_execute, []
        assert runs, "only after an EXECUTE answer"
        return runs

    def _await_mismatch(self, runs: Sequence[int]) -> NoReturn:
        recorded_type, recorded, _flags = self._commands[0]
        related = None
        if runs:
            run = self._runs[runs[0]]
            related = RelatedCommand(run.command_index, codes.RUN, run.name)
        try:
            found = describe(recorded_type, recorded)
        except (VmError, ValueError):
            found = type_name(recorded_type)
        self.fail(
            JournalMismatch(
                f"the handler awaits something after step {self._command_index} that the journal has no result for, "
                f"although the earlier attempt went on to {found}. The code changed while this invocation was in "
                "flight (an await was added), or what it awaits differs between attempts.",
                related=related,
            )
        )

    def _suspend(self, tree: Tree) -> None:
        left = awaits.shave(tree, self._ready)
        assert left is not None, "a resolved await does not suspend"
        # Every await includes the cancel signal; a bare leaf sits beside it, a combinator under it.
        message = pb.Suspension()
        for key in awaits.leaves(Node(Combinator.FIRST_COMPLETED, (left, CANCEL))):
            if isinstance(key, str):
                message.waiting_named_signals.append(key)
            elif key > 0:
                message.waiting_completions.append(key)
            else:
                message.waiting_signals.append(-key)
        self._advance(Event.SUSPENDED)
        self._end = AttemptSuspended("the attempt is suspended until something it waits for arrives")
        self._output.append(Frame(codes.SUSPENSION, message.SerializeToString()))

    def _cancel_children(self) -> Answer:
        """Pass the cancel on to every call made, then consume it.  May itself have to wait for their ids."""
        for key, invocation_id in self._children.items():
            if invocation_id is None:
                answer = self._progress(key)
                if answer is not Answer.COMPLETED:
                    return answer
                if self._children[key] is None:  # The id came before its call was made.
                    self._know_child(key, self._ready[key])
        for invocation_id in self._children.values():
            assert invocation_id is not None, "ids were awaited above"
            payload = pb.SendSignalCommand(target_invocation_id=invocation_id, idx=1, void=pb.Void())
            self._command(codes.SEND_SIGNAL, payload.SerializeToString())
        self._children.clear()
        del self._ready[CANCEL]
        self._cancelling = False
        return Answer.CANCELLED

    # -- the end --

    def sys_end(self) -> None:
        """The result was put out; say so.  Raises JournalMismatch when the journal knows of more steps."""
        if self._state is _CLOSED:
            self._raise_closed()
        if self._state is not _PROCESSING:
            self.fail(ProtocolViolation("the journal continues after the invocation's output"))
        self._advance(Event.ENDED)
        self._end = AttemptFinished("the invocation has finished: its context cannot be used any more")
        self._output.append(Frame(codes.END, b""))
