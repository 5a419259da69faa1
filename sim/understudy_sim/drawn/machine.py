"""An async rule-based state machine whose rules run inside the simulated world.

    class Carts(StateMachine):
        app = "scenarios.ticket_tour:app"
        held = Bundle("held")

        @rule(target=held, seat=st.sampled_from(SEATS))
        async def add(self, seat):
            reply = await self.call("CartObject", "addTicket", key="ann", argument=seat)
            return seat

        @fault(after_ms=st.integers(0, 500))
        async def cut(self):
            self.strike("server_crash")

        @finally_
        async def converges(self):
            assert (await self.call("CartObject", "checkout", key="ann")).ok

    TestCarts = Carts.TestCase

**First the program, then the run.**  Hypothesis draws a sequence of rules; each is only written down.  When it is
complete one rehearsal executes it, in one process of a simulated world.  What a rule returns is therefore not there
while later rules are drawn: a bundle holds a `Later` for it, which becomes the value before the rule that takes it is
run.  So preconditions and strategies cannot look at answers; a rule whose argument never came to be is skipped.

The order: the rules, each awaited, with faults beside them; then faults stop and everything gets quiet; then the final
rules.  Invariants are looked at after each rule, and plain ones after every commit as well.
"""

from __future__ import annotations

import functools
import inspect
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

import attrs
import hypothesis.stateful as stateful
import trio
from hypothesis import strategies as st

from understudy_sim.drawn.driver import Driver, Lost, Reply, Started
from understudy_sim.drawn.printing import as_python
from understudy_sim.drawn.runs import failure_of
from understudy_sim.stage.application import Application
from understudy_sim.stage.faults import FaultSet, only
from understudy_sim.stage.operations import Act, Attach, Call, Operation, Settle
from understudy_sim.stage.plan import Plan
from understudy_sim.stage.play import Stage
from understudy_sim.stage.report import Report
from understudy_sim.stage.run import run_seed
from understudy_sim.stage.scenario import Adjust, Scenario, no_operations
from understudy_sim.stage.server import SERVER
from understudy_sim.stage.silence import silent
from understudy_sim.stage.variation import AS_DRAWN, Variation

SEED_MAX: Final = 2**16 - 1
FINAL: Final = "__understudy_final__"
INVARIANT: Final = "__understudy_invariant__"
MISSING: Final = object()


@attrs.frozen
class Later:
    """What the *step*-th rule of the program will return."""

    step: int


@attrs.frozen
class Step:
    """One rule of the program, with its arguments; a fault is begun and not awaited, `after_ms` later."""

    name: str
    rule: Callable[..., Any]
    arguments: Mapping[str, Any]
    is_fault: bool = False
    after_ms: int = 0

    def __str__(self) -> str:
        given = ", ".join(f"{name}={as_python(value)}" for name, value in self.arguments.items())
        return f"{self.name}({given})"


