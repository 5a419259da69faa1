"""Every action has a performer; every command that somebody waits for has a settler."""

from __future__ import annotations

import typing

from understudy_runtime.effects.dispatch import PERFORMERS, SETTLERS
from understudy_runtime.model.actions import Action
from understudy_runtime.model.commands import COMMAND_TAGS


def test_performers_are_complete() -> None:
    assert set(PERFORMERS) == set(typing.get_args(Action))


def test_settlers_are_commands() -> None:
    assert set(SETTLERS) <= set(COMMAND_TAGS.values())
