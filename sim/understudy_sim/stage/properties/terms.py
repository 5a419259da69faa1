"""P22, terms: a request is taken in on the terms that its handler declares.

Retry policy and retention follow from what the application tells in discovery and from the server's defaults; they are
worked out here from the manifest itself.  One key of one handler is one invocation, and an invocation is of one
handler and key.  No two invocations draw the same random values, unless they stand for the same request.

Not looked at: guests, what an operator changed later, and which version of an application was asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Final, NamedTuple

from understudy_runtime.limits import Limits
from understudy_runtime.model.commands import Delivered, Invoke, RestartAsNew
from understudy_runtime.model.invocation import HandlerType, RetryPolicy, Target

from understudy_sim.stage.happenings import Step
from understudy_sim.stage.watch import Handler, Property

MANIFEST_TYPES: Final = MappingProxyType({"SERVICE": "SHARED", "VIRTUAL_OBJECT": "EXCLUSIVE", "WORKFLOW": "WORKFLOW"})


class Terms(NamedTuple):
    """What a handler's options come to.  `result_ms` is for who can ask again; other results go with the journal."""

    service_type: str
    handler_type: str
    policy: tuple[Any, ...]
    result_ms: int
    journal_ms: int


class DeclaredTerms(Property):
    number: ClassVar[str] = "P22"
    claim: ClassVar[str] = "a request is taken in on its terms"

    def handlers(self) -> Mapping[type, Handler]:
        self._terms: dict[tuple[str, str], list[Terms]] = {}
        self._by_key: dict[tuple[Target, str], str] = {}  # (target, idempotency key) -> the invocation it named last
        self._by_seed: dict[int, str] = {}
        return {Step: self._step}

    def watches(self, manifests: Sequence[Mapping[str, Any]], limits: Limits) -> None:
        """The applications under rehearsal offer *manifests*, to a server with *limits*."""
        for manifest in manifests:
            for place, terms in _declared(manifest, limits):
                self._terms.setdefault(place, []).append(terms)

    def _step(self, step: Step) -> None:
        command = step.record.command
        asked = command.message if type(command) is Delivered else command
        if type(asked) is Invoke:
            self._is_of_one(asked)
        if type(command) is RestartAsNew:
            return  # It has the terms of the one that is over.
        sent = [one.invocation_id for _, one in step.effects.placed if one.caller is None]
        for accepted in step.effects.accepted:
            self._accepted(accepted, is_send=accepted.invocation_id in sent)

    def _is_of_one(self, asked: Invoke) -> None:
        known = self.truth.commands.get(asked.invocation_id)
        if known is not None and known.target != asked.target:
            self.broken(f"{asked.invocation_id} is {known.target}, and is asked for as {asked.target}")
        if asked.idempotency_key is None:
            return
        self.hit("keys looked up")
        first = self._by_key.setdefault((asked.target, asked.idempotency_key), asked.invocation_id)
        if first != asked.invocation_id:
            self.broken(f"the key {asked.idempotency_key!r} of {asked.target} names {first} and {asked.invocation_id}")

    def _accepted(self, command: Invoke, *, is_send: bool) -> None:
        target = command.target
        first = self._by_seed.setdefault(command.random_seed, command.invocation_id)
        if first != command.invocation_id:
            self.broken(f"{first} and {command.invocation_id} have the same random values")
        declared = self._terms.get((target.service, target.handler))
        if declared is None:
            return
        self.hit("terms compared")
        policy = _as_words(command.retry_policy)
        types = (command.service_type.name, command.handler_type.name)
        kept = (command.completion_retention_ms, command.journal_retention_ms)
        if not any(
            one[:3] == (*types, policy) and kept in _retentions(one, command, is_send=is_send) for one in declared
        ):
            self.broken(
                f"{command.invocation_id} of {target} is {types}, tried again by {policy} and kept for {kept} ms "
                f"(result, journal); declared is {declared}",
                command.invocation_id,
            )


def _retentions(terms: Terms, command: Invoke, *, is_send: bool) -> list[tuple[int, int]]:
    """How long result and journal may be kept.  A client that has no key is not told from one that only sends."""
    can_ask_again = (terms.result_ms, min(terms.journal_ms, terms.result_ms))
    goes_with_journal = (terms.journal_ms, terms.journal_ms)
    if is_send or command.idempotency_key is not None or command.handler_type is HandlerType.WORKFLOW:
        return [can_ask_again]
    return [goes_with_journal] if command.caller is not None else [can_ask_again, goes_with_journal]


def _declared(manifest: Mapping[str, Any], limits: Limits) -> Iterator[tuple[tuple[str, str], Terms]]:
    for service in manifest["services"]:
        for handler in service["handlers"]:
            options = {**service, **handler}
            type_ = handler.get("ty") or MANIFEST_TYPES[service["ty"]]
            kept_ms = limits.completion_retention_ms
            if type_ == "WORKFLOW":
                default_ms = kept_ms if limits.workflow_retention_ms is None else limits.workflow_retention_ms
                result_ms = options.get("workflowCompletionRetention", default_ms)
            else:
                result_ms = options.get("idempotencyRetention", kept_ms)
            journal_ms = options.get("journalRetention", limits.journal_retention_ms)
            policy = _policy(options, limits.retry_policy)
            yield (service["name"], handler["name"]), Terms(service["ty"], type_, policy, result_ms, journal_ms)


def _policy(options: Mapping[str, Any], default: RetryPolicy) -> tuple[Any, ...]:
    factor = options.get("retryPolicyExponentiationFactor")
    return (
        options.get("retryPolicyInitialInterval", default.delay_ms_first),
        default.factor_thousandths if factor is None else round(factor * 1000),
        options.get("retryPolicyMaxInterval", default.delay_ms_max),
        options.get("retryPolicyMaxAttempts", default.attempts_max),
        options.get("retryPolicyOnMaxAttempts", default.on_max_attempts.name),
    )


def _as_words(policy: RetryPolicy) -> tuple[Any, ...]:
    return (
        policy.delay_ms_first,
        policy.factor_thousandths,
        policy.delay_ms_max,
        policy.attempts_max,
        policy.on_max_attempts.name,
    )
