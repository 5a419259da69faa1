"""P22: terms that follow from the manifest hold, others are refused; keys and random values are told apart."""

from __future__ import annotations

from typing import Any

import attrs
from understudy_runtime.limits import Limits
from understudy_runtime.model.commands import Caller, Delivered, Invoke
from understudy_runtime.model.invocation import HandlerType, OnMaxAttempts, RetryPolicy, ServiceType, Target
from understudy_sim.stage.model_words import Effects
from understudy_sim.stage.properties.terms import DeclaredTerms

from tests.sim.stage.properties.stands import Stand

FIRST, SECOND = "inv_1first", "inv_1second"
LIMITS = Limits(completion_retention_ms=5_000, journal_retention_ms=100)
PATIENT = RetryPolicy(delay_ms_first=500, factor_thousandths=1500, delay_ms_max=9_000, attempts_max=70)
MANIFEST = {
    "services": [
        {
            "name": "Shop",
            "ty": "SERVICE",
            "journalRetention": 700,
            "handlers": [
                {"name": "buy", "retryPolicyMaxInterval": 9_000, "retryPolicyExponentiationFactor": 1.5},
                {"name": "sell", "idempotencyRetention": 300},
            ],
        },
        {"name": "Trip", "ty": "WORKFLOW", "handlers": [{"name": "run", "workflowCompletionRetention": 60}]},
    ]
}


def stand() -> Stand:
    found = Stand()
    found.put(DeclaredTerms).watches([MANIFEST], LIMITS)
    return found


def asked(id_: str, handler: str = "buy", **terms: Any) -> Invoke:
    command = Invoke(id_, Target("Shop", handler), ServiceType.SERVICE, HandlerType.SHARED, b"", retry_policy=PATIENT)
    return attrs.evolve(command, random_seed=len(id_), completion_retention_ms=700, journal_retention_ms=700, **terms)


def accept(found: Stand, command: Invoke, *, is_send: bool = False) -> None:
    placed = [("inv_1caller", command)] if is_send else []
    found.truth.commands.setdefault(command.invocation_id, command)
    found.step(command, effects=Effects(accepted=[command], placed=placed))


def test_declared_terms_are_accepted() -> None:
    found = stand()
    accept(found, asked(FIRST))
    kept = attrs.evolve(asked(SECOND, idempotency_key="k"), completion_retention_ms=5_000)
    accept(found, kept)
    accept(found, attrs.evolve(kept, invocation_id="inv_1third", random_seed=9, idempotency_key=None), is_send=True)
    sold = attrs.evolve(asked("inv_1sold", "sell"), retry_policy=RetryPolicy(), idempotency_key="k")
    accept(found, attrs.evolve(sold, completion_retention_ms=300, journal_retention_ms=300, random_seed=8))
    trip = attrs.evolve(sold, invocation_id="inv_1trip", target=Target("Trip", "run", "rome"), random_seed=7)
    trip = attrs.evolve(trip, service_type=ServiceType.WORKFLOW, handler_type=HandlerType.WORKFLOW)
    accept(found, attrs.evolve(trip, idempotency_key=None, completion_retention_ms=60, journal_retention_ms=60))
    assert found.broken == [], "service options stand under the handler's, the server's under both"


def test_other_terms_are_refused() -> None:
    wrong = (
        {"retry_policy": RetryPolicy()},
        {"retry_policy": attrs.evolve(PATIENT, on_max_attempts=OnMaxAttempts.KILL)},
        {"idempotency_key": "k"},  # a result with a key is kept for longer
        {"journal_retention_ms": 100},
        {"caller": Caller("inv_1caller", 1), "completion_retention_ms": 5_000},
        {"handler_type": HandlerType.EXCLUSIVE},
    )
    for terms in wrong:
        found = stand()
        accept(found, attrs.evolve(asked(FIRST), **terms))
        assert len(found.broken) == 1, terms


def test_a_send_is_kept_for_who_was_told_its_id() -> None:
    found = stand()
    accept(found, asked(FIRST), is_send=True)
    assert "kept for (700, 700) ms" in found.broken[0]


def test_one_key_is_one_invocation_of_one_target() -> None:
    found = stand()
    first = attrs.evolve(asked(FIRST, idempotency_key="k"), completion_retention_ms=5_000)
    accept(found, first)
    found.step(Delivered(1, 1, first))
    assert found.broken == []
    found.step(Delivered(1, 2, attrs.evolve(first, invocation_id=SECOND)))
    found.step(attrs.evolve(first, target=Target("Shop", "sell")))
    assert len(found.broken) == 2


def test_no_two_invocations_draw_the_same() -> None:
    found = stand()
    accept(found, asked(FIRST))
    accept(found, attrs.evolve(asked(SECOND), random_seed=len(FIRST)))
    assert "have the same random values" in found.broken[0]
