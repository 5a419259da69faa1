"""P6, replay closure: a cold replay of every journal prefix leads to the same next command or the same await.

Some invocations of a run are looked at when all is quiet, each with the code that recorded it.  A prefix is replayed
with the state folded to where it ends and no step's function executed.  What the code does then and what the journal
says next must agree: one of them goes on from where the other ends.  Where the replay waits although the journal goes
on, what it waits for must have come before the next command.  Wake-up and invoke times are not compared, and where a
shared handler reads a state that others have written meanwhile, no more is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

import attrs
from understudy.protocol import service_pb2 as pb
from understudy.protocol.framing import Frame
from understudy.protocol.messages import MessageType, is_command, is_notification
from understudy.replaying import Awaited, Command, Ended, ForeignAwait, Recorded, Replayed, commands_of, replay
from understudy.vm.awaits import CANCEL
from understudy.vm.journal import decode_notification, same_command
from understudy_runtime.model.commands import AttemptOutput
from understudy_runtime.model.invocation import Entry, HandlerType, ServiceType, Status

from understudy_sim.kernel.choices import mixed
from understudy_sim.stage.happenings import Deployed, Step
from understudy_sim.stage.watch import Handler, Property

if TYPE_CHECKING:
    from understudy.endpoint import App

    from understudy_sim.stage.application import Application

# One invocation in so many is kept; of those, as many as these replays last for are looked at.
ONE_IN: Final = 3
REPLAYS_MAX: Final = 24
# A journal up to here is replayed from its every prefix, a longer one from so many.
WHOLE_ENTRIES_MAX: Final = 8
PREFIXES: Final = 4
# Where the application under rehearsal is imported once more: what a replay does to its globals meets no endpoint.
PLACE: Final = "replays"
NOT_BEGUN: Final = (Status.SCHEDULED, Status.INBOXED, Status.COMPLETED)
EAGER_READS: Final = (MessageType.GET_EAGER_STATE, MessageType.GET_EAGER_STATE_KEYS)
READS: Final = (*EAGER_READS, MessageType.GET_LAZY_STATE, MessageType.GET_LAZY_STATE_KEYS)


@attrs.define(eq=False)
class Kept:
    """An invocation to be looked at: what the log has said of it, and its key's state when it began."""

    invocation_id: str
    service: str
    handler: str
    key: str
    random_seed: int
    reads_may_differ: bool
    has_state: bool
    salt: int
    state: dict[bytes, bytes]
    entries: Sequence[Entry]
    tail: tuple[Entry, ...] = ()  # commands of the record it ended with, where its journal was let go
    deployment_id: str = ""
    protocol_version: int = 0

    def frames(self) -> tuple[Frame, ...]:
        """The journal, as far as it is known."""
        known = [Frame(entry.type, entry.payload) for entry in self.entries]
        tail = [Frame(entry.type, entry.payload) for entry in self.tail]
        commands = [frame for frame in known if is_command(frame.type)]
        is_there = bool(tail) and commands[-len(tail) :] == tail
        return tuple(known if is_there else [*known, *tail])


