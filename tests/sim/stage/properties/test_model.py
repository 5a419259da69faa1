"""The reference model and the machine agree, record by record, on plays that no handler would think of (P7)."""

from __future__ import annotations

from typing import Any

import attrs
from hypothesis import given, settings
from understudy_runtime.machine.apply import apply
from understudy_runtime.machine.invocation import Invocation
from understudy_runtime.machine.tables import Tables
from understudy_runtime.machine.validate import InvalidEntry, validate_entry
from understudy_runtime.model.commands import Callee, ProposedEntry
from understudy_runtime.model.invocation import ServiceType
from understudy_runtime.storage.memory import MemoryMedium, MemoryStorage
from understudy_sim.stage.happenings import Step
from understudy_sim.stage.model import PartitionModel
from understudy_sim.stage.model_words import input_of
from understudy_sim.stage.properties.fold import Fold

from tests.runtime.machine.driver import Driver, make_id
from tests.runtime.machine.test_fold import IDS, SCRIPTS, TARGETS, Play
from tests.sim.stage.properties.stands import Stand


class Consistent(Play):
    """A play in which an id always means the same target, as ids do, and entries are those the invoker lets through."""

    def request(self, a: int, b: int, invocation_id: str) -> Any:
        number = next(n for n in range(IDS) if self.id(n) == invocation_id)
        return super().request(number + 1, b, invocation_id)

    def entries(self, a: int, b: int) -> None:
        """One at a time: no completion id is issued twice."""
        invocation = self.running(a)
        if invocation is not None:
            self.driver.attempt(invocation.id, *self.entry(invocation, a, b), epoch=self.driver.epoch)

    def entry(self, invocation: Invocation, a: int, b: int) -> list[ProposedEntry]:
        found = super().entry(invocation, a, b)
        try:
            for proposed in found:
                validate_entry(proposed.entry, invocation.service_type, invocation.handler_type)
        except InvalidEntry:
            return []
        if invocation.service_type is ServiceType.SERVICE:
            return []
        return [self.consistent(proposed) for proposed in found]

    def consistent(self, proposed: ProposedEntry) -> ProposedEntry:
        callee = proposed.callee
        if callee is None:
            return proposed
        number = next(n for n in range(IDS) if callee.invocation_id in (make_id(n, 0, 2), make_id(n, 1, 2)))
        return ProposedEntry(proposed.entry, Callee(callee.invocation_id, *TARGETS[(number + 1) % len(TARGETS)][1:]))


@given(SCRIPTS)
@settings(max_examples=100, deadline=None)
def test_the_model_and_the_machine_agree(script: list[tuple[int, int, int]]) -> None:
    played = Consistent(1 + script[0][1] % 2)
    for operation, a, b in script:
        played.operations[operation](a, b)
    stand = Stand()
    stand.put(Fold)
    tables = stand.truth.tables[0] = Tables.load(MemoryStorage(MemoryMedium()), 0, 2)
    model = stand.truth.models[0] = PartitionModel(0, 2)
    for record in played.driver.records:
        actions = tuple(apply(tables, record))
        stand.watch.tell(Step(0, record, actions, model.apply(record)))
        assert stand.broken == [], record.command


def test_an_input_is_compared_with_what_was_asked_for() -> None:
    driver = Driver()
    driver.invoke(payload=b"two", headers=(("a", "1"), ("b", "2")))
    stand = Stand()
    stand.put(Fold)
    tables = stand.truth.tables[0] = Tables.load(MemoryStorage(MemoryMedium()), 0, 1)
    model = stand.truth.models[0] = PartitionModel(0, 1)
    for record in driver.records:
        actions, effects = tuple(apply(tables, record)), model.apply(record)
        for invocation in model.invocations.values():
            asked = attrs.evolve(invocation.command, headers=(("a", "1"),))
            invocation.journal[0] = (invocation.journal[0][0], input_of(asked))
        stand.watch.tell(Step(0, record, actions, effects))
    assert "journal entry 0" in stand.broken[0]
