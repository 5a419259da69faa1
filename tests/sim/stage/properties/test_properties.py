"""Each property is shown a history it must accept and one it must refuse.  What cannot fail proves nothing."""

from __future__ import annotations

import attrs
from understudy.protocol import service_pb2 as pb
from understudy.protocol.messages import MessageType
from understudy_runtime.model.actions import ArmTimer, Completed, DisarmTimer, StartAttempt
from understudy_runtime.model.commands import (
    AttemptEnd,
    AttemptOutput,
    LeaderElected,
    ProposedEntry,
    Purge,
    Record,
    Suspend,
    TimerFired,
)
from understudy_runtime.model.events import AttemptEnded, AttemptStarted, LeadershipTaken
from understudy_runtime.model.invocation import Entry, Failure, Status, Success
from understudy_sim.stage.happenings import (
    Answered,
    BodyEnded,
    BodyStarted,
    Deployed,
    DeploymentsListed,
    HazardSeen,
    Replayed,
    ServerStopped,
    StepExecuted,
)
from understudy_sim.stage.model_words import Effects, Invocation, Note
from understudy_sim.stage.operations import Attach
from understudy_sim.stage.properties import PROPERTIES
from understudy_sim.stage.properties.accepted_ends import AcceptedEnds
from understudy_sim.stage.properties.answer_stability import AnswerStability
from understudy_sim.stage.properties.durable_answers import DurableAnswers
from understudy_sim.stage.properties.exactly_once import ExactlyOnce
from understudy_sim.stage.properties.hazards import Hazards
from understudy_sim.stage.properties.leaks import Leaks
from understudy_sim.stage.properties.order import Order
from understudy_sim.stage.properties.outstanding import Outstanding
from understudy_sim.stage.properties.registrations import Registrations
from understudy_sim.stage.properties.single_holder import SingleHolder
from understudy_sim.stage.properties.timers import Timers
from understudy_sim.stage.properties.waits_in_vain import WaitsInVain

from tests.sim.stage.properties.stands import FIRST, IDS, SECOND, Stand, answer, asked, two_invocations


def test_every_property_has_a_number_of_its_own() -> None:
    assert len({kind.number for kind in PROPERTIES}) == len(PROPERTIES)
    assert all(kind.claim for kind in PROPERTIES)


# P1


def test_p1_accepts_one_after_the_other() -> None:
    stand = two_invocations()
    stand.put(SingleHolder)
    stand.start(FIRST)
    stand.complete(FIRST)
    stand.start(SECOND)
    assert stand.broken == []
    assert stand.watch.hits["P1 lock taken"] == 2


def test_p1_refuses_a_second_holder() -> None:
    stand = two_invocations()
    stand.put(SingleHolder)
    stand.start(FIRST)
    stand.start(SECOND)
    assert len(stand.broken) == 1
    assert FIRST in stand.broken[0]


def test_p1_refuses_to_hear_a_revoked_lease() -> None:
    stand = two_invocations()
    stand.put(SingleHolder)
    stand.step(LeaderElected(1, 1))
    stand.start(FIRST, lease=2)
    stale = AttemptOutput(FIRST, 1, 1, 1)
    stand.step(stale)
    assert stand.broken == []
    stand.step(stale, (Completed(FIRST, Success(b""), 0),))
    assert len(stand.broken) == 1


def test_p1_explains_overlapping_bodies_by_a_lost_attempt() -> None:
    stand = two_invocations()
    stand.put(SingleHolder)
    stand.watch.tell(AttemptStarted(0, FIRST, 1, 1, 1))
    stand.watch.tell(BodyStarted(1, FIRST))
    stand.watch.tell(AttemptEnded(0, FIRST, 1, 1, "lost"))
    stand.watch.tell(AttemptStarted(0, SECOND, 1, 1, 1))
    stand.watch.tell(BodyStarted(2, SECOND))
    assert stand.broken == []
    assert stand.watch.hits["P1 bodies overlapped"] == 1


def test_p1_refuses_overlapping_bodies_without_a_reason() -> None:
    stand = two_invocations()
    stand.put(SingleHolder)
    stand.watch.tell(AttemptStarted(0, FIRST, 1, 1, 1))
    stand.watch.tell(BodyStarted(1, FIRST))
    stand.watch.tell(AttemptStarted(0, SECOND, 1, 1, 1))
    stand.watch.tell(BodyStarted(2, SECOND))
    assert len(stand.broken) == 1
    stand.watch.tell(BodyEnded(1))


def test_p1_wants_an_attempt_for_each_body() -> None:
    stand = two_invocations()
    stand.put(SingleHolder)
    stand.watch.tell(AttemptStarted(0, FIRST, 1, 1, 1))
    stand.watch.tell(BodyStarted(1, FIRST))
    assert stand.broken == []
    stand.watch.tell(BodyStarted(2, FIRST))
    assert len(stand.broken) == 1


