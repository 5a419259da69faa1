"""One conformance body for every fault:

it can fire, it can bite, it is traced, it stays in budget, it heals.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
from understudy_sim.kernel.choices import Choices, ReplayedChoices, SeededChoices
from understudy_sim.kernel.disk import Medium
from understudy_sim.kernel.faults import FAULTS, Intensity, Nemesis, Planned
from understudy_sim.kernel.kernel import Kernel
from understudy_sim.kernel.process import State
from understudy_sim.kernel.trace import Note

S = 1_000_000_000
MS = 1_000_000
BY_CRASH = ("lost_writes", "torn_tail")
LINKS = (
    "stream_reset",
    "refuse_connect",
    "half_open",
    "partition",
    "partition_one_way",
    "slow_link",
    "latency",
    "hung_connect",
    "unknown_host",
    "cut_stream",
    "held_traffic",
    "jitter",
)
INTENSITY = Intensity(every_ns=300 * MS, lasts_low_ns=50 * MS, lasts_high_ns=600 * MS, strength_ns=200 * MS)


async def server(kernel: Kernel) -> None:
    """Writes what it is sent to its disk, syncs and answers."""
    process = kernel.current_process
    assert process is not None
    disk = kernel.medium("server").mount(process)
    file = disk.open("log", create=True)
    await disk.sync_dir("")
    listener = kernel.network.listen(process, 80)

    async def serve(stream: trio.abc.HalfCloseableStream) -> None:
        try:
            async for data in stream:
                file.pwrite(file.size(), data)
                await file.fdatasync()
                await stream.send_all(data)
            await stream.aclose()
        except trio.BrokenResourceError:
            pass

    async with trio.open_nursery() as nursery:
        while True:
            nursery.start_soon(serve, await listener.accept())


async def client(kernel: Kernel, answers: list[float]) -> None:
    process = kernel.current_process
    assert process is not None
    while True:
        with trio.move_on_after(2):
            try:
                async with await kernel.network.dial(process, "server", 80) as stream:
                    for _ in range(3):
                        await stream.send_all(bytes(700))
                        received = 0
                        while received < 700:
                            chunk = await stream.receive_some()
                            if not chunk:
                                break
                            received += len(chunk)
                        answers.append(trio.current_time())
            except (OSError, trio.BrokenResourceError):
                pass
        await kernel.sleep_ns(20 * MS)


def planned(kind: str) -> list[Planned]:
    targets = (("client", "server"),) if kind in LINKS else (("server",),)
    plan = [Planned(kind, FAULTS[kind], targets, INTENSITY)]
    if kind in BY_CRASH:
        plan.append(Planned("crash", FAULTS["crash"], (("server",),), INTENSITY))
    return plan


def play(plan: list[Planned], choices: Choices, hurt_ns: int = 8 * S) -> tuple[Nemesis, Kernel, list[float]]:
    """Hurt for a while, heal, and see that the client is served again."""
    answers: list[float] = []
    nemeses: list[Nemesis] = []

    async def main(kernel: Kernel) -> None:
        def restart(name: str) -> None:
            kernel.process(name).start(server, kernel, on_exit=lambda *_: restart(name))

        restart("server")
        kernel.process("client").start(client, kernel, answers)
        nemesis = Nemesis(kernel, plan, restart=restart)
        nemeses.append(nemesis)
        await kernel.sleep_ns(S)
        nemesis.start()
        await kernel.sleep_ns(hurt_ns)
        nemesis.heal()
        await kernel.sleep_ns(10 * S)

    with Kernel(choices) as kernel:
        kernel.run(main, kernel).value()
        return nemeses[0], kernel, answers


@pytest.mark.parametrize("kind", FAULTS)
def test_every_fault_fires_bites_heals_and_is_traced(kind: str) -> None:
    bit = 0
    for seed in range(24 if kind in BY_CRASH else 3):
        nemesis, kernel, answers = play(planned(kind), SeededChoices(seed))
        tally = nemesis.tally[kind]
        bit += tally.bit
        assert tally.fired > 0, "it fires"
        assert tally.bit <= tally.fired, "it bites at most once per injection"
        fired = [entry for entry in kernel.trace.entries() if isinstance(entry, Note) and entry.kind == "nemesis.fire"]
        assert len(fired) == len(nemesis.shots), "every injection is traced"
        assert answers, "the client was served at all"
        assert answers[-1] > 18, "and after the healing"
        assert not kernel.network.blocked("client", "server")
        assert kernel.network.extra_latency_ns == 0
        assert kernel.medium("server").slow_ns == 0
        assert kernel.medium("server").fail_syncs == 0
        assert kernel.process("server").state is State.RUNNING
    assert bit > 0, "it bites"


def test_no_fault_none_fires() -> None:
    nemesis, _, answers = play([], SeededChoices(1))
    assert nemesis.tally == {}
    assert nemesis.shots == []
    assert len(answers) > 100


def test_a_budget_bounds_the_count() -> None:
    intensity = Intensity(every_ns=100 * MS, count_max=3)
    nemesis, _, _ = play([Planned("pause", FAULTS["pause"], (("server",),), intensity)], SeededChoices(1))
    assert nemesis.tally["pause"].fired == 3


def times(nemesis: Nemesis, label: str) -> list[int]:
    """When *label* was injected, to the nearest thousand steps of work: work takes a little time too."""
    return [at_ns // MS for at_ns, shot in nemesis.shots if shot.label == label]


def test_taking_one_fault_away_leaves_the_others_where_they_were() -> None:
    plan = [
        Planned("latency", FAULTS["latency"], (("client", "server"),), INTENSITY),
        Planned("slow_link", FAULTS["slow_link"], (("client", "server"),), INTENSITY),
        Planned("clock_jump", FAULTS["clock_jump"], (("server",),), INTENSITY),
    ]
    full, _, _ = play(plan, SeededChoices(4))
    without, _, _ = play(plan, SeededChoices(4, {("fault.slow_link.fire", None): 0}))
    assert full.tally["slow_link"].fired > 0
    assert without.tally["slow_link"].fired == 0
    for label in ("latency", "clock_jump"):
        assert times(without, label) == times(full, label)
    second = SeededChoices(4, {("fault.latency.fire", 1): 0})
    fewer, _, _ = play(plan, second)
    assert len(times(full, "latency")) - len(times(fewer, "latency")) == 1
    assert times(fewer, "slow_link") == times(full, "slow_link")


def test_a_recorded_run_replays_its_faults() -> None:
    plan = [planned(kind)[0] for kind in ("crash", "partition", "stream_reset", "slow_sync")]
    nemesis, kernel, _ = play(plan, SeededChoices(9))
    again, other, _ = play(plan, ReplayedChoices(kernel.choices.recorded))
    assert again.shots == nemesis.shots
    assert other.trace.seal() == kernel.trace.seal()


def test_a_clock_jump_moves_one_wall_clock_and_nothing_else() -> None:
    nemesis, kernel, _ = play(planned("clock_jump"), SeededChoices(2))
    assert kernel.process("server").wall.offset_ns != 0
    assert kernel.process("client").wall.offset_ns == 0
    assert kernel.process("client").wall_ns() > kernel.now_ns
    assert nemesis.tally["clock_jump"].fired > 3


@pytest.mark.parametrize(
    ("kinds", "lose", "tear"),
    [(("lost_writes",), True, False), (("torn_tail",), False, True), (BY_CRASH, True, True)],
)
def test_disk_faults_are_switched_for_the_run(kinds: tuple[str, ...], lose: bool, tear: bool) -> None:
    plan = [planned(kind)[0] for kind in kinds]
    _, kernel, _ = play(plan, SeededChoices(1), hurt_ns=S)
    medium: Medium = kernel.medium("server")
    assert (medium.profile.lose_writes, medium.profile.tear_writes) == (lose, tear)


def test_the_owner_says_what_is_busy() -> None:
    asked: list[str] = []

    def busy(name: str) -> bool:
        asked.append(name)
        return False

    async def idle() -> None:
        await trio.sleep_forever()

    async def main(kernel: Kernel) -> Any:
        kernel.process("server").start(idle)
        restart: Callable[[str], object] = lambda name: kernel.process(name).start(idle)  # noqa: E731
        nemesis = Nemesis(kernel, planned("crash"), restart=restart, busy=busy)
        nemesis.start()
        await kernel.sleep_ns(5 * S)
        nemesis.heal()
        return nemesis.tally["crash"]

    with Kernel(SeededChoices(1)) as kernel:
        tally = kernel.run(main, kernel).value()
    assert asked
    assert set(asked) == {"server"}
    assert tally.fired == len(asked)
    assert tally.bit == 0
