"""One conformance body: each fault bites, heals, is traced, keeps its budget, can be left out and written down."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import pytest
import trio
from understudy_sim.kernel.choices import Choices, SeededChoices
from understudy_sim.kernel.disk import Medium
from understudy_sim.kernel.faults import FAULTS, Intensity, Nemesis, Planned, Shot
from understudy_sim.kernel.kernel import Kernel
from understudy_sim.kernel.trace import Note

S = 1_000_000_000
MS = 1_000_000
# These are tried in many seeds, but to the end in the first ones only.
LOOKED_AT = 2
BY_CRASH = ("lost_writes", "torn_tail")
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
                file.pwrite(file.size(), bytes(data))
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


@attrs.frozen
class Row:
    """How one kind is tried: whom it hits, with what else, for how many seeds, and what of the clock it leaves."""

    targets: tuple[tuple[str, ...], ...] = (("server",),)
    beside: tuple[str, ...] = ()
    seeds: int = 3
    intensity: Intensity = INTENSITY
    moves_the_clock: bool = False


LINK = Row((("client", "server"),))
# What a power cut does is decided for the run; which of two it was shows in many.
AT_CUTS = Row(beside=("crash",), seeds=24)
CLOCK = Row(moves_the_clock=True)
ROWS: Mapping[str, Row] = {
    "crash": Row(),
    "pause": Row(),
    "clock_jump": CLOCK,
    "stream_reset": LINK,
    "refuse_connect": LINK,
    "half_open": LINK,
    "partition": LINK,
    "partition_one_way": LINK,
    "slow_link": LINK,
    "latency": Row((("network",),)),
    "lost_writes": AT_CUTS,
    "torn_tail": AT_CUTS,
    "slow_sync": Row(),
    "failing_sync": Row(),
    "full_disk": Row(),
    "slow_disk": Row(),
    "group_crash": Row((("server", "client"),)),
    "hung_connect": LINK,
    "unknown_host": LINK,
    "cut_stream": LINK,
    "held_traffic": LINK,
    "jitter": Row((("network",),)),
    "clock_offset": CLOCK,
    "clock_drift": CLOCK,
    "clock_freeze": CLOCK,
    "clock_slew": CLOCK,
    "bit_rot": Row(),
    "misdirected_write": Row(),
}


def planned(kind: str) -> list[Planned]:
    row = ROWS[kind]
    plan = [Planned(kind, FAULTS[kind], row.targets, row.intensity)]
    return plan + [Planned(one, FAULTS[one], (("server",),), INTENSITY) for one in row.beside]


@attrs.frozen
class Played:
    """One run: what was done, what the client got and when, and the world before, after and in the end."""

    nemesis: Nemesis
    kernel: Kernel
    answers: list[float]
    before: dict[str, object]
    after: dict[str, object]
    digest: str


def state_of(kernel: Kernel) -> dict[str, object]:
    """All of a world that a fault may change and must put back."""
    medium = kernel.medium("server")
    clocks = {name: kernel.process(name).wall for name in ("server", "client")}
    pipes = [pipe for one in kernel.network.connections.values() for pipe in (one.forward, one.backward)]
    return {
        "network": kernel.network.is_hurt(),
        "pipes": any(pipe.held or pipe.breaks_after is not None for pipe in pipes),
        "disk": (medium.slow_ns, medium.stall, medium.fail_syncs, medium.profile.capacity_bytes, medium.on_commit),
        "rates": [clock.rate_ppm for clock in clocks.values()],
        "offsets": [clock.offset_ns for clock in clocks.values()],
        "processes": [kernel.process(name).state for name in ("server", "client")],
    }


def play(
    plan: list[Planned],
    choices: Choices,
    hurt_ns: int = 8 * S,
    shots: Sequence[tuple[int, Shot]] | None = None,
    heals: bool = True,
) -> Played:
    """Hurt for a while, heal, and see that the client is served again."""
    answers: list[float] = []
    found: list[Any] = []

    async def main(kernel: Kernel) -> None:
        def restart(name: str) -> None:
            if name == "client":
                kernel.process(name).start(client, kernel, answers)
            else:
                kernel.process(name).start(server, kernel, on_exit=lambda *_: restart(name))

        restart("server")
        restart("client")
        nemesis = Nemesis(kernel, plan, restart=restart, shots=shots)
        await kernel.sleep_ns(S)
        before = state_of(kernel)
        nemesis.start()
        await kernel.sleep_ns(hurt_ns)
        if heals:
            nemesis.heal()
        await kernel.sleep_ns(S // 1_000)
        found.extend((nemesis, before, state_of(kernel)))
        await kernel.sleep_ns(4 * S)

    with Kernel(choices) as kernel:
        ended = kernel.run(main, kernel)
        ended.value()
        nemesis, before, after = found
        return Played(nemesis, kernel, answers, before, after, ended.digest)


def assert_put_back(kind: str, played: Played) -> None:
    for part, value in played.before.items():
        if part != "offsets" or not ROWS[kind].moves_the_clock:
            assert played.after[part] == value, f"{kind} leaves something of {part}"


def switch_of(kind: str) -> tuple[str, int | None]:
    """The decision that lets *kind* happen; what a power cut does is not drawn by the nemesis."""
    return ("disk.server.cut" if kind in BY_CRASH else f"fault.{kind}.fire", None)


def test_every_fault_is_tried() -> None:
    assert ROWS.keys() == FAULTS.keys()


@pytest.mark.parametrize("kind", FAULTS)
def test_every_fault_fires_bites_heals_is_traced_keeps_its_budget_and_can_be_left_out_and_written_down(
    kind: str,
) -> None:
    row, plan = ROWS[kind], planned(kind)
    bit = differs = 0
    for seed in range(row.seeds):
        played = play(plan, SeededChoices(seed))
        tally, shots = played.nemesis.tally[kind], [(at, one) for at, one in played.nemesis.shots if one.label == kind]
        bit += tally.bit
        # It fires, within its budget.
        assert 0 < tally.fired <= row.intensity.count_max
        assert tally.bit <= tally.fired, "it bites at most once per injection"
        assert all(one.target in row.targets for _, one in shots)
        if kind not in BY_CRASH:
            low_ns, high_ns = row.intensity.lasts_low_ns, row.intensity.lasts_high_ns
            assert all(low_ns <= one.lasts_ns <= high_ns for _, one in shots)
            assert all(1 <= one.strength_ns <= row.intensity.strength_ns for _, one in shots)
        # It is traced.
        notes = [one for one in played.kernel.trace.entries() if isinstance(one, Note) and one.kind == "nemesis.fire"]
        assert len(notes) == len(played.nemesis.shots)
        # It heals.
        assert_put_back(kind, played)
        assert played.answers[-1] > 11, "the client is served after the healing"
        if seed >= LOOKED_AT and differs:
            continue
        # It can be left out.
        left_out = play(plan, SeededChoices(seed, {switch_of(kind): 0}))
        assert not [one for _, one in left_out.nemesis.shots if one.label == kind]
        differs += left_out.digest != played.digest
        # It can be written down.
        again = play(plan, SeededChoices(seed), shots=played.nemesis.shots)
        assert again.nemesis.shots == played.nemesis.shots
        assert again.digest == played.digest
    assert bit > 0, "it bites"
    assert differs > 0, "it makes a difference"


@pytest.mark.parametrize("kind", [kind for kind in FAULTS if kind not in BY_CRASH])
def test_every_fault_is_over_after_its_time_also_where_nobody_heals(kind: str) -> None:
    shot = Shot(kind, ROWS[kind].targets[0], lasts_ns=S, strength_ns=S // 5, detail=7)
    tries = [(3 * S // 2 + 5 * MS * number, shot) for number in range(20)]  # A connection is not always there.
    alone = play(planned(kind), SeededChoices(1), hurt_ns=2 * S, shots=tries, heals=False)
    assert alone.nemesis.shots
    assert_put_back(kind, alone)
    assert alone.answers[-1] > 6


def test_no_fault_none_fires() -> None:
    played = play([], SeededChoices(1))
    assert played.nemesis.tally == {}
    assert played.nemesis.shots == []
    assert len(played.answers) > 100


def test_a_budget_bounds_the_count() -> None:
    intensity = Intensity(every_ns=100 * MS, count_max=3)
    played = play([Planned("pause", FAULTS["pause"], (("server",),), intensity)], SeededChoices(1))
    assert played.nemesis.tally["pause"].fired == 3


def times(nemesis: Nemesis, label: str) -> list[int]:
    """When *label* was injected, to the nearest thousand steps of work: work takes a little time too."""
    return [at_ns // MS for at_ns, shot in nemesis.shots if shot.label == label]


def test_taking_one_fault_away_leaves_the_others_where_they_were() -> None:
    plan = [
        Planned("latency", FAULTS["latency"], (("client", "server"),), INTENSITY),
        Planned("slow_link", FAULTS["slow_link"], (("client", "server"),), INTENSITY),
        Planned("clock_jump", FAULTS["clock_jump"], (("server",),), INTENSITY),
    ]
    full = play(plan, SeededChoices(4)).nemesis
    without = play(plan, SeededChoices(4, {("fault.slow_link.fire", None): 0})).nemesis
    assert full.tally["slow_link"].fired > 0
    assert without.tally["slow_link"].fired == 0
    for label in ("latency", "clock_jump"):
        assert times(without, label) == times(full, label)
    second = SeededChoices(4, {("fault.latency.fire", 1): 0})
    fewer = play(plan, second).nemesis
    assert len(times(full, "latency")) - len(times(fewer, "latency")) == 1
    assert times(fewer, "slow_link") == times(full, "slow_link")


def test_a_clock_jump_moves_one_wall_clock_and_nothing_else() -> None:
    played = play(planned("clock_jump"), SeededChoices(2))
    nemesis, kernel = played.nemesis, played.kernel
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
    medium: Medium = play(plan, SeededChoices(1), hurt_ns=S).kernel.medium("server")
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
