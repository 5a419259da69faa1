"""State changed from outside: the whole state of an object is replaced, in the object's turn.

A mutation waits in the inbox like an invocation and holds no lock: its turn is one step.  Made for another state than
the one it finds, it changes nothing and nobody is told.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping

from understudy_runtime.machine.objects import Objects
from understudy_runtime.machine.turn import Turn
from understudy_runtime.model.actions import RequestAcked
from understudy_runtime.model.commands import MutateState

ACCEPTED = "accepted"
DONE = "done"


def state_version(state: Mapping[bytes, bytes]) -> str:
    """The name of a state: a digest of all its entries.

    >>> state_version({})
    '47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU'
    """
    digest = hashlib.sha256()
    for index, name in enumerate(sorted(state)):
        digest.update(b"".join((index.to_bytes(8, "big"), b"\x01", name, b"\x02", state[name], b"\x03")))
    return base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode()


def mutate(objects: Objects, mutation: MutateState) -> None:
    """Replace the state, unless it is no longer the one that *mutation* was made for."""
    version = mutation.version
    if version is not None and version != state_version(objects.state(mutation.service, mutation.key)):
        return
    objects.replace_state(mutation.service, mutation.key, dict(mutation.entries))


def on_mutate_state(turn: Turn, command: MutateState) -> None:
    """Change a free object at once, a busy one behind who holds it and who waits."""
    tables = turn.tables
    assert tables.owns_key(command.key), "a mutation comes to the partition of its key"
    if tables.objects.holder(command.service, command.key) is None:
        mutate(tables.objects, command)
        outcome = DONE
    else:
        tables.objects.enqueue_mutation(command, tables.next_inbox_sequence())
        outcome = ACCEPTED
    if command.request_id:
        turn.actions.append(RequestAcked(command.request_id, "", outcome))
