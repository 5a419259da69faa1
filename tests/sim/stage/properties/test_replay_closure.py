"""P6 on histories made by hand: a good one, and bad ones of the code's, the SDK's and the journal's making."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import attrs
import pytest
from understudy import App, ObjectContext, ObjectSharedContext, VirtualObject, app, select
from understudy.protocol import service_pb2 as pb
from understudy.protocol.framing import Frame
from understudy.protocol.messages import MessageType as T
from understudy.vm import Answer
from understudy.vm.core import Core
from understudy_runtime.model.commands import AttemptOutput, Finished, ProposedEntry
from understudy_runtime.model.invocation import Entry, HandlerType
from understudy_sim.stage.happenings import Deployed
from understudy_sim.stage.properties.replay_closure import ONE_IN, WHOLE_ENTRIES_MAX, ReplayClosure, folded, prefixes

from tests.runtime.machine.driver import OBJECT, Driver
from tests.sdk.fakes import completed
from tests.sim.stage.properties.stands import Stand

DEPLOYMENT = "dp_1"
ADDRESS = "http://endpoint:9080"
thing = VirtualObject(OBJECT.service)


@thing.handler(OBJECT.handler)
async def race(ctx: ObjectContext) -> str:
    first, _ = await select(one=ctx.sleep(timedelta(1)), two=ctx.sleep(timedelta(1)))
    before = await ctx.get("winner", type_hint=str)
    ctx.set("winner", first)
    return f"{before} then {first}"


def frame(type_: T, message: Any) -> Frame:
    return Frame(type_, message.SerializeToString())


def sleep(cid: int) -> Frame:
    return frame(T.SLEEP, pb.SleepCommand(wake_up_time=7, result_completion_id=cid))


GET = frame(T.GET_EAGER_STATE, pb.GetEagerStateCommand(key=b"winner", void=pb.Void()))
SET = frame(T.SET_STATE, pb.SetStateCommand(key=b"winner", value=pb.Value(content=b'"two"')))
OUTPUT = frame(T.OUTPUT, pb.OutputCommand(value=pb.Value(content=b'"None then two"')))
SLEPT = (completed(T.SLEEP_COMPLETION, 2), completed(T.SLEEP_COMPLETION, 1))


@attrs.frozen
class Loaded:
    """An application as the property wants it."""

    app: App
    is_guest = False

    def load(self, place: str) -> App:
        return self.app


def judged(stand: Stand, journal: Sequence[Frame], *more: Frame, services: Any = thing, **fields: Any) -> list[str]:
    """What P6 finds in an invocation with *journal* that ends with the commands *more*."""
    driver = Driver()
    id_ = driver.invoke(OBJECT)
    checker = stand.put(ReplayClosure)
    checker.applications = [(ADDRESS, Loaded(app([services])))]  # type: ignore[list-item]
    stand.watch.tell(Deployed(ADDRESS, DEPLOYMENT, (OBJECT.service,)))
    found = driver.tables.invocation(id_)
    assert found is not None
    stand.truth.tables[0] = driver.tables
    for name, value in fields.items():
        setattr(found, name, value)
    found.journal = [*driver.tables.entries(found), *(Entry(one.type, one.payload) for one in journal)]
    found.journal_length, found.deployment_id, found.protocol_version = len(found.journal), DEPLOYMENT, 6
    for salt in range(ONE_IN * 20):
        if (id_, found.birth) in checker._kept and checker._kept[id_, found.birth] is not None:
            break
        checker._kept.clear()
        effects = stand.truth.models[0].effects
        effects.invocations = {id_: None}
        stand.step(driver.records[-1].command, effects=effects, time_ms=salt)
    driver.tables._invocations.pop(id_)
    entries = tuple(ProposedEntry(Entry(one.type, one.payload)) for one in more)
    stand.step(
        AttemptOutput(id_, 1, 1, 1, entries, Finished(), birth=found.birth), effects=stand.truth.models[0].effects
    )
    checker.finish()
    return stand.broken


def test_a_good_history_holds_from_every_prefix() -> None:
    stand = Stand()
    assert judged(stand, (sleep(1), sleep(2), *SLEPT, GET, SET), OUTPUT) == []
    assert stand.watch.hits["P6 prefixes replayed"] == 8


def test_a_step_the_code_does_not_take_is_found() -> None:
    other = frame(T.SET_STATE, pb.SetStateCommand(key=b"loser", value=pb.Value(content=b'"two"')))
    (broken,) = judged(Stand(), (sleep(1), sleep(2), *SLEPT, GET, other), OUTPUT)
    assert "set state 'winner'" in broken
    assert "the journal with set state 'loser'" in broken


def test_a_read_of_another_state_is_found() -> None:
    other = frame(T.GET_EAGER_STATE, pb.GetEagerStateCommand(key=b"winner", value=pb.Value(content=b'"me"')))
    (broken,) = judged(Stand(), (sleep(1), sleep(2), *SLEPT, other), SET)
    assert "get state 'winner'" in broken


def test_a_wait_nothing_ended_is_found() -> None:
    (broken,) = judged(Stand(), (sleep(1), sleep(2), GET, SET), OUTPUT)
    assert "it waits for the result of step" in broken


def test_an_end_before_the_journals_is_found() -> None:
    (broken,) = judged(Stand(), (sleep(1), sleep(2), *SLEPT, GET, SET, OUTPUT), SET)
    assert "it has ended, the journal goes on with set state 'winner'" in broken


def test_a_machine_that_looks_ahead_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commonest bug of replays: a race is decided from all that is known, not from what came first."""
    progress = Core._progress

    def look_ahead(self: Core, tree: Any) -> Answer:
        while self._pending:
            key, result = self._pending.popleft()
            self._ready[key] = result
        return progress(self, tree)

    monkeypatch.setattr(Core, "_progress", look_ahead)
    broken = judged(Stand(), (sleep(1), sleep(2), *SLEPT, GET, SET), OUTPUT)
    assert broken
    assert "two" in broken[0]


