"""Restart as new: what the new invocation begins with, which beginnings are none, and that the old one stays."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy.protocol import service_pb2 as pb
from understudy.protocol.messages import MESSAGES, is_command
from understudy_runtime.machine.issued import ISSUED, issued
from understudy_runtime.machine.journal_entries import ENTRY_HANDLERS
from understudy_runtime.machine.restart import part_of
from understudy_runtime.model import ids
from understudy_runtime.model.actions import RequestAcked, StartAttempt
from understudy_runtime.model.commands import Callee, Finished, Kill, ProposedEntry, Purge, RestartAsNew, Signal
from understudy_runtime.model.invocation import Entry, HandlerType, ServiceType, Status, Success, Target

from tests.runtime.machine.driver import OBJECT, RUN, SERVICE, Driver, M, entry, make_id, output, proposed

NEW = make_id(500)
KEPT = {"completion_retention_ms": 60_000, "journal_retention_ms": 60_000}
NAMES = {"service_name": "Greeter", "handler_name": "greet"}


def restarted(driver: Driver, old: str, from_index: int = 0, **fields: object) -> str:
    """The outcome of restarting *old* as NEW."""
    values = {"request_id": 7, "random_seed": 11, **fields}
    found = driver.do(RestartAsNew(old, NEW, from_index=from_index, **values))  # type: ignore[arg-type]
    [ack] = [action for action in found if isinstance(action, RequestAcked)]
    assert (ack.request_id, ack.invocation_id) == (7, old)
    return ack.outcome


def finished(driver: Driver, *entries: ProposedEntry, target: Target = OBJECT, **fields: object) -> str:
    """A completed invocation with these entries and an output, its journal kept."""
    id_ = driver.invoke(target, **{**KEPT, "random_seed": 5, **fields})
    driver.attempt(id_, *entries, output(b"o"), end=Finished())
    return id_


def step(completion_id: int, value: bytes | None = b"r") -> list[ProposedEntry]:
    at = {"result_completion_id": completion_id}
    done = [] if value is None else [proposed(M.PROPOSE_RUN_COMPLETION, value=value, **at)]
    return [proposed(M.RUN, name=f"step {completion_id}", **at), *done]


def types(driver: Driver, invocation_id: str) -> list[int]:
    return [found.type for found in driver.tables.journal(invocation_id)]


def test_the_input_alone_is_a_beginning() -> None:
    driver = Driver()
    old = finished(driver, *step(1), idempotency_key="i")
    journal = list(driver.tables.journal(old))
    assert restarted(driver, old) == "done"
    new = driver.at(NEW)
    assert list(driver.tables.journal(NEW)) == journal[:1]
    assert (new.target, new.status, new.lease, new.command_count) == (OBJECT, Status.INVOKED, 1, 1)
    assert (new.idempotency_key, new.callers, new.deployment_id, new.protocol_version) == (None, [], "", 0)
    assert (new.random_seed, new.completion_retention_ms, new.journal_retention_ms) == (11, 60_000, 60_000)
    assert list(driver.tables.journal(old)) == journal, "the old one is left alone"
    assert driver.at(old).result == Success(b"o")


def test_a_part_keeps_what_it_got_later_its_seed_and_its_deployment() -> None:
    driver = Driver()
    callee = driver.id()
    old = driver.invoke(OBJECT, **KEPT, random_seed=5)
    names = {**NAMES, "invocation_id_notification_idx": 1, "result_completion_id": 2}
    driver.attempt(old, proposed(M.CALL, Callee(callee), **names), *step(3))
    driver.finish(callee, b"called")
    driver.finish(old)
    wanted = [M.INPUT, M.CALL, M.CALL_INVOCATION_ID_COMPLETION, M.RUN, M.RUN_COMPLETION, M.CALL_COMPLETION, M.OUTPUT]
    assert types(driver, old) == wanted
    assert restarted(driver, old, 1) == "done"
    assert types(driver, NEW) == [M.INPUT, M.CALL, M.CALL_INVOCATION_ID_COMPLETION, M.CALL_COMPLETION]
    new = driver.at(NEW)
    assert (new.random_seed, new.deployment_id, new.protocol_version) == (5, "dp_1", 6)
    assert (new.open_completions, new.completion_id_last, new.command_count) == ({}, 2, 2)
    driver.do(Purge(NEW))
    driver.finish(NEW)
    driver.do(Purge(NEW))
    assert restarted(driver, old, 3) == "done"
    assert types(driver, NEW) == wanted[:-1]


def test_another_deployment_can_be_named() -> None:
    driver = Driver()
    old = finished(driver, *step(1))
    assert restarted(driver, old, deployment_id="dp_2") == "done"
    assert (driver.at(NEW).deployment_id, driver.at(NEW).protocol_version) == ("dp_2", 6)
    never_ran = driver.invoke(SERVICE, **KEPT)
    driver.do(Kill(never_ran))
    assert restarted(driver, never_ran, deployment_id="dp_2") == "not_movable"
    assert restarted(driver, never_ran) == "done"


def test_a_step_without_a_result_is_executed_anew_and_a_sleep_goes_on() -> None:
    driver = Driver()
    old = driver.invoke(OBJECT, **KEPT)
    driver.attempt(old, *step(1, None), proposed(M.SLEEP, wake_up_time=9_000, result_completion_id=2), end=None)
    driver.do(Kill(old))
    assert driver.tables.timers == {}
    assert restarted(driver, old, 2) == "done"
    new = driver.at(NEW)
    assert new.open_completions == {1: M.RUN_COMPLETION, 2: M.SLEEP_COMPLETION}
    driver.attempt(NEW, proposed(M.PROPOSE_RUN_COMPLETION, value=b"r", result_completion_id=1))
    driver.suspend(NEW, 2)
    [timer_id] = new.timers
    assert driver.fire(timer_id)[-1] == StartAttempt(NEW, 2)
    assert types(driver, NEW)[-2:] == [M.RUN_COMPLETION, M.SLEEP_COMPLETION]


def test_a_sleep_that_was_over_meanwhile_is_over_at_once() -> None:
    driver = Driver()
    old = driver.invoke(OBJECT, **KEPT)
    driver.attempt(old, proposed(M.SLEEP, wake_up_time=9_000, result_completion_id=1))
    driver.do(Kill(old))
    driver.now_ms = 20_000
    assert restarted(driver, old, 1) == "done"
    [timer_id] = driver.at(NEW).timers
    driver.fire(timer_id)
    assert types(driver, NEW) == [M.INPUT, M.SLEEP, M.SLEEP_COMPLETION]


def test_signals_of_the_part_are_kept_later_ones_are_not() -> None:
    driver = Driver()
    old = driver.invoke(OBJECT, **KEPT)
    driver.do(Signal(old, 17, result=Success(b"v")))
    driver.do(Signal(old, 0, "go"))
    driver.attempt(old, *step(1))
    driver.do(Signal(old, 18, result=Success(b"late")))
    driver.finish(old)
    assert restarted(driver, old, 2) == "done"
    assert types(driver, NEW) == [M.INPUT, M.SIGNAL_NOTIFICATION, M.SIGNAL_NOTIFICATION]
    assert driver.at(NEW).signals == {17: 1, "go": 2}
    assert driver.at(NEW).lease_entries == 3


CALL_NAMES = {**NAMES, "invocation_id_notification_idx": 1}
CALLEE = Callee(make_id(600))
OPEN = {
    "call": proposed(M.CALL, CALLEE, **CALL_NAMES, result_completion_id=2),
    "attach": proposed(M.ATTACH_INVOCATION, CALLEE, invocation_id=CALLEE.invocation_id, result_completion_id=1),
    "promise": proposed(M.GET_PROMISE, key="p", result_completion_id=1),
}


@pytest.mark.parametrize("name", OPEN)
def test_what_others_still_owe_is_no_beginning(name: str) -> None:
    driver = Driver()
    target = Target("Signup", "approve", "user") if name == "promise" else OBJECT
    driver.do(driver.request(SERVICE, invocation_id=CALLEE.invocation_id))
    old = finished(driver, *step(5), OPEN[name], target=target)
    assert types(driver, old)[3] == OPEN[name].entry.type
    assert restarted(driver, old, 3) == "bad_prefix"
    assert driver.status(NEW) is Status.FREE
    assert restarted(driver, old, 2) == "done"


@pytest.mark.parametrize(("from_index", "outcome"), [(-1, "bad_prefix"), (0, "done"), (1, "done"), (2, "done")])
def test_a_beginning_lies_within_the_journal(from_index: int, outcome: str) -> None:
    driver = Driver()
    old = finished(driver, *step(1))
    assert restarted(driver, old, from_index) == outcome


@pytest.mark.parametrize("from_index", [3, 4, 1_000])
def test_an_end_is_no_beginning(from_index: int) -> None:
    driver = Driver()
    old = finished(driver, *step(1))
    assert types(driver, old)[3:] == [M.OUTPUT]
    assert restarted(driver, old, from_index) == "bad_prefix"


def test_what_is_refused() -> None:
    driver = Driver()
    assert restarted(driver, make_id(9)) == "not_found"
    run = finished(driver, target=RUN)
    assert restarted(driver, run) == "is_workflow"
    gone = driver.invoke(OBJECT, completion_retention_ms=60_000)
    driver.finish(gone)
    assert restarted(driver, gone) == "no_journal"
    shared = finished(driver, target=Target("Signup", "approve", "user"))
    assert restarted(driver, shared) == "done"


@pytest.mark.parametrize(("version", "outcome"), [(5, "old_protocol"), (6, "done")])
def test_a_part_needs_a_protocol_that_sends_the_seed(version: int, outcome: str) -> None:
    driver = Driver()
    old = driver.invoke(OBJECT, **KEPT)
    driver.attempt(old, *step(1), output(b"o"), end=Finished(), protocol_version=version)
    assert restarted(driver, old, 2) == outcome
    assert restarted(driver, old, 0) == "done"


def test_the_same_new_id_is_taken_once() -> None:
    driver = Driver()
    old = finished(driver)
    assert [restarted(driver, old), restarted(driver, old)] == ["done", "done"]
    assert driver.at(NEW).lease == 1


def test_a_new_id_of_another_partition_key_is_a_bug() -> None:
    driver = Driver()
    old = finished(driver)
    elsewhere = ids.invocation_id_text(bytes(8) + bytes(16))
    with pytest.raises(AssertionError, match="belongs where"):
        driver.do(RestartAsNew(old, elsewhere))


def test_it_waits_for_its_objects_lock_like_any_other() -> None:
    driver = Driver()
    old = finished(driver, *step(1))
    holder = driver.invoke(OBJECT)
    assert restarted(driver, old, 2) == "done"
    assert driver.status(NEW) is Status.INBOXED
    driver.flush()
    driver.tables = driver.reload()
    assert StartAttempt(NEW, 1) in driver.finish(holder)
    assert types(driver, NEW) == [M.INPUT, M.RUN, M.RUN_COMPLETION]


def test_effects_of_the_part_do_not_happen_again_but_a_kill_reaches_whom_it_called() -> None:
    driver = Driver()
    sent = driver.id()
    old = finished(
        driver,
        proposed(M.SET_STATE, key=b"a", value=pb.Value(content=b"1")),
        proposed(M.ONE_WAY_CALL, Callee(sent), **CALL_NAMES),
    )
    driver.do(Kill(sent))
    other = driver.invoke(OBJECT)
    driver.attempt(other, proposed(M.CLEAR_STATE, key=b"a"), output(b"o"), end=Finished())
    assert restarted(driver, old, 3) == "done"
    assert driver.tables.state("Counter", "k1") == {}
    assert driver.status(sent) is Status.FREE
    driver.do(driver.request(SERVICE, invocation_id=sent))
    driver.do(Kill(NEW))
    assert driver.status(sent) is Status.FREE


def test_without_a_key_the_result_is_kept_as_long_as_the_journal() -> None:
    driver = Driver()
    old = finished(driver, idempotency_key="i", journal_retention_ms=1_000)
    restarted(driver, old)
    assert driver.at(NEW).completion_retention_ms == 1_000


def test_the_table_of_completions_says_what_journaling_does() -> None:
    """Every command the machine takes issues what ISSUED says: the two are written twice."""
    driver = Driver()
    id_ = driver.invoke(Target("Signup", "approve", "user"))
    far = Callee(make_id(600), ServiceType.SERVICE, HandlerType.SHARED)
    fields = {"result_completion_id": 9, "invocation_id_notification_idx": 8}
    for type_ in sorted(set(map(M, ENTRY_HANDLERS)) - {M.PROPOSE_RUN_COMPLETION}):
        message = entry(type_)
        names = {name: value for name, value in fields.items() if name in known_fields(message)}
        if type_ in (M.CALL, M.ONE_WAY_CALL):
            names.update(service_name="Greeter", handler_name="greet")
        if type_ in (M.ATTACH_INVOCATION, M.GET_INVOCATION_OUTPUT):
            names.update(invocation_id=far.invocation_id)
        if type_ is M.SEND_SIGNAL:
            names.update(target_invocation_id=far.invocation_id, idx=17)
        if type_ is M.COMPLETE_AWAKEABLE:
            names.update(awakeable_id=ids.awakeable_id(far.invocation_id, 17))
        found = proposed(type_, far if "idx" not in names else None, **names)
        assert (type_ in ISSUED) == bool(set(fields) & set(known_fields(message)))
        before = driver.at(id_).journal_length
        driver.attempt(id_, found)
        notes = [note.type for note in driver.tables.journal(id_)[before:] if not is_command(note.type)]
        still = dict(driver.at(id_).open_completions)
        assert sorted([*notes, *still.values()]) == sorted(completion for _, completion, _ in issued(found.entry))
        for completion_id in still:
            driver.at(id_).open_completions.pop(completion_id)


def known_fields(found: Entry) -> list[str]:
    return [field.name for field in MESSAGES[found.type].DESCRIPTOR.fields]


# Any journal.

STEPS = st.lists(st.sampled_from(["run", "open run", "sleep", "state", "call", "open call", "signal"]), max_size=8)


def journal_of(steps: Sequence[str]) -> list[Entry]:
    driver = Driver()
    id_ = driver.invoke(OBJECT)
    for number, kind in enumerate(steps):
        at, names = 10 * number + 1, {**NAMES, "invocation_id_notification_idx": 10 * number + 2}
        callee = driver.id()
        match kind:
            case "run" | "open run":
                driver.attempt(id_, *step(at, b"r" if kind == "run" else None))
            case "sleep":
                driver.attempt(id_, proposed(M.SLEEP, wake_up_time=5_000, result_completion_id=at))
            case "state":
                driver.attempt(id_, proposed(M.SET_STATE, key=b"a", value=pb.Value(content=b"1")))
            case "signal":
                driver.do(Signal(id_, 17))
            case _:
                driver.attempt(id_, proposed(M.CALL, Callee(callee), **names, result_completion_id=at))
                if kind == "call":
                    driver.finish(callee)
    return list(driver.tables.journal(id_))


@given(STEPS, st.integers(-1, 30))
def test_a_part_is_a_beginning_with_all_it_was_answered(steps: Sequence[str], from_index: int) -> None:
    journal = journal_of(steps)
    kept = part_of(journal, from_index)
    if not 0 <= from_index < len(journal):
        assert kept is None
        return
    asked = {n: type_ for found in journal[: from_index + 1] if is_command(found.type) for n, type_, _ in issued(found)}
    answered = [pb.Notification.FromString(found.payload).completion_id for found in journal if found.type >= 0x8000]
    owed = {type_ for n, type_ in asked.items() if n not in answered}
    assert (kept is None) == bool(owed - {M.RUN_COMPLETION, M.SLEEP_COMPLETION})
    if kept is None:
        return
    assert list(kept.entries[: from_index + 1]) == journal[: from_index + 1]
    later = [pb.Notification.FromString(found.payload) for found in kept.entries[from_index + 1 :]]
    assert all(note.completion_id in asked for note in later)
    assert set(kept.open_completions.values()) == owed
    assert [n for n, _ in kept.sleeps] == [n for n, t in kept.open_completions.items() if t == M.SLEEP_COMPLETION]
    assert kept.completion_id_last == max(asked, default=0)