# P2


def placed(stand: Stand, *ids: str) -> Effects:
    return Effects(placed=[("inv_sender", stand.truth.commands[id_]) for id_ in ids])


def test_p2_accepts_calls_in_order() -> None:
    stand = two_invocations()
    stand.put(Order)
    stand.step(Purge("inv_x"), effects=placed(stand, FIRST, SECOND))
    stand.start(FIRST)
    stand.start(SECOND)
    assert stand.broken == []
    assert stand.watch.hits["P2 several calls of one sender to one key"] == 1


def test_p2_refuses_overtaking() -> None:
    stand = two_invocations()
    stand.put(Order)
    stand.step(Purge("inv_x"), effects=placed(stand, FIRST, SECOND))
    stand.start(SECOND)
    assert len(stand.broken) == 1


def test_p2_compares_what_a_client_asked_after_its_answer() -> None:
    for order, broken in ((IDS, 0), (IDS[::-1], 1)):
        stand = two_invocations()
        checker = stand.put(Order)
        for id_ in order:
            stand.start(id_)
        stand.watch.tell(Answered(asked(0, at_ns=0), answer(FIRST, at_ns=10)))
        stand.watch.tell(Answered(asked(1, at_ns=11), answer(SECOND, at_ns=20)))
        checker.finish()
        assert len(stand.broken) == broken


# P3


def step_result(stand: Stand, notes: list[Note], end: AttemptEnd | None = None) -> None:
    proposal = pb.ProposeRunCompletion(result_completion_id=1, value=b"1").SerializeToString()
    entry = ProposedEntry(Entry(MessageType.PROPOSE_RUN_COMPLETION, proposal))
    effects = Effects(invocations={FIRST: None})
    known = stand.truth.models[0].invocations
    if FIRST not in known:
        known[FIRST] = Invocation(stand.truth.commands[FIRST], Status.INVOKED, [], 1)
    known[FIRST].journal.extend(notes)
    stand.step(AttemptOutput(FIRST, 1, 1, 1, (entry,), end), effects=effects)


def test_p3_accepts_one_result() -> None:
    stand = two_invocations()
    stand.put(ExactlyOnce)
    step_result(stand, [Note(MessageType.RUN_COMPLETION, 1, Success(b"1"))])
    assert stand.broken == []


def test_p3_refuses_a_second_result_and_a_needless_execution() -> None:
    stand = two_invocations()
    stand.put(ExactlyOnce)
    note = Note(MessageType.RUN_COMPLETION, 1, Success(b"1"))
    step_result(stand, [note])
    step_result(stand, [note])
    step_result(stand, [])
    assert len(stand.broken) == 2


def test_p3_takes_a_result_that_came_with_a_suspension() -> None:
    """The attempt that proposed it is told nothing more, so there is no notification of it."""
    stand = two_invocations()
    stand.put(ExactlyOnce)
    note = Note(MessageType.RUN_COMPLETION, 1, Success(b"1"))
    step_result(stand, [note], Suspend((1,), (), ()))
    assert stand.broken == []
    step_result(stand, [note], Suspend((1,), (), ()))
    assert len(stand.broken) == 1


def test_p3_wants_an_interruption_for_each_repetition() -> None:
    for interrupted, broken in ((True, 0), (False, 1)):
        stand = two_invocations()
        checker = stand.put(ExactlyOnce)
        stand.watch.tell(AttemptStarted(0, FIRST, 1, 1, 1))
        stand.watch.tell(StepExecuted(FIRST, "charge"))
        if interrupted:
            stand.watch.tell(ServerStopped(1, "crash"))
        else:
            stand.watch.tell(AttemptEnded(0, FIRST, 1, 1, "suspended"))
        stand.watch.tell(StepExecuted(FIRST, "charge"))
        checker.finish()
        assert len(stand.broken) == broken


# P4


def test_p4_accepts_the_same_answer_twice() -> None:
    stand = two_invocations()
    stand.put(AnswerStability)
    for _ in range(2):
        stand.watch.tell(Answered(asked(), answer(FIRST)))
    stand.watch.tell(Answered(asked(), answer(FIRST, b"x", status=470, source="ingress")))
    assert stand.broken == []
    assert stand.watch.hits["P4 answers compared"] == 1


def test_p4_refuses_another_answer() -> None:
    stand = two_invocations()
    stand.put(AnswerStability)
    stand.watch.tell(Answered(asked(), answer(FIRST, b"1")))
    stand.watch.tell(Answered(asked(), answer(FIRST, b"2")))
    assert len(stand.broken) == 1


