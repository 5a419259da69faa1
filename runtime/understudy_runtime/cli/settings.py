"""Settings from the environment: `UNDERSTUDY_<OPTION>` for every option of a command.  Unknown ones stop the start."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Final

from understudy_runtime.cli.errors import UsageProblem

PREFIX: Final = "UNDERSTUDY_"


def variable(option: str) -> str:
    """The environment variable of *option* (its Python name).

    >>> variable("ingress_port")
    'UNDERSTUDY_INGRESS_PORT'
    """
    return PREFIX + option.upper()


def check_environment(environment: Mapping[str, str], options: Iterable[str]) -> None:
    """Raises UsageProblem when *environment* sets something of ours that no option knows."""
    known = {variable(option).removeprefix(PREFIX): variable(option) for option in sorted(options)}
    for name in sorted(environment):
        if name.startswith(PREFIX) and name.removeprefix(PREFIX) not in known:
            near = get_close_matches(name.removeprefix(PREFIX), known, n=1)
            hint = f"did you mean {known[near[0]]}?" if near else f"known are {', '.join(known.values())}"
            raise UsageProblem(f"the environment variable {name} is no setting of this command: {hint}")