class ReplayClosure(Property):
    number: ClassVar[str] = "P6"
    claim: ClassVar[str] = "every journal prefix is replayed to the same next step"

    # The versions of the application with their addresses, in the order they are deployed; whoever runs it sets them.
    applications: Sequence[tuple[str, Application]] = ()

    def handlers(self) -> Mapping[type, Handler]:
        self._kept: dict[tuple[str, int], Kept | None] = {}
        self._addresses: dict[str, dict[str, None]] = {}
        self._loaded: dict[int, App] = {}
        self._replays = 0
        return {Step: self._step, Deployed: self._deployed}

    def _deployed(self, event: Deployed) -> None:
        self._addresses.setdefault(event.deployment_id, {})[event.address] = None

    # --- while it runs: remember ---------------------------------------------------------------------------

    def _step(self, step: Step) -> None:
        tables = self.truth.tables[step.partition]
        assert tables is not None, "P6: records are applied to tables"
        for id_ in step.effects.invocations:
            found = tables.invocation(id_)
            if found is None:
                self._ended(step, id_)
                continue
            place = (id_, found.birth)
            if place not in self._kept:
                if found.status in NOT_BEGUN:
                    continue  # What others write meanwhile it will read.
                self._kept[place] = self._keep(step, found)
            kept = self._kept[place]
            if kept is None:
                continue
            if found.status is Status.COMPLETED:
                self._ended(step, id_)
                continue
            kept.entries = tables.entries(found)
            kept.deployment_id, kept.protocol_version = found.deployment_id, found.protocol_version

    def _keep(self, step: Step, found: Any) -> Kept | None:
        salt = mixed(step.record.time_ms, step.record.lsn)
        if salt % ONE_IN:
            return None
        target = found.target
        model = self.truth.models[step.partition]
        state = model.state.get((target.service, target.key or ""), {})
        return Kept(
            invocation_id=found.id,
            service=target.service,
            handler=target.handler,
            key=target.key or "",
            random_seed=found.random_seed,
            reads_may_differ=found.handler_type is HandlerType.SHARED,
            has_state=found.service_type is not ServiceType.SERVICE,
            salt=salt,
            state=dict(state),
            entries=(),
        )

    def _ended(self, step: Step, id_: str) -> None:
        """Its journal may have gone with this record: what the record itself says is the rest of it."""
        command = step.record.command
        if type(command) is not AttemptOutput or command.invocation_id != id_:
            return
        kept = self._kept.get((id_, command.birth))
        if kept is not None and not kept.tail:
            kept.tail = tuple(one.entry for one in command.entries if is_command(one.entry.type))
            kept.deployment_id = kept.deployment_id or command.deployment_id
            kept.protocol_version = kept.protocol_version or command.protocol_version

    # --- when all is quiet: replay -------------------------------------------------------------------------

    def finish(self) -> None:
        """Replay as many as there is time for."""
        kept = [one for one in self._kept.values() if one is not None and one.deployment_id]
        for one in sorted(kept, key=lambda one: (one.salt, one.invocation_id)):
            if self._replays >= REPLAYS_MAX:
                return
            app = self._app(one.deployment_id)
            if app is not None:
                self._look(one, app)

    def _app(self, deployment_id: str) -> App | None:
        """The code that deployment runs; None when it has run several."""
        addresses = self._addresses.get(deployment_id, {})
        if len(addresses) > 1:
            return None
        wanted = next(iter(addresses), None)
        for index, (address, application) in enumerate(self.applications):
            if application.is_guest:
                continue  # Its handlers cannot be replayed by our SDK.
            if address == wanted or (wanted is None and len(self.applications) == 1):
                if index not in self._loaded:
                    self._loaded[index] = application.load(f"{PLACE} {index}")
                return self._loaded[index]
        return None

    def _look(self, kept: Kept, app: App) -> None:
        frames = kept.frames()
        if not frames or frames[0].type != MessageType.INPUT:
            return  # It was ended before anything of it could be seen.
        for length in prefixes(len(frames), kept.salt):
            self._replays += 1
            recorded = Recorded(
                service=kept.service,
                handler=kept.handler,
                invocation_id=kept.invocation_id,
                frames=frames[:length],
                key=kept.key,
                random_seed=kept.random_seed,
                protocol_version=kept.protocol_version,
                state=tuple(sorted(folded(kept.state, frames[:length]).items())),
                state_complete=kept.has_state,
            )
            found = replay(app, recorded)
            if isinstance(found.fate, ForeignAwait):
                continue  # P13 says so.
            self.hit("prefixes replayed")
            what = disagreement(
                found, frames[length:], compares_values=app.codec is None, reads_may_differ=kept.reads_may_differ
            )
            if what:
                self.broken(
                    f"{kept.invocation_id} ({kept.service}/{kept.handler}), replayed from {length} of "
                    f"{len(frames)} entries: {what}",
                    kept.invocation_id,
                )
                return


