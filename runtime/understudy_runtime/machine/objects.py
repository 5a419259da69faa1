"""Keyed objects of one partition: locks, inboxes, state and promises, by (service, key).

Everything of an object is read from storage when first asked for and kept while the object is recently used: its state,
its promises, and one row for its lock and its inbox while it has any.  This module decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from understudy_runtime.machine import rows
from understudy_runtime.machine.invocation import Invocation
from understudy_runtime.machine.rows import Promise
from understudy_runtime.model.commands import MutateState
from understudy_runtime.storage.port import Storage


@attrs.define(eq=False, slots=True)
class KeyedObject:
    """One object or workflow key.  `state` and `promises` are None until they are read.

    The inbox holds ids of invocations and whole state mutations, by the number of their place.
    """

    service: str
    key: str
    holder: str | None = None
    inbox: dict[int, str | MutateState] = attrs.field(factory=dict)
    state: dict[bytes, bytes] | None = None
    promises: dict[str, Promise] | None = None
    state_dirty: dict[bytes, None] = attrs.field(factory=dict)
    promises_dirty: dict[str, None] = attrs.field(factory=dict)
    is_dirty: bool = False
    # Whether lock and inbox are other than stored, and whether they have a row.
    busy_dirty: bool = False
    busy_stored: bool = False

    @property
    def is_idle(self) -> bool:
        return self.holder is None and not self.inbox


class Objects:
    """The objects of one partition, over *storage*.  At most *idle_max* idle ones stay in memory after a flush."""

    def __init__(self, storage: Storage, idle_max: int) -> None:
        assert idle_max >= 0, "a number of objects"
        self.changes = 0
        # Rows of locks and inboxes in storage: while there are none, nobody looks for them.
        self.busy_rows = 0
        self._idle_max = idle_max
        self._storage = storage
        self._objects: dict[tuple[str, str], KeyedObject] = {}
        self._dirty: list[KeyedObject] = []

    def _at(self, service: str, key: str) -> KeyedObject:
        found = self._objects.get((service, key))
        if found is None:
            found = self._objects[(service, key)] = KeyedObject(service, key)
            if self.busy_rows:
                row = self._storage.get(rows.object_prefix(rows.BUSY, service, key))
                if row is not None:
                    found.holder, found.inbox = rows.decode_busy(row)
                    found.busy_stored = True
        return found

    def _known(self, service: str, key: str) -> KeyedObject | None:
        """The object if it can have a lock or an inbox."""
        return self._at(service, key) if self.busy_rows else self._objects.get((service, key))

    def _of(self, invocation: Invocation) -> KeyedObject:
        key = invocation.target.key
        assert key is not None, "only keyed targets have an object"
        return self._at(invocation.target.service, key)

    # Locks and inboxes.

    def holder(self, service: str, key: str) -> str | None:
        found = self._known(service, key)
        return None if found is None else found.holder

    def inbox(self, service: str, key: str) -> Sequence[str | MutateState]:
        """Who and what waits for the lock, first come first."""
        found = self._known(service, key)
        return () if found is None else tuple(found.inbox.values())

    def is_locked(self, invocation: Invocation) -> bool:
        """Whether the object of *invocation* has a holder."""
        return self._of(invocation).holder is not None

    def lock(self, invocation: Invocation) -> None:
        """Give *invocation* the lock of its object (P1: one holder at a time)."""
        found = self._of(invocation)
        assert invocation.takes_lock, "a shared handler takes no lock"
        assert found.holder is None, f"P1: {found.holder} holds the lock that {invocation.id} wants"
        found.holder = invocation.id
        self._touch_busy(found)

    def unlock(self, invocation: Invocation) -> None:
        """Take the lock from *invocation*."""
        found = self._of(invocation)
        assert found.holder == invocation.id, f"P1: {invocation.id} gives back a lock of {found.holder}"
        found.holder = None
        self._touch_busy(found)

    def next(self, service: str, key: str) -> str | MutateState | None:
        """Take the head of the inbox of a free object; None when nobody waits."""
        found = self._at(service, key)
        assert found.holder is None, "P1: nobody's turn comes while another holds the lock"
        if not found.inbox:
            return None
        self._touch_busy(found)
        return found.inbox.pop(next(iter(found.inbox)))

    def enqueue(self, invocation: Invocation) -> None:
        """Put *invocation* at the end of its object's inbox."""
        self._enqueue(self._of(invocation), invocation.inbox_sequence, invocation.id)

    def enqueue_mutation(self, mutation: MutateState, sequence: int) -> None:
        """Put *mutation* at the end of its object's inbox, at place *sequence*."""
        found = self._at(mutation.service, mutation.key)
        assert found.holder is not None, "a free object is changed at once"
        self._enqueue(found, sequence, mutation)

    def _enqueue(self, found: KeyedObject, sequence: int, waits: str | MutateState) -> None:
        assert sequence > 0, "a place in an inbox has a number"
        assert next(reversed(found.inbox), 0) < sequence, "P2: an inbox is first come, first served"
        found.inbox[sequence] = waits
        self._touch_busy(found)

    def withdraw(self, invocation: Invocation) -> None:
        """Take *invocation* out of its object's inbox."""
        found = self._of(invocation)
        withdrawn = found.inbox.pop(invocation.inbox_sequence)
        assert withdrawn == invocation.id, "an inbox place belongs to one invocation"
        self._touch_busy(found)

    def _touch_busy(self, found: KeyedObject) -> None:
        if not found.busy_dirty:
            found.busy_dirty = True
            self._touch(found)

    # State.

    def state(self, service: str, key: str) -> dict[bytes, bytes]:
        """The state of an object, to read."""
        found = self._at(service, key)
        if found.state is None:
            prefix = rows.object_prefix(rows.STATE, service, key)
            found.state = {name[len(prefix) :]: value for name, value in self._storage.scan(prefix)}
        return found.state

    def set_state(self, service: str, key: str, name: bytes, value: bytes) -> None:
        self.state(service, key)[name] = value
        self._touch_state(service, key, name)

    def clear_state(self, service: str, key: str, name: bytes) -> None:
        if self.state(service, key).pop(name, None) is not None:
            self._touch_state(service, key, name)

    def replace_state(self, service: str, key: str, entries: Mapping[bytes, bytes]) -> None:
        """Make *entries* the whole state of an object."""
        for name in [name for name in self.state(service, key) if name not in entries]:
            self.clear_state(service, key, name)
        for name, value in entries.items():
            self.set_state(service, key, name, value)

    def clear_all_state(self, service: str, key: str) -> None:
        for name in list(self.state(service, key)):
            self.clear_state(service, key, name)

    def _touch_state(self, service: str, key: str, name: bytes) -> None:
        found = self._at(service, key)
        found.state_dirty[name] = None
        self._touch(found)

    # Promises.

    def promises(self, service: str, key: str) -> dict[str, Promise]:
        """The promises of a workflow, to read."""
        found = self._at(service, key)
        if found.promises is None:
            prefix = rows.object_prefix(rows.PROMISE, service, key)
            found.promises = {
                name[len(prefix) :].decode(): rows.decode_promise(value) for name, value in self._storage.scan(prefix)
            }
        return found.promises

    def set_promise(self, service: str, key: str, name: str, promise: Promise) -> None:
        self.promises(service, key)[name] = promise
        self._touch_promise(service, key, name)

    def clear_promises(self, service: str, key: str) -> None:
        promises = self.promises(service, key)
        for name in list(promises):
            del promises[name]
            self._touch_promise(service, key, name)

    def _touch_promise(self, service: str, key: str, name: str) -> None:
        found = self._at(service, key)
        found.promises_dirty[name] = None
        self._touch(found)

    def _touch(self, found: KeyedObject) -> None:
        self.changes += 1
        if not found.is_dirty:
            found.is_dirty = True
            self._dirty.append(found)

    # Writing behind.

    def lasting_rows(self) -> int:
        """Dirty values and promises.  Locks and inboxes are not counted: most are free again at the next flush."""
        return sum(len(found.state_dirty) + len(found.promises_dirty) for found in self._dirty)

    def flush(self, batch: dict[bytes, bytes | None]) -> None:
        """Put the dirty rows into *batch*."""
        for found in self._dirty:
            if found.state_dirty:
                self._flush_state(batch, found)
            if found.promises_dirty:
                self._flush_promises(batch, found)
            if found.busy_dirty:
                self._flush_busy(batch, found)
            found.is_dirty = False
        self._dirty.clear()
        self.changes = 0

    def _flush_state(self, batch: dict[bytes, bytes | None], found: KeyedObject) -> None:
        assert found.state is not None, "dirty state is in memory"
        prefix = rows.object_prefix(rows.STATE, found.service, found.key)
        for name in found.state_dirty:
            batch[prefix + name] = found.state.get(name)
        found.state_dirty.clear()

    def _flush_promises(self, batch: dict[bytes, bytes | None], found: KeyedObject) -> None:
        assert found.promises is not None, "dirty promises are in memory"
        prefix = rows.object_prefix(rows.PROMISE, found.service, found.key)
        for name in found.promises_dirty:
            promise = found.promises.get(name)
            batch[prefix + name.encode()] = None if promise is None else rows.encode_promise(promise)
        found.promises_dirty.clear()

    def _flush_busy(self, batch: dict[bytes, bytes | None], found: KeyedObject) -> None:
        wanted = not found.is_idle
        found.busy_dirty = False
        if wanted or found.busy_stored:
            row = rows.encode_busy(found.holder, found.inbox) if wanted else None
            batch[rows.object_prefix(rows.BUSY, found.service, found.key)] = row
        self.busy_rows += wanted - found.busy_stored
        assert self.busy_rows >= 0, "a row is deleted once"
        found.busy_stored = wanted

    def evict(self) -> None:
        """Let objects leave memory, down to the bound: idle ones first, the oldest first.  Nothing is dirty then."""
        assert not self._dirty, "a dirty object must be written first"
        spare = len(self._objects) - self._idle_max
        if spare <= 0:
            return
        leaving = [place for place, found in self._objects.items() if found.is_idle][:spare]
        if len(leaving) < spare:
            busy = [place for place, found in self._objects.items() if not found.is_idle]
            leaving += busy[: spare - len(leaving)]
        for place in leaving:
            del self._objects[place]

    def busy(self) -> Mapping[tuple[str, str], KeyedObject]:
        """The objects that have a holder or an inbox, in no particular order.  Reads all of them."""
        for key, _ in self._storage.scan(rows.BUSY):
            self._at(*rows.object_place(key))
        return {place: found for place, found in self._objects.items() if not found.is_idle}
