"""The operations of an invocation, one method per step a handler can take.

Each allocates its completion ids at call time, in program order, whether replaying or not, and either issues
its command or is checked against the recorded one.  What it returns is a leaf to await (or two).
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from typing import Final, NamedTuple

from understudy.protocol import service_pb2 as pb
from understudy.protocol.framing import Frame
from understudy.vm import codes, encoding
from understudy.vm.awaits import Failure, Leaf, signal_key
from understudy.vm.core import Core
from understudy.vm.errors import InternalError, RelatedCommand, UnsupportedFeature, VmError
from understudy.vm.journal import EMPTY_VOID, decode, eager_value, encode_failure
from understudy.vm.runs import RetryBase, Run, RunRetryPolicy, RunStanding, next_delay_ms

_FIRST_SIGNAL: Final = 17
_CANCEL_INDEX: Final = 1

Headers = Sequence[tuple[str, str]]


class Input(NamedTuple):
    """What the invocation was called with."""

    headers: tuple[tuple[str, str], ...]
    body: bytes


class CallTarget(NamedTuple):
    """Who is called, and how."""

    service: str
    handler: str
    key: str = ""
    idempotency_key: str | None = None
    headers: Headers = ()
    scope: str | None = None
    limit_key: str | None = None


class VM(Core):
    """One attempt of one invocation, without I/O: see the module and `core.py`.

    Without *compares_values* a replay may write a user's values in other bytes than those recorded.
    """

    def __init__(self, version: int, *, compares_values: bool = True) -> None:
        super().__init__(version, compares_values=compares_values)
        self._completion_id_next = 1
        self._signal_index_next = _FIRST_SIGNAL
        self._state_map: dict[bytes, bytes | None] = {}
        self._state_is_partial = True

    # -- what the start message says --

    @property
    def invocation_id(self) -> str:
        """The invocation's id as text (`inv_1…`)."""
        return self._start.debug_id

    @property
    def key(self) -> str:
        """The object or workflow key; empty for a service."""
        return self._start.key

    @property
    def random_seed(self) -> int:
        """The seed of the invocation's own randomness (u64)."""
        if self.version >= 6:
            return self._start.random_seed
        return int.from_bytes(hashlib.sha256(self._start.id).digest()[:8], "big")

    def _on_started(self, start: pb.Start) -> None:
        self._state_map = {entry.key: entry.value for entry in start.state_map}
        self._state_is_partial = start.partial_state

    def _completion_id(self) -> int:
        allocated = self._completion_id_next
        self._completion_id_next = allocated + 1
        return allocated

    # -- beginning and end --

    def sys_input(self) -> Input:
        """The first operation: what the invocation was called with."""
        assert self._command_index == -1 or self.is_closed, "the input is read once"
        payload = self._take_recorded(codes.INPUT, "").payload
        try:
            message = decode(codes.INPUT, payload)
        except VmError as error:
            self.fail(error)
        assert isinstance(message, pb.InputCommand)
        headers = tuple((header.key, header.value) for header in message.headers)
        return Input(headers, message.value.content)

    def sys_output(self, value: bytes) -> None:
        """The invocation's result."""
        self._command(codes.OUTPUT, encoding.output_value(value))

    def sys_output_failure(self, failure: Failure) -> None:
        """The invocation's terminal failure."""
        self._check_failure(failure)
        message = pb.OutputCommand(failure=encode_failure(failure))
        self._command(codes.OUTPUT, message.SerializeToString())

    def _check_failure(self, failure: Failure) -> None:
        if failure.metadata and self.version < 6:
            self.fail(
                UnsupportedFeature(
                    f"a terminal error with metadata needs protocol version 6, this attempt runs version {self.version}"
                )
            )

    def _put(self, result: bytes | Failure, value: pb.Value, failure: pb.Failure) -> None:
        """Write *result* into the one of a command's two fields that is for it."""
        if isinstance(result, Failure):
            self._check_failure(result)
            failure.CopyFrom(encode_failure(result))
        else:
            value.content = result
            value.SetInParent()

    # -- state --

    def sys_get_state(self, key: bytes, name: str = "") -> Leaf:
        """Ask for the value of *key*; the result is a value, or void when absent."""
        completion_id = self._completion_id()
        if self.is_replaying:
            self._replay_get_state(key, name, completion_id)
            return completion_id
        if key in self._state_map:
            value = self._state_map[key]
        elif not self._state_is_partial:
            value = None
        else:
            lazy = pb.GetLazyStateCommand(key=key, result_completion_id=completion_id, name=name)
            self._command(codes.GET_LAZY_STATE, lazy.SerializeToString(), name)
            return completion_id
        self._command(codes.GET_EAGER_STATE, encoding.get_eager_state_command(key, value, name), name)
        self._ready[completion_id] = EMPTY_VOID if value is None else ("value", value)
        return completion_id

    def _replay_get_state(self, key: bytes, name: str, completion_id: int) -> None:
        # What is eager now may have been lazy then and the other way round; the journal decides.
        recorded_type, recorded, _flags = self._take_recorded(codes.GET_EAGER_STATE, name)
        if recorded_type == codes.GET_EAGER_STATE:
            value = eager_value(recorded, encoding.eager_state_head(key, name))
            if value is not ...:
                self._ready[completion_id] = EMPTY_VOID if value is None else ("value", value)
                return
            try:
                eager = decode(recorded_type, recorded)
            except VmError as error:
                self.fail(error)
            assert isinstance(eager, pb.GetEagerStateCommand)
            if eager.key == key and eager.name == name:
                absent = eager.WhichOneof("result") != "value"
                self._ready[completion_id] = EMPTY_VOID if absent else ("value", eager.value.content)
                return
        lazy = pb.GetLazyStateCommand(key=key, result_completion_id=completion_id, name=name)
        if recorded_type != codes.GET_LAZY_STATE or recorded != lazy.SerializeToString():
            attempted = encoding.get_eager_state_command(key, None, name)
            self._mismatch(codes.GET_EAGER_STATE, attempted, name, recorded_type, recorded)

    def sys_get_state_keys(self, name: str = "") -> Leaf:
        """Ask for the keys that have a value; the result is state_keys, sorted bytewise when answered here."""
        completion_id = self._completion_id()
        if self.is_replaying:
            self._replay_get_state_keys(name, completion_id)
            return completion_id
        if self._state_is_partial:
            lazy = pb.GetLazyStateKeysCommand(result_completion_id=completion_id, name=name)
            self._command(codes.GET_LAZY_STATE_KEYS, lazy.SerializeToString(), name)
            return completion_id
        keys = tuple(sorted(key for key, value in self._state_map.items() if value is not None))
        eager = pb.GetEagerStateKeysCommand(value=pb.StateKeys(keys=keys), name=name)
        self._command(codes.GET_EAGER_STATE_KEYS, eager.SerializeToString(), name)
        self._ready[completion_id] = ("state_keys", keys)
        return completion_id

    def _replay_get_state_keys(self, name: str, completion_id: int) -> None:
        recorded_type, recorded, _flags = self._take_recorded(codes.GET_EAGER_STATE_KEYS, name)
        if recorded_type == codes.GET_EAGER_STATE_KEYS:
            try:
                eager = decode(recorded_type, recorded)
            except VmError as error:
                self.fail(error)
            assert isinstance(eager, pb.GetEagerStateKeysCommand)
            if eager.name == name:
                self._ready[completion_id] = ("state_keys", tuple(eager.value.keys))
                return
        lazy = pb.GetLazyStateKeysCommand(result_completion_id=completion_id, name=name)
        if recorded_type != codes.GET_LAZY_STATE_KEYS or recorded != lazy.SerializeToString():
            attempted = pb.GetEagerStateKeysCommand(name=name)
            self._mismatch(codes.GET_EAGER_STATE_KEYS, attempted.SerializeToString(), name, recorded_type, recorded)

    def sys_set_state(self, key: bytes, value: bytes, name: str = "") -> None:
        """Give *key* the value *value*."""
        self._command(codes.SET_STATE, encoding.set_state_command(key, value, name), name)
        self._state_map[key] = value

    def sys_clear_state(self, key: bytes, name: str = "") -> None:
        """Take the value of *key* away."""
        self._command(codes.CLEAR_STATE, pb.ClearStateCommand(key=key, name=name).SerializeToString(), name)
        self._state_map[key] = None

    def sys_clear_all_state(self, name: str = "") -> None:
        """Take all values away."""
        self._command(codes.CLEAR_ALL_STATE, pb.ClearAllStateCommand(name=name).SerializeToString(), name)
        self._state_map.clear()
        self._state_is_partial = False

    # -- time --

    def sys_sleep(self, wake_up_time_ms: int, name: str = "") -> Leaf:
        """Wait until the wall clock reaches *wake_up_time_ms* (epoch); the result is void."""
        completion_id = self._completion_id()
        self._command(codes.SLEEP, encoding.sleep_command(wake_up_time_ms, completion_id, name), name)
        return completion_id

    # -- calls --

    def sys_call(self, target: CallTarget, parameter: bytes) -> tuple[Leaf, Leaf]:
        """Call *target*; returns the leaves of the callee's invocation id and of its result."""
        self._check_target(target, codes.CALL)
        id_key, result_key = self._completion_id(), self._completion_id()
        if target.headers:
            payload = self._call_with_headers(target, parameter, id_key, result_key)
        else:
            payload = encoding.call_command(target[:4], parameter, id_key, result_key)
        self._command(codes.CALL, payload)
        self._children[id_key] = None
        return id_key, result_key

    def _call_with_headers(self, target: CallTarget, parameter: bytes, id_key: int, result_key: int) -> bytes:
        message = pb.CallCommand(
            service_name=target.service,
            handler_name=target.handler,
            parameter=parameter,
            key=target.key,
            idempotency_key=target.idempotency_key,
            invocation_id_notification_idx=id_key,
            result_completion_id=result_key,
        )
        for header in target.headers:
            message.headers.add(key=header[0], value=header[1])
        return message.SerializeToString()

    def sys_one_way_call(self, target: CallTarget, parameter: bytes, invoke_time_ms: int = 0) -> Leaf:
        """Send to *target*, now or at *invoke_time_ms* (epoch); returns the leaf of the callee's invocation id."""
        self._check_target(target, codes.ONE_WAY_CALL)
        id_key = self._completion_id()
        message = pb.OneWayCallCommand(
            service_name=target.service,
            handler_name=target.handler,
            parameter=parameter,
            invoke_time=invoke_time_ms,
            key=target.key,
            idempotency_key=target.idempotency_key,
            invocation_id_notification_idx=id_key,
        )
        for header in target.headers:
            message.headers.add(key=header[0], value=header[1])
        self._command(codes.ONE_WAY_CALL, message.SerializeToString())
        return id_key

    def _check_target(self, target: CallTarget, type_: int) -> None:
        if target.idempotency_key == "":
            self.fail(
                InternalError(
                    f"the handler calls {target.service}/{target.handler} with an empty idempotency key; "
                    "give a non-empty one or none",
                    related=RelatedCommand(self._command_index + 1, type_, ""),
                )
            )
        if target.scope is not None or target.limit_key is not None:
            self.fail(
                UnsupportedFeature(
                    f"the handler calls {target.service}/{target.handler} with a scope or a limit key, which need "
                    f"protocol version 7; this attempt runs version {self.version}",
                    related=RelatedCommand(self._command_index + 1, type_, ""),
                )
            )

    def sys_attach_invocation(self, invocation_id: str) -> Leaf:
        """Wait for the result of another invocation."""
        completion_id = self._completion_id()
        message = pb.AttachInvocationCommand(invocation_id=invocation_id, result_completion_id=completion_id)
        self._command(codes.ATTACH_INVOCATION, message.SerializeToString())
        return completion_id

    def sys_get_invocation_output(self, invocation_id: str) -> Leaf:
        """Ask for the result of another invocation; void while it runs."""
        completion_id = self._completion_id()
        message = pb.GetInvocationOutputCommand(invocation_id=invocation_id, result_completion_id=completion_id)
        self._command(codes.GET_INVOCATION_OUTPUT, message.SerializeToString())
        return completion_id

    # -- awakeables and signals --

    def sys_awakeable(self) -> tuple[str, Leaf]:
        """A new awakeable of this invocation: its public id and its leaf.  Nothing is journaled."""
        index = self._signal_index_next
        self._signal_index_next = index + 1
        raw = self._start.id + index.to_bytes(4, "big")
        return "sign_1" + urlsafe_b64encode(raw).rstrip(b"=").decode("ascii"), signal_key(index)

    def sys_complete_awakeable(self, awakeable_id: str, result: bytes | Failure) -> None:
        """Resolve (bytes) or reject (Failure) an awakeable of any invocation."""
        message = pb.CompleteAwakeableCommand(awakeable_id=awakeable_id)
        self._put(result, message.value, message.failure)
        self._command(codes.COMPLETE_AWAKEABLE, message.SerializeToString())

    def sys_signal(self, name: str) -> Leaf:
        """The next signal *name* of this invocation.  Nothing is journaled."""
        return name

    def sys_send_signal(self, invocation_id: str, name: str, result: bytes | Failure) -> None:
        """Send the signal *name* to another invocation, with a value (bytes) or a failure."""
        message = pb.SendSignalCommand(target_invocation_id=invocation_id, name=name)
        self._put(result, message.value, message.failure)
        self._command(codes.SEND_SIGNAL, message.SerializeToString())

    def sys_cancel_invocation(self, invocation_id: str) -> None:
        """Send the cancel signal to another invocation."""
        message = pb.SendSignalCommand(target_invocation_id=invocation_id, idx=_CANCEL_INDEX, void=pb.Void())
        self._command(codes.SEND_SIGNAL, message.SerializeToString())

    # -- promises --

    def sys_get_promise(self, key: str) -> Leaf:
        """Wait for the workflow's promise *key*."""
        completion_id = self._completion_id()
        message = pb.GetPromiseCommand(key=key, result_completion_id=completion_id)
        self._command(codes.GET_PROMISE, message.SerializeToString())
        return completion_id

    def sys_peek_promise(self, key: str) -> Leaf:
        """Look at the promise *key*: void while nobody has completed it."""
        completion_id = self._completion_id()
        message = pb.PeekPromiseCommand(key=key, result_completion_id=completion_id)
        self._command(codes.PEEK_PROMISE, message.SerializeToString())
        return completion_id

    def sys_complete_promise(self, key: str, result: bytes | Failure) -> Leaf:
        """Resolve (bytes) or reject (Failure) the promise *key*: void, or failure 409 when it was complete."""
        completion_id = self._completion_id()
        message = pb.CompletePromiseCommand(key=key, result_completion_id=completion_id)
        self._put(result, message.completion_value, message.completion_failure)
        self._command(codes.COMPLETE_PROMISE, message.SerializeToString())
        return completion_id

    # -- runs --

    def sys_run(self, name: str) -> Leaf:
        """Announce a side effect.  It is executed when an await asks for it (`Answer.EXECUTE`)."""
        completion_id = self._completion_id()
        self._command(codes.RUN, encoding.run_command(completion_id, name), name)
        if completion_id not in self._known and completion_id not in self._ready:
            self._runs[completion_id] = Run(self._command_index, name)
        return completion_id

    def is_to_run(self, key: Leaf) -> bool:
        """Whether an await may ask to execute the run *key*: no result of it has come."""
        return key in self._runs

    def propose_run_value(self, completion_id: int, value: bytes) -> None:
        """A run has succeeded with *value*.  Ignored when the attempt is over or the server knows a result already."""
        self._propose(completion_id, encoding.propose_value(completion_id, value))

    def propose_run_failure(self, completion_id: int, failure: Failure) -> None:
        """A run has failed for good.  Ignored when the attempt is over or the server knows a result already."""
        if self.is_closed or completion_id not in self._runs:
            return
        self._check_failure(failure)
        message = pb.ProposeRunCompletion(result_completion_id=completion_id, failure=encode_failure(failure))
        self._propose(completion_id, message.SerializeToString())

    def _propose(self, completion_id: int, payload: bytes) -> None:
        run = self._runs.get(completion_id)
        if run is None or self.is_closed:
            return
        assert run.standing is RunStanding.EXECUTING, f"run {completion_id} was {run.standing} when it was proposed"
        run.standing = RunStanding.PROPOSED
        # Whatever fails from here on is not the entry the server counted retries of.
        self._commands_issued += 1
        self._output.append(Frame(codes.PROPOSE_RUN_COMPLETION, payload))

    def run_attempt_failed(
        self,
        completion_id: int,
        error: InternalError,
        policy: RunRetryPolicy | None,
        *,
        elapsed_ms: int,
        fixed_delay_ms: int | None = None,
    ) -> None:
        """A run has failed in a way that may be tried again.

        Without a policy the server's invocation policy decides. With one, either the attempt ends with an
        Error that names the pause, or the run is given up and its failure proposed. Raises *error* when the
        attempt ends.
        """
        run = self._runs.get(completion_id)
        if run is None or self.is_closed:
            return
        related = RelatedCommand(run.command_index, codes.RUN, run.name)
        delay_ms = fixed_delay_ms
        if policy is not None:
            delay_ms = next_delay_ms(policy, self._retry_base(), elapsed_ms, fixed_delay_ms)
            if delay_ms is None:
                self.propose_run_failure(completion_id, Failure(error.code, error.message))
                return
        error.related = related
        error.next_retry_delay_ms = delay_ms
        self.fail(error)

    def _retry_base(self) -> RetryBase:
        """Earlier tries of a run, when it is what the server counted retries of: nothing was journaled in between."""
        start = self._start
        if self._commands_issued or start.retry_count_since_last_stored_entry == 0:
            return RetryBase()
        return RetryBase(start.retry_count_since_last_stored_entry, start.duration_since_last_stored_entry)
