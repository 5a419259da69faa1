"""Operations, faults and whole rehearsals as strategies.

What they draw are the stage's own frozen values, which print as Python.  The simplest value of each is the tame one: no
faults, the first key, the first client, first come first served.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

import attrs
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from understudy_sim.drawn.arguments import NoStrategy, from_schema
from understudy_sim.drawn.runs import Run, name_of
from understudy_sim.kernel.choices import Choices
from understudy_sim.kernel.clock import NS_PER_MS
from understudy_sim.kernel.disk import DETAIL_MAX
from understudy_sim.kernel.kernel import KernelOutcome
from understudy_sim.stage.application import Application
from understudy_sim.stage.faults import KINDS, FaultSet, none
from understudy_sim.stage.nemesis import targets_of
from understudy_sim.stage.operations import Call, Operation
from understudy_sim.stage.rehearsal import Rehearsal
from understudy_sim.stage.run import run_seed
from understudy_sim.stage.scenario import Scenario
from understudy_sim.stage.silence import silent
from understudy_sim.stage.variation import Schedule, Strike, Variation

T = TypeVar("T")

CLIENTS: Final = ("ann", "bob", "cleo")
KEYS: Final = ("a", "b", "c")
SEED_MAX: Final = 2**32 - 1
PAUSE_MS_MAX: Final = 3_000
CALLS_MAX: Final = 12
STRIKES_MAX: Final = 6
AT_MS_MAX: Final = 20_000
LASTS_MS_MAX: Final = 5_000
STRENGTH_MS_MAX: Final = 60_000
# One in so many operations of a workload is left out, and one in so many rehearsals has nothing but tame bounds.
LEFT_OUT_ONE_IN: Final = 8
TAME_ONE_IN: Final = 4
# What is drawn once for a run: sizes, bounds, hops.
SHAPE: Final = ("plan/", "limits/")


# --- operations ---------------------------------------------------------------------------------------------


def calls(
    app: Any,
    *,
    only: Sequence[str] = (),
    keys: SearchStrategy[str] | Mapping[str, SearchStrategy[str]] | None = None,
    arguments: Mapping[str, SearchStrategy[Any]] | None = None,
    clients: Sequence[str] = CLIENTS,
    one_way: bool = True,
) -> SearchStrategy[Call]:
    """One request that *app* understands: `package.module:attribute`, an application, or what discovery tells of one.

    *only* names handlers (`Service/handler`) or services; *keys* draws the keys of objects and workflows, per service
    if it is a mapping; *arguments* draws what a handler (`Service/handler`) takes, not its schema.  With *one_way*
    some calls are not waited for.  Raises NoStrategy for a handler whose schema says nothing.
    """
    found = [
        _calls_of(service, handler, keys, arguments or {}, clients, one_way)
        for service, handler in _handlers(_manifest_of(app))
        if not only or service["name"] in only or f"{service['name']}/{handler['name']}" in only
    ]
    if not found:
        raise NoStrategy(f"no handler is one of {', '.join(only)}: write them as Service/handler")
    return st.one_of(found)


def operations(
    app: Any, *, min_size: int = 1, max_size: int = CALLS_MAX, **how: Any
) -> SearchStrategy[tuple[Call, ...]]:
    """The operations of a whole rehearsal: so many `calls`, which are drawn as *how* says."""
    return st.lists(calls(app, **how), min_size=min_size, max_size=max_size).map(tuple)


def _manifest_of(app: Any) -> Mapping[str, Any]:
    if isinstance(app, str):
        return Application(app).manifest
    if isinstance(app, Mapping):
        return app
    manifest: Mapping[str, Any] = app.manifest()
    return manifest


def _handlers(manifest: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    for service in manifest["services"]:
        for handler in service["handlers"]:
            yield service, handler


def _calls_of(
    service: Mapping[str, Any],
    handler: Mapping[str, Any],
    keys: SearchStrategy[str] | Mapping[str, SearchStrategy[str]] | None,
    arguments: Mapping[str, SearchStrategy[Any]],
    clients: Sequence[str],
    one_way: bool,
) -> SearchStrategy[Call]:
    name = f"{service['name']}/{handler['name']}"
    keys = keys.get(service["name"]) if isinstance(keys, Mapping) else keys
    keyed = service["ty"] != "SERVICE"
    return st.builds(
        Call,
        client=st.sampled_from(tuple(clients)),
        service=st.just(service["name"]),
        handler=st.just(handler["name"]),
        key=(st.sampled_from(KEYS) if keys is None else keys) if keyed else st.none(),
        argument=arguments[name] if name in arguments else _argument(name, handler.get("input") or {}),
        pause_ms=st.integers(0, PAUSE_MS_MAX),
        one_way=st.booleans() if one_way else st.just(False),
        idempotent=st.integers(0, LEFT_OUT_ONE_IN - 1).map(lambda drawn: drawn < LEFT_OUT_ONE_IN - 1),
    )


def _argument(name: str, takes: Mapping[str, Any]) -> SearchStrategy[Any]:
    if not takes:
        return st.none()
    try:
        return from_schema(takes.get("jsonSchema"))
    except NoStrategy as error:
        raise NoStrategy(
            f"nobody said what {name} takes: {error}; give arguments={{{name!r}: <a strategy>}}, "
            "or name the handlers to be called with only=(...)"
        ) from error


# --- faults -------------------------------------------------------------------------------------------------


def fault_sets(kinds: Sequence[str] = tuple(KINDS)) -> SearchStrategy[FaultSet]:
    """Which kinds of fault may happen: any of *kinds*, and with few of them rather than many as the simpler case."""
    return st.lists(st.sampled_from(tuple(kinds)), unique=True, max_size=len(kinds)).map(
        lambda drawn: FaultSet(tuple(kind for kind in KINDS if kind in drawn))
    )


def strikes(
    kinds: Sequence[str] = tuple(KINDS),
    *,
    services: Sequence[str] = (),
    clients: Sequence[str] = CLIENTS,
    on: SearchStrategy[tuple[str, ...]] | None = None,
    at_ms_max: int = AT_MS_MAX,
) -> SearchStrategy[Strike]:
    """One fault, written out.  *services* are the external services that can be hurt, *clients* those who ask.

    *on* draws the target where the kinds' usual ones will not do.
    """
    possible = [kind for kind in kinds if on is not None or targets_of(kind, services=services, clients=clients)]
    assert possible, f"nothing here can be hurt by {', '.join(kinds)}"

    def of_kind(kind: str) -> SearchStrategy[Strike]:
        return st.builds(
            Strike,
            kind=st.just(kind),
            on=st.sampled_from(targets_of(kind, services=services, clients=clients)) if on is None else on,
            at_ns=st.integers(0, at_ms_max).map(_ns),
            lasts_ns=st.integers(10, LASTS_MS_MAX).map(_ns),
            strength_ns=st.integers(1, STRENGTH_MS_MAX).map(_ns),
            detail=st.integers(0, DETAIL_MAX),
        )

    return st.sampled_from(possible).flatmap(of_kind)


def schedules() -> SearchStrategy[Schedule]:
    """Which ready task runs next: first come first served, or anyone."""
    return st.sampled_from(("fifo", "random")).map(lambda kind: Schedule(kind=kind))


# --- whole rehearsals ---------------------------------------------------------------------------------------


def rehearsals(
    scenario: Scenario,
    *,
    calls: SearchStrategy[Sequence[Operation]] | None = None,
    kinds: Sequence[str] | None = None,
    strikes_max: int = STRIKES_MAX,
) -> SearchStrategy[Run]:
    """Rehearsals of *scenario*: operations, strikes, the shape of the run and the seed of all the rest.

    *calls* draws the operations in place of the scenario's own workload; *kinds* are the faults that may strike, the
    scenario's unless named.
    """
    allowed = tuple(scenario.faults.kinds if kinds is None else kinds)
    application = Application(scenario.app)
    # Operations are left out until nothing is asked for: that is no failure here.
    drawn = attrs.evolve(scenario, idle=True)
    return st.deferred(lambda: _rehearsals(drawn, application, calls, allowed, strikes_max))


def _rehearsals(
    scenario: Scenario,
    application: Application,
    calls: SearchStrategy[Sequence[Operation]] | None,
    kinds: Sequence[str],
    strikes_max: int,
) -> SearchStrategy[Run]:
    services = services_of(scenario, application)
    name = name_of(scenario)

    @st.composite
    def run(draw: DrawFn) -> Run:
        asked = _thinned(draw, scenario.workload(Outline(draw)) if calls is None else draw(calls))
        clients = tuple(dict.fromkeys(one.client for one in asked)) or CLIENTS
        hit = [kind for kind in kinds if targets_of(kind, services=services, clients=clients)]
        at_all = (
            st.lists(strikes(hit, services=services, clients=clients), max_size=strikes_max) if hit else st.just([])
        )
        struck = _thinned(draw, draw(at_all))
        tame = () if draw(st.integers(0, TAME_ONE_IN - 1)) else SHAPE
        variation = Variation(
            calls=asked,
            strikes=tuple(sorted(struck, key=lambda one: one.at_ns)),
            schedule=draw(schedules()),
            tame=tame,
        )
        seed = draw(st.integers(0, SEED_MAX))
        return Run(name, seed=seed, variation=variation, declared=scenario, application=application)

    return run()


def _thinned(draw: DrawFn, drawn: Sequence[T]) -> tuple[T, ...]:
    """*drawn*, some left out.  A shrinker flips one choice for that; to delete an item of ten choices it does not find
    the way."""
    kept = st.integers(0, LEFT_OUT_ONE_IN - 1)
    return tuple(one for one in drawn if draw(kept))


class Outline(Choices):
    """Choices that a strategy draws: for the few decisions that Hypothesis is to shrink."""

    def __init__(self, draw: DrawFn) -> None:
        super().__init__()
        self._drawn = draw

    def _draw(self, label: str, ordinal: int, low: int, high: int) -> int:
        return self._drawn(st.integers(low, high))


def services_of(scenario: Scenario, application: Application) -> tuple[str, ...]:
    """The names of the external services that the scenario's script sets up: it is run to where it plays."""
    found: list[str] = []

    @attrs.define
    class Looking:
        def attach(self, rehearsal: Rehearsal) -> None:
            """Nothing is there yet."""

        def stopped(self, rehearsal: Rehearsal, ended: KernelOutcome) -> None:
            found.extend(one.external.name for one in rehearsal.cluster.externals)

    with silent():
        run_seed(scenario, application, 0, Variation(faults=none(), calls=(), steps_max=100), [Looking()])
    return tuple(found)


def _ns(ms: int) -> int:
    return ms * NS_PER_MS
