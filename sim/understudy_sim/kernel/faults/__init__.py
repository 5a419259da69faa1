"""Faults: one file per kind, the table of all of them, and the nemesis that injects them as drawn."""

from understudy_sim.kernel.faults.nemesis import Nemesis
from understudy_sim.kernel.faults.port import Arena, Fault, Intensity, Planned, Shot, Tally
from understudy_sim.kernel.faults.table import FAULTS

__all__ = ["FAULTS", "Arena", "Fault", "Intensity", "Nemesis", "Planned", "Shot", "Tally"]
