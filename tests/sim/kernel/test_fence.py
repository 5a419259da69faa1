"""The fence: refused in product code, answered in a durable step, answered and reported in a handler."""

from __future__ import annotations

import builtins
import datetime
import os
import random
import secrets
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from datetime import datetime as early_datetime
from pathlib import Path
from random import random as early_random
from time import time as early_time
from typing import Any

import pytest
import trio
from understudy_sim.kernel.choices import SeededChoices
from understudy_sim.kernel.clock import EPOCH_NS
from understudy_sim.kernel.fence import Fence, Hazard, RealWorldUsed, Zone, fenced
from understudy_sim.kernel.fence_sites import Sites
from understudy_sim.kernel.kernel import Kernel

ANSWERED: dict[str, Callable[[], Any]] = {
    "time.time": lambda: time.time(),
    "early time": lambda: early_time(),
    "time.time_ns": lambda: time.time_ns(),
    "time.monotonic": lambda: time.monotonic(),
    "time.perf_counter_ns": lambda: time.perf_counter_ns(),
    "time.localtime": lambda: time.localtime(),
    "time.ctime": lambda: time.ctime(),
    "time.strftime": lambda: time.strftime("%Y %H:%M:%S"),
    "datetime.now": lambda: datetime.datetime.now(),
    "datetime.now in a zone": lambda: datetime.datetime.now(datetime.UTC),
    "early datetime": lambda: early_datetime.now(),
    "datetime.today": lambda: datetime.datetime.today(),
    "date.today": lambda: datetime.date.today(),
    "random.random": lambda: random.random(),
    "early random": lambda: early_random(),
    "random.randint": lambda: random.randint(1, 10**9),
    "random.choice": lambda: random.choice(range(10**6)),
    "random.Random": lambda: random.Random().random(),
    "random.SystemRandom": lambda: random.SystemRandom().random(),
    "uuid.uuid4": lambda: uuid.uuid4(),
    "uuid.uuid1": lambda: uuid.uuid1(),
    "os.urandom": lambda: os.urandom(16),
    "secrets.token_hex": lambda: secrets.token_hex(8),
    "secrets.randbelow": lambda: secrets.randbelow(10**9),
}
REFUSED: dict[str, Callable[[], Any]] = {
    "socket": lambda: socket.socket(),
    "connection": lambda: socket.create_connection(("127.0.0.1", 9)),
    "thread": lambda: threading.Thread(target=print).start(),
    "subprocess": lambda: subprocess.run([sys.executable, "-c", ""], check=False),
    "open": lambda: open(os.devnull),  # noqa: SIM115  # Refused before it opens.
}


def run(zone: Zone, function: Callable[[], Any], seed: int = 1) -> tuple[Any, list[Hazard]]:
    """Call *function* twice in a process, in *zone*, an hour into the run."""
    hazards: list[Hazard] = []
    result: list[Any] = []

    async def user() -> None:
        await trio.sleep(3600)
        try:
            result.extend((function(), function()))
        except RealWorldUsed as refused:
            result.append(refused)

    async def main(kernel: Kernel) -> None:
        kernel.process("user").start(user)
        await trio.sleep(7200)

    def zone_of() -> Zone:
        process = kernel.current_process
        return zone if process is not None and process.name == "user" else Zone.OUTSIDE

    with Kernel(SeededChoices(seed)) as kernel:
        with fenced(kernel, zone_of, hazards.append):
            outcome = kernel.run(main, kernel)
        outcome.value()
    return result, hazards


@pytest.mark.parametrize("name", ANSWERED)
def test_a_durable_step_is_answered_and_repeats(name: str) -> None:
    first, hazards = run(Zone.RUN, ANSWERED[name])
    again, _ = run(Zone.RUN, ANSWERED[name])
    assert first == again, "the same seed gives the same answers"
    assert len(first) == 2
    assert not hazards
    assert type(first[0]) is type(ANSWERED[name]()), "the answer has the real thing's type"


@pytest.mark.parametrize("name", ANSWERED)
def test_a_handler_is_answered_and_reported(name: str) -> None:
    result, hazards = run(Zone.HANDLER, ANSWERED[name])
    assert len(result) == 2
    assert len(hazards) >= 2, "each call is reported"
    for hazard in hazards:
        assert hazard.filename == __file__
        assert hazard.function == "<lambda>"
        assert hazard.line == ANSWERED[name].__code__.co_firstlineno


@pytest.mark.parametrize("name", [*ANSWERED, *REFUSED])
def test_product_code_is_refused_at_the_call_site(name: str) -> None:
    function = {**ANSWERED, **REFUSED}[name]
    result, hazards = run(Zone.PRODUCT, function)
    (refused,) = result
    assert isinstance(refused, RealWorldUsed)
    assert f"{__file__}:{function.__code__.co_firstlineno}" in str(refused)
    assert "Use " in str(refused)
    assert len(hazards) == 1


