"""A hunt by Hypothesis in a fresh process with a bug planted: `python -m tests.sim.drawn.planted M1 machine`.

Prints the failing example as Hypothesis does.  Exits with 1 when it found one, as a test would.
"""

from __future__ import annotations

import sys
from typing import Any

from understudy_sim.mutants import hook
from understudy_sim.mutants.catalogue import mutant_by_id


def main(mutant_id: str, how: str) -> None:
    hook.forget_product()
    hook.install(mutant_by_id(mutant_id))

    from hypothesis import HealthCheck, Phase, given, settings
    from understudy_sim.drawn import rehearsals, run_state_machine_as_test

    hunt = settings(
        max_examples=200,
        stateful_step_count=15,
        deadline=None,
        database=None,
        derandomize=True,
        report_multiple_bugs=False,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    if how == "machine":
        from tests.sim.drawn.accounts_machine import Accounts

        run_state_machine_as_test(Accounts, settings=hunt)
        return
    from scenarios.account import accounts

    @hunt
    @given(rehearsals(accounts, kinds=("server_crash", "lost_write", "torn_write")))
    def test(run: Any) -> None:
        run.check()

    test()


if __name__ == "__main__":
    main(*sys.argv[1:])
