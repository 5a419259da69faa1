"""One attempt's dialogue: the full product of state and message, and what each flush comes to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy.protocol import service_pb2 as pb
from understudy.protocol.framing import Frame
from understudy.protocol.messages import MESSAGES, MessageType
from understudy_runtime.invoker.attempt import DIALOGUE, KINDS, AttemptCore, Kind, State, Step, entropy_bytes
from understudy_runtime.invoker.core import AttemptFailure
from understudy_runtime.limits import Limits
from understudy_runtime.machine.invocation import Invocation
from understudy_runtime.model import ids
from understudy_runtime.model.commands import Callee, Finished, Suspend
from understudy_runtime.model.invocation import Failure, HandlerType, RetryPolicy, ServiceType, Target
from understudy_runtime.model.schema import Schema, parse_manifest

from tests.runtime.node.manifests import manifest

SCHEMA = Schema().with_deployment("dp_1a", parse_manifest(manifest()))
LIMITS = Limits()
ENTROPY = bytes(range(12))
CALLEE = ids.invocation_id_for(Target("Echo", "echo"), HandlerType.SHARED, None, 0, ENTROPY)

SAMPLES: dict[Kind, Frame] = {
    Kind.COMMAND: Frame(MessageType.RUN, pb.RunCommand(result_completion_id=1).SerializeToString()),
    Kind.OUTPUT: Frame(MessageType.OUTPUT, pb.OutputCommand(value=pb.Value(content=b"1")).SerializeToString()),
    Kind.PROPOSAL: Frame(
        MessageType.PROPOSE_RUN_COMPLETION,
        pb.ProposeRunCompletion(result_completion_id=1, value=b"1").SerializeToString(),
    ),
    Kind.SUSPENSION: Frame(MessageType.SUSPENSION, pb.Suspension(waiting_completions=[1]).SerializeToString()),
    Kind.ERROR: Frame(MessageType.ERROR, pb.Error(code=500, message="no").SerializeToString()),
    Kind.END: Frame(MessageType.END, b""),
}


def invocation(
    service_type: ServiceType = ServiceType.WORKFLOW, handler_type: HandlerType = HandlerType.WORKFLOW
) -> Invocation:
    return Invocation(
        id="inv_1a",
        target=Target("Flow", "run", "k"),
        service_type=service_type,
        handler_type=handler_type,
        idempotency_key=None,
        execution_time_ms=0,
        created_ms=0,
        completion_retention_ms=0,
        random_seed=0,
        retry_policy=RetryPolicy(),
        schema_revision=1,
    )


def core_in(state: State) -> AttemptCore:
    core = AttemptCore(invocation(), LIMITS, journal_has_output=state is State.OUTPUT)
    if state is State.OVER:
        core.closed()
    assert core.state is state
    return core


def take(core: AttemptCore, *frames: Frame) -> Step:
    entropy = (ENTROPY * len(frames))[: entropy_bytes(frames)]
    return core.received(frames, SCHEMA, now_ms=0, entropy=entropy)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("kind", Kind)
def test_the_full_product(state: State, kind: Kind) -> None:
    core = core_in(state)
    if state is State.OVER:
        assert DIALOGUE[state].get(kind) is None
        return
    step = take(core, SAMPLES[kind])
    following = DIALOGUE[state].get(kind)
    if following is None:
        assert step.failed is not None
        assert step.failed.failure.code == 571
        assert "out of place" in step.failed.failure.message
        assert not step.entries
        assert core.state is State.OVER
        return
    assert core.state is following
    assert bool(step.entries) == (kind in (Kind.COMMAND, Kind.OUTPUT, Kind.PROPOSAL))
    assert (step.end is not None) == (kind in (Kind.SUSPENSION, Kind.END))
    assert (step.failed is not None) == (kind is Kind.ERROR)


@pytest.mark.parametrize("type_", [int(t) for t in MESSAGES if int(t) not in KINDS] + [0x0006, 0x040F, 0xFC00, 0xFFFF])
def test_what_an_endpoint_cannot_say_fails_the_attempt(type_: int) -> None:
    step = take(core_in(State.OPEN), Frame(type_, b""))
    assert step.failed is not None
    assert f"0x{type_:04X} cannot come from an endpoint" in step.failed.failure.message


def test_a_flush_is_one_step_up_to_its_end() -> None:
    step = take(
        core_in(State.OPEN), SAMPLES[Kind.COMMAND], SAMPLES[Kind.PROPOSAL], SAMPLES[Kind.OUTPUT], SAMPLES[Kind.END]
    )
    assert [proposed.entry.type for proposed in step.entries] == [0x0411, 0x0005, 0x0401]
    assert step.end == Finished()


def test_what_follows_the_end_is_ignored() -> None:
    step = take(core_in(State.OUTPUT), SAMPLES[Kind.END], SAMPLES[Kind.COMMAND])
    assert step == Step((), end=Finished())


def test_what_came_before_a_violation_is_kept() -> None:
    step = take(core_in(State.OPEN), SAMPLES[Kind.COMMAND], SAMPLES[Kind.END])
    assert len(step.entries) == 1
    assert step.failed is not None
    assert step.end is None


def test_an_error_carries_its_code_message_and_delay() -> None:
    frame = Frame(MessageType.ERROR, pb.Error(code=503, message="busy", next_retry_delay=0).SerializeToString())
    assert take(core_in(State.OPEN), frame).failed == AttemptFailure(Failure(503, "busy"), retry_delay_ms=0)
    step = take(core_in(State.OPEN), SAMPLES[Kind.ERROR])
    assert step.failed == AttemptFailure(Failure(500, "no"), retry_delay_ms=None)


def test_a_suspension_must_wait_for_something() -> None:
    step = take(core_in(State.OPEN), Frame(MessageType.SUSPENSION, b""))
    assert step.failed is not None
    full = pb.Suspension(waiting_completions=[1, 2], waiting_signals=[1], waiting_named_signals=["n"])
    step = take(core_in(State.OPEN), Frame(MessageType.SUSPENSION, full.SerializeToString()))
    assert step.end == Suspend((1, 2), (1,), ("n",))


def test_a_stream_that_just_ends_fails_the_attempt() -> None:
    assert core_in(State.OPEN).closed() is not None
    assert core_in(State.OUTPUT).closed() is not None
    assert core_in(State.OVER).closed() is None


def call(**fields: object) -> Frame:
    command = pb.CallCommand(result_completion_id=2, invocation_id_notification_idx=1, **fields)  # type: ignore[arg-type]
    return Frame(MessageType.CALL, command.SerializeToString())


def only_callee(step: Step) -> Callee:
    assert step.failed is None
    (proposed,) = step.entries
    assert proposed.callee is not None
    return proposed.callee


def test_a_callee_is_resolved_with_its_types_and_policies() -> None:
    callee = only_callee(take(core_in(State.OPEN), call(service_name="Echo", handler_name="echo")))
    assert callee.invocation_id == CALLEE
    assert (callee.service_type, callee.handler_type) == (ServiceType.SERVICE, HandlerType.SHARED)
    assert callee.completion_retention_ms == 0
    assert callee.random_seed == int.from_bytes(ENTROPY[:8], "big")
    assert callee.schema_revision == SCHEMA.revision
    keyed = only_callee(take(core_in(State.OPEN), call(service_name="Echo", handler_name="echo", idempotency_key="i")))
    assert keyed.completion_retention_ms == LIMITS.completion_retention_ms
    assert keyed.random_seed == ids.random_seed_for(ids.raw_id(keyed.invocation_id))
    again = only_callee(take(core_in(State.OPEN), call(service_name="Echo", handler_name="echo", idempotency_key="i")))
    assert keyed.invocation_id == again.invocation_id
    counter = only_callee(take(core_in(State.OPEN), call(service_name="Counter", handler_name="add", key="k")))
    assert counter.handler_type is HandlerType.EXCLUSIVE
    assert counter.retry_policy == RetryPolicy(7, 3000, 60_000, 2)


def test_each_call_of_a_flush_has_entropy_of_its_own() -> None:
    frames = [
        call(service_name="Echo", handler_name="echo"),
        SAMPLES[Kind.COMMAND],
        call(service_name="Echo", handler_name="echo"),
    ]
    assert entropy_bytes(frames) == 24
    step = core_in(State.OPEN).received(frames, SCHEMA, now_ms=5, entropy=bytes(range(24)))
    callees = [proposed.callee.invocation_id for proposed in step.entries if proposed.callee is not None]
    assert len(set(callees)) == 2


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"service_name": "Nobody", "handler_name": "echo"}, "no deployment offers Nobody/echo"),
        ({"service_name": "Echo", "handler_name": "nothing"}, "no deployment offers Echo/nothing"),
        ({"service_name": "Echo", "handler_name": "echo", "key": "k"}, "plain service"),
    ],
)
def test_an_unknown_callee_fails_the_attempt_and_is_tried_again(fields: dict[str, str], message: str) -> None:
    step = take(core_in(State.OPEN), call(**fields))
    assert step.failed is not None
    assert message in step.failed.failure.message
    assert step.failed.reached


def test_attaches_are_resolved_too() -> None:
    workflow = pb.AttachInvocationCommand(
        workflow_target=pb.WorkflowTarget(workflow_name="Flow", workflow_key="k"), result_completion_id=1
    )
    step = take(core_in(State.OPEN), Frame(MessageType.ATTACH_INVOCATION, workflow.SerializeToString()))
    assert only_callee(step).invocation_id == ids.workflow_run_id("Flow", "k")
    request = pb.GetInvocationOutputCommand(
        idempotent_request_target=pb.IdempotentRequestTarget(
            service_name="Echo", handler_name="echo", idempotency_key="i"
        ),
        result_completion_id=1,
    )
    step = take(core_in(State.OPEN), Frame(MessageType.GET_INVOCATION_OUTPUT, request.SerializeToString()))
    target = Target("Echo", "echo")
    expected = ids.invocation_id_for(target, HandlerType.SHARED, "i", 0, bytes(12))
    assert only_callee(step).invocation_id == expected


def test_shared_handlers_write_no_state() -> None:
    core = AttemptCore(invocation(ServiceType.VIRTUAL_OBJECT, HandlerType.SHARED), LIMITS, journal_has_output=False)
    frame = Frame(MessageType.SET_STATE, pb.SetStateCommand(key=b"k", value=pb.Value()).SerializeToString())
    assert take(core, frame).failed is not None


def test_a_message_above_the_bound_fails_the_attempt() -> None:
    limits = Limits(request_bytes_max=10, message_bytes_max=10)
    core = AttemptCore(invocation(), limits, journal_has_output=False)
    frame = Frame(MessageType.OUTPUT, pb.OutputCommand(value=pb.Value(content=b"x" * 20)).SerializeToString())
    failed = take(core, frame).failed
    assert failed is not None
    assert "above the limit of 10" in failed.failure.message


@given(
    st.lists(
        st.builds(
            Frame,
            st.one_of(st.sampled_from([int(t) for t in MESSAGES]), st.integers(0, 0xFFFF)),
            st.binary(max_size=30),
        ),
        max_size=5,
    )
)
def test_arbitrary_frames_are_entries_an_end_or_a_failure(frames: list[Frame]) -> None:
    core = core_in(State.OPEN)
    entropy = bytes(entropy_bytes(frames))
    step = core.received(frames, SCHEMA, now_ms=0, entropy=entropy)
    assert step.end is None or step.failed is None
    assert (core.state is State.OVER) == (step.end is not None or step.failed is not None)
