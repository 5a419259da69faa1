"""P11 on hand-made rehearsals: what it takes for an operation, when that begins and ends, and what it refuses."""

from __future__ import annotations

from typing import Any

from understudy_runtime.model.commands import Invoke
from understudy_runtime.model.invocation import Failure, HandlerType, Result, ServiceType, Success, Target
from understudy_sim.stage.happenings import Answered
from understudy_sim.stage.history import Asked, History
from understudy_sim.stage.linearizability import Failed
from understudy_sim.stage.model_words import Effects
from understudy_sim.stage.operations import Call
from understudy_sim.stage.properties.linearizable import Linearizable

from tests.sim.stage.properties.stands import Stand, answer

NAMES = tuple(f"inv_{number}" for number in range(9))


def counter(total: int, handler: str, argument: Any) -> tuple[int, Any]:
    if handler == "get":
        return total, total
    if argument < 0:
        return total, Failed(400)
    return total + argument, total + argument


class Rehearsal:
    """A stand with clients: they ask, are answered, and other handlers call."""

    def __init__(self) -> None:
        self.stand = Stand()
        self.history = History()
        self.checker = self.stand.put(Linearizable)
        self.checker.declare("Counter", counter, 0, self.history)

    def ask(self, handler: str, argument: Any = None, *, key: str = "c", idempotency_key: str = "") -> Asked:
        call = Call(client="ann", service="Counter", key=key, handler=handler, argument=argument)
        return self.history.ask(call, idempotency_key, self.stand.now_ns)

    def answered(self, asked: Asked, body: bytes, *, status: int = 200, source: str = "") -> None:
        read = answer(f"inv_of_{asked.ordinal}", body, status=status, source=source)
        self.stand.watch.tell(Answered(asked, read))

    def call(self, name: str, handler: str, payload: bytes) -> None:
        """Handler `inv_caller` journals a call."""
        target = Target("Counter", handler, "c")
        command = Invoke(name, target, ServiceType.VIRTUAL_OBJECT, HandlerType.EXCLUSIVE, payload)
        self.stand.truth.commands[name] = command
        self.stand.step(command, (), Effects(placed=[("inv_caller", command)]))

    def end(self, name: str, result: Result) -> None:
        self.stand.truth.results[name] = result
        self.stand.step(self.stand.truth.commands[name], (), Effects(completed={name: result}))

    def verdict(self) -> list[str]:
        self.checker.finish()
        return self.stand.broken


def test_p11_accepts_operations_in_order() -> None:
    one = Rehearsal()
    one.answered(one.ask("add", 2), b"2")
    one.answered(one.ask("add", 3), b"5")
    one.answered(one.ask("get"), b"5")
    assert one.verdict() == []
    assert one.stand.watch.hits == {"P11 histories judged": 1, "P11 operations put in order": 3}


def test_p11_refuses_a_stale_read_and_says_how_far_it_came() -> None:
    one = Rehearsal()
    one.answered(one.ask("add", 2), b"2")
    one.answered(one.ask("get"), b"0")
    (told,) = one.verdict()
    assert "no order explains the 2 operations on Counter/c" in told
    assert "add(2) for ann was answered 2" in told
    assert "get() for ann was answered 0" in told
    assert "the model says 2" in told


def test_p11_refuses_a_lost_write() -> None:
    one = Rehearsal()
    one.answered(one.ask("add", 2), b"2")
    one.answered(one.ask("add", 3), b"3")
    assert one.verdict()


def test_p11_lets_overlapping_operations_happen_in_any_order() -> None:
    one = Rehearsal()
    first, second, looks = one.ask("add", 2), one.ask("add", 3), one.ask("get")
    one.answered(first, b"5")
    one.answered(looks, b"3")
    one.answered(second, b"3")
    assert one.verdict() == []


def test_p11_keeps_keys_apart() -> None:
    one = Rehearsal()
    one.answered(one.ask("add", 2, key="a"), b"2")
    one.answered(one.ask("get", key="b"), b"0")
    assert one.verdict() == []
    assert one.stand.watch.hits["P11 histories judged"] == 2


def test_p11_does_not_know_whether_an_unanswered_call_happened() -> None:
    for seen in (b"0", b"2"):
        one = Rehearsal()
        one.ask("add", 2)
        one.answered(one.ask("get"), seen)
        assert one.verdict() == [], seen
        assert one.stand.watch.hits["P11 operations that may have happened"] == 1


def test_p11_counts_calls_with_one_idempotency_key_once() -> None:
    one = Rehearsal()
    one.answered(one.ask("add", 2, idempotency_key="same"), b"2")
    one.answered(one.ask("add", 2, idempotency_key="same"), b"2")
    one.answered(one.ask("get"), b"2")
    assert one.verdict() == []


def test_p11_takes_the_calls_of_other_handlers() -> None:
    one = Rehearsal()
    one.call(NAMES[0], "add", b"2")
    looks = one.ask("get")
    one.end(NAMES[0], Success(b"2"))
    one.answered(looks, b"2")
    one.answered(one.ask("get"), b"0")
    (told,) = one.verdict()
    assert "inv_caller" in told


def test_p11_takes_a_one_way_call_to_end_with_its_invocation() -> None:
    one = Rehearsal()
    sends = one.ask("add", 2)
    name = f"inv_of_{sends.ordinal}"
    one.stand.truth.commands[name] = one.stand.invocation(name)
    one.answered(sends, b"{}", status=202)
    one.answered(one.ask("get"), b"0")
    one.end(name, Success(b"2"))
    one.answered(one.ask("get"), b"2")
    assert one.verdict() == []
    one.answered(one.ask("get"), b"0")
    assert one.verdict()


def test_p11_knows_failures_that_are_answers() -> None:
    one = Rehearsal()
    one.answered(one.ask("add", -1), b"{}", status=400, source="invocation")
    assert one.verdict() == []
    one.answered(one.ask("add", 1), b"{}", status=400, source="invocation")
    assert one.verdict()


def test_p11_takes_an_operation_that_was_ended_by_force_for_unknown() -> None:
    one = Rehearsal()
    one.answered(one.ask("add", 2), b"{}", status=409, source="invocation")
    one.call(NAMES[0], "add", b"3")
    one.end(NAMES[0], Failure(409, "killed"))
    one.answered(one.ask("get"), b"3")
    assert one.verdict() == []


def test_p11_leaves_out_what_has_no_model() -> None:
    one = Rehearsal()
    call = Call(client="ann", service="Other", key="k", handler="get")
    one.answered(one.history.ask(call, "", 0), b"1")
    assert one.verdict() == []
    assert one.stand.watch.hits == {}


def test_p11_counts_what_it_cannot_decide() -> None:
    one = Rehearsal()
    for place in range(30):  # Thirty adds that may have happened: a billion sums.
        one.ask("add", 2**place)
    one.answered(one.ask("get"), b"-1")
    assert one.verdict() == []
    assert one.checker.undecided == 1
    assert one.stand.watch.hits == {"P11 histories undecided": 1}
