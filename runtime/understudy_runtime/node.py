"""A node: a data folder, its partitions, their effects, in one nursery.

`run` opens everything, performs what is outstanding and serves until it is cancelled or the disk fails.  The ingress
uses `schema`, `partition_for` and `replies`; nothing here knows HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from operator import attrgetter
from typing import Final

import attrs
import cbor2
import trio
from xxhash import xxh3_64_intdigest

from understudy_runtime.admin.backend import Described, Exported, Listed
from understudy_runtime.effects.deadlocks import Deadlocks
from understudy_runtime.effects.dispatch import PartitionEffects
from understudy_runtime.effects.outbox import Outbox
from understudy_runtime.effects.replies import Replies, ToInvocation
from understudy_runtime.effects.timers import Timers, watch_clock
from understudy_runtime.ingress.backend import Known, Overloaded, Unavailable
from understudy_runtime.inspection import circles_of, described, exported, is_shown_as
from understudy_runtime.invoker.core import HOLDS_SLOT, Phase
from understudy_runtime.invoker.placement import parked_reason
from understudy_runtime.invoker.port import Connect, Transport
from understudy_runtime.invoker.shell import Invoker
from understudy_runtime.limits import Limits
from understudy_runtime.machine.apply import RULES_CURRENT
from understudy_runtime.machine.invocation import Invocation
from understudy_runtime.machine.tables import Tables
from understudy_runtime.machine.waits import Wait, WaitKind, deadlocks, only_blockers_of, waits_of
from understudy_runtime.meta.core import RemoveDeployment
from understudy_runtime.meta.registrar import Registrar
from understudy_runtime.meta.shell import Meta
from understudy_runtime.model import ids
from understudy_runtime.model.actions import Completed, InvokeAcked, RequestAcked
from understudy_runtime.model.commands import (
    Command,
    Delivered,
    Invoke,
    MutateState,
    Resume,
)
from understudy_runtime.model.events import Observe, WorkParked
from understudy_runtime.model.invocation import Status
from understudy_runtime.model.schema import Schema
from understudy_runtime.partition import Partition
from understudy_runtime.recovery import open_partition
from understudy_runtime.world import Disk, World

# 1: logs whose first record is always there.  2: logs of format 2, trimmed behind snapshots.
FORMAT: Final = 2
FORMAT_FILE: Final = "format"
UNSEALED_ITEMS: Final = 3  # of a format file of the first builds, which had no checksum
NO_FORMAT: Final = "damaged, or not written by this program"
RESTORE: Final = "restore the data folder from a backup"
LOCK_FILE: Final = "lock"
PARTITIONS_MAX: Final = 1024
# How soon the end of something is looked for again: at first, and at most.
DRAIN_POLL_S: Final = 0.01
DRAIN_POLL_S_MAX: Final = 0.2
# Of the time a drain may take, what requests in flight get; the rest is for attempts to suspend in.
DRAIN_SHARE: Final = 0.75
LIST_LOOKED_AT_MAX: Final = 10_000


class DataFolderError(Exception):
    """The data folder cannot be used: what was found, what was expected, what to do."""


@attrs.frozen
class Deployment:
    """An endpoint the node is given at start: how to reach it, and what it offers (JSON bytes or decoded)."""

    id: str
    transport: Transport
    manifest: bytes | dict[str, object]
    # Ids of before, whose invocations it takes over where a folder knows them.
    adopts: tuple[str, ...] = ()


@attrs.frozen
class FolderFormat:
    """What a data folder says of itself.  *identity* tells its logs from any other folder's."""

    identity: int
    partition_count: int
    format: int = FORMAT
    is_sealed: bool = True  # it was read with its checksum; the first builds wrote none


