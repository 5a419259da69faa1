"""Which completions a journaled command waits for: by the fields of its message, for every type of command.

`journal_entries.py` issues them when a command is journaled; here they are read back from a journal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from understudy.protocol.messages import MESSAGES, MessageType, is_command

from understudy_runtime.model.invocation import Entry

M = MessageType
_RESULT = "result_completion_id"
_CALLEE = "invocation_id_notification_idx"

# Type of a command: its fields that name a completion, and the type of the notification that will complete it.
ISSUED: Final[Mapping[int, tuple[tuple[str, int], ...]]] = MappingProxyType(
    {
        M.GET_LAZY_STATE: ((_RESULT, M.GET_LAZY_STATE_COMPLETION),),
        M.GET_LAZY_STATE_KEYS: ((_RESULT, M.GET_LAZY_STATE_KEYS_COMPLETION),),
        M.GET_PROMISE: ((_RESULT, M.GET_PROMISE_COMPLETION),),
        M.PEEK_PROMISE: ((_RESULT, M.PEEK_PROMISE_COMPLETION),),
        M.COMPLETE_PROMISE: ((_RESULT, M.COMPLETE_PROMISE_COMPLETION),),
        M.SLEEP: ((_RESULT, M.SLEEP_COMPLETION),),
        M.CALL: ((_CALLEE, M.CALL_INVOCATION_ID_COMPLETION), (_RESULT, M.CALL_COMPLETION)),
        M.ONE_WAY_CALL: ((_CALLEE, M.CALL_INVOCATION_ID_COMPLETION),),
        M.RUN: ((_RESULT, M.RUN_COMPLETION),),
        M.ATTACH_INVOCATION: ((_RESULT, M.ATTACH_INVOCATION_COMPLETION),),
        M.GET_INVOCATION_OUTPUT: ((_RESULT, M.GET_INVOCATION_OUTPUT_COMPLETION),),
    }
)


def issued(entry: Entry) -> Iterator[tuple[int, int, Any]]:
    """The completions of a command: id, type of the notification, and the command as a message."""
    assert is_command(entry.type), "only commands wait for completions"
    fields = ISSUED.get(entry.type)
    if fields is None:
        return
    message = MESSAGES[MessageType(entry.type)].FromString(entry.payload)
    for name, type_ in fields:
        yield getattr(message, name), int(type_), message
