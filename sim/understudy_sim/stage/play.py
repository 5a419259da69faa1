"""What a scenario works with: external services, claims, and the rehearsal itself.

    payments = stage.external(PaymentProvider)      # a process of its own with a ledger
    stage.always("one charge a seat", lambda: ...)  # looked at whenever what it reads may have changed
    await stage.play()                              # the operations under faults, then the quiet phase

A claim is a function without arguments that returns True or "" when it holds, False or a text when it does not.  It
reads ledgers, committed state (`stage.state`) and what clients were answered, never the memory of a process.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Final, TypeVar

import attrs
from understudy_runtime.model.actions import Action, StartAttempt
from understudy_runtime.model.commands import AttemptOutput, Cancel, Delivered, Invoke, Signal
from understudy_runtime.model.events import LeadershipTaken
from understudy_runtime.model.invocation import Result, Status

from understudy_sim.kernel.clock import NS_PER_MS, NS_PER_S
from understudy_sim.kernel.kernel import Kernel
from understudy_sim.stage.attendant import Attending
from understudy_sim.stage.cluster import Cluster
from understudy_sim.stage.control import Control
from understudy_sim.stage.external import External
from understudy_sim.stage.happenings import Deployed, ServerStopped, Step
from understudy_sim.stage.history import Acted, Asked
from understudy_sim.stage.ledger import Ledger
from understudy_sim.stage.model import CANCEL_SIGNAL
from understudy_sim.stage.nemesis import Nemesis
from understudy_sim.stage.operations import Operation
from understudy_sim.stage.plan import Hop, Plan
from understudy_sim.stage.properties.accepted_ends import AcceptedEnds
from understudy_sim.stage.properties.causes import Causes
from understudy_sim.stage.properties.exactly_once import ExactlyOnce
from understudy_sim.stage.properties.leaks import Leaks
from understudy_sim.stage.properties.linearizable import Linearizable, ObjectModel
from understudy_sim.stage.properties.order import Order
from understudy_sim.stage.properties.progress import Progress
from understudy_sim.stage.properties.promptness import Promptness
from understudy_sim.stage.properties.retries import Retries
from understudy_sim.stage.properties.timers import Timers
from understudy_sim.stage.serializability import Transaction, verdict
from understudy_sim.stage.server import SERVER
from understudy_sim.stage.stored import orphaned_entries
from understudy_sim.stage.temporal import Lead
from understudy_sim.stage.truth import Truth
from understudy_sim.stage.variation import Strike
from understudy_sim.stage.visitor import LOOK_NS as VISIT_LOOK_NS
from understudy_sim.stage.visitor import VISIT_NS_MAX, Visitor
from understudy_sim.stage.watch import Property, Watch

# Properties that hold at any time, whatever has not come to its end.
NEVER_WRONG: Final = (ExactlyOnce, Linearizable, Order)

E = TypeVar("E")
R = TypeVar("R")
Claim = Callable[[], bool | str | None]

# The quiet phase is looked at so often at first, less and less often then, and for so long at most.
LOOK_NS: Final = 20 * NS_PER_S
LOOK_NS_MAX: Final = 5 * LOOK_NS
SETTLE_NS_MAX: Final = 900 * NS_PER_S
FORGET_NS_MAX: Final = 4 * 3600 * NS_PER_S
QUIET_NS_MAX: Final = 10_000 * NS_PER_S
# There and back, behind what is on its way already: so many slow chunks may lie between a connect and its answer.
CONNECT_WAYS: Final = 3
COLD_NS_MAX: Final = 60 * NS_PER_S


class StageMisuse(Exception):
    """The scenario uses the stage in an order that cannot work."""


@attrs.define
class _Always:
    name: str
    claim: Claim
    reads_state: bool = True  # until it was judged and read none


class Stage(Control):
    """One rehearsal, as its scenario sees it."""

    def __init__(
        self,
        kernel: Kernel,
        plan: Plan,
        truth: Truth,
        watch: Watch,
        cluster: Cluster,
        properties: Sequence[Property],
        calls: Sequence[Operation],
    ) -> None:
        self.kernel = kernel
        self.plan = plan
        self.watch = watch
        self.cluster = cluster
        self.calls = tuple(calls)
        self.seen: dict[str, bool] = {}
        self.played = False
        self.strikes: tuple[Strike, ...] | None = None  # instead of what the nemesis would draw
        self.nemesis: Nemesis | None = None  # while it plays
        self._truth = truth
        self._properties = properties
        self._always: list[_Always] = []
        self._eventually: list[tuple[str, Claim]] = []
        self._sometimes: list[tuple[str, Callable[[], bool] | bool]] = []
        self._state_read = False
        self._ended_ns: dict[str, int] = {}
        self._accepted_ns: dict[str, int] = {}
        self._deployed_ns: dict[str, int] = {}
        self._addresses: dict[str, str] = {}  # of deployments, by their ids
        self._bound: dict[str, str] = {}  # invocation -> the deployment it was bound to first
        self._runs: dict[str, int] = {}
        self._pauses: dict[str, dict[int, None]] = {}  # invocation -> the leases that ended in one
        self._signals: dict[str, int] = {}
        self._cancels: dict[str, int] = {}
        self.starts = 0  # of the server
        self.healed_ns: int | None = None  # when faults ended
        self._outages: list[tuple[int, int]] = []
        self._stopped_ns: int | None = None
        super().__init__()
        self._property(Progress).watches(kernel.loop)
        slowest_ns = kernel.network.profile.latency_high_ns * kernel.network.profile.tail_factor
        limits = plan.limits
        connects_late = CONNECT_WAYS * slowest_ns > limits.connect_timeout_ms * NS_PER_MS
        closes_first = plan.hops.endpoint is Hop.H2 and limits.idle_timeout_ms <= limits.h2_idle_timeout_ms
        self._property(Causes).watches(
            cluster.tally,
            is_moved=bool(plan.hops.moves_s),
            versions_differ=len(cluster.addresses) > 1,
            may_miss=connects_late or closes_first,
        )
        self._property(Promptness).watches(
            kernel.loop,
            plan.limits,
            cluster.tally,
            lambda: cluster.server.process.wall.now_ms(),
            cluster.offered,
        )
        watch.subscribe(
            {
                Step: self._step,
                Deployed: self._deployed,
                ServerStopped: self._server_stopped,
                LeadershipTaken: self._server_leads,
            }
        )

    # --- what a scenario sets up ------------------------------------------------------------------------------

    def external(self, kind: Callable[[Any, Ledger[E]], External[E]]) -> Ledger[E]:
        """Add an external service; returns its ledger."""
        self._require_before_play("stage.external")
        assert isinstance(kind, type), "an external service is a class"
        assert issubclass(kind, External), "an external service is a class of External"
        ledger: Ledger[E] = Ledger(kind.name, self._ledger_grew)
        self.cluster.add_external(kind(self.kernel.choices, ledger))
        return ledger

    def visitor(self, visitor: Visitor) -> None:
        """Add somebody who decides what to ask while it runs."""
        self._require_before_play("stage.visitor")
        self.cluster.visitor = visitor

    def attendant(self, name: str, attending: Attending) -> None:
        """Add somebody who watches the server through its admin while the operations run, and does what it must."""
        self._require_before_play("stage.attendant")
        self.cluster.add_attendant(name, attending)

    def always(self, name: str, claim: Claim) -> None:
        """*claim* must hold after every commit and every entry of a ledger."""
        self._require_before_play("stage.always")
        self._always.append(_Always(name, claim))

    def eventually(self, name: str, claim: Claim) -> None:
        """*claim* must hold at the end of the quiet phase."""
        self._eventually.append((name, claim))
        if self.played:
            self._judge(name, claim)

    def sometimes(self, name: str, condition: Callable[[], bool] | bool = True) -> None:
        """Over many seeds *condition* must hold at the end of some; one that never does fails the search."""
        self._sometimes.append((name, condition))
        self.seen.setdefault(name, False)
        if self.played:
            self._look(name, condition)

    def linearizable(self, service: str, model: ObjectModel, initial: Hashable = None) -> None:
        """Each object of *service* must answer as if one operation at a time met *model*, beginning as *initial* (P11).

        *model* takes the state, the handler's name and its argument (JSON) and returns the state afterwards and the
        answer: `Failed(code)` for a TerminalError, `ANY` where it does not say.  States are hashable values.
        """
        self._require_before_play("stage.linearizable")
        self._property(Linearizable).declare(service, model, initial, self.cluster.history)

    def serializable(
        self, name: str, transactions: Callable[[], Sequence[Transaction]], *, strict: bool = False
    ) -> None:
        """At the end all *transactions* must fit one order; *strict*: one that no answer and question contradict.

        They are the application's own: what each read and wrote, as its answers tell.  See `stage/serializability.py`.
        """
        self.eventually(name, lambda: verdict(transactions(), strict=strict))

    def leads_to(
        self, name: str, cause: Callable[[], bool], effect: Callable[[], bool], within_s: int | None = None
    ) -> None:
        """Whenever *cause* holds, *effect* must hold then or later.

        With *within_s* so many virtual seconds later at most, counted from the healing when it comes in between.
        """
        lead = Lead(
            cause,
            effect,
            None if within_s is None else within_s * NS_PER_S,
            lambda: self.kernel.now_ns,
            lambda: self.healed_ns,
        )
        self.always(name, lead.look)
        self.eventually(name, lead.end)

    def _require_before_play(self, what: str) -> None:
        if self.played:
            raise StageMisuse(f"{what} comes before stage.play(): it must be there while the operations run")

    # --- what a claim may read --------------------------------------------------------------------------------

    def state(self, service: str, key: str) -> dict[str, Any]:
        """The committed state of an object: names to values."""
        self._state_read = True
        return self._truth.state(service, key)

    def interruptions(self, invocation_id: str) -> int:
        """How many attempts of an invocation were cut off, timed out or failed."""
        return self._truth.interruptions.get(invocation_id, 0)

    def invocation(self, label: str) -> str:
        """The id of the invocation that a label means, accepted or not; empty when there is no such label."""
        return self.cluster.directory.invocation_id(label)

    def is_accepted(self, invocation_id: str) -> bool:
        """Whether a durable record has accepted it."""
        return invocation_id in self._truth.commands

    def result(self, invocation_id: str) -> Result | None:
        """How an invocation ended, by the log; None when it has not (yet)."""
        return self._truth.results.get(invocation_id)

    def endings(self, invocation_id: str) -> list[Result]:
        """How an invocation ended in each of its lives: an id may live again once it was purged."""
        return list(self._truth.endings.get(invocation_id, ()))

    def ended_ns(self, invocation_id: str) -> int:
        """When (virtual time) an invocation's end was durable; -1 when it has none (yet)."""
        return self._ended_ns.get(invocation_id, -1)

    def accepted_ns(self, invocation_id: str) -> int:
        """When (virtual time) an invocation was accepted first; -1 when it was not (yet)."""
        return self._accepted_ns.get(invocation_id, -1)

    def deployed_ns(self, app: int) -> int:
        """When (virtual time) an operator was told that application number *app* is registered; -1: not yet."""
        return self._deployed_ns.get(self.cluster.directory.address(app), -1)

    def bound_to(self, invocation_id: str) -> int:
        """The number of the application whose deployment an invocation was bound to first; -1: to none (yet)."""
        address = self._addresses.get(self._bound.get(invocation_id, ""), "")
        return self.cluster.addresses.index(address) if address else -1

    def callees(self, invocation_id: str) -> list[str]:
        """What an invocation called and sent, as its journal has it."""
        return self._truth.callees.get(invocation_id, [])

    def cancelled_by(self, invocation_id: str) -> list[str]:
        """Whom an invocation told to cancel, as its journal has it."""
        return self._truth.cancelled_by.get(invocation_id, [])

    def attempts(self, invocation_id: str) -> int:
        """How many attempts of an invocation were started."""
        return self._truth.attempts.get(invocation_id, 0)

    def put_off(self, invocation_id: str) -> int:
        """How many attempts of an invocation followed because its endpoint asked to be tried again, policy or not."""
        retries: Retries = self._property(Retries)
        return retries.asked_for.get(invocation_id, 0)

    def runs(self, invocation_id: str) -> int:
        """How often an invocation was taken up: when it began, after each wait and each pause, and at each restart of
        the server.  Each time its retry policy counts from the start."""
        return self._runs.get(invocation_id, 0)

    def pauses(self, invocation_id: str) -> int:
        """How often an invocation was paused, by its retry policy or by an operator."""
        return len(self._pauses.get(invocation_id, ()))

    def signals(self, invocation_id: str) -> int:
        """How many signals were delivered to an invocation, cancels and awakeables among them."""
        return self._signals.get(invocation_id, 0)

    def cancels(self, invocation_id: str) -> int:
        """How many requests to cancel an invocation are durable; an operator who lost an answer asks again."""
        return self._cancels.get(invocation_id, 0)

    def records(self, kind: type[R]) -> list[R]:
        """Every command of a *kind* that is durable, in no order between partitions."""
        return [one.command for records in self._truth.records for one in records if type(one.command) is kind]

    def accepted(self, service: str, handler: str) -> list[Invoke]:
        """Every durable request for the handler, as it lies in the log."""
        return [
            command
            for command in self._truth.commands.values()
            if (command.target.service, command.target.handler) == (service, handler)
        ]

    def ran(self, service: str, handler: str) -> bool:
        """Whether the handler was ever asked for."""
        return bool(self.accepted(service, handler))

    def answers(self, service: str, handler: str) -> list[Asked]:
        """What clients asked of a handler, with what they were answered."""
        return [
            one
            for one in self.cluster.history.asked
            if one.attach is None and (one.call.service, one.call.handler) == (service, handler)
        ]

    def attached(self, label: str = "") -> list[Asked]:
        """Who asked for the result of the request *label* (of any), with what they were answered."""
        asked = self.cluster.history.asked
        return [one for one in asked if one.attach is not None and label in ("", one.attach.to)]

    def acted(self, action: str = "", on: str = "") -> list[Acted]:
        """What operators did, with what they were answered: of one *action*, *on* one request, or all."""
        acted = self.cluster.history.acted
        return [one for one in acted if action in ("", one.act.action) and on in ("", one.act.on)]

    def answered(self, service: str, handler: str, value: Any) -> bool:
        """Whether some client got *value* from the handler."""
        import json

        body = json.dumps(value).encode()
        return any(one.answer is not None and one.answer.body == body for one in self.answers(service, handler))

    def clock_ms(self) -> int:
        """The server's wall clock, milliseconds since the epoch, as it is now: it may have jumped."""
        return self.cluster.server.process.wall.now_ms()

    def clock_jumps(self) -> int:
        """How often a clock was put wrong so far: by `plan.clock_jump_ms_max` at most each time, either way."""
        return sum(firing.kind.startswith("clock_") for firing in self.cluster.tally.firings)

    @property
    def damage(self) -> str:
        """What came of damage to what the server had synced: "noticed", "no harm" (yet), or "" where there was none."""
        if not self.cluster.server.host.medium.damages:
            return ""
        return "no harm" if self.cluster.server.noticed is None else "noticed"

    def was_down(self, from_ns: int, to_ns: int) -> bool:
        """Whether no server ran in the whole of that (virtual) time."""
        return any(began_ns <= from_ns and to_ns <= ended_ns for began_ns, ended_ns in self._outages)

    # --- the rehearsal ----------------------------------------------------------------------------------------

    async def play(self) -> None:
        """Run the operations under faults, heal, wait until all is quiet, and check what must hold then."""
        self._require_before_play("stage.play")
        if self.kernel.process(SERVER).incarnation:
            raise StageMisuse("stage.play() after stage.start(): the rehearsal runs; end it with stage.finish()")
        self._set_addresses()
        self.cluster.start(self.calls)
        self.nemesis = nemesis = Nemesis(self.kernel, self.plan, self.cluster, self.cluster.tally, self.strikes)
        await nemesis.hurt()
        visitor = self.cluster.visitor
        if visitor is not None:
            await self._until_left(visitor, lambda: visitor.done)
            visitor.heal()
        nemesis.heal()
        self.cluster.heal()
        await self._quiet()
        if visitor is not None:
            visitor.conclude()
            await self._until_left(visitor, lambda: visitor.concluded)
            await self._quiet()
        self.played = True
        self._finish()

    def _set_addresses(self) -> None:
        for one in self.cluster.externals:
            os.environ[one.external.address_variable] = f"{one.external.name}:{one.external.port}"

    async def _until_left(self, visitor: Visitor, left: Callable[[], bool]) -> None:
        until_ns = self.kernel.now_ns + VISIT_NS_MAX
        while not left() and self.cluster.server.failed is None:
            if self.kernel.now_ns >= until_ns:
                self.watch.broken(f"{visitor.name} comes to its end", "it still runs")
                return
            await self.kernel.sleep_ns(VISIT_LOOK_NS)

    async def _quiet(self) -> None:
        """Wait until nothing is pending; what is after a very long time will be reported."""
        healed_ns, look_ns = self.kernel.now_ns, 0
        self.healed_ns = healed_ns
        until_ns = healed_ns + QUIET_NS_MAX
        while self.kernel.now_ns < until_ns and self.cluster.server.failed is None:
            look_ns = min(look_ns + LOOK_NS, LOOK_NS_MAX)
            await self.kernel.sleep_ns(look_ns)
            if self._is_quiet():
                self.cluster.dismiss()
                await self._until_the_clock_was_seen(healed_ns)
                await self._settle()
                await self._start_cold()
                return

    async def _until_the_clock_was_seen(self, healed_ns: int) -> None:
        """A leader looks at its wall clock now and then: a timer it does not know to be due is not forgotten (P9)."""
        seen_ns = healed_ns + self.plan.limits.timer_recheck_ms * NS_PER_MS + NS_PER_S
        if self.kernel.now_ns < seen_ns:
            await self.kernel.sleep_ns(seen_ns - self.kernel.now_ns)

    async def _settle(self) -> None:
        """What is over may still be on its way out: a stream that nobody told of the end is held for some minutes."""
        until_ns = self.kernel.now_ns + SETTLE_NS_MAX
        while self.kernel.now_ns < until_ns and (any(self.cluster.server.counts().values()) or self._body_count()):
            await self.kernel.sleep_ns(LOOK_NS)
        if self.plan.outlives_results:
            await self._forget()

    async def _start_cold(self) -> None:
        """When all is quiet the power goes once more: what the server reads back is compared with the log (P7, P8)."""
        server = self.cluster.server
        if server.failed is not None or not server.process.alive:
            return
        self._check_counts()
        orphans = sum(orphaned_entries(medium) for medium in server.host.stores.values())
        self._property(Leaks).check({"stored journal entries of nobody": orphans})
        server.process.crash()
        until_ns = self.kernel.now_ns + COLD_NS_MAX
        while self.kernel.now_ns < until_ns and server.failed is None and server.ingress is None:
            self.cluster.restart(SERVER)
            await self.kernel.sleep_ns(NS_PER_S)

    def _check_counts(self) -> None:
        leaks: Leaks = self._property(Leaks)
        leaks.check({**self.cluster.server.counts(), "bodies at endpoints": self._body_count()})

    def _body_count(self) -> int:
        """How many handlers' bodies run at all endpoints."""
        return sum(len(endpoint.running) for endpoint in self.cluster.endpoints)

    async def _forget(self) -> None:
        """Wait until every result's retention is over: then no row may be left but the state of objects."""
        until_ns = self.kernel.now_ns + FORGET_NS_MAX
        while self.kernel.now_ns < until_ns and any(model.invocations for model in self._truth.models):
            await self.kernel.sleep_ns(15 * LOOK_NS)
        leaks: Leaks = self._property(Leaks)
        kept = sum(len(model.invocations) for model in self._truth.models)
        leaks.check({"invocations kept after their retention": kept})

    def _is_quiet(self) -> bool:
        if not self.cluster.done or self.cluster.server.ingress is None:
            return False
        if self._property(AcceptedEnds).pending():
            return False
        return not any(any(model.outbox.values()) for model in self._truth.models)

    def _property(self, kind: type[Any]) -> Any:
        return next(one for one in self._properties if isinstance(one, kind))

    def _finish(self) -> None:
        if self.damage:
            self.cluster.tally.noted(f"damage: {self.damage}")
        if self.cluster.server.noticed is not None:
            self._finish_damaged()
            return
        if self.cluster.server.failed is None:
            now_ms = self.cluster.server.process.wall.now_ms()
            timers: Timers = self._property(Timers)
            for left in timers.left(now_ms - timers.grace_ms):
                timers.broken(left)
            self._check_counts()
        if self.cluster.operator is not None and not self.cluster.operator.done:
            self.watch.broken("the operator is answered once faults are over", "it still waits")
        for one in self.cluster.clients:
            if not one.done:
                self.watch.broken("every client is answered once faults are over", f"{one.name} still waits")
        for checker in self._properties:
            checker.finish()
        for _ in range(self._property(Linearizable).undecided):
            self.cluster.tally.noted("P11 history undecided")
        for entry in self._always:
            self._judge(entry.name, entry.claim)
        for name, claim in self._eventually:
            self._judge(name, claim)
        for name, condition in self._sometimes:
            self._look(name, condition)

    def _finish_damaged(self) -> None:
        """The server found its data damaged and is down for good: little comes to its end, and nothing may be wrong."""
        for checker in self._properties:
            if isinstance(checker, NEVER_WRONG):
                checker.finish()
        for entry in self._always:
            self._judge(entry.name, entry.claim)
        for name, condition in self._sometimes:
            self._look(name, condition)

    def _server_stopped(self, _: ServerStopped) -> None:
        if self._stopped_ns is None:
            self._stopped_ns = self.kernel.now_ns

    def _server_leads(self, event: LeadershipTaken) -> None:
        if self._stopped_ns is not None:
            self._outages.append((self._stopped_ns, self.kernel.now_ns))
            self._stopped_ns = None
        self.starts += event.partition == 0
        self._taken_up(event.outstanding)

    # --- judging ----------------------------------------------------------------------------------------------

    def _ledger_grew(self) -> None:
        self.kernel.trace.note("ledger", self.kernel.now_ns)
        for entry in self._always:
            self._judge_always(entry)

    def _deployed(self, event: Deployed) -> None:
        self._deployed_ns.setdefault(event.address, self.kernel.now_ns)
        self._addresses[event.deployment_id] = event.address

    def _step(self, step: Step) -> None:
        for command in step.effects.accepted:
            self._accepted_ns.setdefault(command.invocation_id, self.kernel.now_ns)
        for invocation_id in step.effects.completed:
            self._ended_ns[invocation_id] = self.kernel.now_ns
        self._taken_up(step.actions)
        self._happened_to(step)
        # A claim that read no state when it was last judged cannot have changed with the state.
        if step.effects.keys:
            for entry in self._always:
                if entry.reads_state:
                    self._judge_always(entry)

    def _happened_to(self, step: Step) -> None:
        command = step.record.command
        if isinstance(command, Delivered):
            command = command.message
        if isinstance(command, AttemptOutput) and command.deployment_id and step.effects.invocations:
            self._bound.setdefault(command.invocation_id, command.deployment_id)
        elif isinstance(command, Signal | Cancel):
            id_ = command.invocation_id
            is_cancel = isinstance(command, Cancel) or command.index == CANCEL_SIGNAL
            counted = (self._signals, self._cancels) if is_cancel else (self._signals,)
            for counts in counted:
                counts[id_] = counts.get(id_, 0) + 1
        model = self._truth.models[step.partition]
        for id_ in step.effects.invocations:
            inv = model.invocations.get(id_)
            if inv is not None and inv.status is Status.PAUSED:
                self._pauses.setdefault(id_, {})[inv.lease] = None

    def _taken_up(self, actions: Sequence[Action]) -> None:
        for action in actions:
            if type(action) is StartAttempt:
                self._runs[action.invocation_id] = self._runs.get(action.invocation_id, 0) + 1

    def _judge_always(self, entry: _Always) -> None:
        self._state_read = False
        self._judge(entry.name, entry.claim)
        entry.reads_state = self._state_read

    def _judge(self, name: str, claim: Claim) -> None:
        verdict = claim()
        if verdict is False:
            self.watch.broken(name, "it does not hold")
        elif isinstance(verdict, str) and verdict:
            self.watch.broken(name, verdict)

    def _look(self, name: str, condition: Callable[[], bool] | bool) -> None:
        held = condition() if callable(condition) else condition
        self.seen[name] = self.seen.get(name, False) or bool(held)
