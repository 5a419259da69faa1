"""The checkers where operators act and clients attach: what a kill, a purge or a removal explains, and what not."""

from __future__ import annotations

import attrs
from understudy_runtime.model.actions import Completed, Send, StartAttempt
from understudy_runtime.model.commands import Caller, Complete, Kill, Record
from understudy_runtime.model.events import AttemptEnded, AttemptStarted, LeadershipTaken
from understudy_runtime.model.ids import ENTROPY_BYTES, invocation_id_for, partition_key_of, partition_of
from understudy_runtime.model.invocation import Failure, HandlerType, Success, Target
from understudy_sim import Attach
from understudy_sim.stage.happenings import Answered, BodyStarted, Deployed, DeploymentsListed, Removed
from understudy_sim.stage.model_words import Effects
from understudy_sim.stage.properties.answer_stability import AnswerStability
from understudy_sim.stage.properties.durable_answers import DurableAnswers
from understudy_sim.stage.properties.order import Order
from understudy_sim.stage.properties.outstanding import Outstanding
from understudy_sim.stage.properties.registrations import Registrations
from understudy_sim.stage.properties.single_holder import SingleHolder
from understudy_sim.stage.truth import Truth

from tests.sim.stage.properties.stands import Stand, answer, asked


def id_of(name: str) -> str:
    return invocation_id_for(Target("Obj", "do", "k"), HandlerType.EXCLUSIVE, name, 0, bytes(ENTROPY_BYTES))


FIRST, SECOND, THIRD = id_of("1"), id_of("2"), id_of("3")
ATTACH = Attach(client="bob", to="key")


def three() -> Stand:
    stand = Stand()
    for id_ in (FIRST, SECOND, THIRD):
        stand.invocation(id_)
    return stand


def ended(id_: str) -> Completed:
    return Completed(id_, Failure(409, "killed"), 0)


def test_p1_lets_a_lock_pass_through_who_is_killed_with_its_holder() -> None:
    stand = three()
    stand.put(SingleHolder)
    stand.start(FIRST)
    stand.step(Kill(FIRST), (StartAttempt(SECOND, 1), ended(FIRST), StartAttempt(THIRD, 1), ended(SECOND)))
    assert stand.broken == []


def test_p1_still_refuses_two_who_were_started_and_live() -> None:
    stand = three()
    stand.put(SingleHolder)
    stand.start(FIRST)
    stand.step(Kill(FIRST), (StartAttempt(SECOND, 1), ended(FIRST), StartAttempt(THIRD, 1)))
    assert len(stand.broken) == 1


def test_p1_explains_a_body_that_begins_after_its_attempt_ended() -> None:
    for is_over, broken in ((True, 0), (False, 1)):
        stand = three()
        stand.put(SingleHolder)
        stand.watch.tell(AttemptStarted(0, FIRST, 1, 1, 1))
        if is_over:
            stand.watch.tell(AttemptEnded(0, FIRST, 1, 1, "aborted"))
        stand.watch.tell(AttemptStarted(0, SECOND, 1, 1, 1))
        stand.watch.tell(BodyStarted(1, SECOND))
        stand.watch.tell(BodyStarted(2, FIRST))
        assert len(stand.broken) == broken


def test_p2_claims_nothing_of_who_joined_or_attached() -> None:
    stand = three()
    checker = stand.put(Order)
    stand.step(Kill("x"), effects=Effects(accepted=[stand.truth.commands[SECOND]]))
    stand.start(SECOND)
    stand.start(FIRST)
    stand.watch.tell(Answered(asked(0, at_ns=0), answer(FIRST, at_ns=10)))
    stand.watch.tell(Answered(asked(1, at_ns=11), answer(SECOND, at_ns=20)))
    attached = attrs.evolve(asked(2, at_ns=30), attach=ATTACH)
    stand.watch.tell(Answered(attached, answer(SECOND, at_ns=40)))
    checker.finish()
    assert stand.broken == []


