"""Same seed, same run:

other processes, hash seeds, Python minor versions, modules imported, junk on the heap.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from understudy_sim.kernel import loop, trio_parts
from understudy_sim.kernel.choices import SeededChoices
from understudy_sim.kernel.kernel import Kernel
from understudy_sim.kernel.policies import FirstReady
from understudy_sim.kernel.trace import Trace

from tests.determinism.interpreters import other_pythons
from tests.sim.kernel.nasty import Log, digest, main
from tests.tidy.sources import ROOT

SCRIPT = Path(__file__).with_name("nasty.py")
SOURCE = SCRIPT.parents[3] / "sim"
SEEDS = 8


def elsewhere(python: str, hash_seed: int, *options: str, first: Path | None = None) -> list[str]:
    """The digests another process prints; *first* is searched for modules before all else."""
    path = os.pathsep.join(str(folder) for folder in (first, SOURCE) if folder is not None)
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": path}
    done = subprocess.run(
        [python, str(SCRIPT), "0", str(SEEDS), *options],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def expected() -> list[str]:
    return [digest(seed) for seed in range(SEEDS)]


def test_seeds_differ(expected: list[str]) -> None:
    assert len({line.split()[1] for line in expected}) == SEEDS


@pytest.mark.parametrize("hash_seed", [0, 1, 42])
def test_other_processes_and_hash_seeds_agree(expected: list[str], hash_seed: int) -> None:
    assert elsewhere(sys.executable, hash_seed) == expected


def test_junk_on_the_heap_and_hypothesis_make_no_difference(expected: list[str]) -> None:
    assert elsewhere(sys.executable, 7, "junk", "hypothesis") == expected


def test_other_minor_versions_agree(expected: list[str]) -> None:
    for python in other_pythons():
        assert elsewhere(python, 3) == expected, python


@pytest.mark.parametrize("version", ["0.25.1", "0.27.0", "0.30.0", "0.31.0", "0.33.0"])
def test_other_trio_versions_agree(expected: list[str], version: str) -> None:
    """Each version is fetched once.

    A machine without an index skips, and says so; with CI=true nothing skips.
    """
    folder = ROOT / ".ci" / "venvs" / f"trio-{version}"
    if not (folder / "trio").exists():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
        made = subprocess.run([*command, f"trio=={version}"], capture_output=True, text=True, check=False, timeout=120)
        if made.returncode != 0:
            message = f"trio {version} cannot be fetched: {made.stderr[-300:]}"
            if os.environ.get("CI"):
                pytest.fail(message)
            pytest.skip(message)
    assert elsewhere(sys.executable, 3, first=folder) == expected


def traced(kernel: Kernel) -> Trace:
    with kernel:
        kernel.run(main, kernel, Log(kernel, junk=False))
        return kernel.trace


def test_the_order_of_birth_is_in_the_digest(monkeypatch: pytest.MonkeyPatch, expected: list[str]) -> None:
    """Tasks woken together join in order of birth; trio wakes some of them out of a set."""
    monkeypatch.setattr(loop, "_birth", lambda task: -task._counter)
    assert digest(0) != expected[0]


def test_without_ordered_cancel_trees_addresses_decide(monkeypatch: pytest.MonkeyPatch, expected: list[str]) -> None:
    monkeypatch.setattr(trio_parts, "OrderedCancelStatus", trio_parts.CancelStatus)
    assert digest(0) != expected[0]


def test_another_policy_is_another_run() -> None:
    one = traced(Kernel(SeededChoices(6)))
    other = traced(Kernel(SeededChoices(6), policy=FirstReady()))
    assert one.seal() != other.seal()


def test_a_trio_without_a_private_name_is_refused_by_name() -> None:
    with pytest.raises(trio_parts.UnsupportedTrio, match=rf"trio {trio.__version__} has no trio\._core\._run\.Gone"):
        trio_parts._private("trio._core._run", "Gone")
    with pytest.raises(trio_parts.UnsupportedTrio, match="Task has no _gone"):
        trio_parts._demand(trio.lowlevel.Task, "_gone", "_runner")
