"""Rows as they were first written: what is on disk stays readable."""

from __future__ import annotations

from understudy_runtime.machine import rows
from understudy_runtime.machine.invocation import Invocation
from understudy_runtime.machine.rows import Promise, Timer
from understudy_runtime.model import commands as c
from understudy_runtime.model.invocation import (
    Entry,
    Failure,
    HandlerType,
    OnMaxAttempts,
    RetryPolicy,
    ServiceType,
    Status,
    Success,
    Target,
)

ID = "inv_14NAYWOkWeyC4HqaAv3eM70hJLaHxEfgB2"
RAW = bytes.fromhex("4a6c6e32e26ce837e0f69135fdfcd0f2fc92e513455e709a")


def full_invocation() -> Invocation:
    return Invocation(
        id=ID,
        target=Target("Wf", "run", "wk1"),
        service_type=ServiceType.WORKFLOW,
        handler_type=HandlerType.WORKFLOW,
        idempotency_key="",
        execution_time_ms=1,
        created_ms=2,
        completion_retention_ms=3,
        random_seed=2**64 - 1,
        retry_policy=RetryPolicy(1, 2_000, 3, None, OnMaxAttempts.KILL),
        schema_revision=4,
        status=Status.SUSPENDED,
        lease=5,
        start_sequence=6,
        lease_entries=7,
        inbox_sequence=8,
        attempt_epoch=9,
        attempt_last=10,
        callers=[c.Caller(ID, 11)],
        deployment_id="dp_1",
        protocol_version=6,
        journal_length=12,
        command_count=13,
        last_append_ms=14,
        open_completions={15: 0x8011},
        completion_id_last=16,
        signals={1: 2, "go": 3},
        timers={17: 18},
        awaiting=c.Suspend((15,), (1,), ("go",)),
        result=Failure(409, "no", (("a", "b"),)),
        completed_ms=18,
        expires_ms=19,
    )


GOLDEN = {
    "invocation": (
        "b820017826696e765f31344e4159574f6b5765794334487161417633654d3730684a4c614878456667423202a3016257"
        "66026372756e0363776b31030204020aa50101021907d0030304f605010c040560060107020803091bffffffffffffff"
        "ff0b040d050e060f0710081109120a146464705f311506160c170d18180e1819a10f198011181a10181ba2010262676f"
        "03181f121820131381827826696e765f31344e4159574f6b5765794334487161417633654d3730684a4c614878456667"
        "42320b181ca11112181da301810f028101038162676f181e8202a30119019902626e6f03818261616162"
    ),
    "timer": ("a4011903e80201037826696e765f31344e4159574f6b5765794334487161417633654d3730684a4c61487845666742320402"),
    "promise": (
        "a2018201a10141760281a2017826696e765f31344e4159574f6b5765794334487161417633654d3730684a4c61487845666742320201"
    ),
    "message": (
        "8204a3017826696e765f31344e4159574f6b5765794334487161417633654d3730684a4c614878456667423202030382"
        "02a2011901f4026178"
    ),
    "entry": "82190411425801",
}
TIMER = Timer(1_000, 1, ID, 2)
PROMISE = Promise(Success(b"v"), (c.Caller(ID, 1),))
MESSAGE = c.Complete(ID, 3, Failure(500, "x"))
ENTRY = Entry(0x0411, b"\x58\x01")


def test_what_is_written_is_what_was_first_written() -> None:
    assert rows.encode_invocation(full_invocation()).hex() == GOLDEN["invocation"]
    assert rows.encode_timer(TIMER).hex() == GOLDEN["timer"]
    assert rows.encode_promise(PROMISE).hex() == GOLDEN["promise"]
    assert rows.encode_message(MESSAGE).hex() == GOLDEN["message"]
    assert rows.encode_entry(ENTRY).hex() == GOLDEN["entry"]


def test_what_was_first_written_is_read() -> None:
    found = rows.decode_invocation(bytes.fromhex(GOLDEN["invocation"]), rows.LIVE)
    expected = full_invocation()
    memory_only = ("_raw", "journal", "journal_stored", "stored_under", "is_dirty")
    for name in Invocation.__slots__:
        if name not in (*memory_only, "__weakref__"):
            assert getattr(found, name) == getattr(expected, name), name
    assert found.journal is None
    assert found.journal_stored == 12
    assert rows.decode_timer(bytes.fromhex(GOLDEN["timer"])) == TIMER
    promise = rows.decode_promise(bytes.fromhex(GOLDEN["promise"]))
    assert (promise.result, promise.listeners) == (PROMISE.result, PROMISE.listeners)
    assert rows.decode_message(bytes.fromhex(GOLDEN["message"])) == MESSAGE
    assert rows.decode_entry(bytes.fromhex(GOLDEN["entry"])) == ENTRY


def test_the_timers_of_format_1_are_read() -> None:
    """Ids alone; a completed invocation has the timer of its retention and no journal, whatever length it had."""
    old = bytes.fromhex(GOLDEN["invocation"].replace("181ca11112181d", "181c8111181d"))
    assert rows.decode_invocation(old, rows.LIVE).timers == {17: 19}
    found = rows.decode_invocation(old, rows.COMPLETED)
    assert (found.timers, found.journal, found.journal_length) == ({17: 19}, [], 0)


def test_the_births_of_who_waits_are_kept() -> None:
    invocation = full_invocation()
    invocation.birth = 2**40
    invocation.callers = [c.Caller(ID, 11), c.Caller(ID, 12, 2**33)]
    found = rows.decode_invocation(rows.encode_invocation(invocation), rows.LIVE)
    assert (found.birth, found.callers) == (2**40, invocation.callers)


def test_keys_start_with_their_table_and_partition_key() -> None:
    key = RAW[:8].hex()
    assert rows.journal_key(RAW, 258).hex() == "6a" + RAW.hex() + "00000102"
    assert rows.old_timer_id(bytes.fromhex("74" + key + "0000000000000102")) == 258
    assert rows.timer_key(2**40, 258).hex() == "77" + "0000010000000000" + "0000000000000102"
    assert rows.timer_place(rows.timer_key(2**40, 258)) == (2**40, 258)
    assert rows.expiry_key(2**33, 1).startswith(rows.expiry_prefix(2**33))
    assert rows.expiry_chunk(rows.expiry_key(2**33, 258)) == (2**33, 258)
    place = ("Wf", "wk1")
    assert rows.object_place(rows.object_prefix(rows.BUSY, *place)) == place
    assert rows.object_prefix(rows.STATE, "Wf", "wk1").hex() == "73" + key + "0000000200000003" + b"Wfwk1".hex()
    assert rows.outbox_place(rows.outbox_key(3, 2**40)) == (3, 2**40)
    assert rows.dedup_source(rows.dedup_key(7)) == 7


def test_journal_rows_lie_in_order() -> None:
    keys = [rows.journal_key(RAW, index) for index in (0, 1, 255, 256, 65_536)]
    assert keys == sorted(keys)