class Node:
    """One server process.  *partition_count* None takes the folder's own, or one in a new folder.

    *deployments* are of this process; *connect* makes the way to those that are registered, and is run by the node.
    """

    def __init__(
        self,
        world: World,
        limits: Limits,
        *,
        partition_count: int | None = None,
        deployments: Sequence[Deployment] = (),
        connect: Connect | None = None,
        observe: Observe,
        rules_max: int = RULES_CURRENT,
    ) -> None:
        assert partition_count is None or 1 <= partition_count <= PARTITIONS_MAX, "a sensible partition count"
        self.world = world
        self.limits = limits
        self.replies = Replies()
        self.partitions: list[Partition] = []
        self.effects: list[PartitionEffects] = []
        self.invokers: list[Invoker] = []
        self._wanted_partition_count = partition_count
        self._deployments = deployments
        self._connect = connect
        self._observe = observe
        self._rules_max = rules_max
        self._meta: Meta | None = None
        self._registrar: Registrar | None = None
        self._is_draining = False
        self._is_closed = False

    @property
    def schema(self) -> Schema:
        """What all endpoints offer, as of now."""
        assert self._meta is not None, "the node runs"
        return self._meta.schema

    @property
    def registrar(self) -> Registrar:
        """Who registers, moves and removes deployments."""
        assert self._registrar is not None, "the node runs"
        return self._registrar

    def partition_for(self, invocation_id: str) -> Partition:
        """The partition that owns *invocation_id*.  Raises InvalidId."""
        return self.partitions[ids.partition_of(ids.partition_key_of(invocation_id), len(self.partitions))]

    # The ingress's backend.

    def now_ms(self) -> int:
        return self.world.now_ms()

    def entropy(self, length: int) -> bytes:
        return self.world.entropy(length)

    def new_request_id(self) -> int:
        return self.replies.new_request_id()

    async def submit(self, command: Invoke) -> InvokeAcked:
        """Propose *command* and wait until it is applied.  Raises Overloaded, Unavailable, InvalidId."""
        return await self.replies.invoke(self._taking(command.invocation_id), command)

    async def call(self, command: Invoke) -> tuple[InvokeAcked, Completed | None]:
        """Propose *command* and wait for the result; None for a conflict.  Raises as `submit` does."""
        return await self.replies.invoke_and_wait(self._taking(command.invocation_id), command)

    async def request(self, command: ToInvocation) -> RequestAcked:
        """Propose *command* and wait until it is applied.  Raises as `submit` does."""
        partition = self._taking(command.invocation_id)
        if type(command) is Resume and not command.idle_lease:
            command = attrs.evolve(command, idle_lease=self._idle_lease(partition, command))
        return await self.replies.request(partition, command)

    def _idle_lease(self, partition: Partition, command: Resume) -> int:
        """The lease under which no attempt of the invocation runs, nor is about to where it should; 0: none."""
        found = partition.tables.peek(command.invocation_id)
        if found is None or found.status not in (Status.INVOKED, Status.SUSPENDED):
            return 0
        job = self.invokers[partition.index].job(found.id, found.lease)
        if found.status is Status.SUSPENDED or job is None:
            return found.lease
        is_due = job.phase is Phase.QUEUED and not command.deployment_id
        return 0 if is_due or job.phase in HOLDS_SLOT else found.lease

    async def mutate_state(self, command: MutateState) -> RequestAcked:
        """Propose *command* where its key lives and wait until it is applied or queued.  Raises as `submit` does."""
        index = ids.partition_of(ids.partition_key_for_key(command.key), len(self.partitions))
        return await self.replies.request(self._with_room(self.partitions[index]), command)

    async def result(self, invocation_id: str) -> Completed | None:
        """Wait for a result; None when there is no such invocation.  Raises InvalidId, Unavailable."""
        known = self._readable(invocation_id).tables.peek(invocation_id)
        if known is None:
            return None
        if known.result is not None:
            return Completed(invocation_id, known.result, known.expires_ms)
        return await self.replies.result(invocation_id)

    def known(self, invocation_id: str) -> Known | None:
        """What the tables say about *invocation_id* now.  Raises InvalidId, Unavailable."""
        found = self._readable(invocation_id).tables.peek(invocation_id)
        if found is None:
            return None
        return Known(found.target, found.status, found.result, found.expires_ms)

    # The admin's backend, beyond that.

    def described(self, invocation_id: str) -> Described | None:
        """What the tables say about *invocation_id* now.  Raises InvalidId, Unavailable."""
        found = self.described_all([invocation_id])
        return found[0] if found else None

    def described_all(self, invocation_ids: Sequence[str]) -> list[Described]:
        """Each of *invocation_ids* that is known: circles are looked for once.  Raises InvalidId, Unavailable."""
        found = [self._readable(one).tables.peek(one) for one in invocation_ids]
        return self._described([one for one in found if one is not None])

    def live(self, service: str | None, count_max: int, status: str | None = None) -> Listed:
        """At most *count_max* invocations that have not completed, by id; of one *service* and *status*, or of all.

        Without what they wait for.  Not more than LIST_LOOKED_AT_MAX are looked at: the loop stands still meanwhile.
        Raises Unavailable.
        """
        self._must_be_open()
        every = (invocation for partition in self.partitions for invocation in partition.tables.live())
        seen = list(islice(every, LIST_LOOKED_AT_MAX + 1))
        chosen = [one for one in seen[:LIST_LOOKED_AT_MAX] if service is None or one.target.service == service]
        chosen.sort(key=attrgetter("id"))
        transports = self.registrar.transports
        shown = (
            described(
                one,
                self.invokers[self.partition_for(one.id).index],
                parked=parked_reason(one, self.schema, transports),
            )
            for one in chosen
        )
        wanted = list(islice((one for one in shown if status is None or is_shown_as(one, status)), count_max + 1))
        return Listed(wanted[:count_max], len(seen) <= LIST_LOOKED_AT_MAX and len(wanted) <= count_max)

    def _described(self, found: Sequence[Invocation]) -> list[Described]:
        """*found* as the admin shows them, with what each waits for, and in vain."""
        circles = circles_of(self._only_blockers, [one.id for one in found])
        return [
            described(
                one,
                self.invokers[self.partition_for(one.id).index],
                self.waits(one.id),
                circles.get(one.id, ()),
                parked_reason(one, self.schema, self.registrar.transports),
            )
            for one in found
        ]

    def _only_blockers(self, invocation_id: str) -> Sequence[str]:
        tables = self._tables_of(invocation_id)
        found = tables.peek(invocation_id)
        return () if found is None else only_blockers_of(tables, found)

    def journal(self, invocation_id: str) -> Exported | None:
        """The journal of *invocation_id* with what a replay needs beside it.  Raises InvalidId, Unavailable."""
        partition = self._readable(invocation_id)
        found = partition.tables.peek(invocation_id)
        if found is None:
            return None
        return exported(partition.tables, found, self.invokers[partition.index], self.limits)

    def waits(self, invocation_id: str) -> tuple[Wait, ...]:
        """What *invocation_id* waits for now; nothing when it is unknown.  Raises InvalidId, Unavailable."""
        partition = self._readable(invocation_id)
        found = partition.tables.peek(invocation_id)
        if found is None:
            return ()
        waits = waits_of(partition.tables, found)
        job = self.invokers[partition.index].job(found.id, found.lease)
        if found.status is Status.INVOKED and job is not None and job.phase is Phase.BACKING_OFF:
            assert job.failed is not None, "back-off follows a failure"
            waits = (Wait(WaitKind.RETRY, detail=job.failed.failure.message), *waits)
        return waits

    def deadlocks(self) -> tuple[tuple[str, ...], ...]:
        """The circles of invocations that wait for each other and nothing else, each from its smallest id.

        Looks at LIST_LOOKED_AT_MAX of each partition: the loop stands still meanwhile.  Raises Unavailable.
        """
        self._must_be_open()
        waiting: dict[str, Sequence[str]] = {}
        for partition in self.partitions:
            tables = partition.tables
            for one in islice(tables.live(), LIST_LOOKED_AT_MAX):
                blockers = only_blockers_of(tables, one)
                if blockers:
                    waiting[one.id] = blockers
        return deadlocks(waiting)

    def _tables_of(self, invocation_id: str) -> Tables:
        return self.partition_for(invocation_id).tables

    def _readable(self, invocation_id: str) -> Partition:
        """The partition of *invocation_id*, if its tables can still be read.  Raises InvalidId, Unavailable."""
        self._must_be_open()
        return self.partition_for(invocation_id)

    def _must_be_open(self) -> None:
        """Raises Unavailable once the stores are closed: a request may begin between the node's end and its own."""
        if self._is_closed:
            raise Unavailable("the server has stopped: ask it again when it is back")

    def _taking(self, invocation_id: str) -> Partition:
        """The partition of *invocation_id*, if it takes a request now."""
        is_alone = len(self.partitions) == 1
        return self._with_room(self.partitions[0] if is_alone else self.partition_for(invocation_id))

    def _with_room(self, partition: Partition) -> Partition:
        """*partition*, if it takes a request now.  Raises Overloaded, Unavailable."""
        self._must_be_open()
        if self._is_draining:
            raise Unavailable("the server stops: ask it again when it is back")
        if not partition.has_room:
            raise Overloaded("the partition has as much to do as it takes: try again later")
        return partition

    def propose(self, invocation_id: str, command: Command) -> None:
        """Queue *command* with the partition that owns *invocation_id*.  Raises InvalidId."""
        self.partition_for(invocation_id).propose(command)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Recover, then serve until cancelled.

        Raises DataFolderError, DiskLocked, LogError, StorageError, ManifestError at start; LeadershipLost, SyncFailed,
        DiskFull later: the process must end then, a restart recovers.
        """
        try:
            await self._open()
            async with trio.open_nursery() as nursery:
                if self._connect is not None:
                    await nursery.start(self._connect.run)
                for invoker in self.invokers:
                    await nursery.start(invoker.run)
                for partition, effects in zip(self.partitions, self.effects, strict=True):
                    nursery.start_soon(effects.timers.run)
                    await nursery.start(partition.run, effects)
                all_timers = [effects.timers for effects in self.effects]
                nursery.start_soon(watch_clock, all_timers, self.limits.timer_recheck_ms)
                task_status.started()
        except BaseExceptionGroup as group:
            raise sole_error(group) from None
        finally:
            self._close()

    async def drain(self) -> None:
        """Wait until no request is waiting and no attempt runs, at most `limits.drain_timeout_ms`; then write behind.

        No new request is taken any more.  Those in flight get DRAIN_SHARE of the time: one that waits for an hour's
        sleep must not keep attempts from being asked to suspend.  What does not finish in time is durable and goes on
        after a restart.
        """
        self._is_draining = True
        timeout_s = self.limits.drain_timeout_ms / 1000
        with trio.move_on_after(timeout_s):
            with trio.move_on_after(timeout_s * DRAIN_SHARE):
                await until(lambda: self.replies.is_idle)
            for invoker in self.invokers:
                invoker.close_all()
            await until(lambda: not any(invoker.running_count for invoker in self.invokers))
            # What attempts said last is made durable, so that they need not say it again.
            await until(lambda: not any(partition.queue_length for partition in self.partitions))
        for partition in self.partitions:
            partition.flush()

    # PartitionRouter: all partitions are on this node.

    def deliver(self, target_partition: int, message: Delivered) -> None:
        self.partitions[target_partition].propose(message)

    def acknowledge(self, source_partition: int, target_partition: int, sequence: int) -> None:
        self.effects[source_partition].outbox.delivered(target_partition, sequence)

    async def _open(self) -> None:
        disk = self.world.disk
        disk.lock(LOCK_FILE)
        folder = await open_folder(self.world, self._wanted_partition_count)
        await self._open_meta(folder)
        for index in range(folder.partition_count):
            await self._open_partition(index, folder)
        if folder.format < FORMAT or not folder.is_sealed:
            # Everything in it has been read and taken over: only now an older program may be told to keep off.
            await write_format(disk, folder)
        self._tell_parked()

    def _tell_parked(self) -> None:
        """Say what has begun on deployments that nobody can reach.  Looks at LIST_LOOKED_AT_MAX of each partition."""
        counts: dict[str, int] = {}
        for partition in self.partitions:
            for one in islice(partition.tables.live(), LIST_LOOKED_AT_MAX):
                if one.deployment_id and parked_reason(one, self.schema, self.registrar.transports):
                    counts[one.deployment_id] = counts.get(one.deployment_id, 0) + 1
        if counts:
            self._observe(WorkParked(tuple(sorted(counts.items()))))

    async def _open_meta(self, folder: FolderFormat) -> None:
        self._meta = await Meta.open(self.world, identity=folder.identity, limits=self.limits, observe=self._observe)
        given: dict[str, Transport] = {}
        for deployment in self._deployments:
            for id_ in (*(old for old in deployment.adopts if old in self.schema.deployments), deployment.id):
                await self._meta.register(id_, deployment.manifest)
                given[id_] = deployment.transport
        if given:
            await self._forget_versions(given)
        self._registrar = Registrar(self.world, self.limits, self._meta, given=given, connect=self._connect)
        self._registrar.connect_known()

    async def _forget_versions(self, given: Mapping[str, Transport]) -> None:
        """Other versions of this process's services offer nothing any more; each is registered again when it runs."""
        assert self._meta is not None, "it was opened"
        gone = [
            id_ for id_, found in self.schema.deployments.items() if not found.origin.endpoint.uri and id_ not in given
        ]
        for id_ in gone:
            await self._meta.append(RemoveDeployment(id_))

    async def _open_partition(self, index: int, folder: FolderFormat) -> None:
        opened = await open_partition(
            self.world,
            index,
            folder.partition_count,
            identity=partition_identity(folder.identity, index),
            limits=self.limits,
            observe=self._observe,
        )
        partition = Partition(
            index,
            world=self.world,
            limits=self.limits,
            observe=self._observe,
            log=opened.log,
            storage=opened.storage,
            tables=opened.tables,
            snapshots=opened.snapshots,
            rules_max=self._rules_max,
        )
        self.partitions.append(partition)
        await partition.recover()
        self.effects.append(self._effects_of(partition))

    def _effects_of(self, partition: Partition) -> PartitionEffects:
        invoker = Invoker(
            partition,
            world=self.world,
            limits=self.limits,
            observe=self._observe,
            transports=self.registrar.transports,
            schema=lambda: self.schema,
        )
        self.invokers.append(invoker)
        outbox = Outbox(partition.index, self, partition.propose, self.limits.outbox_in_flight_max)
        timers = Timers(
            self.world.now_ms,
            partition.propose,
            nearest=partition.tables.timers.nearest,
            held_max=self.limits.timers_max,
            in_flight_max=self.limits.batch_commands_max,
        )
        deadlocks = Deadlocks(self._tables_of, self.propose) if self.limits.refuse_deadlocks else None
        return PartitionEffects(partition.index, timers, outbox, self.replies, invoker, self, deadlocks)

    def _close(self) -> None:
        self._is_closed = True
        for partition in self.partitions:
            partition.close()
        if self._meta is not None:
            self._meta.close()