def rule(**how: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """An async method that Hypothesis calls any number of times: *how* is as for `hypothesis.stateful.rule`."""

    def declare(function: Callable[..., Any]) -> Callable[..., Any]:
        assert inspect.iscoroutinefunction(function), f"{function.__name__} is a rule: write it with async def"
        has_target = "target" in how or "targets" in how

        def note(self: StateMachine, **arguments: Any) -> Any:
            later = self._note(Step(function.__name__, function, arguments))
            return later if has_target else None

        return _declared(how, function, note)

    return declare


def fault(*given: Any, **how: Any) -> Any:
    """A method that hurts: begun while the rules behind it run, `after_ms` (a strategy) later, unless faults are over.

    `@fault` alone, or `@fault(after_ms=..., name=strategy)`.
    """
    if given:
        return fault()(given[0])
    strategies = {"after_ms": st.just(0), **how}

    def declare(function: Callable[..., Any]) -> Callable[..., Any]:
        def note(self: StateMachine, *, after_ms: int = 0, **arguments: Any) -> None:
            self._note(Step(function.__name__, function, arguments, is_fault=True, after_ms=after_ms))

        return _declared(strategies, function, note)

    return declare


def invariant() -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A method that raises AssertionError, or returns False or a text, when something is wrong.

    It is looked at after each rule; one that is not async after every commit and every entry of a ledger, too.
    """

    def declare(function: Callable[..., Any]) -> Callable[..., Any]:
        setattr(function, INVARIANT, True)
        return function

    return declare


def finally_(function: Callable[..., Any]) -> Callable[..., Any]:
    """An async method that is run once at the end: faults are over, every request is answered, all is quiet."""
    assert inspect.iscoroutinefunction(function), f"{function.__name__} is a final rule: write it with async def"
    setattr(function, FINAL, True)
    return function


def _declared(how: Mapping[str, Any], function: Callable[..., Any], note: Callable[..., Any]) -> Callable[..., Any]:
    """*note*, which Hypothesis calls in place of *function* and prints under its name."""
    for name in ("__name__", "__qualname__", "__module__", "__doc__"):
        setattr(note, name, getattr(function, name))
    declare: Callable[[Callable[..., Any]], Callable[..., Any]] = stateful.rule(**how)
    return declare(note)


class StateMachine(stateful.RuleBasedStateMachine):
    """Inherit, name the application, write rules.  `prepare` gives the stage its services and claims.

    `faults` are drawn by the seed, beside the machine's own: by default only what a power cut does to a disk.
    """

    app: ClassVar[str] = ""
    faults: ClassVar[FaultSet] = only("lost_write", "torn_write")
    plan: ClassVar[Adjust | None] = None
    pauses: ClassVar[bool] = False
    deadlocks: ClassVar[bool] = False
    variation: ClassVar[Variation] = AS_DRAWN

    def __init__(self) -> None:
        super().__init__()
        self.seed = 0
        self.report: Report | None = None
        self._steps: list[Step] = []
        self._values: list[Any] = []
        self._stage: Stage | None = None
        self._driver: Driver | None = None
        self._invariants = self._marked(INVARIANT)

    def prepare(self, stage: Stage) -> None:
        """Before the first rule: external services, claims, models.  As a scenario's script before it plays."""

    # --- what rules use ---------------------------------------------------------------------------------------

    @property
    def stage(self) -> Stage:
        """The stage of this run."""
        assert self._stage is not None, "there is a stage while the program runs, not while it is drawn"
        return self._stage

    @property
    def nursery(self) -> trio.Nursery:
        """The run's one nursery: what is started there may go on while other rules run."""
        assert self.driver.nursery is not None, "there is a nursery while rules run"
        return self.driver.nursery

    @property
    def driver(self) -> Driver:
        """Who runs the rules."""
        assert self._driver is not None, "there is a driver while the program runs, not while it is drawn"
        return self._driver

    async def call(self, service: str, handler: str, *, client: str = "client", **how: Any) -> Reply:
        """Ask a handler, and again until it is answered or the client's patience ends.  *how* is as for `Call`."""
        return await self.perform(Call(client=client, service=service, handler=handler, **how))

    def start(self, service: str, handler: str, *, client: str = "client", **how: Any) -> Started:
        """As `call`, in the background: `await started.join()` some time, or never."""
        return self.driver.start_soon(Call(client=client, service=service, handler=handler, **how))

    async def perform(self, operation: Operation) -> Reply:
        """Any operation of a workload: Call, Attach, Act, Settle.  Those that are no question have an empty reply."""
        return await self.driver.perform(operation)

    async def attach(self, label: str, *, client: str = "client", **how: Any) -> Reply:
        """Wait for the result of the request with this label."""
        return await self.perform(Attach(client=client, to=label, **how))

    async def act(self, action: str, label: str, *, client: str = "operator", **how: Any) -> Reply:
        """Have the operator cancel, kill, pause, … the request with this label."""
        return await self.perform(Act(client=client, action=action, on=label, **how))

    async def settle(self, label: str, *, client: str = "client", **how: Any) -> Reply:
        """Resolve or reject an awakeable of the request with this label."""
        return await self.perform(Settle(client=client, of=label, **how))

    async def sleep(self, seconds: float) -> None:
        """Let virtual time pass."""
        await trio.sleep(seconds)

    def strike(self, kind: str, *on: str, lasts_ms: int = 1_000, strength_ms: int = 1_000, detail: int = 0) -> bool:
        """A fault, now: a kind of `faults.KINDS`, *on* a host (the server unless named) or the two of a link.

        False when there is nothing to do it to, or faults are over.
        """
        return self.driver.strike(kind, on or (SERVER,), lasts_ms, strength_ms, detail)

    # --- the program ------------------------------------------------------------------------------------------

    @stateful.initialize(seed=st.integers(0, SEED_MAX))
    def begin(self, seed: int) -> None:
        """Everything that is not drawn by rules follows from *seed*: time, order, what is lost."""
        self.seed = seed

    def _note(self, step: Step) -> Later:
        self._steps.append(step)
        return Later(len(self._steps) - 1)

    def teardown(self) -> None:
        """The program is complete: run it.  Raises RehearsalFailed."""
        # An example that Hypothesis gave up while it drew is none.
        if sys.exception() is None and self._steps and self.report is None:
            self.run()
            assert self.report is not None, "a run has a report"
            if self.report.failed:
                raise failure_of(self.report, f"the steps above, or {self.program()}")

    def run(self) -> Report:
        """Run the program once."""
        assert self.report is None, "a machine runs once"
        with silent():
            self.report = run_seed(self._scenario(), _application(self.app), self.seed, self.variation)
        return self.report

    def program(self) -> str:
        """The steps on one line."""
        return f"{type(self).__name__}, seed {self.seed}: {'; '.join(str(step) for step in self._steps)}"

    def _scenario(self) -> Scenario:
        assert self.app, f"{type(self).__name__} names no application: app = 'package.module:attribute'"
        filename = inspect.getsourcefile(type(self)) or ""
        return Scenario(
            name=type(self).__name__,
            app=self.app,
            workload=no_operations,
            faults=self.faults,
            seeds=1,
            script=self._play,
            filename=filename,
            line=0,
            plan=self._planned,
            pauses=self.pauses,
            deadlocks=self.deadlocks,
            idle=True,
        )

    def _planned(self, plan: Plan) -> Plan:
        """Nothing but rules restarts the server, and final rules look at results: they are kept that long."""
        plan = attrs.evolve(plan, upgrade=None)
        if plan.outlives_results:
            limits = attrs.evolve(plan.limits, completion_retention_ms=6 * 3_600_000)
            plan = attrs.evolve(plan, limits=limits)
        adjust = type(self).plan
        return plan if adjust is None else adjust(plan)

    # --- the run ----------------------------------------------------------------------------------------------

    async def _play(self, stage: Stage) -> None:
        self._stage = stage
        self.prepare(stage)
        for name, check in self._invariants:
            if not inspect.iscoroutinefunction(check):
                stage.always(f"invariant {name}", functools.partial(_verdict, check))
        self._driver = Driver(stage, self._run_rules, self._run_finals)
        stage.visitor(self._driver)
        await stage.play()

    def _marked(self, mark: str) -> list[tuple[str, Callable[..., Any]]]:
        found = ((name, getattr(self, name)) for name in dir(type(self)) if hasattr(getattr(type(self), name), mark))
        return list(found)

    async def _run_rules(self) -> None:
        self._values = [MISSING] * len(self._steps)
        for number, step in enumerate(self._steps):
            arguments = self._resolved(step.arguments)
            if arguments is MISSING:
                self.stage.cluster.tally.noted("a rule was skipped: what it takes never came to be")
            elif step.is_fault:
                self.nursery.start_soon(self._hurt, step, arguments)
            else:
                self._values[number] = await self._guarded(f"rule {step.name}", step.rule, arguments)
                await self._run_invariants()

    async def _hurt(self, step: Step, arguments: Mapping[str, Any]) -> None:
        await trio.sleep(step.after_ms / 1000)
        if not self.driver.healed:
            await self._guarded(f"fault {step.name}", step.rule, arguments)

    async def _run_invariants(self) -> None:
        for name, check in self._invariants:
            if inspect.iscoroutinefunction(check):
                await self._guarded(f"invariant {name}", check, {}, bound=True)

    async def _run_finals(self) -> None:
        for name, final in self._marked(FINAL):
            await self._guarded(f"finally {name}", final, {}, bound=True)

    async def _guarded(
        self, what: str, function: Callable[..., Any], arguments: Mapping[str, Any], *, bound: bool = False
    ) -> Any:
        """What *function* returns; MISSING when it failed, which breaks the claim that it holds, or lost an answer."""
        try:
            returned = function(**arguments) if bound else function(self, **arguments)
            if inspect.isawaitable(returned):
                returned = await returned
        except Lost:
            self.stage.cluster.tally.noted("a rule lost an answer")
            return MISSING
        except Exception as error:
            self.stage.watch.broken(what, _told(error))
            return MISSING
        if bound and (returned is False or (isinstance(returned, str) and returned)):
            self.stage.watch.broken(what, returned or "it does not hold")
        return returned

    def _resolved(self, value: Any) -> Any:
        """*value* with what earlier rules returned in place of each Later; MISSING when one returned nothing."""
        if isinstance(value, Later):
            return self._values[value.step]
        if isinstance(value, Mapping):
            inner = {key: self._resolved(one) for key, one in value.items()}
            return MISSING if any(one is MISSING for one in inner.values()) else inner
        if isinstance(value, tuple | list):
            found = [self._resolved(one) for one in value]
            return MISSING if any(one is MISSING for one in found) else type(value)(found)
        return value


def _verdict(check: Callable[[], Any]) -> bool | str:
    try:
        verdict = check()
    except AssertionError as error:
        return _told(error)
    return verdict if isinstance(verdict, str) else verdict is not False


def _told(error: BaseException) -> str:
    """The error, and the last line of the user's code it passed through."""
    frames = traceback.extract_tb(error.__traceback__)
    here = Path(__file__).parent
    own = [one for one in frames if Path(one.filename).parent != here] or list(frames)
    where = f" ({Path(own[-1].filename).name}:{own[-1].lineno}: {own[-1].line})" if own else ""
    return f"{type(error).__name__}: {error}{where}"


@functools.cache
def _application(path: str) -> Application:
    """One for many runs: it keeps compiled code."""
    return Application(path)