# P5


def test_p5_accepts_what_ended_and_names_what_did_not() -> None:
    stand = Stand()
    checker = stand.put(AcceptedEnds)
    checker.finish()
    assert stand.broken == []
    first = attrs.evolve(stand.invocation(FIRST), invocation_id=FIRST)
    second = attrs.evolve(first, invocation_id=SECOND)
    for lsn, command in enumerate((first, second), 1):
        stand.truth.learn(0, Record(lsn, 0, command))
    checker.finish()
    assert len(stand.broken) == 2
    assert "INBOXED, behind the holder of Obj/k" in stand.broken[1]
    assert FIRST in stand.broken[1]


# P8


def test_p8_compares_what_a_leader_starts_with() -> None:
    stand = Stand()
    stand.put(Outstanding)
    stand.truth.learn(0, Record(1, 0, stand.invocation(FIRST)))
    stand.watch.tell(LeadershipTaken(0, 1, 1, (StartAttempt(FIRST, 1),)))
    assert stand.broken == []
    stand.watch.tell(LeadershipTaken(0, 1, 1, ()))
    stand.watch.tell(LeadershipTaken(0, 1, 1, (StartAttempt(FIRST, 1), ArmTimer(5, 1))))
    assert len(stand.broken) == 2


# P9


def test_p9_accepts_a_timer_on_time() -> None:
    stand = two_invocations()
    checker = stand.put(Timers)
    stand.step(stand.truth.commands[FIRST], (ArmTimer(100, 1),))
    assert checker.left(99) == []
    assert len(checker.left(100)) == 1
    stand.step(TimerFired(100, 1), (StartAttempt(FIRST, 1),), time_ms=100)
    assert stand.broken == []
    assert checker.left(1000) == []


def test_p9_refuses_early_and_double_firing() -> None:
    stand = two_invocations()
    stand.put(Timers)
    stand.step(stand.truth.commands[FIRST], (ArmTimer(100, 1), ArmTimer(50, 2)))
    stand.step(TimerFired(100, 1), time_ms=99)
    stand.step(TimerFired(100, 1), (StartAttempt(FIRST, 1),), time_ms=101)
    stand.step(Purge(FIRST), (DisarmTimer(2),))
    stand.step(TimerFired(50, 2), time_ms=101)
    assert len(stand.broken) == 2


def test_p9_lets_a_clock_gone_back_arm_a_timer_again_and_wants_it_to_fire() -> None:
    stand = two_invocations()
    checker = stand.put(Timers)
    stand.step(stand.truth.commands[FIRST], (ArmTimer(100, 1),))
    stand.step(TimerFired(100, 1), (ArmTimer(100, 1),), time_ms=99)
    assert stand.broken == []
    assert len(checker.left(100)) == 1
    stand.step(TimerFired(100, 1), (ArmTimer(100, 2),), time_ms=99)
    assert len(stand.broken) == 1


# P10


def test_p10_wants_every_count_at_zero() -> None:
    stand = Stand()
    checker = stand.put(Leaks)
    checker.check({"waiters for a reply": 0})
    assert stand.broken == []
    checker.check({"waiters for a reply": 1})
    assert len(stand.broken) == 1


# P12


def test_p12_accepts_what_is_durable() -> None:
    stand = two_invocations()
    stand.put(DurableAnswers)
    stand.complete(FIRST)
    stand.watch.tell(Answered(asked(), answer(FIRST)))
    stand.watch.tell(Answered(asked(), answer(SECOND, status=202)))
    assert stand.broken == []


def test_p12_refuses_an_acknowledgement_without_a_record() -> None:
    stand = Stand()
    stand.put(DurableAnswers)
    stand.watch.tell(Answered(asked(), answer(FIRST, status=202)))
    stand.invocation(SECOND)
    stand.watch.tell(Answered(asked(), answer(SECOND)))
    assert len(stand.broken) == 2


def test_p12_lets_only_what_is_not_over_be_unfinished() -> None:
    stand = two_invocations()
    stand.put(DurableAnswers)
    look = Attach(client="bob", to="a", wait=False)
    early, late = (attrs.evolve(asked(at_ns=at_ns), attach=look, invocation_id=FIRST) for at_ns in (5, 20))
    stand.now_ns = 10
    stand.step(stand.truth.commands[FIRST], effects=Effects(completed={FIRST: Failure(500, "sold out")}))
    not_ready = answer(FIRST, status=470, source="ingress")
    stand.watch.tell(Answered(early, not_ready))
    assert stand.broken == [], "it was asked for before it ended"
    stand.watch.tell(Answered(late, not_ready))
    assert "had ended before" in stand.broken[0]
    stand.step(stand.truth.commands[FIRST], effects=Effects(accepted=[stand.truth.commands[FIRST]]))
    stand.watch.tell(Answered(attrs.evolve(late, asked_ns=30), not_ready))
    assert len(stand.broken) == 1, "it lives again"