def sole_error(error: BaseException) -> BaseException:
    """The one error inside groups of one, without the nurseries' wrapping; a group of several as it is."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


async def until(is_true: Callable[[], bool]) -> None:
    """Look again until *is_true*, less and less often; for the end of a process, where nothing is hot."""
    delay_s = DRAIN_POLL_S
    while not is_true():
        await trio.sleep(delay_s)
        delay_s = min(2 * delay_s, DRAIN_POLL_S_MAX)


async def open_folder(world: World, partition_count: int | None) -> FolderFormat:
    """Read what the data folder says of itself, or write it into a new one.  Raises DataFolderError, DiskError."""
    disk = world.disk
    if not disk.exists(FORMAT_FILE):
        found = FolderFormat(int.from_bytes(world.entropy(8), "big"), partition_count or 1)
        await write_format(disk, found)
        return found
    found = read_format(disk)
    if partition_count is not None and partition_count != found.partition_count:
        raise DataFolderError(
            f"the data folder has {found.partition_count} partitions, {partition_count} were asked for: "
            "the number is fixed when the folder is created"
        )
    return found


async def write_format(disk: Disk, folder: FolderFormat) -> None:
    """Write the format file as one step: it is there whole, or not at all."""
    temporary = f"{FORMAT_FILE}.new"
    file = disk.open(temporary, create=True)
    try:
        file.truncate(0)
        file.pwrite(0, encode_format(folder))
        await file.fdatasync()
    finally:
        file.close()
    disk.rename(temporary, FORMAT_FILE)
    await disk.sync_dir("")


def encode_format(folder: FolderFormat) -> bytes:
    """What the format file holds: format, identity, partitions, and a checksum of these."""
    said = [FORMAT, folder.identity, folder.partition_count]
    return cbor2.dumps([*said, checksum_of(said)])


def checksum_of(said: list[int]) -> int:
    """Of what the format file says: one changed bit would let keys be looked for in other partitions."""
    return int(xxh3_64_intdigest(cbor2.dumps(said)))


def read_format(disk: Disk) -> FolderFormat:
    """Raises DataFolderError unless the file says a format this program knows."""
    file = disk.open(FORMAT_FILE)
    try:
        data = file.pread(0, file.size())
    finally:
        file.close()
    try:
        value = cbor2.loads(data)
    except Exception as error:  # the decoder's own errors have no common base across versions
        raise DataFolderError(f"{FORMAT_FILE}: {NO_FORMAT} ({error}); {RESTORE}") from error
    if not isinstance(value, list) or not value or any(type(item) is not int for item in value):
        raise DataFolderError(f"{FORMAT_FILE}: {NO_FORMAT}; {RESTORE}")
    # Every later format, too, ends with the checksum of what it says: what it does not fit is damage, no newer format.
    is_sealed = value[-1] == checksum_of(value[:-1])
    if not is_sealed and (len(value) != UNSEALED_ITEMS or value[0] > FORMAT):
        raise DataFolderError(f"{FORMAT_FILE}: damaged: its checksum is not that of what it says; {RESTORE}")
    if value[0] > FORMAT:
        raise DataFolderError(
            f"{FORMAT_FILE}: the data folder has format {value[0]}, this program knows up to {FORMAT}: "
            "start the version that wrote it, or a newer one"
        )
    if len(value) != UNSEALED_ITEMS + is_sealed or value[0] < 1 or not 1 <= value[2] <= PARTITIONS_MAX:
        raise DataFolderError(f"{FORMAT_FILE}: {value} is nothing that this program writes; {RESTORE}")
    return FolderFormat(value[1], value[2], value[0], is_sealed)


def partition_identity(identity: int, index: int) -> int:
    """The identity of a partition's log: no two logs of one folder read each other's frames."""
    return (identity + index + 1) % (1 << 64)