@pytest.mark.parametrize("zone", [Zone.RUN, Zone.HANDLER])
@pytest.mark.parametrize("name", REFUSED)
def test_real_sockets_threads_and_files_are_refused_to_users_too(name: str, zone: Zone) -> None:
    (refused,), hazards = run(zone, REFUSED[name])
    assert isinstance(refused, RealWorldUsed)
    assert hazards


@pytest.mark.parametrize("name", [*ANSWERED, *REFUSED])
def test_the_scenario_itself_is_let_through(name: str) -> None:
    if name in ("connection", "thread", "subprocess", "open", "socket"):
        return  # Real ones, which this test has no use for.
    result, hazards = run(Zone.OUTSIDE, ANSWERED[name])
    assert len(result) == 2
    assert not hazards


def test_answers_are_virtual_time() -> None:
    assert run(Zone.RUN, lambda: time.time_ns())[0][0] // 10**9 == EPOCH_NS // 10**9 + 3600
    assert run(Zone.RUN, lambda: int(time.monotonic()))[0] == [3600, 3600]
    (now, _), _ = run(Zone.RUN, lambda: early_datetime.now(datetime.UTC))
    assert now.replace(microsecond=0) == early_datetime(2024, 1, 1, 1, tzinfo=datetime.UTC)
    assert type(now) is early_datetime
    (day, _), _ = run(Zone.RUN, lambda: datetime.date.today())
    assert day == datetime.date(2024, 1, 1)


def test_a_blocking_sleep_takes_virtual_time() -> None:
    def nap() -> float:
        time.sleep(100)
        return time.monotonic()

    (first, second), _ = run(Zone.RUN, nap)
    assert 99.9 < second - first < 100.1


def test_a_worker_thread_runs_inline() -> None:
    seen: list[Any] = []

    async def user() -> None:
        seen.append(await trio.to_thread.run_sync(lambda left, right: left + right, 1, 2))

    async def main(kernel: Kernel) -> None:
        kernel.process("user").start(user)
        await trio.sleep(1)

    with Kernel(SeededChoices(1)) as kernel, fenced(kernel, lambda: Zone.RUN, seen.append):
        kernel.run(main, kernel).value()
    assert seen == [3]


def test_other_seeds_draw_other_answers() -> None:
    assert run(Zone.RUN, uuid.uuid4, 1)[0] != run(Zone.RUN, uuid.uuid4, 2)[0]


def test_everything_is_put_back() -> None:
    names = (time.time, random.random, os.urandom, uuid.uuid4, builtins.open, trio.to_thread.run_sync)
    dates = [early_datetime.__dict__["now"], early_datetime.__dict__["utcnow"], datetime.date.__dict__["today"]]
    methods = (socket.socket.__init__, threading.Thread.start, random.Random.seed)
    run(Zone.RUN, time.time)
    assert names == (time.time, random.random, os.urandom, uuid.uuid4, builtins.open, trio.to_thread.run_sync)
    assert dates == [early_datetime.__dict__["now"], early_datetime.__dict__["utcnow"], datetime.date.__dict__["today"]]
    assert methods == (socket.socket.__init__, threading.Thread.start, random.Random.seed)
    assert abs(early_datetime.now().timestamp() - time.time()) < 60


def test_a_stand_in_kept_after_the_run_is_the_real_thing() -> None:
    kept: list[Callable[[], float]] = []

    async def main(kernel: Kernel) -> None:
        kept.append(time.time)

    with Kernel(SeededChoices(1)) as kernel:
        with fenced(kernel, lambda: Zone.PRODUCT, lambda _: None):
            kernel.run(main, kernel).value()
    assert kept[0] is not time.time
    assert kept[0]() > 1.7e9


def test_sites_are_found_once_and_new_modules_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sites = Sites()
    (tmp_path / "bound_early.py").write_text("from time import time\n")
    monkeypatch.syspath_prepend(tmp_path)
    answers: list[float] = []

    def once() -> None:
        async def user() -> None:
            import bound_early

            answers.append(bound_early.time())

        async def main(kernel: Kernel) -> None:
            kernel.process("user").start(user)
            await trio.sleep(1)

        with Kernel(SeededChoices(1)) as kernel:
            with Fence(kernel, lambda: Zone.RUN, lambda _: None, sites):
                kernel.run(main, kernel).value()

    import bound_early

    once()
    once()
    assert answers[0] == answers[1] < 1_704_067_201
    assert bound_early.time is time.time
    del sys.modules["bound_early"]
