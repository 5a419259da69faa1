"""P14, registrations: what was registered stays so.  An address has one deployment, whose id never changes once it was
told, whatever was lost or asked again meanwhile; and no client is told that a service is unknown which was registered.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from understudy_sim.stage.happenings import Answered, Deployed, DeploymentsListed, Removed
from understudy_sim.stage.watch import Handler, Property

NOT_FOUND = 404


class Registrations(Property):
    number: ClassVar[str] = "P14"
    claim: ClassVar[str] = "what was registered stays registered"

    def handlers(self) -> Mapping[type, Handler]:
        self._ids: dict[str, str] = {}
        self._services: dict[str, tuple[str, ...]] = {}  # address -> what it offers
        return {
            Deployed: self._deployed,
            Removed: self._removed,
            DeploymentsListed: self._listed,
            Answered: self._answered,
        }

    def _removed(self, event: Removed) -> None:
        self.hit("removals")
        for address in [address for address, id_ in self._ids.items() if id_ == event.deployment_id]:
            del self._ids[address]
            del self._services[address]

    def _deployed(self, event: Deployed) -> None:
        self.hit("registrations acknowledged")
        first = self._ids.setdefault(event.address, event.deployment_id)
        if first != event.deployment_id:
            self.broken(f"{event.address} was registered as {first} and later as {event.deployment_id}")
        self._services[event.address] = event.services

    def _listed(self, event: DeploymentsListed) -> None:
        self.hit("deployments listed")
        if dict(event.deployments) != self._ids or len(event.deployments) != len(self._ids):
            self.broken(f"the server knows {event.deployments}, it acknowledged {self._ids}")

    def _answered(self, event: Answered) -> None:
        asked = event.asked.call
        if event.answer.status != NOT_FOUND or event.answer.of_invocation or event.asked.attach is not None:
            return
        if not any(asked.service in services for services in self._services.values()):
            return
        self.broken(f"{asked} was answered {NOT_FOUND} although {asked.service} was registered")
