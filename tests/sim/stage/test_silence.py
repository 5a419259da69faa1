"""Complaints of the dead are dropped while it is silent, and none of them comes later."""

from __future__ import annotations

import gc
import sys
from collections.abc import Generator
from types import coroutine
from typing import Any

import pytest
from understudy_sim.stage.silence import silent


@coroutine
def parked() -> Generator[None, None, None]:
    yield


async def awaits_in_its_cleanup() -> None:
    try:
        await parked()
    finally:
        await parked()


def leave_a_dead_one() -> None:
    """In a cycle, so that only the collector finds it."""
    dead: list[Any] = [awaits_in_its_cleanup()]
    dead[0].send(None)
    dead.append(dead)


@pytest.mark.parametrize("fails", [False, True])
def test_who_dies_while_it_is_silent_never_complains(fails: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    complaints: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", complaints.append)
    try:
        with silent():
            leave_a_dead_one()
            if fails:
                raise EOFError
    except EOFError:
        assert fails
    gc.collect()
    assert complaints == []


def test_the_dead_do_complain_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    complaints: list[str] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: complaints.append(str(unraisable.exc_value)))
    leave_a_dead_one()
    gc.collect()
    assert complaints == ["coroutine ignored GeneratorExit"]