def prefixes(length: int, salt: int) -> list[int]:
    """How long the prefixes of a journal are that are looked at: all of them, or the first, the last and some."""
    if length <= WHOLE_ENTRIES_MAX:
        return list(range(1, length + 1))
    drawn = dict.fromkeys(2 + mixed(salt, n) % (length - 2) for n in range(1, PREFIXES - 1))
    return sorted({1: None, **drawn, length: None})


def folded(state: Mapping[bytes, bytes], frames: Sequence[Frame]) -> dict[bytes, bytes]:
    """*state* after the writes among *frames*."""
    found = dict(state)
    for type_, payload, _ in frames:
        if type_ == MessageType.SET_STATE:
            written = pb.SetStateCommand.FromString(payload)
            found[written.key] = written.value.content
        elif type_ == MessageType.CLEAR_STATE:
            found.pop(pb.ClearStateCommand.FromString(payload).key, None)
        elif type_ == MessageType.CLEAR_ALL_STATE:
            found.clear()
    return found


def disagreement(found: Replayed, rest: Sequence[Frame], *, compares_values: bool, reads_may_differ: bool) -> str:
    """What differs between a replay and the *rest* of the journal; empty when they agree."""
    wanted = commands_of(rest)
    if not found.fits:
        return f"{found.fate}"
    for done, recorded in zip(found.commands, wanted, strict=False):
        if done.type in READS and recorded.type in READS:
            agree = _same_read(done, recorded)
            # What a late read was told stands in no command: others may have written before it.
            if reads_may_differ and (agree is None or done.type != recorded.type):
                return ""
            agree = bool(agree)
        else:
            agree = done.type == recorded.type and same_command(
                done.type, recorded.payload, done.payload, compares_values=compares_values
            )
        if not agree:
            return f"it goes on with {_told(done, recorded)}, the journal with {_told(recorded, done)}"
    if len(found.commands) >= len(wanted):
        return ""
    following = wanted[len(found.commands)]
    if isinstance(found.fate, Ended):
        return f"it has ended, the journal goes on with {following.words}"
    if not isinstance(found.fate, Awaited):
        return f"{found.fate}, the journal goes on with {following.words}"
    came = dict.fromkeys(_notified(rest, len(found.commands)))
    if any(key in came for key in (*found.fate.keys, CANCEL)):
        return ""
    return f"it waits for {' or '.join(found.fate.lines)}, which the journal did not for {following.words}"


def _told(one: Command, other: Command) -> str:
    """The step *one*; with its bytes where words do not tell it from the *other*."""
    return one.words if one.words != other.words else f"{one.words}: {one.payload!r}"


def _same_read(done: Command, recorded: Command) -> bool | None:
    """Whether two reads of state ask for the same; None when they do and were told different things."""
    keys = [getattr(_read(one), "key", None) for one in (done, recorded)]
    if keys[0] != keys[1]:
        return False
    if done.type not in EAGER_READS or recorded.type != done.type or done.payload == recorded.payload:
        return True
    return None


def _read(command: Command) -> Any:
    kinds: dict[int, Any] = {
        MessageType.GET_EAGER_STATE: pb.GetEagerStateCommand,
        MessageType.GET_LAZY_STATE: pb.GetLazyStateCommand,
        MessageType.GET_EAGER_STATE_KEYS: pb.GetEagerStateKeysCommand,
        MessageType.GET_LAZY_STATE_KEYS: pb.GetLazyStateKeysCommand,
    }
    return kinds[command.type].FromString(command.payload)


def _notified(rest: Sequence[Frame], commands: int) -> Iterator[int | str]:
    """What the notifications answer that came before the command after *commands* of them."""
    for frame in rest:
        if is_command(frame.type):
            if not commands:
                return
            commands -= 1
        elif is_notification(frame.type):
            yield decode_notification(frame.type, frame.payload)[0]
