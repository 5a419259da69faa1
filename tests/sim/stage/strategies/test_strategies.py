"""Strategies: which trials they name, in which order, and that this depends on what they are told and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import attrs
import pytest
from understudy_sim.kernel.choices import SeededChoices
from understudy_sim.kernel.deviations import Deviating
from understudy_sim.kernel.policies import Delays, FirstReady, Priorities, RandomPick, Surveyed, Turn
from understudy_sim.stage import faults
from understudy_sim.stage.coverage import CLASS_NAMES, ROWS, cell
from understudy_sim.stage.report import Report
from understudy_sim.stage.scenario import Scenario
from understudy_sim.stage.schedules import Decided, policy_of
from understudy_sim.stage.search import ROUND, explore
from understudy_sim.stage.strategies import STRATEGIES, Scope, Strategy, Trial, make
from understudy_sim.stage.strategies.delays import DelayBounded, behind
from understudy_sim.stage.strategies.guided import Portfolio
from understudy_sim.stage.variation import AS_DRAWN, Deviation, Schedule, Variation
from understudy_sim.stage.variation_text import to_text
from understudy_sim.stage.workers import here

Show = Callable[..., Report]


def trials_of(strategy: Strategy, show: Show, cells: Callable[[Trial], int], most: int = 10_000) -> list[Trial]:
    """The trials of a search whose runs cover what *cells* says."""

    def start(trials: Sequence[Trial]) -> Iterator[Report]:
        return (show(trial.seed, cells(trial)) for trial in trials)

    found = []
    for trial, _ in explore(strategy, start):
        found.append(trial)
        if len(found) == most:
            break
    return found


def one_cell_each(trial: Trial) -> int:
    """Every seed gets to a cell of its own, so that every one is worth varying."""
    return 1 << trial.seed % 500


@pytest.mark.parametrize("name", ["portfolio", "random", "fifo"])
def test_seeds_are_all_run_in_order_and_nothing_is_varied_at_first(name: str, tiny: Scenario, shown: Show) -> None:
    found = trials_of(make(name, Scope(scenario=tiny, first_seed=7, seeds=90)), shown, one_cell_each)
    assert [trial.seed for trial in found] == list(range(7, 97))
    schedule = None if name == "portfolio" else Schedule(kind=name)
    assert all(trial.variation == Variation(schedule=schedule) for trial in found)


def test_a_portfolio_runs_every_seed_and_varies_some_between_them(tiny: Scenario, shown: Show) -> None:
    found = trials_of(Portfolio("portfolio", Scope(scenario=tiny, seeds=300)), shown, one_cell_each)
    plain = [trial.seed for trial in found if trial.variation == AS_DRAWN]
    assert plain == list(range(300))
    assert len(found) - len(plain) == (300 - Portfolio.FIRST) // Portfolio.FOUR
    assert len({(trial.seed, to_text(trial.variation)) for trial in found}) == len(found), "no run is made twice"


@pytest.mark.parametrize("name", ["portfolio", "guided", "random"])
def test_more_seeds_only_add_trials_behind(name: str, tiny: Scenario, shown: Show) -> None:
    few = trials_of(make(name, Scope(scenario=tiny, seeds=150)), shown, one_cell_each)
    many = trials_of(make(name, Scope(scenario=tiny, seeds=260)), shown, one_cell_each)
    endless = trials_of(make(name, Scope(scenario=tiny)), shown, one_cell_each, most=len(few))
    assert few == many[: len(few)] == endless


def test_guided_trials_follow_from_what_was_told(tiny: Scenario, shown: Show) -> None:
    def guided(cells: Callable[[Trial], int]) -> list[Trial]:
        return trials_of(make("guided", Scope(scenario=tiny, seeds=200)), shown, cells)

    assert guided(one_cell_each) == guided(one_cell_each)
    assert guided(one_cell_each) != guided(lambda trial: 1 << trial.seed % 3)


def test_an_unseen_class_of_faults_is_aimed_at(tiny: Scenario, shown: Show) -> None:
    scope = Scope(scenario=tiny, seeds=300, variation=Variation(faults=faults.only("pause", "slow_sync")))
    found = trials_of(make("guided", scope), shown, lambda trial: 1 << cell(trial.seed % 40, 0))
    forced = {label for trial in found for label, _ in trial.variation.overrides or {}}
    assert forced == {"plan/pause", "plan/pause/bite", "plan/slow_sync", "plan/slow_sync/bite"}
    assert all(trial.variation.faults == scope.variation.faults for trial in found)


def test_pct_measures_its_horizon_first(tiny: Scenario) -> None:
    strategy = make("pct", Scope(scenario=tiny, first_seed=2, seeds=3))
    runs = list(explore(strategy, here(tiny)))
    assert len(runs) == 3
    first, *later = [trial.variation.schedule for trial, _ in runs]
    assert first is not None
    assert first.horizon == 0
    measured = runs[0][1].schedule.decisions
    assert measured > 0
    same_class = [one for one, (_, report) in zip(later, runs[1:], strict=True) if not report.bytes_mode]
    assert all(one is not None and one.horizon == measured for one in same_class)


def test_delays_run_fifo_then_every_single_deviation_once(tiny: Scenario) -> None:
    strategy = DelayBounded("delays", Scope(scenario=tiny, first_seed=2))
    runs = []
    for trial, report in explore(strategy, here(tiny)):
        schedule = trial.variation.schedule
        assert schedule is not None
        if len(schedule.deviations) == 2:
            break
        runs.append((schedule.deviations, report))
    turns = runs[0][1].schedule.turns
    assert turns is not None
    singles = [deviations for deviations, _ in runs if deviations]
    assert len(singles) == sum(turn.ready - 1 for turn in turns) == len({repr(one) for one in singles})
    assert {report.digest for _, report in runs} != {runs[0][1].digest}
    assert "schedules with 2 deviations" in strategy.left


def test_delays_end_and_say_so(tiny: Scenario, shown: Show) -> None:
    """A made-up program: two decisions of two tasks each, so four schedules."""
    strategy = DelayBounded("delays", Scope(scenario=tiny, first_seed=4, seeds=2))
    turns = (Turn("a", 1, 2), Turn("b", 1, 2))
    like = attrs.evolve(shown(0), schedule=Decided("made up", 2, turns))
    found = [trial for trial, _ in explore(strategy, lambda trials: iter([like] * len(trials)))]
    schedules = [trial.variation.schedule for trial in found]
    assert [len(one.deviations) for one in schedules if one is not None] == [0, 1, 1, 2] * 2
    assert [trial.seed for trial in found] == [4] * 4 + [5] * 4
    assert strategy.left == "none: every schedule of seed 5 was run, the last with 2 deviations"


def test_what_was_asked_for_and_not_run_is_left(tiny: Scenario, shown: Show) -> None:
    strategy = DelayBounded("delays", Scope(scenario=tiny))
    like = attrs.evolve(shown(0), schedule=Decided("made up", 2, (Turn("a", 1, 2), Turn("b", 1, 2))))
    assert strategy.left == "1 schedules with 0 deviations, of seed 0"
    strategy.told(strategy.trials(9)[0], like)
    first, _ = strategy.trials(9)
    assert strategy.left == "2 schedules with 1 deviations, of seed 0"
    strategy.told(first, like)
    assert strategy.left == "1 schedules with 1 deviations, 1 with 2, of seed 0"


def test_what_lies_behind_a_deviation() -> None:
    turns = [Turn("a", 1, 2), Turn("b", 1, 2), Turn("a", 2, 3)]
    assert behind(turns, []) == tuple(turns)
    assert behind(turns, [Deviation(task="b", nth=1, by=1)]) == (turns[2],)
    assert behind(turns, [Deviation(task="gone", nth=1, by=1)]) == ()


def test_a_short_round_is_told_before_the_next_is_asked_for(shown: Show) -> None:
    class Careful:
        name, left = "careful", ""

        def __init__(self) -> None:
            self.asked, self.heard = 0, 0

        def trials(self, count: int) -> Sequence[Trial]:
            assert count == ROUND
            assert self.heard == self.asked, "everything was told"
            wanted = min(3, 7 - self.asked)
            self.asked += wanted
            return [Trial(self.asked + n) for n in range(wanted)]

        def told(self, trial: Trial, report: Report) -> None:
            self.heard += 1

    assert len(trials_of(Careful(), shown, lambda trial: 0)) == 7


def test_full_rounds_overlap_the_same_way_whoever_works(shown: Show) -> None:
    """The next round is asked for when the one before the last is told: workers do not stand idle in between."""
    heard_at: list[int] = []

    class Eager:
        name, left = "eager", ""
        heard = 0

        def trials(self, count: int) -> Sequence[Trial]:
            heard_at.append(self.heard)
            return [Trial(len(heard_at) * 1_000 + n) for n in range(count if len(heard_at) < 4 else 0)]

        def told(self, trial: Trial, report: Report) -> None:
            self.heard += 1

    trials_of(Eager(), shown, lambda trial: 0)
    assert heard_at == [0, 0, ROUND, 2 * ROUND, 3 * ROUND]


def test_every_strategy_says_what_it_does() -> None:
    assert all(known.does for known in STRATEGIES.values())
    assert len(ROWS) > 200
    assert CLASS_NAMES[0] == "none"


@pytest.mark.parametrize(
    ("schedule", "policy"),
    [
        (Schedule(kind="random"), RandomPick),
        (Schedule(kind="fifo"), FirstReady),
        (Schedule(kind="fifo", surveyed=True), Surveyed),
        (Schedule(kind="fifo", deviations=(Deviation(task="a", nth=1, by=1),)), Deviating),
        (Schedule(kind="pct", changes=2, horizon=50), Priorities),
    ],
)
def test_a_schedule_names_its_policy(schedule: Schedule, policy: type) -> None:
    assert type(policy_of(SeededChoices(1), schedule)) is policy


def test_a_hundred_seeds_draw_as_many_of_each_policy_as_the_page_says() -> None:
    drawn = [type(policy_of(SeededChoices(seed), None)) for seed in range(1_000)]
    for policy, share in ((RandomPick, 500), (Priorities, 300), (Delays, 150), (FirstReady, 50)):
        assert abs(drawn.count(policy) - share) < 50, policy
