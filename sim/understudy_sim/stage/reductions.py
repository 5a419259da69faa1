"""The ways in which a failing run is made smaller, each a pass over one of its parts.

A pass asks `Tries` whether a smaller run still fails; what does is the best run from then on.  None of them knows what
a run is made of beyond its `Variation` and what its report tells.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import attrs

from understudy_sim.kernel.choices import Choice, Stream, stable_seed
from understudy_sim.kernel.clock import NS_PER_MS
from understudy_sim.stage.fixed import EVERYTHING, FIFO
from understudy_sim.stage.minimize import drop_each, drop_singly, first_that_fails, rounder, smaller
from understudy_sim.stage.operations import Call, Operation
from understudy_sim.stage.server import SERVER
from understudy_sim.stage.strategies.port import Trial
from understudy_sim.stage.tries import Tries, named, wild_decisions
from understudy_sim.stage.variation import Strike

# Labels of drawn faults: left alone until the faults are written out.
OF_FAULTS: Final = ("fault.",)
# So are those of the schedule, which has a pass of its own.
OF_SCHEDULES: Final = "schedule"
# What needs no further luck; how often luck is tried, and how long what it brings is made smaller before it is judged.
ENOUGH: Final = 4
SEARCHED_MAX: Final = 40
SCHEDULES_MAX: Final = 12  # of them, where only the schedule is not small
SMALLER_AGAIN_MAX: Final = 40
MOVED_MAX: Final = 4
MOMENTS_MAX: Final = 40
# A label that was asked more often than this stays drawn: writing all its answers out explains nothing.
ANSWERS_MAX: Final = 8
LASTS_NS: Final = (1_000_000, 10_000_000, 100_000_000, 1_000_000_000)
PAUSES_NS: Final = (10_000_000, 100_000_000, 1_000_000_000)
STRENGTHS_NS: Final = (1, 1_000_000, 1_000_000_000)
YES: Final = 999
SIMPLER_MAX: Final = 5


# --- what is written out ----------------------------------------------------------------------------------------------


def write_operations(tries: Tries) -> None:
    """Operations as data, instead of drawn."""
    variation = tries.best.variation
    if variation.calls is None or variation.kept_calls is not None:
        tries.vary(calls=tries.ran.report.calls, kept_calls=None)


def write_strikes(tries: Tries) -> None:
    """Faults at their instants, instead of drawn and aimed."""
    if tries.best.variation.strikes is not None:
        return
    strikes = tuple(one.strike for one in tries.ran.report.firings if one.strike is not None)
    overrides = {
        key: value for key, value in (tries.best.variation.overrides or {}).items() if not key[0].startswith(OF_FAULTS)
    }
    tries.vary(strikes=strikes, overrides=overrides or None)


def without_extras(tries: Tries) -> None:
    """No power cut at a point, and no comparison with undisturbed orders, where the claim does not need them."""
    variation = tries.best.variation
    if variation.crash_at is not None:
        tries.vary(crash_at=None, orders=0)
    if variation.orders:
        tries.vary(orders=0)


# --- faults -----------------------------------------------------------------------------------------------------------


def drop_kinds(tries: Tries) -> None:
    """Forbid whole kinds of drawn faults."""
    variation = tries.best.variation
    if variation.strikes is not None:
        return
    allowed = variation.faults
    kinds = tuple(dict.fromkeys(one for one in tries.ran.report.faults if allowed is None or one in allowed))
    drop_each(kinds, lambda rest: tries.vary(faults=_only(rest)))


def _only(kinds: tuple[str, ...]) -> Any:
    from understudy_sim.stage import faults

    return faults.FaultSet(tuple(kind for kind in faults.KINDS if kind in kinds))


def drop_injections(tries: Tries) -> None:
    """Force single injections of drawn faults off, by their named decisions."""
    if tries.best.variation.strikes is not None:
        return
    for _ in range(3):
        switches = tuple(dict.fromkeys(one.switch for one in tries.ran.report.firings if one.switch[0]))
        before = dict(tries.best.variation.overrides or {})

        def off(kept: tuple[tuple[str, int], ...], before: Any = before, switches: Any = switches) -> bool:
            return tries.vary(overrides={**before, **{one: 0 for one in switches if one not in kept}})

        if drop_each(switches, off) == switches:
            return


def drop_strikes(tries: Tries) -> None:
    """Leave out faults that are written out."""
    if tries.best.variation.strikes:
        drop_each(tries.best.variation.strikes, lambda rest: tries.vary(strikes=rest))


def simplify_strikes(tries: Tries) -> None:
    """Shorter, weaker, at rounder times."""
    for index in range(len(tries.best.variation.strikes or ())):
        for change in (_shorter, _weaker, _plainer, _rounder):
            strike = (tries.best.variation.strikes or ())[index]
            first_that_fails(change(strike), lambda one, index=index: _replace_strike(tries, index, one))  # type: ignore[misc]


def _replace_strike(tries: Tries, index: int, strike: Strike) -> bool:
    strikes = tries.best.variation.strikes or ()
    return tries.vary(strikes=(*strikes[:index], strike, *strikes[index + 1 :]))


def _shorter(strike: Strike) -> list[Strike]:
    return [attrs.evolve(strike, lasts_ns=ns) for ns in _less(strike.lasts_ns, LASTS_NS)]


def _weaker(strike: Strike) -> list[Strike]:
    return [attrs.evolve(strike, strength_ns=ns) for ns in _less(strike.strength_ns, STRENGTHS_NS)]


def _less(value_ns: int, usual: tuple[int, ...]) -> list[int]:
    """The usual values below *value_ns*, then rounder ones below it."""
    tried = (*usual, *rounder(value_ns))
    return [ns for ns in dict.fromkeys(tried) if 0 < ns < value_ns]


def _plainer(strike: Strike) -> list[Strike]:
    return [attrs.evolve(strike, detail=detail) for detail in (0, 1) if detail < strike.detail]


def _rounder(strike: Strike) -> list[Strike]:
    return [attrs.evolve(strike, at_ns=ns) for ns in rounder(strike.at_ns)]


# --- operations -------------------------------------------------------------------------------------------------------


def drop_operations(tries: Tries) -> None:
    """Leave out operations."""
    drop_each(tries.ran.report.calls, lambda rest: tries.vary(calls=rest, kept_calls=None))


def simplify_operations(tries: Tries) -> None:
    """No pauses, few clients, nothing said that need not be."""
    calls = tries.ran.report.calls
    if any(one.pause_ms for one in calls):
        tries.vary(calls=tuple(attrs.evolve(one, pause_ms=0) for one in calls))
    _fewer_clients(tries)
    for index in range(len(tries.ran.report.calls)):
        for changes in ({"pause_ms": 0}, {"one_way": False, "delay_ms": 0}, {"delay_ms": 0}):
            _simplify(tries, index, changes)
        pauses = smaller_pauses(tries.ran.report.calls[index].pause_ms)
        first_that_fails(pauses, lambda ms, index=index: _simplify(tries, index, {"pause_ms": ms}))  # type: ignore[misc]


def smaller_pauses(pause_ms: int) -> list[int]:
    """Shorter pauses, then rounder ones."""
    return [ns // NS_PER_MS for ns in _less(pause_ms * NS_PER_MS, PAUSES_NS)]


def _simplify(tries: Tries, index: int, changes: Mapping[str, Any]) -> bool:
    calls = tries.ran.report.calls
    call = calls[index]
    fields = {name: value for name, value in changes.items() if getattr(call, name, value) != value}
    if not fields or not (isinstance(call, Call) or set(fields) <= {"pause_ms", "client"}):
        return False
    return tries.vary(calls=(*calls[:index], attrs.evolve(call, **fields), *calls[index + 1 :]))


def _fewer_clients(tries: Tries) -> None:
    clients = list(dict.fromkeys(one.client for one in tries.ran.report.calls))
    for client in clients[1:]:
        for other in clients[: clients.index(client)]:
            if tries.vary(calls=tuple(_renamed(one, client, other) for one in tries.ran.report.calls)):
                break


def _renamed(operation: Operation, old: str, new: str) -> Operation:
    return attrs.evolve(operation, client=new) if operation.client == old else operation


# --- by luck ----------------------------------------------------------------------------------------------------------


def search_again(tries: Tries) -> None:
    """Other runs of the same plan, with half the operations and no other kinds of faults: where a fault must come in
    one moment of many, another moment of a smaller run often does as well."""
    for number in range(SEARCHED_MAX):
        if tries.spent or tries.best.variation.tame:
            return  # Where everything is tame there is no luck.
        small = len(tries.ran.report.calls) <= ENOUGH and len(tries.ran.report.firings) <= ENOUGH
        if small and (tries.best.variation.schedule == FIFO or number >= SCHEDULES_MAX):
            return
        trial = _other_luck(tries, number)
        if tries.attempt(trial, _smaller_again, SMALLER_AGAIN_MAX):
            drop_operations(tries)


def move_faults(tries: Tries) -> None:
    """Half the operations, and the last fault at another moment: one that fell into a sync falls into every other."""
    for number in range(MOVED_MAX):
        strikes, calls = tries.best.variation.strikes or (), tries.ran.report.calls
        if len(calls) <= ENOUGH or tries.spent:
            return
        if tries.best.variation.crash_at is not None:
            _move_crash(tries, _half(calls, number))
            continue
        if not 1 <= len(strikes) <= ENOUGH:
            return
        last_ns = max(one.at_ns for one in strikes)
        moved = [one for one in strikes if one.at_ns == last_ns]
        rest = tuple(one for one in strikes if one.at_ns < last_ns)
        half = _half(calls, number)
        ran = tries.look(calls=half, kept_calls=None, strikes=rest)
        for at_ns in _spread(() if ran is None else ran.moments, MOMENTS_MAX):
            there = (*rest, *(attrs.evolve(one, at_ns=at_ns) for one in moved))
            if at_ns > max((one.at_ns for one in rest), default=0) and tries.vary(calls=half, strikes=there):
                drop_operations(tries)
                break


def _move_crash(tries: Tries, half: tuple[Operation, ...]) -> None:
    """The power cut at an earlier passing of its point."""
    crash = tries.best.variation.crash_at
    assert crash is not None, "there is one to move"
    for nth in _spread(tuple(range(crash.nth, 0, -1)), MOMENTS_MAX):
        if tries.vary(calls=half, kept_calls=None, crash_at=attrs.evolve(crash, nth=nth)):
            drop_operations(tries)
            return


def _half(calls: tuple[Operation, ...], number: int) -> tuple[Operation, ...]:
    """The first half, the second, or every other one."""
    middle = len(calls) // 2
    return (calls[:middle], calls[middle:], calls[::2], calls[1::2])[number % 4]


def _spread(moments: tuple[int, ...], most: int) -> tuple[int, ...]:
    """At most so many of them, all over."""
    step = max(1, -(-len(moments) // most))
    return moments[::step]


def _other_luck(tries: Tries, number: int) -> Trial:
    variation, report = tries.best.variation, tries.ran.report
    calls = report.calls
    wanted = len(calls) if len(calls) <= ENOUGH else max(1, len(calls) // 2)
    draw = Stream(stable_seed("search again", number))
    order = sorted(range(len(calls)), key=lambda _: draw.integer(0, 2**32))
    streams = ("fault.", "net.", "disk.", "schedule", *(f"{one.what}/provider_" for one in report.firings))
    salts = {**(variation.salts or {}), **dict.fromkeys(streams, number + 1)}
    changes: dict[str, Any] = {"salts": salts, "calls": tuple(calls[index] for index in sorted(order[:wanted]))}
    if report.firings:
        changes |= {"strikes": None, "faults": _only(tuple(one.kind for one in report.firings))}
    changes["schedule"] = None if number % 2 and len(calls) > ENOUGH else FIFO
    return Trial(tries.best.seed, attrs.evolve(variation, **changes))


def _smaller_again(tries: Tries) -> None:
    for stage in (first_come, drop_operations, drop_injections, write_strikes, drop_strikes):
        stage(tries)


# --- the schedule -----------------------------------------------------------------------------------------------------


def first_come(tries: Tries) -> None:
    """First come, first served."""
    tries.vary(schedule=FIFO)


def drop_deviations(tries: Tries) -> None:
    """As few places as can be where it is not."""
    schedule = tries.best.variation.schedule
    if schedule == FIFO or tries.vary(schedule=FIFO):
        return
    if schedule is None or schedule.kind != "fifo":
        # The same run, written out; then its first half and so on.
        if not tries.vary(schedule=attrs.evolve(FIFO, deviations=tries.ran.deviations)):
            return
        schedule = tries.best.variation.schedule
        assert schedule is not None, "just written"
    drop_each(schedule.deviations, lambda rest: tries.vary(schedule=attrs.evolve(FIFO, deviations=rest)))


# --- decisions --------------------------------------------------------------------------------------------------------


def tame_decisions(tries: Tries) -> None:
    """Every decision its tame answer, but for as few labels as can be."""
    variation = tries.best.variation
    if variation.tame == EVERYTHING and not variation.wild:
        return
    drawn = OF_FAULTS if variation.strikes is None else ()
    forced = {label for label, _ in variation.overrides or {}}
    wanted = tuple(dict.fromkeys(one.label for one in tries.ran.decisions if one.label not in forced))
    apart = (OF_SCHEDULES, *OF_FAULTS)
    labels = tuple(label for label in wanted if not label.startswith(apart) and _is_wild(label, tries))
    kept = tuple(label for label in wanted if label.startswith(OF_SCHEDULES))
    drop_each(labels, lambda rest: tries.vary(tame=EVERYTHING, wild=(*drawn, *kept, *rest)))


def _is_wild(label: str, tries: Tries) -> bool:
    variation = tries.best.variation
    return not variation.tame or label.startswith(variation.wild)


def write_decisions(tries: Tries) -> None:
    """What is not tame by name and answer, where that is short; then without each of them, then simpler answers."""
    variation = tries.best.variation
    if variation.tame != EVERYTHING:
        return
    answers: dict[str, list[Choice]] = {}
    for one in wild_decisions(tries.ran, tries.best):
        answers.setdefault(one.label, []).append(one)
    # Other streams than the seed's own are worth getting rid of: then all of it is written.
    longest = ANSWERS_MAX if not (variation.salts or variation.borrowed) else len(tries.ran.decisions)
    short = [label for label, given in answers.items() if len(given) <= longest]
    written = {(one.label, one.ordinal): one.value for label in short for one in answers[label] if one.value != one.low}
    wild = tuple(label for label in variation.wild if label in OF_FAULTS or (label in answers and label not in short))
    if wild != variation.wild:
        tries.vary(wild=wild, overrides={**(variation.overrides or {}), **written} or None)
    overrides = tuple((tries.best.variation.overrides or {}).items())
    drop_each(overrides, lambda rest: tries.vary(overrides=dict(rest) or None))
    ranges = {(one.label, one.ordinal): one for one in tries.ran.decisions}
    for key, value in tuple((tries.best.variation.overrides or {}).items()):
        asked = ranges.get((key[0], key[1] or 0))
        if asked is not None:
            first_that_fails(simpler_answers(asked, value), lambda one, key=key: _answer(tries, key, one))  # type: ignore[misc]
    _name_without_ordinals(tries)


def _name_without_ordinals(tries: Tries) -> None:
    """A label that is asked once needs no number: nor does it once the code asks it twice."""
    overrides = tries.best.variation.overrides or {}
    asked = Counter(one.label for one in tries.ran.decisions)
    named = {(key[0], None if asked[key[0]] == 1 else key[1]): value for key, value in overrides.items()}
    if named != overrides:
        tries.vary(overrides=named)


def simpler_answers(asked: Choice, value: int) -> tuple[int, ...]:
    """What to try in place of *value*, simplest first."""
    if (asked.low, asked.high) == (0, YES):
        return (YES,) if value != YES else ()
    return tuple(one for one in smaller(value, asked.low) if one > asked.low)[:SIMPLER_MAX]


def _answer(tries: Tries, key: tuple[str, int | None], value: int) -> bool:
    return tries.vary(overrides={**(tries.best.variation.overrides or {}), key: value})


def forget_seed(tries: Tries) -> None:
    """Seed 0, where nothing is drawn any more."""
    variation = tries.best.variation
    if variation.tame == EVERYTHING and not variation.wild:
        tries.fails(Trial(0, attrs.evolve(variation, faults=None, salts=None, borrowed=None)))
    elif variation.tame == EVERYTHING and tries.best.seed:
        tries.fails(Trial(0, variation))
    if tries.best.variation.strikes is not None:
        tries.vary(faults=None)


# --- nothing more can be left out -------------------------------------------------------------------------------------


def minimal(tries: Tries) -> None:
    """Faults, operations and deviations one by one, until none of them can go."""
    variation = tries.best.variation
    if variation.strikes is not None:
        drop_singly(variation.strikes, lambda rest: tries.vary(strikes=rest))
    drop_singly(tries.ran.report.calls, lambda rest: tries.vary(calls=rest, kept_calls=None))
    schedule = tries.best.variation.schedule
    if schedule is not None and schedule.kind == "fifo":
        drop_singly(schedule.deviations, lambda rest: tries.vary(schedule=attrs.evolve(FIFO, deviations=rest)))


def neighbours(tries: Tries) -> Iterator[tuple[str, Trial]]:
    """Runs that lack one thing of the best and held, nearest first: the last fault, deviation, operation, decision."""
    best, variation = tries.best, tries.best.variation
    held = {named(trial) for trial in tries.held}
    for what, changes in _lacking(tries):
        trial = Trial(best.seed, attrs.evolve(variation, **changes))
        if named(trial) in held:
            yield what, trial


def missing(whole: Trial, trial: Trial) -> Trial:
    """*trial*, in which a strike of *whole* is not left out but hits nobody: faults are over no earlier than there."""
    left, strikes = trial.variation.strikes, whole.variation.strikes
    if left is None or strikes is None or len(left) == len(strikes):
        return trial
    nobody = ("nobody", SERVER)
    same = tuple(one if one in left else attrs.evolve(one, kind="stream_reset", on=nobody) for one in strikes)
    return attrs.evolve(trial, variation=attrs.evolve(trial.variation, strikes=same))


def _lacking(tries: Tries) -> Iterator[tuple[str, dict[str, Any]]]:
    variation = tries.best.variation
    strikes = variation.strikes or ()
    for index in sorted(range(len(strikes)), key=lambda index: -strikes[index].at_ns):
        what = f"{strikes[index].kind} of {' > '.join(strikes[index].on)}"
        yield f"without the {what}", {"strikes": (*strikes[:index], *strikes[index + 1 :])}
    schedule = variation.schedule
    deviations = schedule.deviations if schedule is not None else ()
    for index in reversed(range(len(deviations))):
        rest = attrs.evolve(FIFO, deviations=(*deviations[:index], *deviations[index + 1 :]))
        yield f"with {deviations[index].task} served in turn", {"schedule": rest}
    calls = tries.ran.report.calls
    for index in reversed(range(len(calls))):
        yield f"without {calls[index]}", {"calls": (*calls[:index], *calls[index + 1 :]), "kept_calls": None}
    overrides = variation.overrides or {}
    for key in overrides:
        rest_of = {other: value for other, value in overrides.items() if other != key}
        yield f"with {key[0]} as on a tame day", {"overrides": rest_of or None}


Stage = Callable[[Tries], None]
STAGES: Final[tuple[tuple[str, Stage], ...]] = (
    ("operations written out", write_operations),
    ("nothing but the run", without_extras),
    ("first come, first served", first_come),
    ("kinds of faults", drop_kinds),
    ("operations", drop_operations),
    ("single faults", drop_injections),
    ("faults written out", write_strikes),
    ("faults", drop_strikes),
    ("operations again", drop_operations),
    ("faults at other moments", move_faults),
    ("other runs", search_again),
    ("decisions", tame_decisions),
    ("schedule", drop_deviations),
    ("simpler operations", simplify_operations),
    ("simpler faults", simplify_strikes),
    ("decisions written out", write_decisions),
    ("no seed", forget_seed),
    ("one by one", minimal),
)
