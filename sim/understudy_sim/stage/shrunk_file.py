"""A shrunk run as a file: what is left of its operations, which faults it may use, which decisions are forced."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from understudy_sim.stage import faults as fault_kinds
from understudy_sim.stage.variation import Variation

FORMAT: Final = 1


def save_variation(file: Path, script: str, seed: int, variation: Variation) -> None:
    """Write *variation* of *seed* to *file*."""
    kinds = None if variation.faults is None else list(variation.faults.kinds)
    overrides = [[label, ordinal, value] for (label, ordinal), value in (variation.overrides or {}).items()]
    kept = None if variation.kept_calls is None else list(variation.kept_calls)
    whole = {
        "format": FORMAT,
        "script": script,
        "seed": seed,
        "faults": kinds,
        "kept_calls": kept,
        "overrides": overrides,
    }
    file.write_text(json.dumps(whole, indent=1) + "\n")


def load_variation(file: Path) -> Variation:
    """Read a variation.  Raises ValueError when the file is no shrunk run of this format."""
    try:
        whole: dict[str, Any] = json.loads(file.read_text())
        if whole["format"] != FORMAT:
            raise ValueError(f"{file}: format {whole['format']}, this program reads {FORMAT}")
        kinds, kept = whole["faults"], whole["kept_calls"]
        overrides = {(label, ordinal): value for label, ordinal, value in whole["overrides"]}
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{file} is no shrunk run: write one with `understudy shrink`") from error
    return Variation(
        faults=None if kinds is None else fault_kinds.only(*kinds),
        overrides=overrides or None,
        kept_calls=None if kept is None else tuple(kept),
    )