def test_p12_refuses_records_that_changed_or_went() -> None:
    stand = Stand()
    stand.put(DurableAnswers)
    stand.truth.learn(0, Record(1, 0, stand.invocation(FIRST)))
    known = stand.truth.records[0][0]
    stand.watch.tell(Replayed(0, known, known))
    stand.watch.tell(LeadershipTaken(0, 1, 1, ()))
    assert stand.broken == []
    stand.watch.tell(Replayed(0, Record(1, 0, Purge(FIRST)), known))
    stand.watch.tell(LeadershipTaken(0, 1, 0, ()))
    assert len(stand.broken) == 2


# P13


def test_p13_reports_each_place_once() -> None:
    stand = Stand()
    stand.put(Hazards)
    assert stand.broken == []
    for _ in range(2):
        stand.watch.tell(HazardSeen("entropy", "uuid.uuid4()", "shop.py", 12))
    assert len(stand.broken) == 1
    assert stand.broken[0].startswith("shop.py:12:")


def test_a_checker_says_how_often_it_had_something_to_check() -> None:
    stand = Stand()
    stand.put(Leaks).check({"waiters": 0})
    assert stand.watch.hits == {"P10 waiters": 1}


def test_failures_are_results_too() -> None:
    stand = two_invocations()
    stand.put(AnswerStability)
    stand.truth.results[FIRST] = Failure(409, "cancelled")
    stand.watch.tell(Answered(asked(), answer(FIRST, b"a", status=409, source="invocation")))
    stand.watch.tell(Answered(asked(), answer(FIRST, b"b", status=409, source="invocation")))
    assert len(stand.broken) == 1


# P14


def test_p14_wants_one_deployment_an_address_with_one_id() -> None:
    stand = two_invocations()
    stand.put(Registrations)
    stand.watch.tell(Deployed("http://a", "dp_1", ("Obj",)))
    stand.watch.tell(Deployed("http://a", "dp_1", ("Obj",)))
    stand.watch.tell(Deployed("http://b", "dp_2", ("Obj",)))
    stand.watch.tell(DeploymentsListed((("http://b", "dp_2"), ("http://a", "dp_1"))))
    assert stand.broken == []
    stand.watch.tell(DeploymentsListed((("http://a", "dp_1"),)))
    stand.watch.tell(DeploymentsListed((("http://a", "dp_3"), ("http://b", "dp_2"))))
    stand.watch.tell(DeploymentsListed((("http://a", "dp_0"), ("http://a", "dp_1"), ("http://b", "dp_2"))))
    assert len(stand.broken) == 3
    stand.watch.tell(Deployed("http://a", "dp_4", ("Obj",)))
    assert len(stand.broken) == 4


def test_p14_wants_a_registered_service_to_be_known() -> None:
    stand = two_invocations()
    stand.put(Registrations)
    refused = answer("", b"", status=404, source="ingress")
    stand.watch.tell(Answered(asked(), refused))
    assert stand.broken == [], "nobody was told that it is registered"
    stand.watch.tell(Deployed("http://a", "dp_1", ("Obj",)))
    stand.watch.tell(Answered(asked(), answer(FIRST, status=404, source="invocation")))
    assert stand.broken == [], "a handler may say so"
    stand.watch.tell(Answered(asked(), refused))
    assert len(stand.broken) == 1


# P15


def test_p15_lets_nobody_wait_for_what_has_ended() -> None:
    stand = two_invocations()
    stand.put(WaitsInVain)
    stand.truth.unanswered = lambda: [FIRST]
    stand.start(FIRST)
    end_first(stand)
    assert stand.broken == [], "those who wait are told behind the record"
    stand.now_ns += 2 * WaitsInVain.grace_ns
    stand.start(SECOND)
    assert len(stand.broken) == 1
    assert FIRST in stand.broken[0]


def test_p15_knows_that_an_id_may_live_again() -> None:
    stand = two_invocations()
    stand.put(WaitsInVain)
    stand.truth.unanswered = lambda: [FIRST]
    end_first(stand)
    accepted = stand.truth.commands[FIRST]
    stand.step(accepted, effects=Effects(accepted=[accepted]))
    stand.now_ns += 2 * WaitsInVain.grace_ns
    stand.start(SECOND)
    assert stand.broken == []


def end_first(stand: Stand) -> None:
    """The first invocation ends, by the reference model."""
    stand.step(stand.truth.commands[FIRST], effects=Effects(completed={FIRST: Success(b"1")}))
