"""Fixtures of the pairings: each is started when first used and stopped before the next one starts."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from typing import NamedTuple

import pytest

from tests.interop.client import Client
from tests.interop.pairings import PAIRINGS, REFERENCE, Stage

# INTEROP_REFERENCE=1 runs the contract on the official server with the official SDKs too: is the test right?
ALL = {**PAIRINGS, **(REFERENCE if os.environ.get("INTEROP_REFERENCE") else {})}


@pytest.fixture(params=list(ALL), scope="module")
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One pairing after the other, for all tests of a module."""
    running = Stage(ALL[request.param], tmp_path_factory.mktemp("stage"))
    yield running
    failed = request.session.testsfailed
    running.stop()
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
