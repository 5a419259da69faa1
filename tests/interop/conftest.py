"""Fixtures of the pairings: each is started when first used and stopped before the next one starts."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.interop.client import Client
from tests.interop.pairings import PAIRINGS, REFERENCE, Stage

HERE = Path(__file__).parent
# INTEROP_WHOLE=1 runs all of the contract on all pairings, not only samples: see `whole.py`.
# INTEROP_REFERENCE=1 runs the contract on the official server with the official SDKs too: is the test right?
ALL = {**PAIRINGS, **(REFERENCE if os.environ.get("INTEROP_REFERENCE") else {})}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is in no sample, unless all of it is wanted."""
    if os.environ.get("INTEROP_WHOLE"):
        return
    kept = [item for item in items if is_wanted(item)]
    config.hook.pytest_deselected(items=[item for item in items if not is_wanted(item)])
    items[:] = kept


def is_wanted(item: pytest.Item) -> bool:
    """Whether *item* belongs to no pairing, to one that is run in full, or to the sample of one that is not."""
    if not isinstance(item, pytest.Function) or not item.path.is_relative_to(HERE) or not hasattr(item, "callspec"):
        return True
    pairing = item.callspec.params.get("stage")
    sample = ALL[str(pairing)].sample if pairing is not None else ()
    return not sample or item.originalname in sample


@pytest.fixture(params=list(ALL), scope="package")
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One pairing after the other, for all tests that want one."""
    running = Stage(ALL[request.param], tmp_path_factory.mktemp(request.param))
    yield running
    failed = request.session.testsfailed
    running.stop()
    if running.killer is not None:
        print(f"{request.param}: killed {running.killer.kills} times")
    if failed:
        print(running.told())


class Pair(NamedTuple):
    """Both servers, each with our SDK's application."""

    official: Stage
    ours: Stage


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Both servers, for all tests of a module that compares them."""
    with ExitStack() as stack:
        stages = []
        for name in ("official_server-our_sdk", "our_server-our_sdk"):
            stages.append(Stage(PAIRINGS[name], tmp_path_factory.mktemp(name)))
            stack.callback(stages[-1].stop)
        yield Pair(*stages)


@pytest.fixture
def running() -> Iterator[ExitStack]:
    """What a test starts for itself: `running.callback(process.stop)` right after each start."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def client(stage: Stage) -> Client:
    return stage.client


@pytest.fixture
def name() -> str:
    """A key nobody used before."""
    return str(uuid.uuid4())
