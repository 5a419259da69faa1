"""A seed of the tour is one run: `replay` repeats `simulate`, in any process, on any supported Python."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.determinism.interpreters import other_pythons
from tests.tidy.sources import ROOT

REHEARSE = Path(__file__).with_name("rehearse.py")
# Found by looking: in process and as bytes, few and many partitions, quiet and rough.
SEEDS = ("1", "2", "5", "7")


def digests(*options: str, python: str = sys.executable, hash_seed: str = "random") -> list[str]:
    """What a fresh process prints for SEEDS."""
    environment = os.environ | {"PYTHONHASHSEED": hash_seed}
    done = subprocess.run(
        [python, str(REHEARSE), *SEEDS, *options],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len({line.split()[1] for line in lines}) == len(SEEDS), "different seeds are different runs"
    return lines


@cache
def simulated() -> list[str]:
    """The digests everything else is compared with."""
    return digests(hash_seed="0")


@pytest.mark.parametrize("hash_seed", ["1", "42"])
def test_replay_gives_the_digest_of_simulate_under_other_hash_seeds(hash_seed: str) -> None:
    assert digests("--replay", hash_seed=hash_seed) == simulated()


def test_what_the_process_did_before_makes_no_difference() -> None:
    assert digests("--replay", "--import-hypothesis", "--junk", "--warm", "3") == simulated()


def test_other_minor_versions_give_the_same_digest() -> None:
    pythons = other_pythons()
    versions = {subprocess.check_output([p, "-c", "import sys; print(sys.version_info[:2])"]) for p in pythons}
    assert len(versions) >= 2, "two other minor versions, so three in all"
    for python in pythons:
        assert digests("--replay", python=python) == simulated(), python
