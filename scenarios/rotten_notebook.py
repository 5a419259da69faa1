"""Notebooks on a disk that damages what was synced: most of what is there is large, frames of many sectors.

What `rotten_disk.py` says of the ticket tour holds here, too.
"""

from __future__ import annotations

from understudy_sim import Stage, faults, scenario

from scenarios import notebook


@scenario(app="scenarios.notebook:app", workload=notebook.workload, faults=faults.damage(), seeds=100)
async def rotten_notebook(stage: Stage) -> None:
    notebook.claim(stage)
    stage.sometimes("damage was noticed", lambda: stage.damage == "noticed")
    stage.sometimes("damage did no harm", lambda: stage.damage == "no harm")
    await stage.play()