def test_a_handler_that_asks_a_global_is_found() -> None:
    moody = VirtualObject(OBJECT.service)
    mood = ["two"]

    @moody.handler(OBJECT.handler)
    async def feels(ctx: ObjectContext) -> None:
        await ctx.sleep(timedelta(1))
        ctx.set("winner", mood[0])
        mood[0] = "three"

    assert judged(Stand(), (sleep(1), completed(T.SLEEP_COMPLETION, 1), SET), services=moody)


def test_a_shared_handler_may_read_what_others_wrote_meanwhile() -> None:
    watcher = VirtualObject(OBJECT.service)

    @watcher.handler(OBJECT.handler, kind="shared")
    async def looks(ctx: ObjectSharedContext) -> str | None:
        return await ctx.get("winner", type_hint=str)

    read = frame(T.GET_EAGER_STATE, pb.GetEagerStateCommand(key=b"winner", value=pb.Value(content=b'"me"')))
    said = frame(T.OUTPUT, pb.OutputCommand(value=pb.Value(content=b'"me"')))
    assert judged(Stand(), (read,), said, services=watcher), "an exclusive one may not"
    assert judged(Stand(), (read,), said, services=watcher, handler_type=HandlerType.SHARED) == []
    late = frame(T.GET_LAZY_STATE, pb.GetLazyStateCommand(key=b"winner", result_completion_id=1))
    told = frame(
        T.GET_LAZY_STATE_COMPLETION,
        pb.Notification(completion_id=1, value=pb.Value(content=b'"me"')),
    )
    assert judged(Stand(), (late, told), said, services=watcher), "an exclusive one may not"
    assert judged(Stand(), (late, told), said, services=watcher, handler_type=HandlerType.SHARED) == []


def test_all_prefixes_of_a_short_journal_and_some_of_a_long_one() -> None:
    assert prefixes(WHOLE_ENTRIES_MAX, 5) == list(range(1, WHOLE_ENTRIES_MAX + 1))
    assert prefixes(1, 5) == [1]
    seen = set()
    for salt in range(300):
        found = prefixes(30, salt)
        assert (found[0], found[-1]) == (1, 30)
        assert 2 < len(found) <= 4
        seen.update(found)
    assert seen == set(range(1, 31))


def test_state_is_folded_from_its_writes() -> None:
    clear = frame(T.CLEAR_STATE, pb.ClearStateCommand(key=b"a"))
    everything = frame(T.CLEAR_ALL_STATE, pb.ClearAllStateCommand())
    assert folded({b"a": b"1"}, (SET,)) == {b"a": b"1", b"winner": b'"two"'}
    assert folded({b"a": b"1"}, (SET, clear)) == {b"winner": b'"two"'}
    assert folded({b"a": b"1"}, (SET, everything)) == {}
