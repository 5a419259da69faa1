"""The message types of the service protocol: code, name, and the protobuf class of the payload.

MESSAGES is the one table; everything that asks "what is 0x0411?" reads it.  Commands and their completions share the
low
bits: ``completion = command | 0x8000``; a Call's invocation id arrives as the one-way call's completion (0x800E).
"""

from __future__ import annotations

from enum import IntEnum
from types import MappingProxyType
from typing import Final

from google.protobuf.message import Message

from understudy.protocol import service_pb2 as pb


class MessageType(IntEnum):
    """Type codes of V5 and V6.  Ranges: control < 0x0400 <= commands < 0x8000 <= notifications < 0xFC00 <= custom."""

    START = 0x0000
    SUSPENSION = 0x0001
    ERROR = 0x0002
    END = 0x0003
    COMMAND_ACK = 0x0004
    PROPOSE_RUN_COMPLETION = 0x0005
    INPUT = 0x0400
    OUTPUT = 0x0401
    GET_LAZY_STATE = 0x0402
    SET_STATE = 0x0403
    CLEAR_STATE = 0x0404
    CLEAR_ALL_STATE = 0x0405
    GET_LAZY_STATE_KEYS = 0x0406
    GET_EAGER_STATE = 0x0407
    GET_EAGER_STATE_KEYS = 0x0408
    GET_PROMISE = 0x0409
    PEEK_PROMISE = 0x040A
    COMPLETE_PROMISE = 0x040B
    SLEEP = 0x040C
    CALL = 0x040D
    ONE_WAY_CALL = 0x040E
    SEND_SIGNAL = 0x0410
    RUN = 0x0411
    ATTACH_INVOCATION = 0x0412
    GET_INVOCATION_OUTPUT = 0x0413
    COMPLETE_AWAKEABLE = 0x0414
    GET_LAZY_STATE_COMPLETION = 0x8002
    GET_LAZY_STATE_KEYS_COMPLETION = 0x8006
    GET_PROMISE_COMPLETION = 0x8009
    PEEK_PROMISE_COMPLETION = 0x800A
    COMPLETE_PROMISE_COMPLETION = 0x800B
    SLEEP_COMPLETION = 0x800C
    CALL_COMPLETION = 0x800D
    CALL_INVOCATION_ID_COMPLETION = 0x800E
    RUN_COMPLETION = 0x8011
    ATTACH_INVOCATION_COMPLETION = 0x8012
    GET_INVOCATION_OUTPUT_COMPLETION = 0x8013
    SIGNAL_NOTIFICATION = 0xFBFF


COMMAND_FIRST: Final = 0x0400
NOTIFICATION_FIRST: Final = 0x8000
CUSTOM_FIRST: Final = 0xFC00

MESSAGES: Final = MappingProxyType[int, type[Message]](
    {
        MessageType.START: pb.Start,
        MessageType.SUSPENSION: pb.Suspension,
        MessageType.ERROR: pb.Error,
        MessageType.END: pb.End,
        MessageType.COMMAND_ACK: pb.CommandAck,
        MessageType.PROPOSE_RUN_COMPLETION: pb.ProposeRunCompletion,
        MessageType.INPUT: pb.InputCommand,
        MessageType.OUTPUT: pb.OutputCommand,
        MessageType.GET_LAZY_STATE: pb.GetLazyStateCommand,
        MessageType.SET_STATE: pb.SetStateCommand,
        MessageType.CLEAR_STATE: pb.ClearStateCommand,
        MessageType.CLEAR_ALL_STATE: pb.ClearAllStateCommand,
        MessageType.GET_LAZY_STATE_KEYS: pb.GetLazyStateKeysCommand,
        MessageType.GET_EAGER_STATE: pb.GetEagerStateCommand,
        MessageType.GET_EAGER_STATE_KEYS: pb.GetEagerStateKeysCommand,
        MessageType.GET_PROMISE: pb.GetPromiseCommand,
        MessageType.PEEK_PROMISE: pb.PeekPromiseCommand,
        MessageType.COMPLETE_PROMISE: pb.CompletePromiseCommand,
        MessageType.SLEEP: pb.SleepCommand,
        MessageType.CALL: pb.CallCommand,
        MessageType.ONE_WAY_CALL: pb.OneWayCallCommand,
        MessageType.SEND_SIGNAL: pb.SendSignalCommand,
        MessageType.RUN: pb.RunCommand,
        MessageType.ATTACH_INVOCATION: pb.AttachInvocationCommand,
        MessageType.GET_INVOCATION_OUTPUT: pb.GetInvocationOutputCommand,
        MessageType.COMPLETE_AWAKEABLE: pb.CompleteAwakeableCommand,
        MessageType.GET_LAZY_STATE_COMPLETION: pb.Notification,
        MessageType.GET_LAZY_STATE_KEYS_COMPLETION: pb.Notification,
        MessageType.GET_PROMISE_COMPLETION: pb.Notification,
        MessageType.PEEK_PROMISE_COMPLETION: pb.Notification,
        MessageType.COMPLETE_PROMISE_COMPLETION: pb.Notification,
        MessageType.SLEEP_COMPLETION: pb.Notification,
        MessageType.CALL_COMPLETION: pb.Notification,
        MessageType.CALL_INVOCATION_ID_COMPLETION: pb.Notification,
        MessageType.RUN_COMPLETION: pb.Notification,
        MessageType.ATTACH_INVOCATION_COMPLETION: pb.Notification,
        MessageType.GET_INVOCATION_OUTPUT_COMPLETION: pb.Notification,
        MessageType.SIGNAL_NOTIFICATION: pb.Notification,
    }
)


def is_command(type_: int) -> bool:
    """Whether *type_* is a journal command (sent by the SDK, replayed by the server)."""
    return COMMAND_FIRST <= type_ < NOTIFICATION_FIRST


def is_notification(type_: int) -> bool:
    """Whether *type_* is a notification (a completion or a signal, sent by the server)."""
    return NOTIFICATION_FIRST <= type_ < CUSTOM_FIRST
