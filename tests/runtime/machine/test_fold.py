"""Tables are the fold of the log: whatever was flushed, evicted, lost and replayed on the way (P7, P8)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from hypothesis import event, given, settings
from hypothesis import strategies as st
from understudy.protocol import service_pb2 as pb
from understudy_runtime.machine.apply import RULES_CURRENT, apply, outstanding
from understudy_runtime.machine.expiry import EXPIRY_TIMER
from understudy_runtime.machine.invocation import Invocation
from understudy_runtime.machine.lifecycle import RULES_WITH_JOURNALS
from understudy_runtime.machine.mutations import state_version
from understudy_runtime.machine.tables import Tables
from understudy_runtime.model import ids
from understudy_runtime.model.commands import (
    Attach,
    Callee,
    Caller,
    Cancel,
    Complete,
    Delivered,
    Finished,
    GaveUp,
    Kill,
    LeaderElected,
    MutateState,
    OutboxDelivered,
    Pause,
    ProposedEntry,
    Purge,
    PurgeJournal,
    Refuse,
    RestartAsNew,
    Resume,
    Signal,
    Suspend,
)
from understudy_runtime.model.invocation import Failure, HandlerType, ServiceType, Status, Success, Target
from understudy_runtime.storage.memory import MemoryMedium, MemoryStorage

from tests.runtime.machine.driver import Driver, M, make_id, output, proposed

TARGETS = (
    (Target("Greeter", "greet"), ServiceType.SERVICE, HandlerType.SHARED),
    (Target("Counter", "add", "a"), ServiceType.VIRTUAL_OBJECT, HandlerType.EXCLUSIVE),
    (Target("Counter", "add", "a"), ServiceType.VIRTUAL_OBJECT, HandlerType.EXCLUSIVE),
    (Target("Counter", "get", "a"), ServiceType.VIRTUAL_OBJECT, HandlerType.SHARED),
    (Target("Counter", "add", "ab"), ServiceType.VIRTUAL_OBJECT, HandlerType.EXCLUSIVE),
    (Target("Signup", "run", "u"), ServiceType.WORKFLOW, HandlerType.WORKFLOW),
    (Target("Signup", "approve", "u"), ServiceType.WORKFLOW, HandlerType.SHARED),
)
RETENTIONS = (0, 0, 400, 5_000)
IDS = 6
# Ids that only a restart gives.
SUCCESSORS = 2
# What a row must bring back of an invocation.
IN_MEMORY = ("_raw", "journal", "journal_stored", "stored_under", "is_dirty")
DURABLE = tuple(field.name for field in attrs.fields(Invocation) if field.name not in IN_MEMORY)


class Play:
    """Interprets drawn numbers as commands to one partition of two."""

    def __init__(self, rules: int = RULES_CURRENT) -> None:
        self.driver = Driver(0, 2, idle_objects_max=1, rules=rules)
        self.rules_next = RULES_CURRENT
        self.sequences = 0
        # Invocations whose handlers may speak: what an attempt sends is drawn among these.
        self.operations: tuple[Callable[[int, int], None], ...] = (
            self.invoke,
            self.invoke,
            self.entries,
            self.entries,
            self.entries,
            self.suspend,
            self.finish,
            self.tell,
            self.fire,
            self.fire,
            self.tell,
            self.deliver,
            self.outbox_delivered,
            self.elect,
            self.flush,
            self.flush,
            self.invoke,
            self.look,
            self.again,
            self.again,
        )

    @staticmethod
    def id(number: int) -> str:
        return make_id(number % IDS, 0, 2)

    def callee(self, number: int) -> str:
        """Some invocation, perhaps of the other partition."""
        return make_id(number % IDS, number // IDS % 2, 2)

    def running(self, number: int) -> Invocation | None:
        found = [i for i in self.driver.tables.live() if i.status is Status.INVOKED]
        found.sort(key=lambda i: i.start_sequence)
        return found[number % len(found)] if found else None

    def request(self, a: int, b: int, invocation_id: str) -> Any:
        target, service_type, handler_type = TARGETS[a % len(TARGETS)]
        delay_ms = (0, 0, 0, 700)[b % 4]
        return self.driver.request(
            target,
            invocation_id=invocation_id,
            service_type=service_type,
            handler_type=handler_type,
            completion_retention_ms=RETENTIONS[b // 4 % 4],
            journal_retention_ms=RETENTIONS[b // 16 % 4],
            execution_time_ms=self.driver.now_ms + delay_ms if delay_ms else 0,
            caller=Caller(self.id(b), b % 5 + 1) if b % 3 == 0 else None,
            request_id=b % 2,
            idempotency_key="i" if b % 5 == 0 else None,
        )

    def invoke(self, a: int, b: int) -> None:
        self.driver.do(self.request(a, b, self.id(a // len(TARGETS) + b)))

    def entries(self, a: int, b: int) -> None:
        invocation = self.running(a)
        if invocation is None:
            return
        first = self.entry(invocation, a, b)
        second = self.entry(invocation, b, a)
        self.driver.attempt(invocation.id, *first, *second, epoch=self.driver.epoch)

    def entry(self, invocation: Invocation, a: int, b: int) -> list[ProposedEntry]:
        cid = invocation.completion_id_last + 1 + a % 3
        key = b"xyz"[b % 3 : b % 3 + 1]
        value = pb.Value(content=bytes((b % 256,)))
        callee = Callee(self.callee(b), *TARGETS[b % len(TARGETS)][1:])
        target = TARGETS[b % len(TARGETS)][0]
        names = {"service_name": target.service, "handler_name": target.handler, "key": target.key or ""}
        names["invocation_id_notification_idx"] = cid
        at = {"result_completion_id": cid}
        kinds: tuple[list[ProposedEntry], ...] = (
            [proposed(M.RUN, **at)],
            [proposed(M.RUN, **at), proposed(M.PROPOSE_RUN_COMPLETION, value=b"r", **at)],
            [proposed(M.SET_STATE, key=key, value=value)],
            [proposed(M.CLEAR_STATE, key=key)],
            [proposed(M.CLEAR_ALL_STATE)],
            [proposed(M.GET_LAZY_STATE, key=key, **at)],
            [proposed(M.GET_LAZY_STATE_KEYS, **at)],
            [proposed(M.SLEEP, wake_up_time=self.driver.now_ms + b % 2_000, **at)],
            [proposed(M.CALL, callee, **names, result_completion_id=cid + 1)],
            [proposed(M.ONE_WAY_CALL, callee, **names, invoke_time=(0, self.driver.now_ms + 300)[b % 2])],
            [proposed(M.GET_PROMISE, key="p", **at)],
            [proposed(M.COMPLETE_PROMISE, key="pq"[b % 2], completion_value=value, **at)],
            [proposed(M.PEEK_PROMISE, key="p", **at)],
            [proposed(M.ATTACH_INVOCATION, callee, invocation_id=callee.invocation_id, **at)],
            [proposed(M.GET_INVOCATION_OUTPUT, callee, invocation_id=callee.invocation_id, **at)],
            [proposed(M.SEND_SIGNAL, target_invocation_id=self.callee(b), idx=(1, 17)[a % 2], void=pb.Void())],
            [proposed(M.COMPLETE_AWAKEABLE, awakeable_id=ids.awakeable_id(self.callee(b), 17), value=value)],
            [proposed(M.GET_EAGER_STATE, key=key, value=value)],
        )
        return kinds[a % len(kinds)]

    def suspend(self, a: int, b: int) -> None:
        invocation = self.running(a)
        if invocation is None:
            return
        open_ids = tuple(invocation.open_completions)[: b % 3]
        self.driver.attempt(invocation.id, end=Suspend(open_ids, (1, 17)[: b % 2 + 1], ("go",)))

    def finish(self, a: int, b: int) -> None:
        invocation = self.running(a)
        if invocation is None:
            return
        if b % 5 == 0:
            self.driver.attempt(invocation.id, end=GaveUp(Failure(500, "x"), b % 2 == 0))
        else:
            self.driver.attempt(invocation.id, output(bytes((b % 256,))), end=Finished())

    def fire(self, a: int, b: int) -> None:
        self.driver.now_ms += b % 900 - 100
        self.driver.now_ms = max(self.driver.now_ms, 0)
        tables = self.driver.tables
        due = tables.timers.nearest(None, 2)
        if tables.expiries.due_ms is not None:
            due.append((tables.expiries.due_ms, EXPIRY_TIMER))
        if due:
            self.driver.fire(due[a % len(due)][1])

    def tell(self, a: int, b: int) -> None:
        id_ = make_id(b % (IDS + SUCCESSORS), 0, 2)
        lease = getattr(self.driver.tables.peek(id_), "lease", 0)
        commands = (
            Signal(id_, 17, result=Success(b"v")),
            Signal(id_, 0, "go"),
            Cancel(id_, a % 2),
            Kill(id_, a % 2),
            Purge(id_, a % 2),
            PurgeJournal(id_, a % 2),
            Resume(id_, a % 2, "dp_2" if b % 4 == 0 else "", lease - b % 2),
            Pause(id_, a % 2),
            self.restart(id_, a, b),
            Refuse(id_, Failure(409, "r"), b % 2),
            Complete(id_, a % 7 + 1, Success(b"c")),
            Attach(id_, Caller(self.id(a), a % 5 + 1), a % 2 == 0),
            self.mutation(a, b),
            self.mutation(b, a),
        )
        self.driver.do(commands[a % len(commands)])

    def restart(self, invocation_id: str, a: int, b: int) -> RestartAsNew:
        """From some place of the journal, perhaps one where nothing can go on."""
        successor = make_id(IDS + a % SUCCESSORS, 0, 2)
        from_index = (0, b // 8 % 8 - 1)[b % 2]
        return RestartAsNew(invocation_id, successor, a % 2, from_index, a, "dp_2" if b % 3 == 0 else "")

    def again(self, a: int, b: int) -> None:
        """Begin one anew whose journal is kept; have one end so that it is, when there is none."""
        tables = self.driver.tables
        known = [tables.peek(make_id(number, 0, 2)) for number in range(IDS + SUCCESSORS)]
        kept = [one for one in known if one is not None and one.status is Status.COMPLETED and one.journal_length]
        if kept:
            self.driver.do(self.restart(kept[a % len(kept)].id, a // 8, b))
            return
        if tables.rule_version < RULES_WITH_JOURNALS:
            return
        retention = {"completion_retention_ms": 5_000, "journal_retention_ms": 5_000}
        request = attrs.evolve(self.request(a, b, self.id(a)), execution_time_ms=0, **retention)
        self.driver.do(request)
        invocation = tables.invocation(request.invocation_id)
        if invocation is not None and invocation.status is Status.INVOKED:
            self.entries(0, a)
            if invocation.status is Status.INVOKED:
                self.driver.attempt(invocation.id, *self.entry(invocation, b, a), epoch=self.driver.epoch)
                self.driver.attempt(invocation.id, output(b"o"), end=Finished(), epoch=self.driver.epoch)

    def mutation(self, a: int, b: int) -> MutateState:
        """A new state for an object, perhaps made for another one than it will find."""
        place = ("Counter", "a") if b % 3 else ("Signup", "u")
        version = None if a % 2 else state_version(self.driver.tables.state(*place))
        entries = ((b"x", bytes((a % 256,))), (b"n", b""))[: b % 4]
        return MutateState(*place, entries, version if b % 5 else "old", a % 2)

    def deliver(self, a: int, b: int) -> None:
        """A message of the other partition, perhaps one that was taken before."""
        self.sequences += b % 2
        if self.sequences:
            message = self.request(a, b, self.id(b)) if a % 2 else Complete(self.id(b), a % 5 + 1, None)
            self.driver.do(Delivered(1, self.sequences, message))

    def outbox_delivered(self, a: int, _: int) -> None:
        pending = list(self.driver.tables.outbox.get(1, {}))
        if pending:
            self.driver.do(OutboxDelivered(1, pending[a % len(pending)]))

    def elect(self, a: int, _: int) -> None:
        if a % 4 == 0:
            self.driver.epoch += 1
            self.driver.do(LeaderElected(self.driver.epoch, self.rules_next))

    def flush(self, a: int, _: int) -> None:
        if a % 4:
            self.driver.flush()
            assert self.driver.tables.dirty_rows == 0

    def look(self, a: int, b: int) -> None:
        """Reading changes nothing that counts."""
        self.driver.tables.invocation(self.id(a))
        self.driver.tables.journal(self.id(b))
        self.driver.tables.state("Counter", "ab"[: a % 2 + 1])
        self.driver.tables.promises("Signup", "u")


def copied(medium: MemoryMedium) -> MemoryStorage:
    copy = MemoryMedium()
    copy.commit(dict(medium.rows), medium.applied_lsn)
    return MemoryStorage(copy)


def replayed(driver: Driver, storage: MemoryStorage) -> Tables:
    tables = Tables.load(storage, driver.partition, driver.count)
    for record in driver.records[tables.applied_lsn :]:
        apply(tables, record)
    return tables


def seen(tables: Tables) -> dict[str, Any]:
    """What everyone can ask the tables, without a flush."""
    found = {id_: tables.invocation(id_) for id_ in (make_id(number, 0, 2) for number in range(IDS + SUCCESSORS))}
    return {
        "invocations": {id_: i and [getattr(i, name) for name in DURABLE] for id_, i in found.items()},
        "journals": {id_: list(tables.journal(id_)) for id_ in found},
        "state": {key: dict(tables.state("Counter", key)) for key in ("a", "ab")},
        "workflow": dict(tables.state("Signup", "u")),
        "promises": {n: (p.result, p.listeners) for n, p in tables.promises("Signup", "u").items()},
        "locks": {key: tables.lock_holder("Counter", key) for key in ("a", "ab")},
        "inboxes": {key: list(tables.inbox("Counter", key)) for key in ("a", "ab")},
        "outstanding": outstanding(tables, checks_deadlocks=True),
        "live": sorted(one.id for one in tables.live()),
        "timers": list(tables.timers.items()),
        "dedup": tables.dedup,
        "meta": (tables.applied_lsn, tables.epoch, tables.timers.id_last, tables.outbox_last),
    }


NUMBERS = st.integers(0, 2**16)
SCRIPTS = st.lists(st.tuples(st.integers(0, 19), NUMBERS, NUMBERS), min_size=20, max_size=80)


def play(script: list[tuple[int, int, int]]) -> Play:
    played = Play(1 + script[0][1] % 2)
    for operation, a, b in script:
        played.operations[operation](a, b)
    return played


@given(SCRIPTS)
@settings(max_examples=200, deadline=None)
def test_reloaded_and_replayed_tables_are_the_live_ones(script: list[tuple[int, int, int]]) -> None:
    driver = play(script).driver
    event(f"flushed {driver.medium.applied_lsn > 0}, completed {len(driver.records) // 20 * 20}")
    reloaded = replayed(driver, copied(driver.medium))
    folded = replayed(driver, MemoryStorage(MemoryMedium()))
    assert seen(reloaded) == seen(driver.tables)
    assert seen(folded) == seen(driver.tables)
    rows = []
    for tables in (driver.tables, reloaded, folded):
        storage = tables._storage
        tables.flush(storage)
        rows.append((dict(storage.scan(b"")), storage.applied_lsn()))
    assert rows[0] == rows[1]
    assert rows[0] == rows[2]


@given(SCRIPTS, st.integers(0, 8))
@settings(max_examples=100, deadline=None)
def test_lost_commits_are_replayed(script: list[tuple[int, int, int]], lost: int) -> None:
    driver = play(script).driver
    expected = seen(driver.tables)
    assert seen(driver.reload(min(lost, driver.medium.commits_kept))) == expected


@given(SCRIPTS)
@settings(max_examples=100, deadline=None)
def test_what_must_hold_between_tables(script: list[tuple[int, int, int]]) -> None:
    tables = play(script).driver.tables
    holders = [
        i for i in tables.live() if i.takes_lock and i.status in (Status.INVOKED, Status.SUSPENDED, Status.PAUSED)
    ]
    places = [(i.target.service, i.target.key) for i in holders]
    assert len(set(places)) == len(places)
    for (service, key), found in tables.objects.busy().items():
        assert found.holder is not None, "somebody waits at a free lock"
        for waits in tables.inbox(service, key):
            if isinstance(waits, str):
                waiting = tables.invocation(waits)
                assert waiting is not None
                assert waiting.status is Status.INBOXED
    for timer_id, timer in tables.timers.items():
        owner = tables.invocation(timer.invocation_id)
        assert owner is not None
        assert timer_id in owner.timers
    for invocation in tables.live():
        assert invocation.journal_length == len(tables.entries(invocation))
        assert all(timer_id in tables.timers for timer_id in invocation.timers)
        assert (invocation.status is Status.SUSPENDED) == (invocation.awaiting is not None)
        assert (invocation.status is Status.SCHEDULED) <= (len(invocation.timers) == 1)
