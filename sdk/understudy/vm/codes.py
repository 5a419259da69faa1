"""Message types as plain integers: what frames carry and storage keeps, and what the hot path compares."""

from __future__ import annotations

from typing import Final

from understudy.protocol.messages import MessageType

START: Final = int(MessageType.START)
SUSPENSION: Final = int(MessageType.SUSPENSION)
ERROR: Final = int(MessageType.ERROR)
END: Final = int(MessageType.END)
PROPOSE_RUN_COMPLETION: Final = int(MessageType.PROPOSE_RUN_COMPLETION)
INPUT: Final = int(MessageType.INPUT)
OUTPUT: Final = int(MessageType.OUTPUT)
GET_LAZY_STATE: Final = int(MessageType.GET_LAZY_STATE)
SET_STATE: Final = int(MessageType.SET_STATE)
CLEAR_STATE: Final = int(MessageType.CLEAR_STATE)
CLEAR_ALL_STATE: Final = int(MessageType.CLEAR_ALL_STATE)
GET_LAZY_STATE_KEYS: Final = int(MessageType.GET_LAZY_STATE_KEYS)
GET_EAGER_STATE: Final = int(MessageType.GET_EAGER_STATE)
GET_EAGER_STATE_KEYS: Final = int(MessageType.GET_EAGER_STATE_KEYS)
GET_PROMISE: Final = int(MessageType.GET_PROMISE)
PEEK_PROMISE: Final = int(MessageType.PEEK_PROMISE)
COMPLETE_PROMISE: Final = int(MessageType.COMPLETE_PROMISE)
SLEEP: Final = int(MessageType.SLEEP)
CALL: Final = int(MessageType.CALL)
ONE_WAY_CALL: Final = int(MessageType.ONE_WAY_CALL)
SEND_SIGNAL: Final = int(MessageType.SEND_SIGNAL)
RUN: Final = int(MessageType.RUN)
ATTACH_INVOCATION: Final = int(MessageType.ATTACH_INVOCATION)
GET_INVOCATION_OUTPUT: Final = int(MessageType.GET_INVOCATION_OUTPUT)
COMPLETE_AWAKEABLE: Final = int(MessageType.COMPLETE_AWAKEABLE)