def test_p4_takes_no_question_for_an_answer() -> None:
    stand = three()
    stand.put(AnswerStability)
    attached = attrs.evolve(asked(), attach=ATTACH)
    stand.watch.tell(Answered(attached, answer(FIRST, status=404, source="invocation")))
    stand.watch.tell(Answered(asked(), answer(FIRST)))
    assert stand.broken == []
    stand.truth.results[SECOND] = Failure(404, "no such book")
    stand.watch.tell(Answered(attached, answer(SECOND, b"no", status=404, source="invocation")))
    stand.watch.tell(Answered(attached, answer(SECOND, b"yes")))
    assert len(stand.broken) == 1, "a handler's own 404 is its answer"


def test_p4_has_an_answer_for_each_life() -> None:
    for lives, broken in (([Success(b"1")], 1), ([Success(b"1"), Success(b"2")], 0)):
        stand = three()
        stand.put(AnswerStability)
        stand.truth.endings[FIRST] = list(lives)
        stand.watch.tell(Answered(asked(), answer(FIRST, b"1")))
        stand.watch.tell(Answered(asked(), answer(FIRST, b"2")))
        assert len(stand.broken) == broken


def test_p12_wants_what_was_accepted_to_be_found() -> None:
    for asked_ns, broken in ((0, 0), (10, 1)):
        stand = Stand()
        stand.put(DurableAnswers)
        command = stand.invocation(FIRST)
        effects = stand.truth.learn(0, Record(1, 0, command))
        stand.now_ns = 5
        stand.step(command, effects=effects)
        attached = attrs.evolve(asked(at_ns=asked_ns), attach=ATTACH, invocation_id=FIRST)
        stand.watch.tell(Answered(attached, answer("", status=404, source="ingress")))
        assert len(stand.broken) == broken


def test_p12_knows_the_results_of_all_lives() -> None:
    stand = three()
    stand.put(DurableAnswers)
    stand.complete(FIRST, b"1")
    stand.complete(FIRST, b"2")
    stand.watch.tell(Answered(asked(), answer(FIRST, b"1")))
    assert stand.broken == []
    stand.watch.tell(Answered(asked(), answer(FIRST, b"3")))
    assert len(stand.broken) == 1


def test_p14_lets_go_what_was_removed() -> None:
    stand = Stand()
    stand.put(Registrations)
    stand.watch.tell(Deployed("http://a", "dp_a", ("Obj",)))
    stand.watch.tell(Deployed("http://b", "dp_b", ("Obj",)))
    stand.watch.tell(Removed("dp_a"))
    stand.watch.tell(DeploymentsListed((("http://b", "dp_b"),)))
    assert stand.broken == []
    unknown = Answered(asked(), answer("", status=404, source="ingress"))
    stand.watch.tell(unknown)
    assert len(stand.broken) == 1, "the other one still offers it"
    stand.watch.tell(Removed("dp_b"))
    stand.watch.tell(attrs.evolve(unknown))
    assert len(stand.broken) == 1
    stand.watch.tell(DeploymentsListed((("http://b", "dp_b"),)))
    assert len(stand.broken) == 2, "what was removed is gone"


def test_p8_knows_a_message_by_its_place_and_not_by_a_failures_text() -> None:
    stand = Stand()
    stand.truth = Truth(2)
    stand.put(Outstanding)
    caller = next(id_ for id_ in map(id_of_unkeyed, range(100)) if place_of(id_) == 1)
    callee = next(id_ for id_ in map(id_of_unkeyed, range(100)) if place_of(id_) == 0)
    invoke = attrs.evolve(stand.invocation(callee, None, exclusive=False), caller=Caller(caller, 1))
    stand.truth.learn(0, Record(1, 0, invoke))
    stand.truth.learn(0, Record(2, 0, Kill(callee)))
    for text, code, broken in (("killed", 409, 0), ("gone", 410, 2)):
        message = Complete(caller, 1, Failure(code, text))
        stand.watch.tell(LeadershipTaken(0, 1, 2, (Send(1, 1, message),)))
        assert len(stand.broken) == broken


def id_of_unkeyed(number: int) -> str:
    return invocation_id_for(Target("Obj", "do"), HandlerType.SHARED, str(number), 0, bytes(ENTROPY_BYTES))


def place_of(invocation_id: str) -> int:
    return partition_of(partition_key_of(invocation_id), 2)
