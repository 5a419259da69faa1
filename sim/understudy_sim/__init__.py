"""The simulator: rehearse an application against every accident that can happen on stage, from a seed.

    from understudy_sim import Call, External, Ledger, Stage, faults, scenario

`kernel/` is a deterministic world for any trio program, `stage/` binds it to the product.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from understudy_sim.stage import faults
from understudy_sim.stage.linearizability import ANY, Failed
from understudy_sim.stage.operations import Act, Attach, Call, Deploy, Operation, Remove, Settle
from understudy_sim.stage.scenario import Scenario, limited, scenario

if TYPE_CHECKING:
    from understudy_runtime.model.commands import RestartAsNew
    from understudy_runtime.model.invocation import Result

    from understudy_sim.kernel.choices import Choices
    from understudy_sim.stage.attendant import Desk
    from understudy_sim.stage.external import External
    from understudy_sim.stage.fixed import scenario_in
    from understudy_sim.stage.history import Acted, Asked
    from understudy_sim.stage.ledger import Ledger
    from understudy_sim.stage.plan import Plan
    from understudy_sim.stage.play import Stage
    from understudy_sim.stage.serializability import Transaction
    from understudy_sim.stage.variation import Deviation, PointCrash, Schedule, Strike

# Imported when first asked for: an application that declares a scenario beside its services starts without them.
_LATER: Mapping[str, str] = {
    "Acted": "understudy_sim.stage.history",
    "Asked": "understudy_sim.stage.history",
    "Choices": "understudy_sim.kernel.choices",
    "Deviation": "understudy_sim.stage.variation",
    "Desk": "understudy_sim.stage.attendant",
    "External": "understudy_sim.stage.external",
    "Ledger": "understudy_sim.stage.ledger",
    "Plan": "understudy_sim.stage.plan",
    "PointCrash": "understudy_sim.stage.variation",
    "RestartAsNew": "understudy_runtime.model.commands",
    "Result": "understudy_runtime.model.invocation",
    "Schedule": "understudy_sim.stage.variation",
    "Stage": "understudy_sim.stage.play",
    "Strike": "understudy_sim.stage.variation",
    "Transaction": "understudy_sim.stage.serializability",
    "scenario_in": "understudy_sim.stage.fixed",
}


def __getattr__(name: str) -> Any:
    import importlib

    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LATER[name]), name)


__all__ = [
    "ANY",
    "Act",
    "Acted",
    "Asked",
    "Attach",
    "Call",
    "Choices",
    "Deploy",
    "Desk",
    "Deviation",
    "External",
    "Failed",
    "Ledger",
    "Operation",
    "Plan",
    "PointCrash",
    "Remove",
    "RestartAsNew",
    "Result",
    "Scenario",
    "Schedule",
    "Settle",
    "Stage",
    "Strike",
    "Transaction",
    "faults",
    "limited",
    "scenario",
    "scenario_in",
]
