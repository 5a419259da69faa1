"""The machine of an attempt over the full product: everything that can be done to it, in every state it can be in.

The table says what each does: the state it leaves, what is written, or the error and whose fault it is.  `test_states`
walks the table of transitions itself.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from understudy.protocol import service_pb2 as pb
from understudy.protocol.framing import Frame
from understudy.protocol.messages import MessageType as T
from understudy.protocol.messages import is_command, is_notification
from understudy.vm import (
    CANCEL,
    VM,
    Answer,
    AttemptAborted,
    AttemptEnded,
    AttemptFinished,
    AttemptSuspended,
    CallTarget,
    Combinator,
    Failure,
    InternalError,
    JournalMismatch,
    Node,
    ProtocolViolation,
    RunRetryPolicy,
    State,
    Tree,
    UnsupportedFeature,
)

from tests.sdk.fakes import cancel_signal, completed, start

Operation = Callable[[VM], object]

TARGET = CallTarget("S", "h", "k", "once", (("a", "b"),))
REFUSED = Failure(409, "no")
SLEEP = Frame(T.SLEEP, pb.SleepCommand(wake_up_time=5, result_completion_id=1).SerializeToString())

# -- what an operation writes when it is new --

OPERATIONS: dict[str, tuple[Operation, T]] = {
    "output": (lambda vm: vm.sys_output(b"1"), T.OUTPUT),
    "output failure": (lambda vm: vm.sys_output_failure(REFUSED), T.OUTPUT),
    "get state": (lambda vm: vm.sys_get_state(b"k"), T.GET_LAZY_STATE),
    "get state keys": (lambda vm: vm.sys_get_state_keys(), T.GET_LAZY_STATE_KEYS),
    "set state": (lambda vm: vm.sys_set_state(b"k", b"1"), T.SET_STATE),
    "clear state": (lambda vm: vm.sys_clear_state(b"k"), T.CLEAR_STATE),
    "clear all state": (lambda vm: vm.sys_clear_all_state(), T.CLEAR_ALL_STATE),
    "sleep": (lambda vm: vm.sys_sleep(5), T.SLEEP),
    "call": (lambda vm: vm.sys_call(TARGET, b"1"), T.CALL),
    "one-way call": (lambda vm: vm.sys_one_way_call(TARGET, b"1", 7), T.ONE_WAY_CALL),
    "attach": (lambda vm: vm.sys_attach_invocation("inv_1x"), T.ATTACH_INVOCATION),
    "get output": (lambda vm: vm.sys_get_invocation_output("inv_1x"), T.GET_INVOCATION_OUTPUT),
    "complete awakeable": (lambda vm: vm.sys_complete_awakeable("sign_1x", b"1"), T.COMPLETE_AWAKEABLE),
    "send signal": (lambda vm: vm.sys_send_signal("inv_1x", "go", REFUSED), T.SEND_SIGNAL),
    "cancel invocation": (lambda vm: vm.sys_cancel_invocation("inv_1x"), T.SEND_SIGNAL),
    "get promise": (lambda vm: vm.sys_get_promise("p"), T.GET_PROMISE),
    "peek promise": (lambda vm: vm.sys_peek_promise("p"), T.PEEK_PROMISE),
    "complete promise": (lambda vm: vm.sys_complete_promise("p", b"1"), T.COMPLETE_PROMISE),
    "run": (lambda vm: vm.sys_run("r"), T.RUN),
}
# Write nothing, so no state forbids them; the context refuses them when its attempt is over.
SILENT: dict[str, Operation] = {
    "awakeable": lambda vm: vm.sys_awakeable(),
    "signal": lambda vm: vm.sys_signal("go"),
}


def test_every_operation_is_in_the_table() -> None:
    methods = {name for name in dir(VM) if name.startswith("sys_")}
    called = set()

    class Noting:
        def __getattr__(self, name: str) -> Callable[..., None]:
            called.add(name)
            return lambda *_: None

    for operation in [*(one for one, _ in OPERATIONS.values()), *SILENT.values()]:
        operation(Noting())  # type: ignore[arg-type]
    assert methods - called == {"sys_input", "sys_end"}, "which have tests of their own"
    assert {type_ for _, type_ in OPERATIONS.values()} == {type_ for type_ in T if is_command(type_)} - {
        T.INPUT,
        T.GET_EAGER_STATE,
        T.GET_EAGER_STATE_KEYS,
    }


# -- the states, each by the way a real attempt gets there --


def waiting_start() -> VM:
    return VM(6)


def waiting_replay() -> VM:
    vm = VM(6)
    vm.notify_input(start(b"", completed(T.SLEEP_COMPLETION, 90), partial_state=True)[:2])
    return vm


def processing() -> VM:
    vm = VM(6)
    vm.notify_input(start(partial_state=True))
    vm.sys_input()
    return vm


def processing_closed() -> VM:
    vm = processing()
    vm.notify_input_closed()
    return vm


def replaying(*recorded: Frame) -> VM:
    vm = VM(6)
    vm.notify_input(start(b"", *recorded, partial_state=True))
    vm.sys_input()
    return vm


def finished() -> VM:
    vm = processing()
    vm.sys_output(b"1")
    vm.sys_end()
    vm.take_output()
    return vm


def suspended() -> VM:
    vm = processing_closed()
    assert vm.do_await(vm.sys_sleep(5)) is Answer.SUSPENDED
    vm.take_output()
    return vm


def failed() -> VM:
    vm = processing()
    with pytest.raises(InternalError):
        vm.fail(InternalError("broken"))
    vm.take_output()
    return vm


def aborted() -> VM:
    vm = processing()
    vm.abort()
    return vm


EARLY = {"waiting for start": waiting_start, "waiting for replay": waiting_replay}
OPEN = {"processing": processing, "processing, input closed": processing_closed}
ENDED: dict[str, tuple[Callable[[], VM], type[AttemptEnded]]] = {
    "finished": (finished, AttemptFinished),
    "suspended": (suspended, AttemptSuspended),
    "failed": (failed, InternalError),
    "aborted": (aborted, AttemptAborted),
}
ANY_STATE: dict[str, Callable[[], VM]] = {
    **EARLY,
    "replaying": lambda: replaying(SLEEP, SLEEP),
    **OPEN,
    **{name: make for name, (make, _) in ENDED.items()},
}


def written(operation: Operation) -> Frame:
    vm = processing()
    operation(vm)
    (frame,) = vm.take_output()
    return frame


# -- operations --


@pytest.mark.parametrize("state", EARLY)
@pytest.mark.parametrize("name", [*OPERATIONS, "await", "input"])
def test_an_operation_before_the_journal_is_our_mistake(name: str, state: str) -> None:
    more: dict[str, Operation] = {"await": lambda vm: vm.do_await(1), "input": lambda vm: vm.sys_input()}
    vm = EARLY[state]()
    before = vm.state
    with pytest.raises(AssertionError, match="waiting_"):
        (more.get(name) or OPERATIONS[name][0])(vm)
    assert (vm.state, vm.take_output()) == (before, [])


@pytest.mark.parametrize("state", OPEN)
@pytest.mark.parametrize("name", OPERATIONS)
def test_a_new_operation_is_written(name: str, state: str) -> None:
    operation, type_ = OPERATIONS[name]
    vm = OPEN[state]()
    operation(vm)
    assert (vm.state, [frame.type for frame in vm.take_output()]) == (State.PROCESSING, [type_])


@pytest.mark.parametrize("is_last", [False, True])
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_that_is_recorded_is_not_written(name: str, is_last: bool) -> None:
    operation, _ = OPERATIONS[name]
    vm = replaying(written(operation), *([] if is_last else [SLEEP]))
    operation(vm)
    assert (vm.state, vm.take_output()) == (State.PROCESSING if is_last else State.REPLAYING, [])


@pytest.mark.parametrize("recorded", OPERATIONS)
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_where_another_is_recorded_is_a_mismatch(name: str, recorded: str) -> None:
    operation, type_ = OPERATIONS[name]
    if name == recorded:
        return
    vm = replaying(written(OPERATIONS[recorded][0]), SLEEP)
    with pytest.raises(JournalMismatch):
        operation(vm)
    (frame,) = vm.take_output()
    error = pb.Error.FromString(frame.payload)
    assert (vm.state, frame.type, error.code, error.related_command_index) == (State.CLOSED, T.ERROR, 570, 1)
    eager = {T.GET_LAZY_STATE: T.GET_EAGER_STATE, T.GET_LAZY_STATE_KEYS: T.GET_EAGER_STATE_KEYS}
    assert error.related_command_type == eager.get(type_, type_)


@pytest.mark.parametrize("state", ENDED)
@pytest.mark.parametrize("name", [*OPERATIONS, "await", "input", "end"])
def test_an_operation_after_the_end_raises_how_it_ended(name: str, state: str) -> None:
    more: dict[str, Operation] = {
        "await": lambda vm: vm.do_await(1),
        "input": lambda vm: vm.sys_input(),
        "end": lambda vm: vm.sys_end(),
    }
    make, ending = ENDED[state]
    vm = make()
    for _ in range(2):
        with pytest.raises(ending) as caught:
            (more.get(name) or OPERATIONS[name][0])(vm)
        assert type(caught.value) is ending
    assert (vm.state, vm.take_output()) == (State.CLOSED, [])


@pytest.mark.parametrize("state", ANY_STATE)
@pytest.mark.parametrize("name", SILENT)
def test_what_writes_nothing_changes_nothing(name: str, state: str) -> None:
    vm = ANY_STATE[state]()
    before = vm.state
    SILENT[name](vm)
    assert (vm.state, vm.take_output()) == (before, [])


def test_the_input_is_read_once() -> None:
    for vm in (processing(), replaying(SLEEP)):
        with pytest.raises(AssertionError):
            vm.sys_input()


@pytest.mark.parametrize("state", ["waiting for start", "waiting for replay", "replaying"])
def test_an_end_before_its_time_is_a_violation(state: str) -> None:
    vm = ANY_STATE[state]()
    with pytest.raises(ProtocolViolation):
        vm.sys_end()
    assert (vm.state, [frame.type for frame in vm.take_output()]) == (State.CLOSED, [T.ERROR])


@pytest.mark.parametrize("state", OPEN)
def test_an_end_ends(state: str) -> None:
    vm = OPEN[state]()
    vm.sys_output(b"1")
    vm.sys_end()
    assert (vm.state, [frame.type for frame in vm.take_output()]) == (State.CLOSED, [T.OUTPUT, T.END])


# Arguments that no version spoken here can send: refused where the operation would have been written or compared.
REFUSALS: dict[str, tuple[Operation, int]] = {
    "empty idempotency key": (lambda vm: vm.sys_call(CallTarget("S", "h", idempotency_key=""), b""), 500),
    "empty key of a send": (lambda vm: vm.sys_one_way_call(CallTarget("S", "h", idempotency_key=""), b""), 500),
    "scope": (lambda vm: vm.sys_call(CallTarget("S", "h", scope="s"), b""), 573),
    "limit key": (lambda vm: vm.sys_one_way_call(CallTarget("S", "h", limit_key="l"), b""), 573),
}


@pytest.mark.parametrize("state", ["replaying", *OPEN])
@pytest.mark.parametrize("name", REFUSALS)
def test_what_cannot_be_sent_ends_the_attempt(name: str, state: str) -> None:
    operation, code = REFUSALS[name]
    vm = ANY_STATE[state]()
    with pytest.raises((InternalError, UnsupportedFeature)) as caught:
        operation(vm)
    assert (caught.value.code, vm.state) == (code, State.CLOSED)
    assert [frame.type for frame in vm.take_output()] == [T.ERROR]


# -- runs --

RUN_REPORTS: dict[str, Operation] = {
    "value": lambda vm: vm.propose_run_value(1, b"1"),
    "failure": lambda vm: vm.propose_run_failure(1, REFUSED),
    "gave up": lambda vm: vm.run_attempt_failed(1, InternalError("x"), RunRetryPolicy(attempts_max=1), elapsed_ms=0),
}


def executing(vm: VM) -> VM:
    run = vm.sys_run("r")
    assert vm.do_await(run) is Answer.EXECUTE
    assert vm.take_runs() == [run]
    vm.take_output()
    return vm


@pytest.mark.parametrize("report", RUN_REPORTS)
@pytest.mark.parametrize("state", OPEN)
def test_an_executing_run_is_proposed_once(state: str, report: str) -> None:
    vm = executing(OPEN[state]())
    RUN_REPORTS[report](vm)
    assert (vm.state, [frame.type for frame in vm.take_output()]) == (State.PROCESSING, [T.PROPOSE_RUN_COMPLETION])
    with pytest.raises(AssertionError, match="PROPOSED"):
        RUN_REPORTS[report](vm)


@pytest.mark.parametrize("state", OPEN)
def test_a_run_to_be_tried_again_ends_the_attempt(state: str) -> None:
    vm = executing(OPEN[state]())
    with pytest.raises(InternalError):
        vm.run_attempt_failed(1, InternalError("x"), None, elapsed_ms=0)
    (frame,) = vm.take_output()
    error = pb.Error.FromString(frame.payload)
    assert (vm.state, error.related_command_type, error.related_command_name) == (State.CLOSED, T.RUN, "r")


@pytest.mark.parametrize("report", RUN_REPORTS)
@pytest.mark.parametrize("state", ANY_STATE)
def test_a_report_of_a_run_that_nobody_waits_for_is_ignored(state: str, report: str) -> None:
    vm = ANY_STATE[state]()
    before = vm.state
    RUN_REPORTS[report](vm)
    assert (vm.state, vm.take_output()) == (before, [])


@pytest.mark.parametrize("report", RUN_REPORTS)
def test_a_report_after_the_end_is_ignored(report: str) -> None:
    vm = executing(processing())
    vm.abort()
    RUN_REPORTS[report](vm)
    assert (vm.state, vm.take_output()) == (State.CLOSED, [])


# -- awaits --

DONE = completed(T.SLEEP_COMPLETION, 1)
EITHER = Node(Combinator.FIRST_COMPLETED, (1, 2))

AWAITS: dict[str, tuple[Callable[[], VM], Tree, Answer | type[AttemptEnded]]] = {
    "replaying, resolved": (lambda: replaying(SLEEP, DONE, SLEEP), 1, Answer.COMPLETED),
    "replaying, one of two": (lambda: replaying(SLEEP, DONE, SLEEP), EITHER, Answer.COMPLETED),
    "replaying, unresolved": (lambda: replaying(SLEEP, SLEEP), 1, JournalMismatch),
    "replaying, cancelled": (lambda: replaying(SLEEP, cancel_signal(), SLEEP), 1, Answer.CANCELLED),
    "replaying, resolved and cancelled": (lambda: replaying(SLEEP, DONE, cancel_signal(), SLEEP), 1, Answer.COMPLETED),
    "replayed, resolved": (lambda: replaying(SLEEP, DONE), 1, Answer.COMPLETED),
    "replayed, unresolved": (lambda: replaying(SLEEP), 1, Answer.WAIT),
    "replayed, cancelled": (lambda: replaying(SLEEP, cancel_signal()), 1, Answer.CANCELLED),
}


@pytest.mark.parametrize("case", AWAITS)
def test_an_await_in_a_replay(case: str) -> None:
    make, tree, expected = AWAITS[case]
    vm = make()
    vm.sys_sleep(5)
    before = vm.state
    if isinstance(expected, Answer):
        assert (vm.do_await(tree), vm.state, vm.take_output()) == (expected, before, [])
    else:
        with pytest.raises(expected):
            vm.do_await(tree)
        assert (vm.state, [frame.type for frame in vm.take_output()]) == (State.CLOSED, [T.ERROR])


@pytest.mark.parametrize("tree", [1, EITHER], ids=["leaf", "node"])
@pytest.mark.parametrize("state", OPEN)
@pytest.mark.parametrize("arrived", ["nothing", "the result", "a cancel", "another result"])
def test_an_await_of_something_new(arrived: str, state: str, tree: Tree) -> None:
    sent = {"the result": DONE, "a cancel": cancel_signal(), "another result": completed(T.SLEEP_COMPLETION, 9)}
    vm = processing()
    vm.sys_sleep(5)
    vm.take_output()
    if arrived in sent:
        vm.notify_input([sent[arrived]])
    if state != "processing":
        vm.notify_input_closed()
    answer = vm.do_await(tree)
    if arrived == "the result":
        assert (answer, vm.state) == (Answer.COMPLETED, State.PROCESSING)
    elif arrived == "a cancel":
        assert (answer, vm.state) == (Answer.CANCELLED, State.PROCESSING)
    elif state == "processing":
        assert (answer, vm.state) == (Answer.WAIT, State.PROCESSING)
    else:
        assert (answer, vm.state) == (Answer.SUSPENDED, State.CLOSED)
    written_ = [frame.type for frame in vm.take_output()]
    assert written_ == ([T.SUSPENSION] if answer is Answer.SUSPENDED else [])


@pytest.mark.parametrize("state", OPEN)
@pytest.mark.parametrize(
    ("standing", "answers"),
    [
        ("issued", (Answer.EXECUTE, Answer.EXECUTE)),
        ("executing", (Answer.WAIT, Answer.WAIT)),
        ("proposed", (Answer.WAIT, Answer.SUSPENDED)),
        ("answered", (Answer.COMPLETED, Answer.COMPLETED)),
    ],
)
def test_an_await_of_a_run(standing: str, answers: tuple[Answer, Answer], state: str) -> None:
    vm = processing() if standing == "issued" else executing(processing())
    run = vm.sys_run("r") if standing == "issued" else 1
    if standing in ("proposed", "answered"):
        vm.propose_run_value(1, b"1")
    if standing == "answered":
        vm.notify_input([completed(T.RUN_COMPLETION, 1, b"1")])
    if state != "processing":
        vm.notify_input_closed()
    assert vm.do_await(run) is answers[state != "processing"]


def test_a_second_cancel_is_another_one() -> None:
    vm = processing()
    vm.sys_sleep(5)
    vm.notify_input([cancel_signal(), cancel_signal()])
    assert vm.do_await(1) is Answer.CANCELLED
    assert not vm.is_ready(CANCEL)
    assert vm.do_await(1) is Answer.CANCELLED
    assert vm.do_await(1) is Answer.WAIT


# -- what arrives --

NOTE = {type_: completed(type_, 9, b"1") for type_ in T if is_notification(type_)}
COMMANDS = [type_ for type_ in T if is_command(type_)]
NOBODYS = [0x0006, 0x0007, 0x03FF, 0xFC00, 0xFFFF]
NOT_A_SERVERS = [T.SUSPENSION, T.ERROR, T.END, T.COMMAND_ACK, T.PROPOSE_RUN_COMPLETION, *NOBODYS]


def arriving(type_: int) -> Frame:
    if type_ == T.START:
        return start()[0]
    return NOTE.get(T(type_), Frame(type_, b"")) if type_ in set(T) else Frame(type_, b"")


def accepted_in(type_: int, state: State) -> State | None:
    """The state after a well-formed message, None where it may not come.  WAITING_REPLAY: one entry is missing."""
    if state is State.CLOSED:
        return State.CLOSED
    if type_ == T.START:
        return State.WAITING_REPLAY if state is State.WAITING_START else None
    if is_command(type_):
        return State.REPLAYING if state is State.WAITING_REPLAY else None
    if is_notification(type_):
        return {State.WAITING_START: None, State.WAITING_REPLAY: State.REPLAYING}.get(state, state)
    return None


@pytest.mark.parametrize("state", ANY_STATE)
@pytest.mark.parametrize("type_", [T.START, *COMMANDS, *NOTE, *NOT_A_SERVERS], ids=lambda one: f"{int(one):04x}")
def test_every_message_in_every_state(type_: int, state: str) -> None:
    vm = ANY_STATE[state]()
    expected = accepted_in(type_, vm.state)
    if expected is not None:
        vm.notify_input([arriving(type_)])
        assert (vm.state, vm.take_output()) == (expected, [])
        return
    with pytest.raises(ProtocolViolation) as caught:
        vm.notify_input([arriving(type_)])
    assert (caught.value.code, vm.state) == (571, State.CLOSED)
    assert [frame.type for frame in vm.take_output()] == [T.ERROR]


@pytest.mark.parametrize("state", ANY_STATE)
@pytest.mark.parametrize("type_", [T.START, *NOTE], ids=lambda one: f"{int(one):04x}")
def test_a_message_that_cannot_be_read(type_: int, state: str) -> None:
    vm = ANY_STATE[state]()
    expected = accepted_in(type_, vm.state)
    frame = Frame(type_, b"\xff")
    if vm.state is State.CLOSED:
        vm.notify_input([frame])
        assert vm.take_output() == []
        return
    with pytest.raises((InternalError, ProtocolViolation)) as caught:
        vm.notify_input([frame])
    assert caught.value.code == (571 if expected is None else 500)
    assert (vm.state, [one.type for one in vm.take_output()]) == (State.CLOSED, [T.ERROR])


@pytest.mark.parametrize("state", ANY_STATE)
def test_the_end_of_the_input_in_every_state(state: str) -> None:
    vm = ANY_STATE[state]()
    before = vm.state
    if state in EARLY:
        with pytest.raises(ProtocolViolation):
            vm.notify_input_closed()
        assert (vm.state, [frame.type for frame in vm.take_output()]) == (State.CLOSED, [T.ERROR])
    else:
        vm.notify_input_closed()
        assert (vm.state, vm.take_output(), vm.is_input_closed) == (before, [], True)


@pytest.mark.parametrize("state", ANY_STATE)
def test_an_abort_in_every_state_writes_nothing(state: str) -> None:
    vm = ANY_STATE[state]()
    end = vm.end
    vm.abort()
    assert (vm.state, vm.take_output()) == (State.CLOSED, [])
    assert vm.end is end if end is not None else isinstance(vm.end, AttemptAborted)


@pytest.mark.parametrize("state", ANY_STATE)
def test_a_failure_in_every_state_is_told_once(state: str) -> None:
    vm = ANY_STATE[state]()
    end = vm.end
    with pytest.raises(AttemptEnded) as caught:
        vm.fail(InternalError("broken"))
    assert vm.state is State.CLOSED
    if end is None:
        assert isinstance(caught.value, InternalError)
        assert [frame.type for frame in vm.take_output()] == [T.ERROR]
    else:
        assert type(caught.value) is type(end)
        assert vm.take_output() == []
